"""The checks of what detectors are evaluated with, and how it is described in the result."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_fisher.attacks import AttackResult
from keras_fisher.checks import check_option, check_real, message
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation.evaluation import mixture_name


def check_detectors(detectors: Any) -> Classifier:
    """Returns the classifier of the first.

    Raises:
        TypeError: no mapping of names to detectors, or an empty one.
    """
    if not isinstance(detectors, Mapping) or not detectors:
        raise TypeError(message("detectors", "map names to at least one detector", repr(detectors)))
    for name, detector in detectors.items():
        if not isinstance(detector, Detector):
            raise TypeError(message(f"detectors[{name!r}]", "be a Detector", type(detector).__name__))
    return next(iter(detectors.values())).classifier


def check_one_classifier(detectors: Mapping[str, Detector]) -> None:
    """Refuses detectors of several classifiers, by a ValueError."""
    (first, detector), *others = detectors.items()
    model, bounds = detector.classifier.model, detector.classifier.bounds
    for name, other in others:
        if other.classifier.model is not model or other.classifier.bounds != bounds:
            raise ValueError(
                message(
                    f"detectors[{name!r}]",
                    f"have the classifier of {first!r}",
                    "another",
                    "One attack is to serve all. Evaluate them one by one.",
                )
            )


def check_attacks(argument: str, attacks: Any, *, results: bool) -> dict[str, Any]:
    """Returns the attacks by name.

    Args:
        argument: its name in messages.
        attacks: name to a callable, or to an AttackResult if `results`.
        results: whether results that are ready will do.

    Raises:
        TypeError: anything else, or no attacks.
    """
    if not isinstance(attacks, Mapping) or not attacks:
        raise TypeError(message(argument, "map names to at least one attack", repr(attacks)))
    rule = "be a callable that returns an AttackResult"
    if results:
        rule = "be an attack, a callable (classifier, images, labels), or an AttackResult"
    for name, attack in attacks.items():
        place = f"{argument}[{name!r}]"
        if isinstance(attack, type):
            raise TypeError(
                message(place, rule, f"the class {attack.__name__}", f"Make one: {attack.__name__}().")
            )
        if not callable(attack) and not (results and isinstance(attack, AttackResult)):
            raise TypeError(message(place, rule, type(attack).__name__))
        if not isinstance(name, str) or not name:
            raise TypeError(message(argument, "have names that are strings", repr(name)))
    return dict(attacks)


def check_names(attacks: Mapping[str, Any], adaptive: Mapping[str, Any]) -> None:
    """Refuses an adaptive attack that has the name of another, by a ValueError."""
    for name in attacks.keys() & adaptive.keys():
        raise ValueError(message("adaptive", "have names that `attacks` has not", repr(name), "Rename it."))


def check_mixtures(argument: str, mixtures: Any, options: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns name to attacks: of each training attack one, of each mixture several.

    Args:
        argument: its name in messages.
        mixtures: names, or tuples of names.
        options: the names that there are.

    Raises:
        TypeError: no sequence of names and tuples of names.
        ValueError: a name that there is not, none, or one twice.
    """
    rule = "be a sequence of names of attacks, or of tuples of names"
    if not isinstance(mixtures, list | tuple):
        raise TypeError(message(argument, rule, repr(mixtures), "Of one attack: pass a list of it."))
    options, checked = tuple(options), {}
    for mixture in mixtures:
        names = (mixture,) if isinstance(mixture, str) else mixture
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise TypeError(message(argument, rule, repr(mixture)))
        for name in names:
            check_option(argument, name, options)
        whole = mixture_name(names)
        if not names or len(set(names)) < len(names) or whole in checked:
            raise ValueError(message(argument, "name each attack and each mixture once", repr(mixtures)))
        checked[whole] = names
    if not checked:
        raise ValueError(message(argument, "hold at least one", repr(mixtures)))
    return checked


def check_rates(rates: Any) -> tuple[float, ...]:
    """Returns false positive rates, ascending.

    Raises:
        TypeError, ValueError: they are no different numbers in (0, 1], or none.
    """
    if not isinstance(rates, list | tuple):
        raise TypeError(message("false_positive_rates", "be a sequence of numbers", repr(rates)))
    numbers = [check_real("false_positive_rates", rate, 0.0, 1.0, exclusive_minimum=True) for rate in rates]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(message("false_positive_rates", "be different numbers, at least one", repr(rates)))
    return tuple(sorted(numbers))


def describe(setting: Any) -> str:
    """Returns a line that says what was used: no contents of arrays, and no addresses in memory."""
    if isinstance(setting, Detector):
        settings = setting.get_params()
        del settings["classifier"]
        inside = [f"{name}={describe(value)}" for name, value in settings.items()]
        return f"{type(setting).__name__}({', '.join(inside)})"
    if isinstance(setting, AttackResult):
        return f"{type(setting).__name__} of {len(setting.images)} images"
    if isinstance(setting, np.ndarray):
        return f"array of shape {setting.shape}, {setting.dtype}"
    if isinstance(setting, functools.partial):
        named = [f"{name}={describe(value)}" for name, value in setting.keywords.items()]
        return f"{describe(setting.func)}({', '.join([*map(describe, setting.args), *named])}, …)"
    if callable(setting) and hasattr(setting, "__qualname__"):
        return f"{setting.__module__}.{setting.__qualname__}"
    # Estimators and user's objects may run over several lines; a file is not to differ from run to run.
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(repr(setting).split()))
