"""Checks of arguments, with one wording: argument, rule, value, remedy.

Every check runs at the public boundary, once, before any work is done. A wrong type
raises `TypeError`, a wrong value `ValueError`; the same mistake raises the same class everywhere.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any


def message(argument: str, rule: str, value: Any, remedy: str = "") -> str:
    """Returns "`argument` must rule, got value. Remedy"."""
    text = f"`{argument}` must {rule}, got {value}."
    return f"{text} {remedy}" if remedy else text


def check_integer(
    argument: str, value: Any, minimum: int, maximum: int | None = None, remedy: str = ""
) -> int:
    """Returns `value` as an int in [minimum, maximum].

    Raises:
        TypeError: `value` is no integer (a bool is none either).
        ValueError: `value` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(argument, "be an integer", repr(value), remedy))
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        limits = f"be in [{minimum}, {maximum}]" if maximum is not None else f"be at least {minimum}"
        raise ValueError(message(argument, limits, value, remedy))
    return number


def check_real(
    argument: str,
    value: Any,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    exclusive_minimum: bool = False,
    remedy: str = "",
) -> float:
    """Returns `value` as a finite float in [minimum, maximum], or in (minimum, maximum].

    Raises:
        TypeError: `value` is no real number.
        ValueError: `value` is NaN, infinite or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message(argument, "be a real number", repr(value), remedy))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    below = number <= minimum if exclusive_minimum else number < minimum
    if not math.isfinite(number) or below or number > maximum:
        if maximum < math.inf:
            rule = f"be a finite number in {'(' if exclusive_minimum else '['}{minimum:g}, {maximum:g}]"
        elif minimum > -math.inf:
            rule = f"be a finite number {'above' if exclusive_minimum else 'of at least'} {minimum:g}"
        else:
            rule = "be a finite number"
        raise ValueError(message(argument, rule, number, remedy))
    return number


def check_option(argument: str, value: Any, options: Iterable[Any], remedy: str = "") -> Any:
    """Returns `value`, one of `options`.

    Raises:
        ValueError: `value` is not among `options`.
    """
    options = tuple(options)
    if not any(value is option or (type(value) is type(option) and value == option) for option in options):
        listed = ", ".join(repr(option) for option in options)
        raise ValueError(message(argument, f"be one of {listed}", repr(value), remedy))
    return value


def check_flag(argument: str, value: Any) -> bool:
    """Returns `value`, a bool.

    Raises:
        TypeError: `value` is no bool.
    """
    if not isinstance(value, bool):
        raise TypeError(message(argument, "be True or False", repr(value)))
    return value
