"""A Keras model as a function from images to the parameters of a distribution."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers.final_activation import final_activation
from keras_fisher.classifiers.image_check import check_bounds, check_images
from keras_fisher.classifiers.memory import activation_bytes, images_within_budget
from keras_fisher.classifiers.model_files import read_model
from keras_fisher.classifiers.parameter_function import ParameterFunction
from keras_fisher.classifiers.programs import Programs
from keras_fisher.classifiers.target import Target
from keras_fisher.typing import Array, Images, Tensor


class Network:
    """A Keras model, images → parameters z (batch, outputs), in inference mode and without its final link.

    The distribution of the label is that of softmax(z), sigmoid(z) or N(z, σ²), as `link` says. A model that
    ends in its link is read under it, since the link saturates in float32 where z does not.

    Args:
        model: images (batch, *image_shape) → (batch, outputs), or the path of one (see `read_model`).
        link: "softmax", "sigmoid" or "linear".
        from_parameters: whether the model puts out z itself (True), the link of it (False), or "auto": found
            from its last layer and a trial.
        bounds: lowest and highest pixel; None takes any.

    Raises:
        TypeError: `model` is no keras.Model.
        ValueError: an output that is neither z nor its link, of another shape, that is not finite, not
            deterministic, or that depends on the other images of its batch.
    """

    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        link: str,
        from_parameters: bool | str = "auto",
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        self.model: keras.Model = _as_model(model)
        self.link = link
        self.bounds = check_bounds(bounds)
        self.image_shape = _image_shape(self.model)
        self._programs: dict[Hashable, Callable[..., Any]] = {}
        self._held: float | None = None
        activation = final_activation(self.model)
        if from_parameters is True:
            reading = "as_is"
        elif activation == link and link != "linear":
            reading = "stripped"
        elif activation in (None, "linear") or (activation == "log_softmax" and link == "softmax"):
            reading = "log" if from_parameters is False and link == "softmax" else "as_is"
        else:
            raise ValueError(self._refusal(f"a model that ends in {activation!r}"))
        self._function = ParameterFunction(self.model, reading)
        if from_parameters is False and activation != link and link == "sigmoid":
            raise ValueError(self._refusal("a sigmoid that is not the last layer"))
        self.num_outputs = self._try_out(from_parameters, activation)
        #: What graph code sees of it.
        self.target = Target(self._function, self.num_outputs, self.bounds)
        self._compiled = Programs(self.target)

    def run(self, function: Callable[..., Any], *tensors: Any, **settings: Hashable) -> Any:
        """Returns `function(self.target, *tensors, **settings)`, compiled and kept; see `Programs`."""
        return self._compiled.run(function, *tensors, **settings)

    @property
    def image_dtype(self) -> tf.DType:
        """float32, or float64 for a model that computes in it."""
        inputs = self.model.inputs or []
        is_double = any(keras.backend.standardize_dtype(tensor.dtype) == "float64" for tensor in inputs)
        return tf.float64 if is_double else tf.float32

    def parameters(self, images: Tensor) -> Tensor:
        """Returns z (batch, outputs) of a tensor of images, unchecked: what is differentiated."""
        return self._function(images)

    @property
    def reading(self) -> str:
        """How z is read from the model, one of `parameter_function.READINGS`."""
        return self._function.reading

    @property
    def parameters_model(self) -> keras.Model:
        """The model without its final link: images → z.

        Raises:
            ValueError: the link is not the last layer, so that there is none.
        """
        if self.reading == "log":
            remedy = "Pass one that returns logits."
            raise ValueError(message("model", "show its logits", "probabilities only", remedy))
        return self._function.model

    def check(self, images: Any, argument: str = "images") -> Array:
        """Returns the images in the dtype of the model, of the right shape, finite and in bounds.

        Raises:
            TypeError, ValueError: they are not.
        """
        return check_images(images, self.image_shape, self.bounds, argument, self.image_dtype.as_numpy_dtype)

    def batches(
        self, images: Images, batch_size: int | None = None, num_vectors: int = 0, num_copies: int = 1
    ) -> Iterator[Array]:
        """Returns the checked images in chunks of `batch_size`, made as they are asked for.

        None is `default_batch_size(num_vectors, num_copies)`.

        An array is checked whole, before any work; a Dataset batch by batch. One of (images, labels) gives
        its images.

        Raises:
            TypeError, ValueError: as `check` does.
        """
        size = self.default_batch_size(num_vectors, num_copies)
        if batch_size is not None:
            size = check_integer("batch_size", batch_size, 1)
        if not isinstance(images, tf.data.Dataset):
            return _chunks(self.check(images), size)
        return (chunk for element in images for chunk in _chunks(self._check_element(element), size))

    def default_batch_size(self, num_vectors: int = 0, num_copies: int = 1) -> int:
        """Returns how many images at once keep within about 2 GiB, from 1 to 256.

        Counted are the activations, which all passes hold, and the vectors of a solver.

        Args:
            num_vectors: float64 vectors as long as an image, for each image.
            num_copies: how often each image goes through the net at once.
        """
        if self._held is None:
            sides = self._trial_shape()
            program: Any = self.program("parameters", self.parameters, sides)
            graph = program.get_concrete_function().graph
            growth = np.prod([side or 224 for side in self.image_shape]) / np.prod(sides)
            self._held = growth * activation_bytes(graph)
        vectors = 8 * int(np.prod([side or 224 for side in self.image_shape])) * num_vectors
        return images_within_budget(num_copies * self._held + vectors)

    def _trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of an image that the model can be tried out on."""
        return tuple(side or 64 for side in self.image_shape)

    def _check_element(self, element: Any) -> Array:
        array = np.asarray(element[0] if isinstance(element, tuple) else element)
        if array.ndim == len(self.image_shape):
            remedy = "Call dataset.batch(256)."
            raise ValueError(message("images", "come in batches", f"elements of shape {array.shape}", remedy))
        return self.check(array)

    def program(
        self, key: Hashable, function: Callable[..., Any], image_shape: tuple[int, ...], *more: tf.TensorSpec
    ) -> Callable[..., Any]:
        """Returns `function(images, *more)` as a `tf.function` that is traced once, whatever the batch size.

        Args:
            key: names the function and all of its settings.
            function: (batch, *image_shape) images, and tensors like `more`.
            image_shape: of one image, without unknown sides.
            more: the specifications of further tensors.
        """
        key = (key, image_shape)
        if key not in self._programs:
            signature = [tf.TensorSpec([None, *image_shape], self.image_dtype), *more]
            program = tf.function(function, input_signature=signature, autograph=False)
            # Several programs of one function are meant: one for each solver and its settings. TensorFlow
            # takes them for one that is traced again and again, and would tell the user so at length.
            program._omit_frequent_tracing_warning = True
            self._programs[key] = program
        return self._programs[key]

    def parameters_of(self, images: Array) -> Tensor:
        """Returns `parameters` (n, outputs) of checked images, by the program of `predict`."""
        program = self.program("parameters", self.parameters, images.shape[1:])
        return program(tf.convert_to_tensor(images))

    def _predict(self, images: Array) -> Array:
        return self.parameters_of(images).numpy()

    def _try_out(self, from_parameters: bool | str, activation: str | None) -> int:
        """Runs two small batches that share their first image, and returns the number of outputs."""
        lower, upper = self.bounds or (0.0, 1.0)
        sides = self._trial_shape()
        trial = (
            np.random.default_rng(0)
            .uniform(lower, upper, (3, *sides))
            .astype(self.image_dtype.as_numpy_dtype)
        )
        first, again, other = (self._predict(trial[pair]) for pair in ([0, 1], [0, 1], [0, 2]))
        if first.ndim != 2 or first.shape[0] != 2 or first.shape[1] < (2 if self.link == "softmax" else 1):
            rule = "return one row of at least two class scores for each image"
            if self.link != "softmax":
                rule = "return one row for each image"
            raise ValueError(message("model", rule, f"outputs of shape {first.shape} for two images"))
        if not all(np.isfinite(part).all() for part in (first, other)):
            raise ValueError(message("model", "return finite numbers", "NaN or infinity for random images"))
        scale = np.abs(first).max() + 1e-30
        if np.abs(first - again).max() > 1e-5 * scale:
            raise ValueError(
                message(
                    "model",
                    "be deterministic in inference",
                    "two answers to one image",
                    "Remove layers called with training=True.",
                )
            )
        if np.abs(first[0] - other[0]).max() > 1e-5 * scale:
            raise ValueError(
                message(
                    "model",
                    "treat each image by itself",
                    "an answer that changes with the other images of its batch",
                    "The Fisher information of one image is then not defined. "
                    "Run batch normalisation on its moving statistics (training=False).",
                )
            )
        if self.link == "softmax" and self.reading != "log":
            self._check_logits(np.concatenate([first, other]), from_parameters, activation)
        return first.shape[1]

    def _check_logits(self, outputs: Array, from_parameters: bool | str, activation: str | None) -> None:
        """Finds probabilities that pass for logits: a softmax where the last layer does not show it."""
        in_unit_interval = bool((outputs >= 0).all() and (outputs <= 1).all())
        sums_to_one = bool(np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-3))
        if in_unit_interval and sums_to_one:
            if from_parameters is True:
                raise ValueError(
                    message("from_logits", 'be False or "auto" for a model that returns probabilities', True)
                )
            warnings.warn(
                "The model returns probabilities from a softmax that is not its last layer. Their log is "
                "used, which is wrong where float32 rounds one to 0 or 1. Pass a model that returns logits, "
                "or one whose last layer is the softmax.",
                stacklevel=4,
            )
            self._function = ParameterFunction(self.model, "log")
            self._programs.clear()
        elif in_unit_interval and from_parameters == "auto" and activation is None:
            raise ValueError(self._refusal("outputs in [0, 1] that do not sum to one"))

    def _refusal(self, found: str) -> str:
        if self.link == "softmax":
            return message(
                "model",
                "return logits or softmax probabilities",
                found,
                "Pass from_logits=True if these are logits all the same. For labels that do not exclude "
                "each other use fisher_spectrum(model, ..., likelihood=kf.likelihoods.Bernoulli()), for "
                "regression kf.likelihoods.Gaussian().",
            )
        return message(
            "model",
            f"end in {self.link!r} or in a linear layer for this likelihood",
            found,
            "Rebuild it without the activation of its last layer.",
        )


def _as_model(model: Any) -> keras.Model:
    if isinstance(model, (str, os.PathLike)):
        return read_model(model)
    if not isinstance(model, keras.Model):
        rule = "be a keras.Model, or the path of a .keras file or a SavedModel"
        raise TypeError(message("model", rule, type(model).__name__))
    return model


def _chunks(array: Array, size: int) -> Iterator[Array]:
    return (array[start : start + size] for start in range(0, len(array), size))


def _image_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of one input image.

    Raises:
        ValueError: several inputs, or a model that is not built.
    """
    if len(getattr(model, "outputs", None) or [None]) != 1:
        remedy = "Wrap the one that is meant: keras.Model(model.inputs, model.outputs[0])."
        raise ValueError(message("model", "have one output", f"{len(model.outputs)} outputs", remedy))
    shape = getattr(model, "input_shape", None) if model.built else None
    if isinstance(shape, (list, dict)) and len(shape) != 1:
        raise ValueError(message("model", "take one tensor of images", f"{len(shape)} inputs"))
    if isinstance(shape, list):
        shape = shape[0]
    elif isinstance(shape, dict):
        shape = next(iter(shape.values()))
    if not shape:
        raise ValueError(
            message(
                "model",
                "know the shape of its images",
                "a model without an input shape",
                "Start it with keras.Input(shape); a subclassed model is wrapped: "
                "inputs = keras.Input(shape); keras.Model(inputs, model(inputs)).",
            )
        )
    return tuple(shape[1:])
