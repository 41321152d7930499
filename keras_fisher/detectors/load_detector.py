"""A detector from disk."""

from __future__ import annotations

import os
import pathlib

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.detectors.baselines import DropoutUncertaintyDetector
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.export import DETECTOR_FOLDER, versions_in
from keras_fisher.detectors.fisher_detector import FisherDetector
from keras_fisher.detectors.score_detector import ScoreDetector
from keras_fisher.detectors.softmax_detector import SoftmaxDetector
from keras_fisher.detectors.store import read_detector

_KINDS: dict[str, type[Detector]] = {
    kind.__name__: kind
    for kind in (DropoutUncertaintyDetector, FisherDetector, ScoreDetector, SoftmaxDetector)
}


@suggests_keywords
def load_detector(path: str | os.PathLike) -> Detector:
    """Returns the fitted detector that `detector.save(path)` or `detector.export(path)` wrote.

    Its scores are the very same. Of an export it is the latest version, or the one that `path` names.

    Every file is compared with its SHA-256 first. No pickle is read and no code in the files is run; a type
    that is not on a list of trusted ones is refused.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file that was changed, that cannot be read, or that holds what is not trusted.

    Example:
        >>> import keras_fisher as kf
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, _ = kf.datasets.mnist_sample()
        >>> bool((detector.score_samples(images[:100]) < 0.5).mean() > 0.9)
        True
    """
    stored = read_detector(_folder_of(path))
    if stored.kind not in _KINDS:
        rule = f"hold a detector of one of the kinds {', '.join(_KINDS)}"
        raise ValueError(
            message("path", rule, repr(stored.kind), "A later keras-fisher may know it: upgrade.")
        )
    try:
        detector = _KINDS[stored.kind](stored.classifier, **stored.settings)
    except (TypeError, ValueError) as error:
        remedy = "Save the detector again."
        raise ValueError(
            message("path", "hold a detector.json that can be read", str(error), remedy)
        ) from error
    detector.head_ = stored.head
    detector.threshold_ = stored.threshold
    return detector


def _folder_of(path: str | os.PathLike) -> pathlib.Path:
    """Returns the folder that the detector itself is in, within an export, or `path`."""
    folder = pathlib.Path(path)
    versions = versions_in(folder)
    if versions and not (folder / "detector.json").exists():
        folder = folder / str(versions[-1])
    inner = folder / DETECTOR_FOLDER
    return inner if inner.is_dir() else folder
