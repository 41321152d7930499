"""One of our attacks with an epsilon, as Foolbox has them."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

from foolbox.attacks.base import FixedEpsilonAttack as FoolboxFixedEpsilon
from foolbox.attacks.base import raise_if_kwargs
from foolbox.distances import Distance, l2

from keras_fisher.attacks import FixedEpsilonAttack
from keras_fisher.attacks.attack import check_fixed_epsilon
from keras_fisher.interop.foolbox.called_by_foolbox import called_by_foolbox, refuse_to_repeat


class FixedEpsilonForFoolbox(FoolboxFixedEpsilon):
    """A Foolbox attack that is one of ours underneath; see `as_foolbox`, which makes it.

    Args:
        attack: of ours, with an epsilon, for which each of Foolbox's `epsilons` is put in turn. 0 is no
            perturbation.
    """

    def __init__(self, attack: FixedEpsilonAttack) -> None:
        self.attack = check_fixed_epsilon(attack)

    @property
    def distance(self) -> Distance:
        return l2

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        raise_if_kwargs(kwargs)
        if epsilon == 0:
            return inputs
        attack = dataclasses.replace(self.attack, epsilon=float(epsilon))
        return called_by_foolbox(attack, model, inputs, criterion)

    def repeat(self, times: int) -> NoReturn:
        refuse_to_repeat(times)
