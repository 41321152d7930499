"""A network tried out once, when it is made: what it returns, and whether it can be differentiated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python import pywrap_tfe  # pyright: ignore[reportAttributeAccessIssue]
from tensorflow.python.framework import ops as graph_operations  # pyright: ignore[reportAttributeAccessIssue]

from keras_fisher.checks import message
from keras_fisher.typing import Array, Tensor

#: Rounding that two answers to one image may differ by, relative, over that of a pass.
_ROUNDING = 10.0
#: The relative difference of ⟨w, J v⟩ and ⟨Jᵀw, v⟩ from which on these are no transposes, over that rounding.
_ADJOINT = 500.0
#: Operations that have no derivative because they need none.
_CONSTANT = {
    "Const",
    "Placeholder",
    "Shape",
    "ShapeN",
    "Size",
    "Rank",
    "ZerosLike",
    "OnesLike",
    "Range",
    "Fill",
}


class Derivatives(NamedTuple):
    """What a forward pass, Jᵀw and J v of two images show."""

    outputs: Array  # (2, outputs)
    #: None where the images have no gradient at all.
    gradient_norms: Array | None  # (2,) ‖Jᵀw‖
    #: ⟨w, J v⟩ / ‖Jᵀw‖ − 1 for v = Jᵀw / ‖Jᵀw‖, the largest; infinite where there is no J v.
    adjoint_error: float
    #: What TensorFlow says of a missing derivative, or nothing.
    words: str


def differentiate(function: Callable[[Tensor], Tensor], images: Array) -> Derivatives:
    """Returns what one forward, one backward and one double backward pass of two images show.

    Args:
        function: images → z.
        images: (2, *image_shape).

    Raises:
        LookupError, NotImplementedError: an operation without any gradient.
    """
    with _recording():
        return _differentiate(function, images)


@contextlib.contextmanager
def _recording() -> Iterator[None]:
    """Lets tapes record, also where a network is made while a graph is traced: `tf.init_scope` stops them."""
    is_stopped = pywrap_tfe.TFE_Py_TapeSetIsStopped()
    if is_stopped:
        pywrap_tfe.TFE_Py_TapeSetRestartOnThread()
    try:
        yield
    finally:
        if is_stopped:
            pywrap_tfe.TFE_Py_TapeSetStopOnThread()


def _differentiate(function: Callable[[Tensor], Tensor], images: Array) -> Derivatives:
    points = tf.convert_to_tensor(images)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(points)
        values = function(points)
    shape = values.shape
    weights = np.random.default_rng(1).standard_normal(shape).astype(values.dtype.as_numpy_dtype)
    gradient = tape.gradient(values, points, output_gradients=tf.constant(weights))
    if gradient is None:
        return Derivatives(values.numpy(), None, 0.0, "")
    flat = gradient.numpy().reshape(2, -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=-1)
    units = np.divide(flat, norms[:, None], out=np.zeros_like(flat), where=norms[:, None] > 0)
    cotangents = tf.zeros_like(values)
    words = ""
    pushed = None
    try:
        with tf.GradientTape(watch_accessed_variables=False) as second:
            second.watch(cotangents)
            pulled = tape.gradient(values, points, output_gradients=cotangents)
        tangents = tf.constant(units.reshape(images.shape).astype(images.dtype))
        pushed = second.gradient(pulled, cotangents, output_gradients=tangents)
    except (LookupError, NotImplementedError) as error:
        words = str(error)
    if pushed is None:
        return Derivatives(values.numpy(), norms, np.inf if norms.any() else 0.0, words)
    inner = np.sum(weights.astype(np.float64) * pushed.numpy(), axis=-1)
    errors = np.divide(np.abs(inner - norms), norms, out=np.zeros(2), where=norms > 0)
    # Where the net overflows nothing can be said.
    errors = errors[np.isfinite(norms) & np.isfinite(errors)]
    return Derivatives(values.numpy(), norms, float(errors.max(initial=0.0)), words)


def is_adjoint(derivatives: Derivatives, precision: float) -> bool:
    """Whether J v is the transpose of Jᵀw, up to the rounding of passes of this precision."""
    return derivatives.adjoint_error <= min(_ADJOINT * precision, 0.5)


def missing_operation(function: Callable[[Tensor], Tensor], images: Array) -> str:
    """Returns the operation of which TensorFlow has no second derivative, as far as that can be told."""

    def gradient(points: Tensor) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            values = function(points)
        return tape.gradient(values, points, output_gradients=tf.ones_like(values))

    specification = tf.TensorSpec([None, *images.shape[1:]], tf.as_dtype(images.dtype))
    graph = tf.function(gradient, input_signature=[specification], autograph=False)
    operations = graph.get_concrete_function().graph.get_operations()
    for operation in operations:
        if operation.type in _CONSTANT or not any(part.dtype.is_floating for part in operation.inputs):
            continue
        if not any(part.dtype.is_floating for part in operation.outputs):
            continue
        try:
            is_missing = graph_operations.get_gradient_function(operation) is None
        except LookupError:
            is_missing = True
        if is_missing:
            return operation.type
    return "an operation of the model"


def differ(first: Array, second: Array, precision: float) -> bool:
    """Whether two answers of a net differ by more than its rounding."""
    scale = max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0)) + 1e-30
    tolerance = max(1e-5, _ROUNDING * precision if precision > 1e-4 else 0.0)
    return bool(np.abs(first - second).max(initial=0.0) > tolerance * scale)


def check_differentiable(derivatives: Derivatives, other: Array, precision: float) -> None:
    """Refuses a net whose answers differ between images while their gradient is nothing.

    Args:
        derivatives: of two images.
        other: (m, outputs), answers to these and other images.
        precision: of a pass.

    Raises:
        ValueError: so it is.
    """
    norms = derivatives.gradient_norms
    if norms is not None and (norms > 0).any():
        return
    if not any(differ(other[:1], row[None], precision) for row in other[1:]):
        return  # A constant model is legitimate.
    what = "no gradient" if norms is None else "a gradient of zero"
    remedy = (
        "Its images pass through integers or rounding. Pass the part of the model behind these, with "
        "images as floats: keras.Model(layer.output, model.output)."
    )
    found = f"answers that differ between images, with {what} in the pixels"
    raise ValueError(message("model", "be differentiable in its images", found, remedy))
