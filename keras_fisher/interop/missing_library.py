"""The error where an optional library is not installed."""

from __future__ import annotations

from typing import NoReturn

from keras_fisher.checks import message

#: What Python did not find, where it is this library that is missing and not something that it needs itself.
_MISSING = {
    "foolbox": ("foolbox",),
    # Another library on PyPI calls itself `art` too, and has no attacks.
    "adversarial-robustness-toolbox": ("art", "art.attacks"),
}


def missing_library(distribution: str, module: str, error: ModuleNotFoundError) -> NoReturn:
    """Raises what tells the user how to get an optional library.

    Args:
        distribution: the name under which pip knows the library.
        module: the module of ours that needs it.
        error: what the import of the library raised.

    Raises:
        ImportError: the library is not there; or `error` itself, where it is there and lacks something.
    """
    if error.name not in _MISSING[distribution]:
        raise error
    found = "another library of the name art" if error.name == "art.attacks" else "none"
    remedy = 'Run: pip install "keras-fisher[compare]"'
    raise ImportError(message(distribution, f"be installed for {module}", found, remedy)) from error
