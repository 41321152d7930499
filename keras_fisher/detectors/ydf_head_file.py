"""Heads of Yggdrasil Decision Forests on disk: numbers, no pickle."""

from __future__ import annotations

import json
import pathlib
import zipfile

import numpy as np

from keras_fisher.checks import message
from keras_fisher.detectors.reading import reading
from keras_fisher.detectors.ydf_classifier import YdfClassifier
from keras_fisher.detectors.ydf_gradient_boosted_trees import YdfGradientBoostedTrees
from keras_fisher.detectors.ydf_random_forest import YdfRandomForest
from keras_fisher.layers.ydf_library import ydf_library
from keras_fisher.layers.ydf_model import num_ydf_features, read_ydf_model

_SETTINGS, _MODEL = "settings.json", "model.ydf"
_KINDS = {kind.__name__: kind for kind in (YdfRandomForest, YdfGradientBoostedTrees)}


def write_ydf_head(head: YdfClassifier, file: pathlib.Path) -> None:
    """Writes a fitted head of YDF: a zip of its settings and of what `serialize` of its model gives.

    Raises:
        TypeError: class weights by class, which JSON does not keep.
    """
    settings = head.get_params()
    if not isinstance(settings["class_weight"], (str, type(None))):
        rule = "be 'balanced' or None, to be saved"
        raise TypeError(message("class_weight", rule, repr(settings["class_weight"])))
    description = {"class": type(head).__name__, "settings": settings}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_SETTINGS, json.dumps(description, indent=2, allow_nan=False, default=_plain) + "\n")
        archive.writestr(_MODEL, head.model_.serialize())


def read_ydf_head(file: pathlib.Path) -> YdfClassifier:
    """Returns the fitted head.

    Raises:
        ImportError: `ydf` is not installed.
        ValueError: the file cannot be read.
    """
    ydf_library("a detector with a head of YDF")
    with reading(file.name, "Save the detector again."):
        with zipfile.ZipFile(file) as archive:
            description = json.loads(archive.read(_SETTINGS))
            content = archive.read(_MODEL)
        head = _KINDS[description["class"]](**description["settings"])
        head.model_ = read_ydf_model(type(head).__name__, content)
        head.classes_ = np.array([0, 1])
        head.n_features_in_ = num_ydf_features(head.model_)
    return head


def _plain(value: object) -> object:
    """Returns a NumPy number as plain Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(message("head", "have settings that JSON has, to be saved", repr(value)))
