"""A detector as a SavedModel, as TensorFlow Serving wants it."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_fisher.artefacts import temporary_sibling, write_manifest
from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers.image_check import Bounds
from keras_fisher.detectors.export.encoded_images import decode_images
from keras_fisher.detectors.store import StoredDetector, write_detector
from keras_fisher.typing import Tensor

#: Where a version keeps the detector itself. TensorFlow leaves `assets.extra` alone.
DETECTOR_FOLDER = pathlib.PurePath("assets.extra", "keras_fisher_detector")
#: TensorFlow Serving reads the names of versions as int64, and passes over what does not fit.
_MAX_VERSION = 2**63 - 1
#: Channels that an encoded image can have.
_ENCODED_CHANNELS = (1, 3, 4)


def export_detector(
    model: keras.Model, stored: StoredDetector, path: str | os.PathLike, version: int | None
) -> pathlib.Path:
    """Returns the folder of the version that it writes, whole or not at all.

    Args:
        model: of `keras_detector`.
        stored: the detector itself, which `kf.load_detector` reads.
        path: the folder of all versions.
        version: a number; None is the one after the latest.

    Raises:
        FileExistsError: there is this version already, or `path` is something else.
    """
    base = pathlib.Path(path).resolve()
    target = base / str(_choose_version(base, version))
    base.mkdir(parents=True, exist_ok=True)
    with temporary_sibling(target) as temporary:
        _write_saved_model(model, stored.classifier.bounds, temporary)
        write_detector(stored, temporary / DETECTOR_FOLDER)
        files = sorted(file for file in temporary.rglob("*") if file.is_file())
        command = f"{stored.kind}.export({base.name!r}, version={target.name})"
        write_manifest(temporary / "manifest.json", command, stored.settings.get("seed"), files, {})
        temporary.rename(target)
    return target


def versions_in(base: pathlib.Path) -> list[int]:
    """Returns the numbers of the versions in a folder, ascending, by the rule of TensorFlow Serving."""
    if not base.is_dir():
        return []
    # No leading zeros, and nothing that an int64 does not hold.
    found = [
        int(child.name)
        for child in base.iterdir()
        if re.fullmatch(r"0|[1-9][0-9]*", child.name) and child.is_dir()
    ]
    return sorted(version for version in found if version <= _MAX_VERSION)


def _choose_version(base: pathlib.Path, version: int | None) -> int:
    found = versions_in(base)
    if base.exists() and not base.is_dir():
        raise FileExistsError(message("path", "be new, or a folder of versions", f"{base.name!r}, a file"))
    if (base / "detector.json").exists() or (base / "saved_model.pb").exists():
        remedy = "Export into a folder of its own."
        found_there = f"{base.name!r}, a saved detector or model"
        raise FileExistsError(message("path", "be new, or a folder of versions", found_there, remedy))
    if version is None:
        version = (found[-1] if found else 0) + 1
    version = check_integer("version", version, 0, _MAX_VERSION)
    if version in found:
        remedy = "TensorFlow Serving takes a new number as an update; leave out `version` for the next one."
        raise FileExistsError(message("version", "be new", version, remedy))
    return version


def _write_saved_model(model: keras.Model, bounds: Bounds | None, folder: pathlib.Path) -> None:
    images = model.inputs[0]
    specification = tf.TensorSpec(images.shape, images.dtype, name="images")

    # One graph for all signatures: tracing is most of the time that an export takes.
    @tf.function(input_signature=[specification], autograph=False)
    def whole(images: Tensor) -> dict[str, Tensor]:
        return model(images, training=False)

    def eigenvalues(images: Tensor) -> dict[str, Tensor]:
        return {"eigenvalues": whole(images)["eigenvalues"]}

    def encoded(image_bytes: Tensor) -> dict[str, Tensor]:
        return whole(decode_images(image_bytes, tuple(images.shape[1:]), bounds, tf.as_dtype(images.dtype)))

    archive = keras.export.ExportArchive()
    archive.track(model)
    # Keras takes the first for `serving_default`.
    endpoints: list[tuple[str, Callable, tf.TensorSpec]] = [
        ("serving_default", whole, specification),
        ("eigenvalues", eigenvalues, specification),
    ]
    if len(images.shape) == 4 and images.shape[-1] in _ENCODED_CHANNELS:
        strings = tf.TensorSpec([None], tf.string, name="image_bytes")
        endpoints.append(("encoded_images", encoded, strings))
    for name, function, signature in endpoints:
        archive.add_endpoint(name, function, input_signature=[signature])
    archive.write_out(str(folder), verbose=False)
