"""Gaussian naive Bayes as TensorFlow ops."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.layers.probability_layer import ProbabilityLayer


@keras.saving.register_keras_serializable(package="keras_fisher")
class GaussianNaiveBayes(ProbabilityLayer):
    """Returns what `predict_proba` of scikit-learn's GaussianNB returns, up to rounding in float64.

    log p(class, x) = log prior − ½ Σ log 2πσ² − ½ Σ (x − μ)² / σ², and the softmax of that over classes. It
    has a gradient.

    Args:
        num_features: f, the width of what it is given.
        num_classes: the width of what it returns.
        name: of the layer.

    Call arguments:
        features: (batch, f), any real dtype, which becomes float64.

    Returns:
        (batch, classes) float64, summing to one. NaN where a feature is NaN or infinite.

    Raises:
        TypeError, ValueError: arguments that are no integers or out of range, features of another shape.

    Example:
        >>> import numpy as np
        >>> from sklearn.naive_bayes import GaussianNB
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> bayes = GaussianNB().fit(features, features[:, 0] > 0)
        >>> layer = GaussianNaiveBayes.from_sklearn(bayes)
        >>> np.allclose(layer(features), bayes.predict_proba(features), rtol=1e-12)
        True
        >>> layer.log_odds(features).shape
        TensorShape([200])
    """

    @suggests_keywords
    def __init__(self, num_features: int, num_classes: int = 2, *, name: str | None = None) -> None:
        super().__init__(num_features, num_classes, name=name)
        shape = (self.num_classes, self.num_features)
        self.means = self.constant("means", shape, float("nan"))
        self.variances = self.constant("variances", shape, float("nan"))
        self.log_priors = self.constant("log_priors", (self.num_classes,), float("nan"))

    @classmethod
    def from_sklearn(cls, fitted: Any, *, name: str | None = None) -> Self:
        """Returns the layer of a fitted GaussianNB; its columns are in the order of `fitted.classes_`.

        Raises:
            TypeError: it is no GaussianNB.
            NotFittedError: it is not fitted.
            ValueError: it has a single class, or a variance of zero.
        """
        # Who has one has imported it, and a layer that comes from a file needs none.
        from sklearn.naive_bayes import GaussianNB  # noqa: PLC0415
        from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

        if not isinstance(fitted, GaussianNB):
            raise TypeError(message("fitted", "be a GaussianNB", repr(fitted)))
        check_is_fitted(fitted)
        if not (fitted.var_ > 0).all():
            remedy = "Leave out constant features, or fit with var_smoothing above 0."
            raise ValueError(message("fitted", "have positive variances", fitted.var_.min(), remedy))
        layer = cls(fitted.n_features_in_, len(fitted.classes_), name=name)
        layer.means.assign(fitted.theta_)
        layer.variances.assign(fitted.var_)
        with np.errstate(divide="ignore"):  # A class of prior 0 has probability 0.
            layer.log_priors.assign(np.log(fitted.class_prior_))
        return layer

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        log_normalisers, exponents = self._log_likelihoods(features)
        return tf.nn.softmax(log_normalisers + tf.reduce_sum(exponents, axis=2))

    def log_odds(self, features: Any) -> tf.Tensor:
        """Returns (batch,) float64, log p(second class | x) − log p(first class | x), in nats.

        It has a gradient where the probabilities are 0 and 1 to the last bit.

        Args:
            features: (batch, f), any real dtype.

        Raises:
            TypeError, ValueError: features as in a call, or other than two classes.
        """
        if self.num_classes != 2:
            raise ValueError(message("num_classes", "be 2 for log odds", self.num_classes))
        log_normalisers, exponents = self._log_likelihoods(self.as_features(features))
        # Feature by feature: far from both means, the sums would cancel.
        differences = tf.reduce_sum(exponents[:, 1] - exponents[:, 0], axis=1)
        return log_normalisers[1] - log_normalisers[0] + differences

    def get_config(self) -> dict[str, Any]:
        return {"num_features": self.num_features, "num_classes": self.num_classes, "name": self.name}

    def _log_likelihoods(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (classes,), log prior − ½ Σ log 2πσ², and (batch, classes, f), −½ (x − μ)² / σ²."""
        variances = tf.convert_to_tensor(self.variances)
        log_normalisers = self.log_priors - 0.5 * tf.reduce_sum(tf.math.log(2 * np.pi * variances), axis=1)
        return log_normalisers, -0.5 * (features[:, None, :] - self.means) ** 2 / variances
