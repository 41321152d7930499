"""One wording for every way in which a stored file can be broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from keras_fisher.checks import message


@contextlib.contextmanager
def reading(name: str, remedy: str) -> Iterator[None]:
    """Turns whatever goes wrong within into one `ValueError` that names the file.

    Args:
        name: the file's.
        remedy: what to do about it.
    """
    try:
        yield
    # skops, Keras, h5py, json and zipfile fail in many ways on a broken file.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(message("path", f"hold a {name} that can be read", reason, remedy)) from error
