"""Compiled programs of one net, a bounded number of them."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from keras_fisher.typing import Tensor

#: The programs that one net keeps; the one not used for longest goes first.
MAX_PROGRAMS = 64


class Programs:
    """Functions compiled for one subject, known by what they are and not by who asks.

    A program is known by its function, which stands at the top level of a module and so closes over nothing,
    by its static settings, and by the shapes and dtypes of its tensors but for the size of the batch. What
    changes from call to call (seeds, radii, numbers of steps) is passed as a tensor, and traces nothing anew.

    Whoever owns the subject owns its programs, and they go with it. Threads may share them.

    Args:
        subject: the first argument of every function, a `Target` or another object that graph code reads.
    """

    def __init__(self, subject: Any) -> None:
        #: The first argument of every function that is compiled from now on.
        self.subject = subject
        self._compiled: collections.OrderedDict[Hashable, Callable[..., Any]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies begin anew.
        return (Programs, (self.subject,))

    def run(self, function: Callable[..., Any], *tensors: Any, **settings: Hashable) -> Any:
        """Returns `function(subject, *tensors, **settings)`, run as a graph.

        Args:
            function: at the top level of a module.
            tensors: arrays or tensors. The first axis of each is the batch, of any size.
            settings: static and hashable; each new value is a new program.

        Raises:
            TypeError: a function that closes over something, or a setting that cannot be hashed.
        """
        arguments = [tf.convert_to_tensor(tensor) for tensor in tensors]
        return self.compiled(function, *map(_any_batch, arguments), **settings)(*arguments)

    def compiled(
        self, function: Callable[..., Any], *signature: tf.TensorSpec, **settings: Hashable
    ) -> Callable[..., Any]:
        """Returns the compiled program for tensors of these specifications; raises as `run` does."""
        if "<locals>" in function.__qualname__ or "<lambda>" in function.__qualname__:
            raise TypeError(f"A program must be a function at the top level of a module, got {function!r}.")
        key = (function, signature, tuple(sorted(settings.items())))
        with self._lock:  # Nothing is traced before the first call.
            if key not in self._compiled:
                self._compiled[key] = _compile(self.subject, function, signature, settings)
                if len(self._compiled) > MAX_PROGRAMS:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key]

    def clear(self) -> None:
        """Forgets all programs."""
        with self._lock:
            self._compiled.clear()


def _compile(
    subject: Any, function: Callable[..., Any], signature: tuple[tf.TensorSpec, ...], settings: dict[str, Any]
) -> Callable[..., Any]:
    def run(*tensors: Tensor) -> Any:
        return function(subject, *tensors, **settings)

    program = tf.function(run, input_signature=signature, autograph=False)
    # Several programs of one function are meant. TensorFlow takes them for one that is traced again and
    # again, and would tell the user so at length.
    program._omit_frequent_tracing_warning = True
    return program


def _any_batch(tensor: Tensor) -> tf.TensorSpec:
    shape = tensor.shape
    return tf.TensorSpec([None, *shape[1:]] if shape.rank else [], tensor.dtype)
