"""Gradient boosted trees of Yggdrasil Decision Forests."""

from __future__ import annotations

from typing import Any, final

from keras_fisher.checks import check_real
from keras_fisher.detectors.ydf_classifier import YdfClassifier


@final
class YdfGradientBoostedTrees(YdfClassifier):
    """Gradient boosted trees by YDF, for which TensorFlow Serving has a fast op; needs `keras-fisher[trees]`.

    Every example is trained on: none is put aside to stop early.

    Args:
        num_trees: how many trees.
        max_depth: splits above a leaf, at most; None for no limit.
        learning_rate: in (0, 1], what a tree's answer is multiplied with.
        min_examples: images in a leaf, at least.
        class_weight: "balanced" so that both classes weigh the same, None, or weights by class.
        random_state: the seed, an integer.

    Source:
        Guillame-Bert et al. 2023, "Yggdrasil Decision Forests"; Friedman 2001.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> boosted = YdfGradientBoostedTrees(num_trees=10).fit(features, features[:, 0] > 0)
        >>> boosted.predict_proba(features).shape
        (200, 2)
    """

    def __init__(
        self,
        num_trees: int = 100,
        max_depth: int | None = 3,
        learning_rate: float = 0.1,
        min_examples: int = 5,
        class_weight: Any = "balanced",
        random_state: int = 0,
    ) -> None:
        self.num_trees = num_trees
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.min_examples = min_examples
        self.class_weight = class_weight
        self.random_state = random_state

    def learner(self, ydf: Any, **shared: Any) -> Any:
        rate = check_real("learning_rate", self.learning_rate, 0.0, 1.0, exclusive_minimum=True)
        return ydf.GradientBoostedTreesLearner(
            shrinkage=rate, validation_ratio=0.0, early_stopping="NONE", **shared
        )
