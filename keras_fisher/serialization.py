"""Settings as Keras and JSON write them: numbers, strings, and objects by their class and settings.

An object is described as `keras.saving.serialize_keras_object` does: by the name under which its class is
registered, and its settings. Nothing is read from a file but objects of registered settings classes, and
registered functions.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any, TypeVar

import keras
import numpy as np

from keras_fisher.checks import Settings, message

PACKAGE = "keras_fisher"

_Registered = TypeVar("_Registered")


def register(*objects: Any) -> None:
    """Registers settings classes, and functions that may be settings, with Keras.

    `keras.saving.serialize_keras_object` and `deserialize_keras_object` then take their objects, at the top
    or within another. A class gets the class method `from_config`, and `get_config` if it has none; classes
    that are derived from it inherit both, and have to be registered by whoever writes them:
    `keras.saving.register_keras_serializable()`.

    Args:
        *objects: dataclasses that are made by their fields, abstract ones too; and functions at module level.

    Raises:
        ValueError: another object has the name of one of these.

    Example:
        >>> import dataclasses, keras
        >>> @dataclasses.dataclass(frozen=True)
        ... class Pair(Settings):
        ...     sides: tuple = (1, 2)
        >>> register(Pair)
        >>> keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Pair((3, 4))))
        Pair(sides=(3, 4))
    """
    for value in objects:
        known = keras.saving.get_registered_object(f"{PACKAGE}>{value.__name__}")
        if known is not None and _place(known) != _place(value):
            remedy = f"{_place(known)} has it."
            raise ValueError(message("objects", "have names of their own", value.__name__, remedy))
        if isinstance(value, type):
            kind: Any = value
            kind.from_config = classmethod(_from_config)
            if not hasattr(kind, "get_config"):
                kind.get_config = Settings.get_config
        keras.saving.register_keras_serializable(PACKAGE)(value)


def describe(argument: str, value: Any) -> Any:
    """Returns a setting as strict JSON has it.

    Args:
        argument: its name, for the error.
        value: a number, also an infinite one, a string, a bool, None, an object of a registered settings
            class, a registered function, or a tuple of these.

    Raises:
        TypeError: anything else, such as an object or a function that is not registered.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}  # JSON has no infinity.
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return [describe(f"{argument}[{index}]", part) for index, part in enumerate(value)]
    if inspect.isfunction(value) and _is_registered(value):
        return keras.saving.serialize_keras_object(value)
    if dataclasses.is_dataclass(value) and _is_registered(type(value)):
        settings = value.get_config()  # pyright: ignore[reportAttributeAccessIssue] (is registered)
        return {
            "module": type(value).__module__,
            "class_name": type(value).__name__,
            "config": {name: describe(f"{argument}.{name}", part) for name, part in settings.items()},
            "registered_name": keras.saving.get_registered_name(type(value)),
        }
    found = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    remedy = "Register a class or a function of your own: keras.saving.register_keras_serializable()."
    rule = "be plain, or a registered settings object, to be saved"
    raise TypeError(message(argument, rule, found, remedy))


def restore(value: Any) -> Any:
    """Returns what `describe` described, or what Keras did; an object is returned as it is.

    Raises:
        ValueError: an object of a class, or a function, that is not registered.
        TypeError: one with settings that it does not have.
    """
    if isinstance(value, (list, tuple)):
        return tuple(restore(part) for part in value)
    if not isinstance(value, dict):
        return value
    if set(value) == {"float"}:
        return float(value["float"])
    # Keras writes the name of a function elsewhere.
    name = value.get("config" if value.get("class_name") == "function" else "registered_name")
    kind = keras.saving.get_registered_object(str(name))
    if inspect.isfunction(kind):
        return kind
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        remedy = "Import what registers it first."
        raise ValueError(message("registered_name", "be that of a settings class", repr(name), remedy))
    return kind(**{setting: restore(part) for setting, part in value["config"].items()})


def _place(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _is_registered(value: Any) -> bool:
    return keras.saving.get_registered_object(keras.saving.get_registered_name(value)) is value


def _from_config(cls: type[_Registered], config: dict[str, Any]) -> _Registered:
    """Returns the object of these settings, each of them an object or its description."""
    return cls(**{name: restore(part) for name, part in config.items()})
