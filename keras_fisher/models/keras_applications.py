"""The nets of `keras.applications`, as this library wants them."""

from __future__ import annotations

import contextlib
import difflib
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_fisher.checks import check_integer, message, suggests_keywords

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]
_DEVIATION = (0.229, 0.224, 0.225)


class _Preprocessing(NamedTuple):
    """What a family of nets expects, from RGB pixels in [0, 1]: scale · pixel + offset, maybe as BGR."""

    scale: float | list[float]
    offset: float | list[float]
    is_bgr: bool = False


#: The names are Keras's own modes, of `keras.applications.imagenet_utils.preprocess_input`.
_CAFFE = _Preprocessing(255.0, [-123.68, -116.779, -103.939], is_bgr=True)
_TF = _Preprocessing(2.0, -1.0)
_TORCH = _Preprocessing(
    [1 / deviation for deviation in _DEVIATION],
    [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
)
#: For nets with the preprocessing inside, which take 8-bit values.
_BYTES = _Preprocessing(255.0, 0.0)

#: name → preprocessing and the side of the images that its weights are for.
_NETS: dict[str, tuple[_Preprocessing, int]] = {
    **dict.fromkeys(("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"), (_CAFFE, 224)),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2", "MobileNet", "MobileNetV2"), (_TF, 224)),
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), (_TF, 299)),
    "NASNetMobile": (_TF, 224),
    "NASNetLarge": (_TF, 331),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), (_TORCH, 224)),
    **{
        f"EfficientNetB{index}": (_BYTES, side)
        for index, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    **{f"EfficientNetV2B{index}": (_BYTES, side) for index, side in enumerate((224, 240, 260, 300))},
    "EfficientNetV2S": (_BYTES, 384),
    **dict.fromkeys(("EfficientNetV2M", "EfficientNetV2L"), (_BYTES, 480)),
    **dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), (_BYTES, 224)),
    **{f"ConvNeXt{size}": (_BYTES, 224) for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
}


@suggests_keywords
def from_keras_applications(
    name: str,
    weights: str | os.PathLike | None = "imagenet",
    *,
    image_shape: tuple[int, int, int] | None = None,
    num_classes: int = 1000,
) -> keras.Model:
    """Returns a net of `keras.applications` with its preprocessing inside and without its softmax.

    Args:
        name: as Keras writes it, such as `"ResNet152"` or `"EfficientNetB0"`.
        weights: `"imagenet"` for Keras's pretrained weights, which it downloads once; the path of a `.h5`,
            `.weights.h5` or `.keras` file with weights of this net (Keras's own, or saved from what is
            returned here); or None for random weights.
        image_shape: (height, width, 3); None for the size that the pretrained weights are for.
        num_classes: of the last layer; 1,000 for Keras's own weights.

    Returns:
        A model of RGB images (batch, *image_shape) in [0, 1] to logits (batch, num_classes).

    Raises:
        TypeError: a wrong type.
        ValueError: an unknown name, a shape that the net cannot take, fewer than two classes, a file that
            holds another net or is broken.
        FileNotFoundError: there is no such file, or Keras's weights could not be downloaded.

    Source: `preprocess_input` of each family in Keras.

    Example:
        >>> import keras_fisher as kf
        >>> net = kf.models.from_keras_applications("MobileNetV2", weights=None, image_shape=(64, 64, 3))
        >>> net.output_shape
        (None, 1000)
    """
    preprocessing, side = _look_up(name)
    path = _checked_path(weights)
    shape = _checked_shape(image_shape, side)
    num_classes = check_integer("num_classes", num_classes, 2)
    is_pretrained = path is None and weights is not None
    if is_pretrained and num_classes != 1000:
        raise ValueError(message("num_classes", 'be 1000 with weights="imagenet"', num_classes))
    images = keras.Input(shape, name="images")
    hidden = keras.layers.Rescaling(preprocessing.scale, preprocessing.offset, name="preprocessing")(images)
    if preprocessing.is_bgr:
        hidden = keras.ops.flip(hidden, axis=-1)  # RGB → BGR
    try:
        with _channels_last():
            net = getattr(keras.applications, name)(
                weights="imagenet" if is_pretrained else None,
                input_tensor=hidden,
                input_shape=shape,
                classes=num_classes,
                classifier_activation=None,
            )
    except Exception as error:
        # Every net takes the size that its weights are for: what fails there is not the shape.
        if isinstance(error, ValueError) and shape != (side, side, 3):
            rule = f"be one that {name} can take"
            raise ValueError(message("image_shape", rule, shape, str(error))) from error
        if not is_pretrained:
            raise
        remedy = "Download the file where there is a network, and pass its path."
        value = f"{weights!r}, and Keras could not fetch them ({error})"
        raise FileNotFoundError(message("weights", "be available", value, remedy)) from error
    # Keras makes most of its nets models of a list of one tensor, and would warn of every batch.
    model = keras.Model(images, net.output, name=net.name)
    if path is not None:
        _load(model, path, name)
    return model


@contextlib.contextmanager
def _channels_last() -> Iterator[None]:
    """Lets Keras build a net of its own with the channels last, whatever its configuration says."""
    configured = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(configured)


def _look_up(name: Any) -> tuple[_Preprocessing, int]:
    rule = f"be one of keras.applications: {', '.join(_NETS)}"
    if not isinstance(name, str):
        raise TypeError(message("name", rule, repr(name)))
    if name not in _NETS:
        close = difflib.get_close_matches(name.lower(), [known.lower() for known in _NETS], 1)
        meant = [known for known in _NETS if known.lower() in close]
        raise ValueError(message("name", rule, repr(name), f"Did you mean {meant[0]!r}?" if meant else ""))
    return _NETS[name]


def _checked_path(weights: Any) -> pathlib.Path | None:
    """Returns the file to read, known to exist, or None for weights that Keras has itself."""
    rule = 'be "imagenet", None, or the path of a .h5, .weights.h5 or .keras file'
    if weights is None or (isinstance(weights, str) and weights == "imagenet"):
        return None
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(message("weights", rule, repr(weights)))
    path = pathlib.Path(weights)
    if path.suffix not in (".h5", ".keras"):
        raise ValueError(message("weights", rule, repr(str(weights))))
    if not path.is_file():
        raise FileNotFoundError(message("weights", rule, repr(str(weights)), "There is no such file."))
    return path


def _checked_shape(image_shape: Any, side: int) -> tuple[int, int, int]:
    if image_shape is None:
        return side, side, 3
    rule = "be (height, width, 3)"
    if not isinstance(image_shape, (tuple, list)):
        raise TypeError(message("image_shape", rule, repr(image_shape)))
    if len(image_shape) != 3:
        raise ValueError(message("image_shape", rule, repr(image_shape)))
    height, width, channels = (
        check_integer("image_shape", size, 1, remedy="It is (height, width, 3).") for size in image_shape
    )
    if channels != 3:
        raise ValueError(message("image_shape", rule, repr(image_shape)))
    return height, width, channels


def _load(model: keras.Model, path: pathlib.Path, name: str) -> None:
    """Reads the weights of a file.

    Raises:
        ValueError: the file holds another net, or is broken.
    """
    try:
        model.load_weights(path)
    # Keras raises ValueError for another net, KeyError, OSError or BadZipFile for a broken file.
    except Exception as error:
        rule = f"hold the weights of {name} with {model.output_shape[-1]} classes"
        reason = str(error).split("\n", 1)[0]  # What follows lists every layer.
        raise ValueError(message("weights", rule, repr(str(path)), reason)) from error
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            _correct_variance(layer)


def _correct_variance(layer: keras.layers.Normalization) -> None:
    """Squares the variance where it is ImageNet's deviation, as in Keras's own files of EfficientNetB0 to B7.

    Keras divides by its square root once more, in a layer that it builds for `weights="imagenet"` only.
    """
    values = layer.get_weights()
    # A layer whose mean and variance are settings has no weights, and is right.
    if values and np.allclose(values[1], _DEVIATION, rtol=1e-4):
        layer.set_weights([values[0], values[1] ** 2, *values[2:]])
        layer.finalize_state()
