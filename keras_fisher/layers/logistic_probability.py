"""Logistic regression as TensorFlow ops."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.layers.probability_layer import ProbabilityLayer


@keras.saving.register_keras_serializable(package="keras_fisher")
class LogisticProbability(ProbabilityLayer):
    """Returns what `predict_proba` of scikit-learn's binary logistic regression returns, up to rounding.

    log odds = w · (x − offset) / scale + b: the standardisation before it is part of the layer. It has a
    gradient.

    Args:
        num_features: f, the width of what it is given.
        name: of the layer.

    Call arguments:
        features: (batch, f), any real dtype, which becomes float64.

    Returns:
        (batch, 2) float64, summing to one. Both are accurate next to 0, where scikit-learn returns 1 − p for
        the first. NaN where a feature is NaN.

    Raises:
        TypeError, ValueError: arguments that are no integers or out of range, features of another shape.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> features = np.random.default_rng(0).normal(size=(200, 3))
        >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, features[:, 0] > 0)
        >>> layer = LogisticProbability.from_sklearn(pipeline)
        >>> np.allclose(layer(features), pipeline.predict_proba(features), rtol=1e-12)
        True
        >>> np.allclose(layer.log_odds(features), pipeline.decision_function(features), rtol=1e-12)
        True
    """

    @suggests_keywords
    def __init__(self, num_features: int, *, name: str | None = None) -> None:
        super().__init__(num_features, 2, name=name)
        self.offsets = self.constant("offsets", (self.num_features,), 0.0)
        self.scales = self.constant("scales", (self.num_features,), 1.0)
        self.coefficients = self.constant("coefficients", (self.num_features,), float("nan"))
        self.intercept = self.constant("intercept", (), float("nan"))

    @classmethod
    def from_sklearn(cls, fitted: Any, *, name: str | None = None) -> Self:
        """Returns the layer of a fitted classifier; its columns are in the order of `fitted.classes_`.

        Args:
            fitted: a LogisticRegression, or a Pipeline of a StandardScaler and one.
            name: of the layer.

        Raises:
            TypeError: it is neither.
            NotFittedError: it is not fitted.
            ValueError: it has other than two classes.
        """
        # Who has one has imported it, and a layer that comes from a file needs none.
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import Pipeline  # noqa: PLC0415
        from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
        from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

        steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else [None, fitted]
        is_known = len(steps) == 2 and isinstance(steps[1], LogisticRegression)
        if not is_known or not isinstance(steps[0], (StandardScaler, type(None))):
            rule = "be a LogisticRegression, or a Pipeline of a StandardScaler and one"
            raise TypeError(message("fitted", rule, repr(fitted)))
        scaler, regression = steps
        check_is_fitted(regression)
        if len(regression.classes_) != 2:
            raise ValueError(message("fitted", "have two classes", len(regression.classes_)))
        layer = cls(regression.n_features_in_, name=name)
        # None where the scaler was told not to centre or not to scale.
        if getattr(scaler, "mean_", None) is not None and scaler.with_mean:
            layer.offsets.assign(scaler.mean_)
        if getattr(scaler, "scale_", None) is not None:
            layer.scales.assign(scaler.scale_)
        layer.coefficients.assign(regression.coef_[0])
        layer.intercept.assign(np.ravel(regression.intercept_)[0])
        return layer

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        log_odds = self.log_odds(features)
        # Not tf.sigmoid: XLA computes it by tanh, which loses what is next to 0.
        return tf.nn.softmax(tf.stack([tf.zeros_like(log_odds), log_odds], axis=1))

    def log_odds(self, features: Any) -> tf.Tensor:
        """Returns (batch,) float64, log p(second class | x) − log p(first class | x), in nats.

        It has a gradient where the probabilities are 0 and 1 to the last bit.

        Args:
            features: (batch, f), any real dtype.

        Raises:
            TypeError, ValueError: features as in a call.
        """
        standardised = (self.as_features(features) - self.offsets) / self.scales
        return tf.reduce_sum(standardised * self.coefficients, axis=1) + self.intercept

    def get_config(self) -> dict[str, Any]:
        return {"num_features": self.num_features, "name": self.name}
