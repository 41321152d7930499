"""Settings of a detector as JSON has them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from keras_fisher.checks import message
from keras_fisher.detectors import features
from keras_fisher.fisher import solvers

#: What may be described by its class and its settings.
_KINDS: dict[str, type] = {
    name: kind
    for module in (solvers, features)
    for name in module.__all__
    if dataclasses.is_dataclass(kind := getattr(module, name)) and isinstance(kind, type)
}


def to_plain(name: str, value: Any) -> Any:
    """Returns a setting as JSON has it; a solver or a feature is described by its class and its settings.

    Args:
        name: the setting's, for the error.
        value: a number, a string, a bool, None, an object of `kf.solvers` or `kf.detectors.features`, or a
            tuple of these.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}  # JSON has no infinity.
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return [to_plain(f"{name}[{index}]", part) for index, part in enumerate(value)]
    kind = type(value).__name__
    if _KINDS.get(kind) is type(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"class": kind} | {field: to_plain(f"{name}.{field}", part) for field, part in fields.items()}
    rule = "be plain, a solver of kf.solvers, or features of kf.detectors.features, to be saved"
    found = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    raise TypeError(message(name, rule, found))


def from_plain(value: Any) -> Any:
    """Returns what `to_plain` described.

    Raises:
        ValueError: a solver or a feature that there is not.
        TypeError: one with settings that it does not have.
    """
    if isinstance(value, list):
        return tuple(from_plain(part) for part in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"float"}:
        return float(value["float"])
    kind = value.get("class")
    if kind not in _KINDS:
        raise ValueError(message("class", "be one of kf.solvers or kf.detectors.features", repr(kind)))
    return _KINDS[kind](**{name: from_plain(part) for name, part in value.items() if name != "class"})
