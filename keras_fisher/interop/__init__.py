"""The way to other libraries and back: Foolbox and the Adversarial Robustness Toolbox (ART).

Neither is needed for anything else. `pip install "keras-fisher[compare]"` installs both.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_fisher.interop import art, foolbox

__all__ = ["art", "foolbox"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Each imports its library, which may be missing or slow: only when it is asked for.
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
