"""Which source images a detector is fitted to, calibrated on and tested on."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from keras_fisher.checks import check_integer, check_real, message
from keras_fisher.typing import Array

#: The order of `fractions`.
SIDES = ("fit", "calibration", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class SourceSplit:
    """Three sides of the sources; each source is on one. All versions of an image go with their source."""

    #: (f,) int64, ascending positions of the sources.
    fit: Array
    #: (c,)
    calibration: Array
    #: (t,)
    test: Array


def split_sources(
    num_sources: int, fractions: tuple[float, float, float] = (0.4, 0.2, 0.4), seed: int = 0
) -> SourceSplit:
    """Returns sources 0, …, num_sources − 1 drawn onto three sides.

    Args:
        num_sources: at least 3.
        fractions: of fit, calibration and test, each above 0, of sum 1. They are rounded to whole sources.
        seed: of the draw.

    Raises:
        TypeError, ValueError: fractions that are no such three, or too few sources for one on each side.

    Example:
        >>> split = split_sources(10, (0.5, 0.2, 0.3), seed=1)
        >>> len(split.fit), len(split.calibration), len(split.test)
        (5, 2, 3)
        >>> sorted([*split.fit.tolist(), *split.calibration.tolist(), *split.test.tolist()])
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    check_integer("num_sources", num_sources, 0)
    check_integer("seed", seed, 0)
    ends = np.round(np.cumsum((0.0, *check_fractions(fractions))) * num_sources).astype(np.int64)
    sizes = dict(zip(SIDES, np.diff(ends).tolist(), strict=True))
    if not all(sizes.values()):
        found = ", ".join(f"{size} for {side}" for side, size in sizes.items())
        rule = "hold enough that the classifier answers right for one on each side"
        raise ValueError(message("images", rule, f"{num_sources}: {found}", "Pass more images."))
    order = np.random.default_rng(seed).permutation(num_sources)
    return SourceSplit(*(np.sort(order[start:end]) for start, end in itertools.pairwise(ends)))


def check_fractions(fractions: Any) -> tuple[float, float, float]:
    """Returns the fractions.

    Raises:
        TypeError, ValueError: they are not three numbers above 0 whose sum is 1.
    """
    rule = "be three numbers above 0 of sum 1, for fit, calibration and test"
    if not isinstance(fractions, tuple | list) or len(fractions) != len(SIDES):
        raise TypeError(message("fractions", rule, repr(fractions)))
    fit, calibration, test = (
        check_real("fractions", value, 0.0, 1.0, exclusive_minimum=True) for value in fractions
    )
    # Sums of three decimal fractions in float64.
    if abs(fit + calibration + test - 1.0) > 1e-9:
        raise ValueError(message("fractions", rule, repr(fractions)))
    return fit, calibration, test
