"""Fitted heads on disk, through skops or as YDF's own bytes: nothing runs when they are read."""

from __future__ import annotations

import pathlib
import zipfile
from typing import Any

import skops.io

from keras_fisher.checks import message
from keras_fisher.detectors.reading import reading
from keras_fisher.detectors.tree_check import check_trees
from keras_fisher.detectors.ydf_classifier import YdfClassifier
from keras_fisher.detectors.ydf_head_file import read_ydf_head, write_ydf_head

#: The names that the file of a head may have: by skops, and of YDF.
HEAD_FILES = ("head.skops", "head.ydf")

#: What a head may consist of besides what skops trusts: NumPy arrays and plain scikit-learn estimators.
TRUSTED_TYPES = (
    "sklearn.calibration._CalibratedClassifier",  # holds estimators
    "sklearn.calibration._SigmoidCalibration",  # two numbers
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",  # the state of a fit that is over
    "sklearn.tree._tree.Tree",  # raw indices: `check_trees` looks at them before they are used
    "sklearn.utils._bunch.Bunch",  # a dict
)


def write_head(head: Any, folder: pathlib.Path) -> pathlib.Path:
    """Returns the file in `folder` to which it writes a fitted head that `read_head` will take.

    Raises:
        TypeError: it holds types that are not trusted.
        ValueError: it holds trees that `check_trees` refuses.
    """
    skops_file, ydf_file = (folder / name for name in HEAD_FILES)
    if isinstance(head, YdfClassifier):
        write_ydf_head(head, ydf_file)
        return ydf_file
    _write_skops(head, skops_file)
    return skops_file


def _write_skops(head: Any, file: pathlib.Path) -> None:
    skops.io.dump(head, file, compression=zipfile.ZIP_DEFLATED)
    untrusted = _untrusted_types(file)
    if untrusted:
        remedy = (
            "Use a random forest, naive Bayes, logistic regression, a support vector machine or a perceptron."
        )
        rule = "consist of types that are safe to load, to be saved"
        raise TypeError(message("head", rule, ", ".join(untrusted), remedy))
    check_trees(head)


def read_head(file: pathlib.Path, scikit_learn_version: str) -> Any:
    """Returns the fitted head.

    Args:
        file: written by `write_head`, under the name that it had.
        scikit_learn_version: the one that wrote it, for the remedy: others may have other trees.

    Raises:
        ValueError: the file cannot be read, or holds what is not trusted; then nothing of it was made.
        ImportError: it is of YDF, which is not installed.
    """
    if file.name == HEAD_FILES[1]:
        return read_ydf_head(file)
    remedy = f"scikit-learn {scikit_learn_version} wrote it: install that, or fit the detector again."
    with reading(file.name, remedy):
        untrusted = _untrusted_types(file)
    if untrusted:
        rule = f"hold a {file.name} of trusted types only"
        raise ValueError(message("path", rule, ", ".join(untrusted), "Nothing was loaded. Where is it from?"))
    with reading(file.name, remedy):
        head = skops.io.load(file, trusted=list(TRUSTED_TYPES))
        check_trees(head)
        if list(head.classes_) != [0, 1] or not hasattr(head, "predict_proba"):
            raise ValueError(message("head", "be a classifier of the classes 0 and 1", repr(head)))
    return head


def _untrusted_types(file: pathlib.Path) -> list[str]:
    return sorted(set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED_TYPES))
