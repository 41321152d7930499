"""Solvers with their settings, for `solver=` of `fisher_spectrum`, OSSA and others."""

from keras_fisher.fisher.solvers import (
    Dense,
    FixedGolubKahan,
    GolubKahan,
    Gram,
    Lanczos,
    PowerIteration,
    Sampled,
    Staged,
)

__all__ = ["Dense", "FixedGolubKahan", "GolubKahan", "Gram", "Lanczos", "PowerIteration", "Sampled", "Staged"]


def __dir__() -> list[str]:
    return __all__
