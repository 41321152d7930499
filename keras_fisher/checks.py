"""Checks of arguments, with one wording: argument, rule, value, remedy.

Every check runs at the public boundary, once, before any work is done. A wrong type
raises `TypeError`, a wrong value `ValueError`; the same mistake raises the same class everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, Self, TypeVar, cast

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

#: Names that other libraries have for our arguments, which no likeness of spelling leads to. The first name
#: that the class or the function has is suggested.
_SYNONYMS = {
    "alpha": ("step_size", "false_positive_rate"),
    "atol": ("tolerance",),
    "eps": ("epsilon",),
    "eps_step": ("step_size",),
    "fpr": ("false_positive_rate",),
    "iterations": ("steps", "max_iterations", "max_dimension"),
    "k": ("num_eigenpairs", "num_eigenvalues", "num_eigenvectors"),
    "kappa": ("confidence",),
    "learning_rate": ("step_size",),
    "link": ("output_activation",),
    "lr": ("step_size",),
    "max_iter": ("steps", "max_iterations", "max_dimension"),
    "maxiter": ("steps", "max_iterations", "max_dimension"),
    "method": ("solver",),
    "model": ("classifier",),
    "n_components": ("num_eigenpairs", "num_eigenvalues"),
    "nb_iter": ("steps", "max_iterations"),
    "nb_restarts": ("restarts",),
    "num_iterations": ("steps", "max_iterations", "max_dimension"),
    "num_restarts": ("restarts",),
    "num_steps": ("steps", "max_iterations", "max_dimension"),
    "radius": ("epsilon",),
    "random_state": ("seed",),
    "rng": ("seed",),
    "rtol": ("tolerance",),
    "sigma": ("scale",),
    "tol": ("tolerance",),
    "verbose": ("progress",),
    "x": ("images",),
    "y": ("labels",),
}


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


def check_keywords(owner: str, given: Iterable[str], signature: inspect.Signature) -> None:
    """Refuses keywords that a class or a function does not have, and names the ones that were meant.

    Args:
        owner: the class or the function, for the error.
        given: the keywords of a call.
        signature: the arguments that there are. One with `**kwargs` takes any.

    Raises:
        TypeError: a keyword is unknown, as Python raises, but with a suggestion.
    """
    parameters = signature.parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [each.name for each in parameters if each.kind in kinds and each.name not in ("self", "cls")]
    unknown = [keyword for keyword in given if keyword not in known]
    if not unknown:
        return
    known = [name for name in known if not name.startswith("_")]
    meant = [_meant(keyword, known) for keyword in unknown]
    if all(meant):
        remedy = f"Did you mean {' and '.join(f'`{name}`' for name in meant)}?"
    else:
        remedy = f"It has {', '.join(known) or 'none'}."
    raise TypeError(message(owner, "be given arguments that it has", " and ".join(unknown), remedy))


def _meant(keyword: str, known: Collection[str]) -> str | None:
    """Returns the known argument that is most like the keyword; None where none is."""
    for name in _SYNONYMS.get(keyword.lower(), ()):
        if name in known:
            return name
    likely = difflib.get_close_matches(keyword.lower(), known, n=1)
    return likely[0] if likely else None


def suggests_keywords(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Returns the function, whose TypeError for an unknown keyword says which one was meant.

    A decorator of public functions, methods and constructors. Dataclasses have the same from their base
    `KnowsKeywords`.

    Example:
        >>> @suggests_keywords
        ... def attack(images, epsilon=1.0):
        ...     return images
        >>> attack(0, eps=2.0)
        Traceback (most recent call last):
        TypeError: `attack` must be given arguments that it has, got eps. Did you mean `epsilon`?
    """
    signature = inspect.signature(function)
    name = function.__name__

    @functools.wraps(function)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        # Of `__init__` and `__call__` the class is meant, be it a derived one.
        owner = type(args[0]).__name__ if name.startswith("__") and args else name
        check_keywords(owner, kwargs, signature)
        return function(*args, **kwargs)

    # Keras reads a constructor's arguments past `__wrapped__`.
    cast(Any, checked).__signature__ = signature
    return checked


class _SignatureOfInit:
    """What `inspect.signature` of a class shows: its `__init__`, and not the `__new__` that checks names."""

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None:  # An object that can be called has the signature of its call.
            raise AttributeError("__signature__")
        _, *parameters = inspect.signature(owner.__init__).parameters.values()
        return inspect.Signature(parameters)


class KnowsKeywords:
    """A base of dataclasses: a keyword that the class does not have is refused with the one that was meant.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Step(KnowsKeywords):
        ...     epsilon: float = 1.0
        >>> Step(eps=2.0)
        Traceback (most recent call last):
        TypeError: `Step` must be given arguments that it has, got eps. Did you mean `epsilon`?
    """

    __signature__ = cast(Any, _SignatureOfInit())

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if kwargs:  # Copies and pickles are made without.
            check_keywords(cls.__name__, kwargs, inspect.signature(cls))
        return super().__new__(cls)


class Settings(KnowsKeywords):
    """A base of settings classes, which are frozen dataclasses.

    `get_config` returns the settings, as Keras wants to serialise an object: see
    `keras_fisher.serialization.register`.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass(frozen=True)
        ... class Step(Settings):
        ...     epsilon: float = 1.0
        >>> Step(epsilon=2.0).get_config()
        {'epsilon': 2.0}
    """

    def get_config(self) -> dict[str, Any]:
        """Returns the settings by name."""
        fields = dataclasses.fields(cast(Any, self))
        return {field.name: getattr(self, field.name) for field in fields if field.init}
