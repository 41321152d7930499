"""Random forests of Yggdrasil Decision Forests."""

from __future__ import annotations

from typing import Any, final

from keras_fisher.detectors.ydf_classifier import YdfClassifier


@final
class YdfRandomForest(YdfClassifier):
    """A random forest by YDF, for which TensorFlow Serving has a fast op; needs `keras-fisher[trees]`.

    Every tree gives the share of its leaf, not a vote, so that scores are graded.

    Args:
        num_trees: how many trees.
        max_depth: splits above a leaf, at most; None for no limit.
        min_examples: images in a leaf, at least.
        class_weight: "balanced" so that both classes weigh the same, None, or weights by class.
        random_state: the seed, an integer.

    Source:
        Guillame-Bert et al. 2023, "Yggdrasil Decision Forests"; Breiman 2001.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> forest = YdfRandomForest(num_trees=10).fit(features, features[:, 0] > 0)
        >>> forest.predict_proba(features).shape
        (200, 2)
    """

    def __init__(
        self,
        num_trees: int = 100,
        max_depth: int | None = 5,
        min_examples: int = 5,
        class_weight: Any = "balanced",
        random_state: int = 0,
    ) -> None:
        self.num_trees = num_trees
        self.max_depth = max_depth
        self.min_examples = min_examples
        self.class_weight = class_weight
        self.random_state = random_state

    def learner(self, ydf: Any, **shared: Any) -> Any:
        return ydf.RandomForestLearner(winner_take_all=False, compute_oob_performances=False, **shared)
