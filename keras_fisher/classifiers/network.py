"""A Keras model as a function from images to the parameters of a distribution."""

from __future__ import annotations

import concurrent.futures
import functools
import math
import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, check_option, message, suggests_keywords
from keras_fisher.classifiers import trial
from keras_fisher.classifiers.image_check import check_bounds, check_eager, check_images, read_dataset
from keras_fisher.classifiers.memory import activation_bytes, images_within_budget
from keras_fisher.classifiers.model_files import as_keras_model
from keras_fisher.classifiers.programs import Programs
from keras_fisher.classifiers.reading import (
    OutputFunction,
    call,
    output_activation_of,
    precision_of,
    with_zero,
)
from keras_fisher.classifiers.target import Target
from keras_fisher.typing import Array, Images, Tensor

OUTPUT_ACTIVATIONS = ("linear", "softmax", "sigmoid")
#: Sides that a model for images of any size is tried out on, in turn.
_TRIAL_SIDES = (64, 128, 224, 299)
#: Where the networks of a model that is passed as it is are kept: in the model, to go with it.
_KEPT = "_keras_fisher_networks"


class Network:
    """A Keras model, images → z (batch, outputs), in inference mode: the parameters of a distribution.

    The distribution of the label is that of softmax(z), sigmoid(z) or N(z, σ²). A model that ends in such an
    activation is read under it, since the activation saturates in float32 where z does not.

    Args:
        model: keras.Model or path. Images (batch, *image_shape) → (batch, outputs), or a `.keras` file, or
            the folder of a SavedModel with a serving signature.
        output_activation: "linear" (default), "softmax" or "sigmoid". What turns z into the model's answer.
            With "linear" nothing is taken off: the mean of a Gaussian is the output, whatever the last layer.
        layer: str, int or None (default). The name or index of a layer whose output, flat, is z: what a
            hidden layer makes of an image. With "linear" only.
        bounds: (lowest, highest) pixel, default (0, 1); images outside are refused. None lifts that.

    Raises:
        TypeError: `model` is no keras.Model and no path.
        FileNotFoundError: there is no such file.
        ValueError: an output that is neither z nor its activation, a model that couples the images of a
            batch, is random in inference, returns NaN, or has no gradient in its images.

    Example:
        >>> import keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> network = kf.Network(kf.models.lenet5(weights="mnist"), layer="dense_1")
        >>> spectrum = kf.fisher_spectrum(network, images[:2], 1, likelihood=kf.likelihoods.Gaussian())
        >>> network.num_outputs, spectrum.eigenvectors.shape
        (120, (2, 1, 28, 28, 1))
    """

    @suggests_keywords
    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        output_activation: str = "linear",
        layer: str | int | None = None,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        check_option("output_activation", output_activation, OUTPUT_ACTIVATIONS)
        model = as_keras_model(model)
        self._arguments: tuple[Any, ...] = (model, output_activation, layer, bounds)
        if layer is not None:
            if output_activation != "linear":
                found = f"{layer!r} with {output_activation!r}"
                raise ValueError(message("layer", 'be None but for output_activation="linear"', found))
            model = _up_to(model, layer)
        outside_of_graphs(self._set_up, model, output_activation, "auto", bounds)

    def _set_up(
        self,
        model: keras.Model,
        output_activation: str,
        from_parameters: bool | str,
        bounds: tuple[float, float] | None,
    ) -> None:
        self.model: keras.Model = model
        self.output_activation = output_activation
        self.bounds = check_bounds(bounds)
        self.image_shape = _image_shape(model)
        kinds = {keras.backend.standardize_dtype(tensor.dtype) for tensor in keras.tree.flatten(model.inputs)}
        if not any("float" in kind for kind in kinds):
            remedy = "Pass the part of the model that takes floats: keras.Model(layer.output, model.output)."
            found = f"images of {', '.join(kinds)}"
            raise ValueError(message("model", "be differentiable in its images", found, remedy))
        #: Whether the model brings pixels to a range of its own.
        self.has_rescaling = any(type(part) is keras.layers.Rescaling for part in model._flatten_layers())
        self._held: float | None = None
        self._precision = precision_of(model)
        self._trial_sides = self.image_shape
        self._function = self._read(from_parameters)
        reading = self.reading
        # The program of `predict` is the one that the trial runs.
        self._compiled = Programs(Target(self._function, 0, self.bounds))
        self.num_outputs, lacks_second_derivative = self._try_out()
        #: What graph code sees of it.
        self.target = Target(
            self._function, self.num_outputs, self.bounds, self._precision, lacks_second_derivative
        )
        self._compiled.subject = self.target
        if self.reading != reading:
            self._compiled.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles are made anew: compiled programs are neither.
        return (type(self), self._arguments)

    def __repr__(self) -> str:
        shape = " × ".join("any" if side is None else str(side) for side in self.image_shape)
        bounds = (
            "any pixels" if self.bounds is None else f"pixels in [{self.bounds[0]:g}, {self.bounds[1]:g}]"
        )
        kind = type(self).__name__
        return f"<{kind} {self.model.name!r}: images {shape}, {bounds}, {self.num_outputs} outputs>"

    @property
    def image_dtype(self) -> tf.DType:
        """float32, or float64 for a model that computes in it."""
        dtypes = {
            keras.backend.standardize_dtype(tensor.dtype) for tensor in keras.tree.flatten(self.model.inputs)
        }
        return tf.float64 if "float64" in dtypes else tf.float32

    @property
    def reading(self) -> str:
        """How z is read from the model, one of `keras_fisher.classifiers.reading.READINGS`."""
        return self._function.reading

    @functools.cached_property
    def logits_model(self) -> keras.Model:
        """The model without its final activation: images → z (batch, outputs), (0, z) of one unit.

        Raises:
            ValueError: it has one that cannot be taken off.
        """
        if self.reading in ("log", "logit", "logit_pair"):
            remedy = "Pass one that returns a logit for each class."
            raise ValueError(message("model", "show its logits", "probabilities only", remedy))
        model = self._function.model
        return with_zero(model) if self.reading.endswith("pair") else model

    def run(self, function: Callable[..., Any], *tensors: Any, **settings: Hashable) -> Any:
        """Returns `function(self.target, *tensors, **settings)`, compiled and kept; see `Programs`."""
        return self._compiled.run(function, *tensors, **settings)

    def outputs_of(self, images: Array) -> Tensor:
        """Returns z (n, outputs) of checked images."""
        return self.run(_outputs, images)

    @suggests_keywords
    def check(self, images: Any, argument: str = "images") -> Array:
        """Returns the images in the dtype of the model, of the right shape, finite and in bounds.

        Raises:
            TypeError, ValueError: they are not, or a `tf.function` is being traced.
        """
        check_eager(argument)
        return check_images(
            images,
            self.image_shape,
            self.bounds,
            argument,
            self.image_dtype.as_numpy_dtype,
            has_rescaling=self.has_rescaling,
            maker=self._maker.format(self.output_activation),
        )

    @suggests_keywords
    def batches(
        self, images: Images, batch_size: int | None = None, num_vectors: int = 0, num_copies: int = 1
    ) -> Iterator[Array]:
        """Returns the checked images in chunks of `batch_size`, made as they are asked for.

        None is `default_batch_size(num_vectors, num_copies)`.

        An array is checked whole, before any work; a Dataset batch by batch. One of (images, labels) gives
        its images.

        Raises:
            TypeError, ValueError: as `check` does; a Dataset without an end.
        """
        size = self.default_batch_size(num_vectors, num_copies)
        if batch_size is not None:
            size = check_integer("batch_size", batch_size, 1)
        elements = read_dataset(images, len(self.image_shape))
        if elements is None:
            return _chunks(self.check(images), size)
        return (chunk for part, _ in elements for chunk in _chunks(self.check(part), size))

    @suggests_keywords
    def default_batch_size(self, num_vectors: int = 0, num_copies: int = 1) -> int:
        """Returns how many images at once keep within about 2 GiB, from 1 to 256.

        Counted are the activations, which all passes hold, and the vectors of a solver.

        Args:
            num_vectors: float64 vectors as long as an image, for each image.
            num_copies: how often each image goes through the net at once.
        """
        whole = [side or 224 for side in self.image_shape]
        if self._held is None:
            sides = self._trial_sides
            program: Any = self._compiled.compiled(_outputs, tf.TensorSpec([None, *sides], self.image_dtype))
            graph = program.get_concrete_function().graph
            growth = math.prod(whole) / math.prod(side or 224 for side in sides)
            self._held = growth * activation_bytes(graph)
        vectors = 8 * math.prod(whole) * num_vectors
        return images_within_budget(num_copies * (self._held or 0.0) + vectors)

    def _read(self, from_parameters: bool | str) -> OutputFunction:
        """Returns how z is read, as far as the last layer tells.

        Args:
            from_parameters: whether the model puts out z itself (True), its activation (False), or "auto".
        """
        wanted, found = self.output_activation, output_activation_of(self.model)
        is_one_unit = self.num_units == 1 and wanted == "softmax"
        if wanted == "linear" or from_parameters is True:
            return OutputFunction(self.model, "pair" if is_one_unit else "as_is")
        under = "sigmoid" if is_one_unit else wanted
        if found == under:
            try:
                return OutputFunction(self.model, "stripped_pair" if is_one_unit else "stripped")
            # A layer of the user's own may raise anything when it is made anew.
            except Exception:
                _warn_of_probabilities()
                return OutputFunction(self.model, self._reading_of_probabilities(is_one_unit))
        is_plain = found in (None, "linear") or (found == "log_softmax" and wanted == "softmax")
        if not is_plain:
            raise ValueError(self._refusal(f"a model that ends in {found!r}"))
        if from_parameters is False:
            return OutputFunction(self.model, self._reading_of_probabilities(is_one_unit))
        return OutputFunction(self.model, "pair" if is_one_unit else "as_is")

    @property
    def num_units(self) -> int | None:
        """The number of outputs of the model itself."""
        shape = keras.tree.flatten(self.model.outputs)[0].shape
        return int(shape[-1]) if len(shape) == 2 and shape[-1] is not None else None

    def _reading_of_probabilities(self, is_one_unit: bool) -> str:
        if is_one_unit:
            return "logit_pair"
        return "log" if self.output_activation == "softmax" else "logit"

    def _try_out(self) -> tuple[int, str | None]:
        """Runs two small batches that share their first image, and differentiates one of them.

        Returns:
            the number of outputs, and the operation that has no second derivative.
        """
        try:
            first, trials = self._first_answers()
        except ValueError:
            if not self.reading.startswith("stripped"):
                raise
            # A layer that cannot be run without its activation, such as a quantised one.
            _warn_of_probabilities()
            is_one_unit = self.reading == "stripped_pair"
            self._function = OutputFunction(self.model, self._reading_of_probabilities(is_one_unit))
            self._compiled = Programs(Target(self._function, 0, self.bounds))
            first, trials = self._first_answers()
        self._check_answers(first)
        try:
            derivatives = trial.differentiate(self._function, trials[[0, 2]])
        except (LookupError, NotImplementedError) as error:
            remedy = "TensorFlow says: " + str(error).split("\n", maxsplit=1)[0]
            found = "an operation without a gradient"
            raise ValueError(message("model", "be differentiable in its images", found, remedy)) from error
        self._check_batch(first, derivatives.outputs, trials)
        reading = self.reading
        self._check_reading(first, trials)
        if self.reading != reading:  # The same passes, seen differently.
            first = np.asarray(self._function(tf.convert_to_tensor(trials[:2])))
            derivatives = trial.differentiate(self._function, trials[[0, 2]])
        answers = np.concatenate([first, derivatives.outputs])
        trial.check_differentiable(derivatives, answers, self._precision)
        missing = None
        if not trial.is_adjoint(derivatives, self._precision):
            missing = _named_in(derivatives.words) or trial.missing_operation(self._function, trials[:2])
        return first.shape[1], missing

    def _first_answers(self) -> tuple[Array, Array]:
        """Returns z of two images, and three images of the first size that the model takes."""
        lower, upper = self.bounds or (0.0, 1.0)
        kinds: dict[tuple[int, ...], None] = {}
        for side in _TRIAL_SIDES:
            kinds[tuple(known or side for known in self.image_shape)] = None
        failure: Exception | None = None
        for sides in kinds:
            images = np.random.default_rng(0).uniform(lower, upper, (3, *sides))
            images = images.astype(self.image_dtype.as_numpy_dtype)
            try:
                first = self.outputs_of(images[:2]).numpy()
            # What a model raises for images of a size that it does not take may be anything.
            except Exception as error:
                failure = error
                continue
            self._trial_sides = sides
            return first, images
        found = f"an error for images of {' and of '.join(str(sides) for sides in kinds)}"
        remedy = "The model's own words stand above."
        if keras.tree.flatten(self.model.inputs)[0].shape[0] is not None:
            remedy = "Make its input with keras.Input(shape), without batch_size. " + remedy
        raise ValueError(
            message("model", "take images of the shape that it says", found, remedy)
        ) from failure

    def _check_answers(self, first: Array) -> None:
        is_over_classes = self.output_activation == "softmax"
        if first.ndim != 2 or first.shape[0] != 2 or first.shape[1] < (2 if is_over_classes else 1):
            rule = "return one row for each image"
            remedy = "A layer's output of another shape: kf.Network(model, layer=...)."
            if is_over_classes:
                rule = "return one row of class scores for each image"
                remedy = ""
            found = f"outputs of shape {first.shape} for two images"
            raise ValueError(message("model", rule, found, remedy))
        if not np.isfinite(first).all():
            raise ValueError(message("model", "return finite numbers", "NaN or infinity for random images"))

    def _check_batch(self, first: Array, other: Array, trials: Array) -> None:
        """Refuses a model whose answer to an image changes with the call, or with its batch."""
        if not np.isfinite(other).all():
            raise ValueError(message("model", "return finite numbers", "NaN or infinity for random images"))
        if not trial.differ(first[:1], other[:1], self._precision):
            return
        again = np.asarray(self._function(tf.convert_to_tensor(trials[:2])))
        if trial.differ(first, again, self._precision):
            remedy = "Remove layers called with training=True."
            found = "two answers to one image"
            raise ValueError(message("model", "be deterministic in inference", found, remedy))
        found = "an answer that changes with the other images of its batch"
        remedy = (
            "The Fisher information of one image is then not defined. "
            "Run batch normalisation on its moving statistics (training=False)."
        )
        raise ValueError(message("model", "treat each image by itself", found, remedy))

    def _check_reading(self, outputs: Array, trials: Array) -> None:
        """Compares z with the model's own answer, and reads it otherwise where the two do not agree."""
        if self.output_activation == "linear":
            return
        if self.reading.startswith("stripped"):
            answer = call(self.model, tf.convert_to_tensor(trials[:2]))
            answer = tf.cast(answer, tf.float64).numpy()
            under = tf.constant(outputs, tf.float64)
            rebuilt = tf.nn.softmax(under) if self.reading == "stripped" else tf.sigmoid(under[:, 1:])
            if self.output_activation == "sigmoid":
                rebuilt = tf.sigmoid(under)
            if np.abs(rebuilt.numpy() - answer).max() <= max(1e-4, 10 * self._precision):
                return
            # The activation is not the last thing that the model does: it is read as it is.
            self._read_as_probabilities(answer, "a model that does not compute what its last layer says")
        elif self.reading in ("log", "logit", "logit_pair"):
            answer = call(self.model, tf.convert_to_tensor(trials[:2]))
            self._read_as_probabilities(tf.cast(answer, tf.float64).numpy(), None)
        else:
            self._check_logits(outputs)

    def _read_as_probabilities(self, answer: Array, why: str | None) -> None:
        """Takes answers for probabilities if they are some.

        Raises:
            ValueError: they are not.
        """
        if not self._are_probabilities(answer):
            if why is None:
                found = f"outputs in [{answer.min():g}, {answer.max():g}]"
                remedy = 'Pass from_logits=True or "auto".'
                raise ValueError(message("from_logits", "be True for a model of logits", found, remedy))
            raise ValueError(self._refusal(why))
        is_one_unit = answer.shape[1] == 1 and self.output_activation == "softmax"
        if why is not None:
            _warn_of_probabilities()
        self._function = OutputFunction(self.model, self._reading_of_probabilities(is_one_unit))

    def _are_probabilities(self, answer: Array) -> bool:
        slack = max(1e-3, 10 * self._precision)
        is_within = bool((answer >= -1e-6).all() and (answer <= 1 + slack).all())
        if self.output_activation == "sigmoid" or answer.shape[1] == 1:
            return is_within
        return is_within and bool(np.abs(answer.sum(axis=-1) - 1.0).max() <= slack)

    def _check_logits(self, outputs: Array) -> None:
        """Finds probabilities that pass for logits: an activation where the last layer does not show it."""
        answer = outputs[:, 1:] if self.reading == "pair" else outputs
        was_told = self._told_logits
        if self._are_probabilities(answer) and not (
            answer.shape[1] == 1 or self.output_activation == "sigmoid"
        ):
            if was_told:
                rule = 'be False or "auto" for a model that returns probabilities'
                raise ValueError(message("from_logits", rule, True))
            self._read_as_probabilities(answer, "probabilities")
            return
        is_in_unit_interval = bool((answer >= 0).all() and (answer <= 1).all())
        if is_in_unit_interval and not was_told and output_activation_of(self.model) is None:
            if self.output_activation == "sigmoid" or answer.shape[1] == 1:
                self._read_as_probabilities(answer, "probabilities")
                return
            raise ValueError(self._refusal("outputs in [0, 1] that do not sum to one"))

    #: Whether the caller says that the model returns z.
    _told_logits = False

    #: The call that makes one of this kind, as far as its bounds, in a remedy.
    _maker = "kf.Network(model, {!r}, "

    def _refusal(self, found: str) -> str:
        if self.output_activation == "softmax":
            return message(
                "model",
                "return logits or softmax probabilities",
                found,
                "Pass kf.Classifier(model, from_logits=True) if these are logits all the same. For labels "
                "that do not exclude each other use fisher_spectrum(model, ..., "
                "likelihood=kf.likelihoods.Bernoulli()), for regression kf.likelihoods.Gaussian().",
            )
        return message(
            "model",
            f"end in {self.output_activation!r} or in a linear layer for this likelihood",
            found,
            "The mean of a Gaussian takes any last layer: likelihood=kf.likelihoods.Gaussian().",
        )


def outside_of_graphs(function: Callable[..., None], *arguments: Any) -> None:
    """Runs the function where tensors have values and variables are made, also while a graph is traced.

    `tf.init_scope` gives the first alone: a `tf.function` that is traced again keeps its thread from making
    variables.
    """
    if tf.executing_eagerly():
        function(*arguments)
        return
    policy = keras.config.dtype_policy()  # Of each thread by itself.

    def run() -> None:
        keras.config.set_dtype_policy(policy)
        function(*arguments)

    with concurrent.futures.ThreadPoolExecutor(1) as outside:
        outside.submit(run).result()


def kept_network(model: Any, key: Hashable, make: Callable[[], Network]) -> Network:
    """Returns the network of a model that is passed as it is, made once: it is kept with the model.

    Args:
        model: a keras.Model; the network of anything else is made and not kept.
        key: what distinguishes it from other networks of the model.
        make: makes it.
    """
    if not isinstance(model, keras.Model):
        return make()
    # Weights that are others than those that were tried out, as after `quantize`, are tried out anew; and so
    # is another last activation.
    last = model.layers[-1] if model.layers else None
    weights = (*map(id, model.weights), id(getattr(last, "activation", None)))
    # Past Keras's own __setattr__, which would track it and save it with the model.
    kept: dict[Hashable, Any] = vars(model).setdefault(_KEPT, {})
    if key not in kept or kept[key][0] != weights:
        kept[key] = (weights, make())
    return kept[key][1]


def _outputs(target: Target, images: Tensor) -> Tensor:
    return target.logits(images)


def _warn_of_probabilities() -> None:
    warnings.warn(
        "The model returns probabilities from a softmax or sigmoid that is not its last layer. Their log is "
        "used, which is wrong where float32 rounds one to 0 or 1. Pass a model that returns logits, "
        "or one whose last layer is the activation.",
        stacklevel=7,
    )


def _named_in(words: str) -> str | None:
    """Returns the operation that TensorFlow names where it misses a gradient."""
    for mark in ("operation type: ", "gradient registry has no entry for: "):
        if mark in words:
            return words.split(mark)[1].split(maxsplit=1)[0].strip("'\".()")
    return None


def _chunks(array: Array, size: int) -> Iterator[Array]:
    return (array[start : start + size] for start in range(0, len(array), size))


def _up_to(model: keras.Model, layer: str | int) -> keras.Model:
    """Returns the model up to the output of a layer, flat.

    Raises:
        ValueError: no such layer, or a subclassed model, which does not show its layers.
    """
    names = [part.name for part in model.layers]
    is_there = layer in names if isinstance(layer, str) else -len(names) <= layer < len(names)
    if isinstance(layer, bool) or not is_there:
        raise ValueError(message("layer", f"be the name or index of one of {', '.join(names)}", repr(layer)))
    found = model.get_layer(layer) if isinstance(layer, str) else model.layers[layer]
    output = getattr(found, "output", None)
    if output is None or not getattr(model, "inputs", None):
        remedy = "Build it of Keras layers, Functional or Sequential."
        raise ValueError(message("layer", "be None for a subclassed model", repr(layer), remedy))
    if len(output.shape) > 2:
        output = keras.layers.Flatten(dtype=output.dtype)(output)
    return keras.Model(model.inputs, output, name=f"{model.name}_{found.name}")


def _image_shape(model: keras.Model) -> tuple[int | None, ...]:
    """Returns the shape of one input image.

    Raises:
        ValueError: several inputs or outputs, a fixed batch, or a model that is not built.
    """
    outputs = keras.tree.flatten(getattr(model, "outputs", None) or [None])
    if len(outputs) != 1:
        remedy = "Wrap the one that is meant: keras.Model(model.inputs, model.outputs[0])."
        raise ValueError(message("model", "have one output", f"{len(outputs)} outputs", remedy))
    shapes = getattr(model, "input_shape", None) if model.built else None
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    if isinstance(shapes, list) and len(shapes) != 1:
        raise ValueError(message("model", "take one tensor of images", f"{len(shapes)} inputs"))
    shape = shapes[0] if isinstance(shapes, list) else shapes
    if shape and getattr(model, "inputs", None):
        shape = tuple(keras.tree.flatten(model.inputs)[0].shape)
    if not shape or not getattr(model, "inputs", None):
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
