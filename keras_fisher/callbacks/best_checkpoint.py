"""The model of the best epoch, on disk."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
from typing import Any

import keras

from keras_fisher import artefacts
from keras_fisher.checks import message


class BestCheckpoint:
    """Keeps the model with the highest value in a `.keras` file, beside a JSON file with value and epoch.

    Args:
        path: the `.keras` file; the JSON file has the same name with another suffix.

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
        self._best = None
        if epoch > 0 and self.path.exists() and self._details.exists():
            self._best = json.loads(self._details.read_text())["value"]

    def offer(self, model: keras.Model, epoch: int, name: str, value: float) -> None:
        """Writes the model if its value is the highest so far."""
        if self._best is not None and value <= self._best:
            return
        self._best = value
        # One worker saves, and saving makes variables, which in the scope of a strategy all workers make or
        # none. The scope is this thread's.
        with concurrent.futures.ThreadPoolExecutor(1) as outside:
            outside.submit(artefacts.write_atomically, self.path, model.save).result()
        details: dict[str, Any] = {"epoch": epoch, "name": name, "value": value}
        artefacts.write_atomically(
            self._details, lambda path: path.write_text(json.dumps(details, indent=2) + "\n")
        )

    @property
    def _details(self) -> pathlib.Path:
        return self.path.with_suffix(".json")
