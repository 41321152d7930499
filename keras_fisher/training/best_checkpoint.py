"""The model of the best epoch, on disk."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import zipfile

import keras

from keras_fisher import artefacts
from keras_fisher.checks import message

#: The entry of the `.keras` file, a zip archive, that says what it is the best of. Keras does not read it.
_ENTRY = "keras_fisher_best.json"


class BestCheckpoint:
    """Keeps the model with the highest value in a `.keras` file, and the value in the same file.

    `keras.callbacks.ModelCheckpoint` keeps the value in memory alone: training that goes on would begin by
    replacing a better model.

    Args:
        path: the `.keras` file.

    Raises:
        TypeError: no path.
        ValueError: another suffix.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(message("checkpoint", "be the path of a .keras file", repr(path)))
        self.path = pathlib.Path(path)
        if self.path.suffix != ".keras":
            raise ValueError(message("checkpoint", "end in .keras", repr(str(path))))
        self._best: float | None = None

    def begin(self, epoch: int) -> None:
        """Starts a fit at this epoch: the first one replaces what is stored, a later one has to beat it."""
        details = self.details() if epoch > 0 else None
        self._best = None if details is None else details["value"]

    def details(self) -> dict | None:
        """Returns `epoch`, `name` and `value` of the stored model; None if there is none."""
        if not self.path.exists():
            return None
        with zipfile.ZipFile(self.path) as archive:
            if _ENTRY not in archive.namelist():
                return None
            return json.loads(archive.read(_ENTRY))

    def offer(self, model: keras.Model, epoch: int, name: str, value: float) -> None:
        """Writes the model if its value is the highest so far."""
        if self._best is not None and value <= self._best:
            return
        self._best = value

        def write(path: pathlib.Path) -> None:
            model.save(path)
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(_ENTRY, json.dumps({"epoch": epoch, "name": name, "value": value}))

        # One worker saves, and saving makes variables, which in the scope of a strategy all workers make or
        # none. The scope is this thread's.
        with concurrent.futures.ThreadPoolExecutor(1) as outside:
            outside.submit(artefacts.write_atomically, self.path, write).result()
