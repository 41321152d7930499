"""What an attack makes of the sources, and noise as long."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_fisher.attacks import AttackResult
from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.matched_noise import matched_noise
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, eq=False)
class AttackedSources:
    """An adversarial and a noisy version of each source."""

    #: (n, h, w, c), in bounds.
    adversarial: Array
    #: (n, h, w, c), Gaussian noise of the realised l2 norm of the attack.
    noisy: Array
    #: (n,) bool: the attack had success, with an image that is not its source.
    success: Array
    #: (n,) bool: a detector may be fitted to it, if its source is on that side.
    is_fitted_to: Array


def add_noise(
    classifier: Classifier,
    clean: Array,
    images: Array,
    success: Array,
    seed: int,
    fit_to: str = "successful",
) -> AttackedSources:
    """Returns the adversarial images of the sources, with noise as long.

    Args:
        classifier: what was attacked.
        clean: (n, h, w, c), the sources.
        images: (n, h, w, c), what an attack made of them, in bounds.
        success: (n,) bool, by the attack's own account.
        seed: of the noise.
        fit_to: "successful", or "all" images that are not their source.
    """
    adversarial = classifier.check(images)
    difference = (adversarial.astype(np.float64) - clean).reshape(len(clean), -1)
    # Measured, not taken from the result: the noise is to be as long as what the detector sees.
    norms = np.linalg.norm(difference, axis=-1)
    is_moved = norms > 0
    has_success = np.asarray(success, bool) & is_moved
    is_fitted_to = is_moved if fit_to == "all" else has_success
    noisy = matched_noise(classifier, clean, norms, seed)
    return AttackedSources(adversarial, noisy, has_success, is_fitted_to)


def check_result(argument: str, result: Any, classifier: Classifier, clean: Array) -> AttackResult:
    """Returns the result.

    Raises:
        TypeError: it is no AttackResult.
        ValueError: it is not of as many images as `clean`, or not of such as the classifier takes.
    """
    if not isinstance(result, AttackResult):
        remedy = "Return what an attack of kf.attacks returned."
        raise TypeError(message(argument, "give an AttackResult", type(result).__name__, remedy))
    if np.shape(result.images) != clean.shape or np.shape(result.success) != clean.shape[:1]:
        found = f"shapes {np.shape(result.images)} and {np.shape(result.success)}"
        raise ValueError(message(argument, f"have `images` and `success` for images {clean.shape}", found))
    classifier.check(result.images, f"{argument}.images")
    return result
