"""Forests of scikit-learn as TensorFlow ops, to the bit."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.layers.probability_layer import ProbabilityLayer
from keras_fisher.typing import Array

_LEAF = -1


@keras.saving.register_keras_serializable(package="keras_fisher")
class TreeEnsemble(ProbabilityLayer):
    """Returns what `predict_proba` of a random forest, extra trees or a decision tree returns, to the bit.

    The nodes of all trees lie one after the other. Every row walks down every tree at once, and a leaf is its
    own child, so that all have arrived after as many steps as the deepest tree has. To the bit on a CPU, with
    XLA or without; on a GPU the trees may be summed in another order. There is no gradient.

    Args:
        num_features: f, the width of what it is given.
        num_classes: the width of what it returns.
        num_trees: how many trees there are.
        num_nodes: of all trees together, leaves and others.
        max_depth: splits on the longest way from a root to a leaf.
        name: of the layer.

    Call arguments:
        features: (batch, f), any real dtype. float64 is compared as scikit-learn does, which casts to float32
            first; a value beyond float32, which scikit-learn refuses, is beyond every threshold.

    Returns:
        (batch, classes) float64, summing to one. NaN where a feature is NaN, also for trees that scikit-learn
        fitted to missing values.

    Raises:
        TypeError, ValueError: arguments that are no integers or out of range, features of another shape.

    Example:
        >>> import numpy as np
        >>> from sklearn.ensemble import RandomForestClassifier
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> forest = RandomForestClassifier(10, random_state=0).fit(features, features[:, 0] > 0)
        >>> layer = TreeEnsemble.from_sklearn(forest)
        >>> bool((layer(features).numpy() == forest.predict_proba(features)).all())
        True
    """

    @suggests_keywords
    def __init__(
        self,
        num_features: int,
        num_classes: int,
        num_trees: int,
        num_nodes: int,
        max_depth: int,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(num_features, num_classes, name=name)
        self.num_trees = check_integer("num_trees", num_trees, 1)
        self.num_nodes = check_integer("num_nodes", num_nodes, self.num_trees, remedy="A tree has a root.")
        self.max_depth = check_integer("max_depth", max_depth, 0)
        self.roots = self.constant("roots", (self.num_trees,), 0, "int32")
        self.children = self.constant("children", (self.num_nodes, 2), 0, "int32")
        self.split_features = self.constant("split_features", (self.num_nodes,), 0, "int32")
        self.thresholds = self.constant("thresholds", (self.num_nodes,), 0.0)
        self.leaf_probabilities = self.constant(
            "leaf_probabilities", (self.num_nodes, self.num_classes), float("nan")
        )
        # A weight, since TensorFlow divides by a constant by multiplying with its rounded reciprocal.
        self.divisor = self.constant("divisor", (), 1.0)

    @classmethod
    def from_sklearn(cls, fitted: Any, *, name: str | None = None) -> Self:
        """Returns the layer of a fitted classifier; its columns are in the order of `fitted.classes_`.

        Args:
            fitted: a RandomForestClassifier, an ExtraTreesClassifier or a DecisionTreeClassifier.
            name: of the layer.

        Raises:
            TypeError: it is none of these.
            NotFittedError: it is not fitted.
            ValueError: it has several outputs or a single class.
        """
        # Who has such a classifier has imported them, and a layer that comes from a file needs none of them.
        from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier  # noqa: PLC0415
        from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415
        from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

        if not isinstance(fitted, (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier)):
            rule = "be a RandomForestClassifier, an ExtraTreesClassifier or a DecisionTreeClassifier"
            raise TypeError(message("fitted", rule, repr(fitted)))
        check_is_fitted(fitted)
        if fitted.n_outputs_ != 1:
            raise ValueError(message("fitted", "have one output", fitted.n_outputs_))
        is_tree = isinstance(fitted, DecisionTreeClassifier)
        trees = [estimator.tree_ for estimator in ([fitted] if is_tree else fitted.estimators_)]
        ends = np.cumsum([tree.node_count for tree in trees])
        roots = ends - [tree.node_count for tree in trees]
        depth = max(tree.max_depth for tree in trees)
        layer = cls(fitted.n_features_in_, len(fitted.classes_), len(trees), int(ends[-1]), depth, name=name)
        is_leaf = np.concatenate([tree.children_left == _LEAF for tree in trees])
        layer.roots.assign(roots)
        layer.children.assign(np.concatenate([_children(*pair) for pair in zip(trees, roots, strict=True)]))
        layer.split_features.assign(np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])))
        layer.thresholds.assign(_as_float64_limits(np.concatenate([tree.threshold for tree in trees])))
        layer.leaf_probabilities.assign(np.concatenate([tree.value[:, 0, :] for tree in trees]))
        layer.divisor.assign(len(trees))
        return layer

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        num_rows = tf.shape(features)[0]
        columns = tf.reshape(tf.transpose(features), [-1])
        children = tf.reshape(self.children, [-1])
        thresholds = tf.convert_to_tensor(self.thresholds)
        split_features = tf.convert_to_tensor(self.split_features)
        # Unrolled: a step of a while_loop costs more than what it does for one row. (trees, 1) at the roots,
        # which saves three gathers, and (trees, batch) below.
        nodes = tf.convert_to_tensor(self.roots)[:, None]
        for _ in range(max(self.max_depth, 1)):
            values = tf.gather(columns, tf.gather(split_features, nodes) * num_rows + tf.range(num_rows))
            goes_right = values > tf.gather(thresholds, nodes)
            nodes = tf.gather(children, 2 * nodes + tf.cast(goes_right, tf.int32))
        # (trees, batch, classes)
        of_trees = tf.gather(tf.convert_to_tensor(self.leaf_probabilities), nodes)
        # Adds tree after tree, as scikit-learn does. reduce_sum and add_n have other orders, and TensorFlow
        # turns a chain of additions into add_n. div_no_nan: what freezes a graph makes weights constants.
        total = tf.math.unsorted_segment_sum(of_trees, tf.zeros(self.num_trees, tf.int32), 1)[0]
        return tf.math.divide_no_nan(total, tf.convert_to_tensor(self.divisor))

    def get_config(self) -> dict[str, Any]:
        return {
            "num_features": self.num_features,
            "num_classes": self.num_classes,
            "num_trees": self.num_trees,
            "num_nodes": self.num_nodes,
            "max_depth": self.max_depth,
            "name": self.name,
        }


def _children(tree: Any, root: int) -> Array:
    """Returns (nodes, 2) int32, the left and the right child of each node; a leaf is its own."""
    own = np.arange(tree.node_count)
    is_leaf = tree.children_left == _LEAF
    children = [np.where(is_leaf, own, side) for side in (tree.children_left, tree.children_right)]
    return root + np.stack(children, axis=1).astype(np.int32)


def _as_float64_limits(thresholds: Array) -> Array:
    """Returns float64, the largest values that go left.

    scikit-learn rounds a feature to float32 and goes left if that is at most the float64 threshold: at most
    the largest float32 not above it. Rounding is monotone. The largest float64 that rounds to that float32 is
    halfway to the next one, or just before, as halves go to even mantissas. So the graph need not round,
    which TensorFlow does not do as NumPy does where float32 is subnormal.

    Args:
        thresholds: float64, finite.
    """
    floored = thresholds.astype(np.float32)
    floored = np.where(floored > thresholds, np.nextafter(floored, np.float32(-np.inf)), floored)
    above = np.nextafter(floored, np.float32(np.inf))
    halfway = (floored.astype(np.float64) + above.astype(np.float64)) / 2
    return np.where(halfway.astype(np.float32) <= floored, halfway, np.nextafter(halfway, -np.inf))
