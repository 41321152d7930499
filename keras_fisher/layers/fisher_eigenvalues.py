"""The Fisher eigenvalues of images, as a Keras layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier, target_of
from keras_fisher.fisher import PullbackOperator
from keras_fisher.layers.held_model import held_model_config
from keras_fisher.linalg import Gram
from keras_fisher.typing import Tensor


@keras.saving.register_keras_serializable(package="keras_fisher")
class FisherEigenvalues(keras.layers.Layer):
    """The largest eigenvalues of the Fisher information of a classifier's answer in its image.

    The layer holds the classifier's model and shares its weights. It differentiates that model in the images:
    one forward and C − 1 backward passes for C classes.

    Args:
        model: a Classifier or a keras.Model, images (batch, h, w, c) → (batch, classes).
        k: how many, at most the rank, C − 1.
        reading: how logits are read from a keras.Model; None finds out, as `Classifier` does.

    Call arguments:
        images: (batch, h, w, c), unchecked.

    Returns:
        (batch, k) float64, descending, ≥ 0, in nats per squared unit of the pixels.

    Raises:
        TypeError, ValueError: a bad k, or a model that `Classifier` refuses.

    Source: Zhao et al. 2019, Eq. (4).

    Example:
        >>> import keras, keras_fisher as kf
        >>> images, _ = kf.datasets.mnist_sample()
        >>> layer = kf.layers.FisherEigenvalues(kf.models.lenet5(weights="mnist"), k=3)
        >>> layer(images[:2]).shape
        TensorShape([2, 3])
    """

    @suggests_keywords
    def __init__(
        self, model: Classifier | keras.Model, k: int, *, reading: str | None = None, name: str | None = None
    ) -> None:
        network: Any = model
        if reading is None:
            classifier = as_classifier(model)
            network, reading = classifier.model, classifier.reading
        if not isinstance(network, keras.Model):
            raise TypeError(message("model", "be a keras.Model, as `reading` is given", type(model).__name__))
        super().__init__(
            name=name, dtype=keras.backend.standardize_dtype(network.inputs[0].dtype), autocast=False
        )
        self.model = network
        self.reading = reading
        self._target = target_of(network, reading, None)
        self.num_classes = self._target.num_classes
        self.k = check_integer("k", k, 1)
        if self.k > self.num_classes - 1:
            rule = f"be in [1, {self.num_classes - 1}] (rank bound of {self.num_classes} classes)"
            raise ValueError(message("k", rule, k, "All further eigenvalues are zero."))

    @property
    def metrics(self) -> list[keras.Metric]:
        """Its own alone: those that the wrapped model was compiled with are that model's."""
        return list(self._metrics)

    def call(self, images: Tensor) -> Tensor:
        pairs = Gram().solve(PullbackOperator(self._target, images), self.k, eigenvectors=False)
        return pairs.eigenvalues * tf.exp(pairs.log_scale)[:, None]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return (input_shape[0], self.k)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": held_model_config(self.model),
            "k": self.k,
            "reading": self.reading,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FisherEigenvalues:
        return cls(**(config | {"model": keras.saving.deserialize_keras_object(config["model"])}))
