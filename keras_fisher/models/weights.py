"""Where the weights of a net come from: none, the stored ones, or a file."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import keras

from keras_fisher.artefacts import check_manifest, saved_model_path
from keras_fisher.checks import message


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights that an argument `weights` of one architecture may name.

    Args:
        stored: what `weights` is for stored ones, such as `"mnist"`, and the folder of saved_models/ that
            holds them, as `model.keras` beside its manifest.
        script: the script that trains and writes them, for the remedies of errors.
    """

    stored: Mapping[str, str]
    script: str

    def manifest(self, weights: str | os.PathLike | None) -> dict[str, Any]:
        """Returns the manifest of stored weights, after comparing the file with its hash; {} for others.

        Raises:
            FileNotFoundError: the folder, the manifest or the file is missing.
            ValueError: the file is not the one that was trained.
        """
        if not isinstance(weights, str) or weights not in self.stored:
            return {}
        return check_manifest(saved_model_path(self.stored[weights]) / "manifest.json")

    def path(self, weights: str | os.PathLike | None) -> pathlib.Path | None:
        """Returns the file to read, known to exist, or None for random weights.

        Raises:
            TypeError: `weights` is neither None, nor a string, nor a path.
            ValueError: `weights` has another suffix, or the stored file is not the one that was trained.
            FileNotFoundError: there is no such file.
        """
        names = ", ".join(f'"{name}"' for name in self.stored)
        rule = f"be None, {names}, or the path of a .keras or .weights.h5 file"
        if weights is None:
            return None
        if not isinstance(weights, (str, os.PathLike)):
            raise TypeError(message("weights", rule, repr(weights)))
        if weights in self.stored:
            self.manifest(weights)
            return saved_model_path(self.stored[str(weights)]) / "model.keras"
        path = pathlib.Path(weights)
        if not path.name.endswith((".keras", ".weights.h5")):
            raise ValueError(message("weights", rule, repr(str(weights))))
        if not path.is_file():
            remedy = f"There is no such file. {self.script} writes one."
            raise FileNotFoundError(message("weights", rule, repr(str(weights)), remedy))
        return path

    def load(self, model: keras.Model, path: pathlib.Path, net: str) -> None:
        """Reads the weights of `path` into `model`, which errors call `net`.

        Raises:
            ValueError: the file holds another net, or is broken.
        """
        try:
            # Only the weights of a .keras file: an older Keras cannot read the configuration of a newer one.
            model.load_weights(path)
        # Keras raises ValueError for another net, KeyError, OSError or BadZipFile for a broken file.
        except Exception as error:
            remedy = f"Train one with {self.script}, or pass None for random weights."
            rule = f"hold the weights of a {net}"
            raise ValueError(message("weights", rule, repr(str(path)), remedy)) from error
