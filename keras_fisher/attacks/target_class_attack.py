"""Attacks towards a wrong class that they choose themselves."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.targets import least_likely_targets, random_targets
from keras_fisher.checks import check_integer, check_option
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class TargetClassAttack(Attack):
    """An attack that moves towards a class in any case, and chooses one where the call names none.

    Args:
        clip: keep the images within the classifier's bounds.
        targeted: count only that class as a success. The paper counts any wrong class.
        target: "random", uniform among the wrong classes, or "least_likely".
        seed: of the random choice.
    """

    _: dataclasses.KW_ONLY
    target: str = "random"
    seed: int = 0

    can_target: ClassVar[bool] = True
    chooses_targets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("target", self.target, ("random", "least_likely"))
        check_integer("seed", self.seed, 0)

    def choose_targets(self, classifier: Classifier, chunk: Chunk, batch_size: int | None) -> Array:
        if self.target == "random":
            return random_targets(chunk.labels, classifier.num_classes, self.seed)
        return least_likely_targets(classifier, chunk.images, chunk.labels, batch_size)
