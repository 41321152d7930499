"""The attack that a net is trained with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_fisher import attacks
from keras_fisher.attacks import OSSA, Batch, FixedEpsilonAttack
from keras_fisher.attacks.attack import check_fixed_epsilon
from keras_fisher.attacks.directions import check_direction
from keras_fisher.attacks.image_ops import pixel_range
from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.fisher.solvers import Sampled, Solver, choose_solver
from keras_fisher.training.schedules import Schedule

#: Of epsilon, in units of the range of pixels.
_DEFAULT_EPSILON = 1.5

_PUBLIC = [getattr(attacks, name) for name in attacks.__all__]
_KINDS = [kind for kind in _PUBLIC if isinstance(kind, type) and issubclass(kind, FixedEpsilonAttack)]
_NAMES = ", ".join(sorted(kind.__name__ for kind in _KINDS if kind.works_in_training))


def training_attack(attack: Any, epsilon: Schedule | None, solver: str | Solver) -> FixedEpsilonAttack:
    """Returns the attack, one that works in training; None is OSSA with this solver.

    Args:
        attack: checked.
        epsilon: what the attack gets if it is a number. Of the attack's own and this one, one is given, or
            both agree.
        solver: "auto" beside an attack.

    Raises:
        TypeError: no attack with an epsilon.
        ValueError: one that does not work in training or is targeted, an epsilon that contradicts the
            attack's own, or a solver beside an attack.
    """
    if attack is None:
        attack = OSSA(solver=solver)
    elif solver != "auto":
        kind = type(check_fixed_epsilon(attack)).__name__
        remedy = "Pass kf.attacks.OSSA(solver=...)." if isinstance(attack, OSSA) else f"{kind} has none."
        raise ValueError(message("solver", 'be "auto" beside an attack', repr(solver), remedy))
    name = type(check_fixed_epsilon(attack)).__name__
    if not attack.works_in_training:
        raise ValueError(message("attack", f"be one of {_NAMES} in training", name))
    if attack.targeted:
        raise ValueError(message("attack", "be untargeted in training", f"{name}(targeted=True)"))
    if isinstance(attack, OSSA):
        check_training_solver(attack.solver)
    if epsilon is None:
        return attack
    if attack.epsilon not in (None, epsilon):
        given = "a schedule" if callable(epsilon) else f"{epsilon:g}"
        rule = f"agree with `epsilon` = {given} if it has an epsilon of its own"
        remedy = f"Leave one of the two out: {name}()."
        raise ValueError(message("attack", rule, f"{name}(epsilon={attack.epsilon:g})", remedy))
    return attack if callable(epsilon) else dataclasses.replace(attack, epsilon=epsilon)


def check_trained_direction(attack: FixedEpsilonAttack, classifier: Classifier) -> None:
    """Tries a direction of the user's own on two random images, as a call does on its first two.

    Raises:
        ValueError: not of unit norm, or of another shape than images.
    """
    direction = getattr(attack, "direction", None)
    if direction is None:
        return
    shape = (2, *(side or 64 for side in classifier.image_shape))
    images = np.random.default_rng(0).uniform(*(classifier.bounds or (0.0, 1.0)), shape)
    images = images.astype(classifier.image_dtype.as_numpy_dtype)
    batch = Batch(images=images, labels=np.zeros(2, np.int64), positions=np.arange(2))
    check_direction(direction, classifier, batch)


def check_training_solver(solver: str | Solver) -> None:
    """Refuses a sampled solver: its draws are made for a call.

    Raises:
        TypeError, ValueError: that, or no solver.
    """
    if isinstance(choose_solver(solver, 1, 2), Sampled):
        raise ValueError(message("solver", "be deterministic in training", "Sampled", 'Use "power".'))


def default_epsilon(attack: FixedEpsilonAttack, bounds: tuple[float, float] | None) -> float:
    """Returns the attack's epsilon, or that of training where it has none, for pixels within these bounds."""
    return _DEFAULT_EPSILON * pixel_range(bounds) if attack.epsilon is None else attack.epsilon
