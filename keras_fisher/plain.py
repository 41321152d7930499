"""Settings as JSON has them: numbers, strings, and objects that are described by their class and settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_fisher.checks import message


def to_plain(name: str, value: Any, kinds: Mapping[str, type], places: str) -> Any:
    """Returns a setting as JSON has it.

    Args:
        name: the setting's, for the error.
        value: a number, a string, a bool, None, an object of a dataclass of `kinds`, or a tuple of these.
        kinds: the dataclasses that may be described, by name.
        places: where these are found, for the error.

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
        return [to_plain(f"{name}[{index}]", part, kinds, places) for index, part in enumerate(value)]
    kind = type(value).__name__
    if kinds.get(kind) is type(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        described = {
            field: to_plain(f"{name}.{field}", part, kinds, places) for field, part in fields.items()
        }
        return {"class": kind} | described
    found = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    raise TypeError(message(name, f"be plain, or an object of {places}, to be saved", found))


def from_plain(value: Any, kinds: Mapping[str, type], places: str) -> Any:
    """Returns what `to_plain` described.

    Raises:
        ValueError: an object of a class that there is not.
        TypeError: one with settings that it does not have.
    """
    if isinstance(value, list):
        return tuple(from_plain(part, kinds, places) for part in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"float"}:
        return float(value["float"])
    kind = str(value.get("class"))
    if kind not in kinds:
        raise ValueError(message("class", f"be one of {places}", repr(kind)))
    return kinds[kind](
        **{name: from_plain(part, kinds, places) for name, part in value.items() if name != "class"}
    )


def dataclasses_of(*modules: Any) -> dict[str, type]:
    """Returns the dataclasses among the public names of these modules."""
    return {
        name: kind
        for module in modules
        for name in module.__all__
        if isinstance(kind := getattr(module, name), type) and dataclasses.is_dataclass(kind)
    }
