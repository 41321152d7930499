"""Libraries that may be missing, and models, attacks and labels on the way between a library and ours."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np

from keras_fisher.attacks import Attack
from keras_fisher.checks import message
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array

#: The Classifier of each foreign model, and what it depends on: nothing is tried out and traced again in
#: every call. A model that is gone takes its Classifier along.
_CLASSIFIERS: weakref.WeakKeyDictionary[Any, tuple[Hashable, Classifier]] = weakref.WeakKeyDictionary()


def check_library(distribution: str, *modules: str) -> None:
    """Refuses to go on without an optional library.

    Args:
        distribution: the name under which pip knows the library.
        *modules: of the library. Another one has the first alone, if that is not enough to know it by.

    Raises:
        ImportError: the library is not there. What it lacks itself is raised as it is.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in modules:
            raise
        found = "none" if error.name == modules[0] else f"another library of the name {modules[0]}"
        remedy = 'Run: pip install "keras-fisher[compare]"'
        rule = f"be installed for kf.interop.{modules[0]}"
        raise ImportError(message(distribution, rule, found, remedy)) from error


def check_instance(attack: Any, kind: type, rule: str) -> None:
    """Refuses what is no attack object of this kind, by a TypeError."""
    if isinstance(attack, kind):
        return
    if isinstance(attack, type) and issubclass(attack, kind):
        remedy = f"Make one: {attack.__name__}()."
        raise TypeError(message("attack", rule, f"the class {attack.__name__}", remedy))
    raise TypeError(message("attack", rule, type(attack).__name__))


def labels_and_targets(attack: Attack, classes: Array | None, num_classes: int) -> tuple[Any, Any]:
    """Returns what an attack of ours is given for the classes (n,) that another library gives.

    There a targeted attack gets its targets alone, and an image that has its target's class already is a
    success. Ours want labels that differ from the targets. A targeted attack does nothing with them, so that
    any will do.
    """
    if classes is None or not attack.targeted:
        return classes, None
    return (classes + 1) % num_classes, classes


def classifier_of(
    owner: Any,
    model: keras.Model | Callable[[Any], Any],
    image_shape: tuple[int | None, ...],
    bounds: tuple[float, float] | None,
    mean: Array | None = None,
    std: Array | None = None,
    flip_axis: int | None = None,
) -> Classifier:
    """Returns the Classifier of images → model((flipped images − mean) / std).

    The weights are shared, and gradients go through the preprocessing. The same arguments give the same
    Classifier, as long as `owner` lasts.

    Args:
        owner: the foreign object around the model, to which the model holds no reference.
        model: images → outputs.
        image_shape: of one image.
        bounds: lowest and highest pixel before preprocessing; None for none.
        mean: broadcasts with (batch, *image_shape); None for 0.
        std: likewise; None for 1.
        flip_axis: the axis of the batch of images that is turned round, such as −1 from RGB to BGR.
    """
    moments = (None if moment is None else (moment.shape, moment.tobytes()) for moment in (mean, std))
    settings = (model, image_shape, bounds, *moments, flip_axis)
    known = _CLASSIFIERS.get(owner)
    if known is None or known[0] != settings:
        of_raw_images = _with_preprocessing(model, image_shape, mean, std, flip_axis)
        known = (settings, Classifier(of_raw_images, bounds=bounds))
        _CLASSIFIERS[owner] = known
    return known[1]


def is_neutral(value: Array | None, neutral: float) -> bool:
    """Returns whether a mean of 0, or a standard deviation of 1, leaves everything as it is."""
    return value is None or bool(np.all(np.asarray(value) == neutral))


def _with_preprocessing(
    model: Any,
    image_shape: tuple[int | None, ...],
    mean: Array | None,
    std: Array | None,
    flip_axis: int | None,
) -> keras.Model:
    """Returns the model of raw images, or the model itself where there is nothing to do."""
    has_inputs = isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))
    if has_inputs and flip_axis is None and is_neutral(mean, 0.0) and is_neutral(std, 1.0):
        return model
    dtype = keras.backend.standardize_dtype(model.inputs[0].dtype) if has_inputs else "float32"
    inputs = keras.Input(image_shape, dtype=dtype)
    images: Any = inputs
    if flip_axis is not None:
        images = keras.ops.flip(images, axis=flip_axis)
    if not is_neutral(mean, 0.0):
        images = keras.ops.subtract(images, np.asarray(mean, dtype))
    if not is_neutral(std, 1.0):
        images = keras.ops.divide(images, np.asarray(std, dtype))
    network = model if isinstance(model, keras.Model) else keras.layers.Lambda(model)
    return keras.Model(inputs, network(images))
