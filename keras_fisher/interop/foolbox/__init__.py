"""Foolbox attacks as ours, and ours as Foolbox attacks.

`from_foolbox` makes one of ours of any attack object of Foolbox; `as_foolbox` goes the other way.
"""

from keras_fisher.interop.foreign import check_library

check_library("foolbox", "foolbox")

from keras_fisher.interop.foolbox.as_foolbox import as_foolbox  # noqa: E402
from keras_fisher.interop.foolbox.from_foolbox import (  # noqa: E402
    FoolboxFixedEpsilonAttack,
    FoolboxMinimumNormAttack,
    from_foolbox,
)

__all__ = ["FoolboxFixedEpsilonAttack", "FoolboxMinimumNormAttack", "as_foolbox", "from_foolbox"]


def __dir__() -> list[str]:
    return __all__
