"""Settings of a detector as JSON has them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_fisher.checks import message
from keras_fisher.fisher import solvers


def to_plain(name: str, value: Any) -> Any:
    """Returns a setting as JSON has it; a solver object is described by its class and its settings.

    Args:
        name: the setting's, for the error.
        value: a number, a string, a bool, None, or an object of `kf.solvers`.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    solver = type(value).__name__
    if solver in solvers.__all__ and type(value) is getattr(solvers, solver):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"class": solver} | {
            field: to_plain(f"{name}.{field}", part) for field, part in fields.items()
        }
    raise TypeError(message(name, "be plain, or a solver of kf.solvers, to be saved", repr(value)))


def from_plain(value: Any) -> Any:
    """Returns what `to_plain` described.

    Raises:
        ValueError: a solver that there is not.
        TypeError: a solver with settings that it does not have.
    """
    if not isinstance(value, dict):
        return value
    solver = value.get("class")
    if solver not in solvers.__all__:
        raise ValueError(message("solver", "be one of kf.solvers", repr(solver)))
    return getattr(solvers, solver)(
        **{name: from_plain(part) for name, part in value.items() if name != "class"}
    )
