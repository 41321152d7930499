"""An attack of ours, called as other libraries call theirs."""

from __future__ import annotations

from keras_fisher.attacks import Attack, AttackResult
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array


def run_attack(
    attack: Attack,
    classifier: Classifier,
    images: Array,
    labels: Array | None,
    targets: Array | None,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> AttackResult:
    """Returns what the attack makes of the images, given labels or targets but not both.

    Other libraries give a targeted attack its targets alone, and an image that has its target's class already
    is a success to them. Ours want labels that differ from the targets. A targeted attack does nothing with
    them, so that any will do.
    """
    if targets is not None:
        labels = (targets + 1) % classifier.num_classes
    return attack(classifier, images, labels, targets=targets, batch_size=batch_size, progress=progress)
