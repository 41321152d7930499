"""The attack that a net is trained with."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_fisher import attacks
from keras_fisher.attacks import OSSA, FixedEpsilonAttack
from keras_fisher.attacks.attack import check_fixed_epsilon
from keras_fisher.checks import message
from keras_fisher.fisher.solvers import Solver

_PUBLIC = [getattr(attacks, name) for name in attacks.__all__]
_KINDS = [kind for kind in _PUBLIC if isinstance(kind, type) and issubclass(kind, FixedEpsilonAttack)]
_NAMES = ", ".join(sorted(kind.__name__ for kind in _KINDS if kind.works_in_training))


def training_attack(attack: Any, epsilon: float, solver: str | Solver) -> FixedEpsilonAttack:
    """Returns the attack with this epsilon, one that works in training; None is OSSA with this solver.

    Raises:
        TypeError: no attack with an epsilon.
        ValueError: one that does not work in training or is targeted, an epsilon that contradicts the
            attack's own, or a solver beside an attack.
    """
    if attack is None:
        ossa = OSSA(epsilon, solver=solver)
        ossa.training_solver(num_classes=2)  # refuses a solver that draws
        return ossa
    attack = check_fixed_epsilon(attack)
    name = type(attack).__name__
    if not attack.works_in_training:
        raise ValueError(message("attack", f"be one of {_NAMES} in training", name))
    if attack.targeted:
        raise ValueError(message("attack", "be untargeted in training", f"{name}(targeted=True)"))
    if solver != "auto":
        remedy = "Pass kf.attacks.OSSA(solver=...)." if isinstance(attack, OSSA) else f"{name} has none."
        raise ValueError(message("solver", 'be "auto" beside an attack', repr(solver), remedy))
    if attack.epsilon not in (None, epsilon):
        remedy = f"Leave the attack's own epsilon out: {name}()."
        rule = f"agree with `epsilon` = {epsilon:g} if it has an epsilon of its own"
        raise ValueError(message("attack", rule, f"{name}(epsilon={attack.epsilon:g})", remedy))
    return dataclasses.replace(attack, epsilon=epsilon)
