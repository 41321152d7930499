"""Training a Keras model by another step than its own, or for another loss, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_fisher.checks import message

Step = Callable[[Any], Any]


class StepSwap:
    """Lets `model.fit` run another training step, until `restore`.

    Keras makes a function of `train_step` when a fit begins, and keeps it. That function is replaced, and
    nothing else: the model's step, its metrics, its loss and its class stay what they are.

    A fit that is interrupted does not tell its callbacks. So the function restores the model when an
    exception passes through it, and whatever trains the model next asks for its function first, by
    `make_train_function`: that restores it in any case.

    Args:
        model: compiled.
        wrap: makes the new step of the model's own.
    """

    def __init__(self, model: keras.Model, wrap: Callable[[Step], Step]) -> None:
        self._model: Any = model
        self._wrap = wrap
        self._plain: Any = None
        self._swapped: Any = None

    def install(self) -> None:
        """Puts the other step in place; does not trace it again if the model is as `restore` left it.

        Raises:
            ValueError: another swap is in place.
        """
        if "make_train_function" in vars(self._model):
            remedy = "Pass one of them to a fit."
            raise ValueError(message("callbacks", "hold one OSSACallback", "two or more", remedy))
        if self._swapped is None or self._model.train_function is not self._plain:
            self._plain = self._model.train_function
            self._swapped = self._guarded(self._make())
        self._model.train_function = self._swapped
        self._model.make_train_function = self._make_after_interruption

    def restore(self) -> None:
        """Gives the model its own function back; does nothing if it has it."""
        if "make_train_function" in vars(self._model):
            del self._model.make_train_function
            # `compile` after an interruption has thrown it away, with the optimizer that it trains by.
            if self._model.train_function is self._swapped:
                self._model.train_function = self._plain

    def _make(self) -> Callable[[Any], Any]:
        """Returns what Keras makes of the other step."""
        model = self._model
        own = vars(model).get("train_step")
        model.train_step = self._wrap(model.train_step)
        try:
            model.make_train_function(force=True)
        finally:
            del model.train_step
            if own is not None:
                model.train_step = own
        return model.train_function

    def _guarded(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def train(iterator: Any) -> Any:
            try:
                return function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                raise  # The end of the data.
            except BaseException:
                self.restore()
                raise

        return train

    def _make_after_interruption(self, force: bool = False) -> Any:
        self.restore()
        return self._model.make_train_function(force=force)


@contextlib.contextmanager
def added_to_loss(model: Any, penalty: Callable[[], Any]) -> Iterator[None]:
    """Adds the penalty to what `model.compute_loss` returns, while a step is traced, or run eagerly.

    Raises:
        ValueError: the step that was run within has not asked for the loss.
    """
    own = vars(model).get("compute_loss")
    plain = model.compute_loss
    is_used = False

    def compute_loss(*arguments: Any, **options: Any) -> Any:
        nonlocal is_used
        is_used = True
        loss = plain(*arguments, **options)
        # Keras adds up the losses of replicas, each of which has the mean over its own images.
        return loss + tf.cast(penalty(), loss.dtype) / tf.distribute.get_strategy().num_replicas_in_sync

    model.compute_loss = compute_loss
    try:
        yield
    finally:
        del model.compute_loss
        if own is not None:
            model.compute_loss = own
    if not is_used:
        rule = "be None for a model whose train_step does not call compute_loss"
        remedy = "Add the penalty in that step: loss += regularizer(classifier, images)."
        raise ValueError(message("regularizer", rule, "one", remedy))
