"""ResNet-152, the net of the paper's ImageNet experiments."""

from __future__ import annotations

import os

import keras

from keras_fisher.checks import suggests_keywords
from keras_fisher.models.keras_applications import from_keras_applications


@suggests_keywords
def resnet152(
    weights: str | os.PathLike | None = "imagenet", *, image_shape: tuple[int, int, int] | None = None
) -> keras.Model:
    """Returns Keras's own ResNet-152 with its preprocessing inside: RGB images in [0, 1] to 1,000 logits.

    Args:
        weights: `"imagenet"` for Keras's pretrained weights, the path of a file with weights of this net, or
            None for random weights; see `from_keras_applications`.
        image_shape: (height, width, 3), at least 32 pixels high and wide; None for (224, 224, 3).

    Returns:
        A model of images (batch, *image_shape) in [0, 1] to logits (batch, 1000), with 60,419,944 parameters.

    Raises:
        TypeError, ValueError, FileNotFoundError: as `from_keras_applications` does.

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", Table 1.

    Example:
        >>> import keras_fisher as kf
        >>> net = kf.models.resnet152(weights=None, image_shape=(32, 32, 3))
        >>> net.count_params()
        60419944
    """
    return from_keras_applications("ResNet152", weights, image_shape=image_shape)
