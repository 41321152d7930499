"""Whether the trees in a loaded head can be walked safely."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.tree._tree import Tree

from keras_fisher.checks import message

_LEAF = -1


def check_trees(head: Any) -> None:
    """Raises unless every scikit-learn tree in `head` stays within its nodes and its features.

    scikit-learn follows a tree's indices without looking: a forged file would have it read memory that is not
    the tree's, or never come to a leaf. That is why skops does not trust trees by itself.

    Args:
        head: a fitted estimator, with others inside it or not.

    Raises:
        ValueError: a child that is no node or does not come after its parent, or a feature that an estimator
            around the tree does not have.
    """
    for tree, num_features in _trees_in(head, [], set()):
        if not _is_sound(tree, num_features):
            rule = f"hold trees that lead from each node to later ones, by {num_features} features"
            raise ValueError(message("head", rule, "one that does not", "Fit a plain random forest instead."))


def _trees_in(value: Any, widths: list[int], seen: set[int]) -> Iterator[tuple[Any, int]]:
    """Yields each tree with how many features it may read.

    A forest checks how many columns it is given and hands them to its trees' estimators unchecked, so that a
    tree is bound by both: by the two estimators around it.

    Args:
        value: what to search, through attributes, lists, tuples, dicts and arrays of objects.
        widths: the numbers of features of the estimators around it; 0 where one does not say.
        seen: the ids of what was searched before.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    inner: Any = ()
    if isinstance(value, Tree):
        yield value, min(widths[-2:], default=0)
    elif isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    elif isinstance(value, np.ndarray):
        inner = value.ravel().tolist() if value.dtype.hasobject else ()
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        if isinstance(value, BaseEstimator):
            width = getattr(value, "n_features_in_", None)
            widths = [*widths, int(width) if isinstance(width, (int, np.integer)) else 0]
        inner = vars(value).values()
    for item in inner:
        yield from _trees_in(item, widths, seen)


def _is_sound(tree: Any, num_features: int) -> bool:
    if not 0 < tree.node_count <= tree.capacity:
        return False
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    is_leaf = left == _LEAF
    parents = np.flatnonzero(~is_leaf)
    inner_children = np.stack([left, right])[:, parents]
    return bool(
        (is_leaf == (right == _LEAF)).all()
        # Later than the parent, so that no path goes round.
        and ((inner_children > parents) & (inner_children < tree.node_count)).all()
        and ((feature[parents] >= 0) & (feature[parents] < num_features)).all()
    )
