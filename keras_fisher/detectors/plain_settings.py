"""Settings of a detector as JSON has them."""

from __future__ import annotations

from typing import Any

from keras_fisher import plain
from keras_fisher.detectors import features
from keras_fisher.fisher import solvers

_KINDS = plain.dataclasses_of(solvers, features)
_PLACES = "kf.solvers or kf.detectors.features"


def to_plain(name: str, value: Any) -> Any:
    """Returns a setting as JSON has it: plain, a solver or a feature; raises as `plain.to_plain` does."""
    return plain.to_plain(name, value, _KINDS, _PLACES)


def from_plain(value: Any) -> Any:
    """Returns what `to_plain` described; raises as `plain.from_plain` does."""
    return plain.from_plain(value, _KINDS, _PLACES)
