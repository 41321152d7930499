"""Foolbox attacks as ours, and ours as Foolbox attacks.

`from_foolbox` makes one of ours of any attack object of Foolbox; `as_foolbox` goes the other way.
"""

from __future__ import annotations

from keras_fisher.interop.missing_library import missing_library

try:
    import foolbox as _  # noqa: F401 (the library, not this package)
except ModuleNotFoundError as error:
    missing_library("foolbox", "kf.interop.foolbox", error)

from keras_fisher.interop.foolbox.as_foolbox import as_foolbox
from keras_fisher.interop.foolbox.foolbox_fixed_epsilon_attack import FoolboxFixedEpsilonAttack
from keras_fisher.interop.foolbox.foolbox_minimum_norm_attack import FoolboxMinimumNormAttack
from keras_fisher.interop.foolbox.from_foolbox import from_foolbox

__all__ = ["FoolboxFixedEpsilonAttack", "FoolboxMinimumNormAttack", "as_foolbox", "from_foolbox"]


def __dir__() -> list[str]:
    return __all__
