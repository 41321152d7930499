"""The way to other libraries and back: Foolbox and the Adversarial Robustness Toolbox (ART).

Neither is needed for anything else. `pip install "keras-fisher[compare]"` installs both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_fisher.lazy import lazy_names

if TYPE_CHECKING:
    from keras_fisher.interop import art, foolbox

__all__ = ["art", "foolbox"]

# Each imports its library, which may be missing or slow: only when it is asked for.
__getattr__, __dir__ = lazy_names(__name__, __all__)
