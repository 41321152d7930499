"""One of our attacks without an epsilon, as Foolbox has them."""

from __future__ import annotations

from typing import Any, NoReturn

from foolbox.attacks.base import MinimizationAttack as FoolboxMinimization
from foolbox.attacks.base import raise_if_kwargs
from foolbox.distances import Distance, l2

from keras_fisher.attacks import Attack
from keras_fisher.interop.foolbox.called_by_foolbox import called_by_foolbox, refuse_to_repeat


class MinimizationForFoolbox(FoolboxMinimization):
    """A Foolbox attack that is one of ours underneath; see `as_foolbox`, which makes it.

    It runs once, whatever the `epsilons`: Foolbox shortens its result to each.

    Args:
        attack: of ours, without an epsilon.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    @property
    def distance(self) -> Distance:
        return l2

    def run(
        self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any
    ) -> Any:
        # An offer to stop at this norm, which no attack of Foolbox 3.3 takes up either.
        del early_stop
        raise_if_kwargs(kwargs)
        return called_by_foolbox(self.attack, model, inputs, criterion)

    def repeat(self, times: int) -> NoReturn:
        refuse_to_repeat(times)
