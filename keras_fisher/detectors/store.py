"""Detectors on disk: a folder that is complete, vouched for, and runs nothing when it is read."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
from typing import Any

import keras
import numpy as np
from sklearn.base import clone

from keras_fisher.artefacts import check_manifest, put_in_place, temporary_sibling, write_manifest
from keras_fisher.checks import check_flag, message
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.head_file import HEAD_FILES, read_head, write_head
from keras_fisher.detectors.reading import reading
from keras_fisher.serialization import describe, restore

#: Goes up when a version writes what earlier ones cannot read. 2: learnt thresholds, feature objects,
#: heads of YDF. 3: objects as Keras describes them.
FORMAT = 3
#: The files of a detector, besides the manifest with their SHA-256; a head of YDF is in head.ydf instead.
FILES = ("detector.json", "head.skops", "model.keras")
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class StoredDetector:
    """What there is to store of a detector."""

    #: The name of its class.
    kind: str
    #: The arguments of its class by name, without the classifier.
    settings: dict[str, Any]
    classifier: Classifier
    #: The fitted estimator.
    head: Any
    #: Learnt, or as it was set.
    threshold: float


def write_detector(
    stored: StoredDetector, path: str | os.PathLike, *, overwrite: bool = False
) -> pathlib.Path:
    """Returns the folder `path` once it is written whole; a failure leaves what was there before.

    Raises:
        FileExistsError: there is something at `path`, and it is not a detector to be overwritten.
        TypeError: a head, a solver or a setting that cannot be stored safely.
    """
    check_flag("overwrite", overwrite)
    folder = pathlib.Path(path).resolve()
    _check_target(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_sibling(folder) as temporary:
        temporary.mkdir()
        head_file = write_head(stored.head, temporary)
        description = json.dumps(_describe(stored), indent=2, allow_nan=False)
        (temporary / "detector.json").write_text(description + "\n", encoding="utf-8")
        stored.classifier.model.save(temporary / "model.keras")
        command = f"{stored.kind}.save({folder.name!r})"
        files = [temporary / name for name in _files(head_file.name)]
        write_manifest(temporary / MANIFEST, command, stored.settings.get("seed"), files, {})
        put_in_place(temporary, folder)
    return folder


def read_detector(path: str | os.PathLike) -> StoredDetector:
    """Returns what `write_detector` stored, after comparing every file with its SHA-256.

    The hashes find damage. Against a forger, who writes new ones, stand skops (only types on its list and
    ours are made), `check_trees`, and Keras's safe mode (no code in a model's file).

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file that was changed, that cannot be read, or that holds what is not trusted.
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        remedy = "There is no such folder. Write one with detector.save(path)."
        raise FileNotFoundError(message("path", "be the folder of a saved detector", repr(str(path)), remedy))
    manifest = _read_manifest(folder)
    description = _read_description(folder / "detector.json")
    head = read_head(folder / _head_file(manifest), manifest["versions"]["scikit-learn"])
    remedy = "Register its own layers first (keras.saving.register_keras_serializable); lambdas are refused."
    with reading("model.keras", remedy):
        model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
        classifier = Classifier(model, **description["classifier"])
    settings = description["settings"]
    if not isinstance(settings["head"], str):
        settings["head"] = clone(head)
    return StoredDetector(description["kind"], settings, classifier, head, description["threshold"])


def _check_target(folder: pathlib.Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        remedy = "Pass overwrite=True to replace a detector that was saved there."
        raise FileExistsError(message("path", "be new", f"{folder.name!r}, which exists", remedy))
    if not (folder / "detector.json").is_file():
        rule = "be new, or the folder of a saved detector, to be overwritten"
        raise FileExistsError(message("path", rule, f"{folder.name!r}, which is something else"))


def _describe(stored: StoredDetector) -> dict[str, Any]:
    """Returns detector.json."""
    classifier, head = stored.classifier, stored.settings["head"]
    settings = {name: describe(name, value) for name, value in stored.settings.items() if name != "head"}
    return {
        "format": FORMAT,
        "kind": stored.kind,
        "settings": settings
        | {"head": head if isinstance(head, str) else {"estimator": type(head).__name__}},
        "threshold": stored.threshold,
        "class_names": ["not adversarial", "adversarial"],
        "classifier": {
            "from_logits": _from_logits(classifier),
            "bounds": classifier.bounds,
            "image_shape": classifier.image_shape,
            "num_classes": classifier.num_classes,
        },
    }


def _from_logits(classifier: Classifier) -> bool:
    """Returns the setting, no longer "auto", with which a new Classifier gives the same logits."""
    sides = [side or 64 for side in classifier.image_shape]
    trial = np.random.default_rng(0).uniform(*(classifier.bounds or (0.0, 1.0)), (2, *sides))
    trial = trial.astype(classifier.image_dtype.as_numpy_dtype)
    for setting in (True, False):
        with contextlib.suppress(ValueError):
            again = Classifier(classifier.model, setting, classifier.bounds)
            if np.array_equal(again.logits(trial), classifier.logits(trial)):
                return setting
    remedy = "Make a new Classifier after changing a model."
    raise ValueError(message("classifier", "read its model as a new Classifier does", "other logits", remedy))


def _read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the manifest, which must vouch for every file of a detector."""
    remedy = "Save the detector again."
    try:
        manifest = check_manifest(folder / MANIFEST)
        missing = sorted(set(_files(_head_file(manifest))) - set(manifest["files"]))
        manifest["versions"]["scikit-learn"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        rule = f"hold a {MANIFEST} that can be read"
        raise ValueError(message("path", rule, repr(error), remedy)) from error
    if missing:
        rule = f"hold a {MANIFEST} that vouches for {', '.join(missing)}"
        raise ValueError(message("path", rule, "one that does not", remedy))
    return manifest


def _files(head_file: str) -> list[str]:
    """Returns FILES, with the head's file under the name that it has."""
    return [head_file if name == HEAD_FILES[0] else name for name in FILES]


def _head_file(manifest: dict[str, Any]) -> str:
    """Returns the name of the head's file: the one that the manifest vouches for, or else the usual one."""
    return next((name for name in HEAD_FILES if name in manifest["files"]), HEAD_FILES[0])


def _read_description(file: pathlib.Path) -> dict[str, Any]:
    """Returns the kind, the settings with solvers made again, and the arguments of the classifier."""
    remedy = "Save the detector again."
    with reading(file.name, remedy):
        description = json.loads(file.read_text(encoding="utf-8"))
        found_format = description["format"]
    if found_format not in range(1, FORMAT + 1):
        remedy = "A later keras-fisher wrote it: upgrade."
        raise ValueError(
            message("path", f"hold a detector of format {FORMAT} or below", found_format, remedy)
        )
    with reading(file.name, remedy):
        settings = description["settings"]
        plain = {name: restore(value) for name, value in settings.items() if name != "head"}
        return {
            "kind": str(description["kind"]),
            "settings": plain | {"head": settings["head"]},
            "threshold": float((settings if found_format == 1 else description)["threshold"]),
            "classifier": {name: description["classifier"][name] for name in ("from_logits", "bounds")},
        }
