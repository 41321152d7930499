"""From a clean and an attacked set to what a detector is fitted to."""

from __future__ import annotations

import numpy as np

from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.matched_noise import matched_noise
from keras_fisher.typing import Array

#: A variance needs two.
_MIN_IMAGES = 2


def label_attack(
    classifier: Classifier, clean: Array, adversarial: Array, noisy: Array | None = None, seed: int = 0
) -> LabelledImages:
    """Returns the checked images with their labels, and makes the noisy negatives unless they are given.

    Args:
        classifier: what was attacked.
        clean: (n, h, w, c), in bounds.
        adversarial: (m, h, w, c), in bounds; none of them equal to a clean one.
        noisy: (k, h, w, c), further negatives; an empty array for none. None, which needs m = n, puts noise
            on each clean image, of the l2 norm by which its adversarial partner differs from it.
        seed: of that noise.

    Raises:
        TypeError, ValueError: images that do not fit the classifier, too few of them, lengths that differ
            without `noisy`, or an adversarial image that equals a clean one.
    """
    clean = classifier.check(clean, "clean")
    adversarial = classifier.check(adversarial, "adversarial")
    for argument, images in (("clean", clean), ("adversarial", adversarial)):
        if len(images) < _MIN_IMAGES:
            raise ValueError(message(argument, f"hold at least {_MIN_IMAGES} images", len(images)))
    if noisy is not None:
        return LabelledImages.from_attack(clean, adversarial, classifier.check(noisy, "noisy"))
    if len(adversarial) != len(clean):
        raise ValueError(
            message(
                "adversarial",
                f"hold one image for each of the {len(clean)} of `clean`, whose noise is to be as long",
                len(adversarial),
                "Pass only the clean images whose attacks you pass, clean[result.success], or pass `noisy=`.",
            )
        )
    difference = (adversarial.astype(np.float64) - clean).reshape(len(clean), -1)
    noisy = matched_noise(classifier, clean, np.linalg.norm(difference, axis=-1), seed)
    return LabelledImages.from_attack(clean, adversarial, noisy)
