"""The optional libraries of Yggdrasil Decision Forests, and quiet around them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from keras_fisher.checks import message


def ydf_library(user: str, *, with_tensorflow: bool = False) -> Any:
    """Returns the module `ydf`.

    Args:
        user: what needs it, for the error.
        with_tensorflow: whether it needs the TensorFlow ops of `ydf_tf`, too.

    Raises:
        ImportError: a library is not installed; or what one of them raised on its own account.
    """
    for name in ("ydf", "ydf_tf") if with_tensorflow else ("ydf",):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            remedy = 'Run: pip install "keras-fisher[trees]"'
            raise ImportError(message(name, f"be installed for {user}", "none", remedy)) from error
    return importlib.import_module("ydf")


@contextlib.contextmanager
def quiet(ydf: Any) -> Iterator[None]:
    """Keeps YDF from writing to stdout and stderr, and leaves its level of logging as it was."""
    level = ydf.verbose(0)
    try:
        yield
    finally:
        ydf.verbose(level)
