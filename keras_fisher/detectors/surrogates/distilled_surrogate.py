"""A small net that learns what a detector says."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, suggests_keywords
from keras_fisher.detectors.feature_detector import FeatureDetector
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.surrogates.detector_surrogate import DetectorSurrogate
from keras_fisher.detectors.surrogates.naive_bayes_surrogate import features_of_both_kinds
from keras_fisher.typing import Array, Tensor

#: Probabilities nearer to 0 and 1 are taken for this: a forest's zeros have no log odds. Where the detector's
#: threshold is so low that there would be little below it, for this share of it.
_LEAST_PROBABILITY, _LEAST_SHARE = 0.005, 0.02
#: The head is also asked about so many neighbours of each features, within so many standard deviations.
_NUM_NEIGHBOURS, _REACH = 15, 0.5
_NUM_UNITS, _LEARNING_RATE = 48, 0.01


class DistilledSurrogate(DetectorSurrogate):
    """A net of two hidden layers on standardised features, fitted to the log odds of the detector's own head.

    Labels play no part: the net learns the answers of the head, at the features of the images and near them,
    so that it is smooth where a forest goes in steps, and right where an attack passes.

    Args:
        detector: fitted.
        labelled: images of both kinds; not need be those that the detector was fitted to.
        num_steps: of Adam.
        seed: of the net and of the neighbours.

    Raises:
        TypeError, ValueError: a bad setting, another detector, no LabelledImages, or images of one kind only.
        NotFittedError: the detector is not fitted.

    Source: Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", section 2.1, the
    matching of logits.

    Example:
        >>> import keras_fisher as kf, tensorflow as tf
        >>> from keras_fisher.detectors.surrogates import DistilledSurrogate
        >>> detector = kf.load_detector(kf.artefacts.saved_model_path("lenet5_mnist_detector"))
        >>> images, labels = kf.datasets.mnist_sample()
        >>> clean = images[:40]
        >>> result = kf.attacks.OSSA(epsilon=4.0)(detector.classifier, clean, labels[:40])
        >>> made = kf.detectors.LabelledImages.from_attack(clean, result.images[result.success], clean[:0])
        >>> surrogate = DistilledSurrogate(detector, made, num_steps=200)
        >>> surrogate.log_odds(tf.constant(images[60:64])).shape
        TensorShape([4])
    """

    @suggests_keywords
    def __init__(
        self, detector: FeatureDetector, labelled: LabelledImages, *, num_steps: int = 1500, seed: int = 0
    ) -> None:
        super().__init__(detector)
        self.num_steps = check_integer("num_steps", num_steps, 1)
        self.seed = check_integer("seed", seed, 0, 2**31 - 1)
        features = features_of_both_kinds(self.detector, labelled)
        self._offset = features.mean(axis=0)
        spread = features.std(axis=0)
        # A column that is constant but for rounding carries nothing.
        is_constant = spread <= 1e-9 * np.abs(self._offset)
        self._factor = np.where(is_constant, 0.0, 1.0 / np.where(is_constant, 1.0, spread))
        features = self._with_neighbours(features, spread)
        least = min(_LEAST_PROBABILITY, _LEAST_SHARE * self.detector.threshold_)
        probabilities = np.clip(self.detector.score_features(features), least, 1 - _LEAST_PROBABILITY)
        self.net = self._fit(features, np.log(probabilities) - np.log1p(-probabilities))

    def log_odds_of(self, features: Tensor) -> Tensor:
        return self.net((features - self._offset) * self._factor)[:, 0]

    def _with_neighbours(self, features: Array, spread: Array) -> Array:
        """Returns ((1 + neighbours) · n, f) the features and points around them, near and far."""
        generator = np.random.default_rng([self.seed, 1])
        noise = generator.standard_normal((_NUM_NEIGHBOURS, *features.shape))
        reach = _REACH * generator.uniform(size=(_NUM_NEIGHBOURS, len(features), 1))
        neighbours = features + reach * spread * noise
        return np.concatenate([features, neighbours.reshape(-1, features.shape[1])])

    def _fit(self, features: Array, log_odds: Array) -> keras.Model:
        layers = [keras.Input((features.shape[1],), dtype="float64")]
        generator = np.random.default_rng([self.seed, 2])
        for units in (_NUM_UNITS, _NUM_UNITS, 1):
            initializer = keras.initializers.GlorotUniform(seed=int(generator.integers(2**31)))
            # Smooth, for a gradient that does not jump.
            activation = "tanh" if units > 1 else None
            layers.append(
                keras.layers.Dense(
                    units, activation=activation, kernel_initializer=initializer, dtype="float64"
                )
            )
        net = keras.Sequential(layers)
        optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, self.num_steps)
        )
        optimizer.build(net.trainable_variables)
        inputs = tf.constant((features - self._offset) * self._factor)
        answers = tf.constant(log_odds[:, None])
        batches = tf.constant(generator.integers(len(features), size=(self.num_steps, 256)))

        @tf.function(autograph=False)
        def fit() -> None:
            def step(index: Tensor) -> Tensor:
                rows = batches[index]
                with tf.GradientTape() as tape:
                    error = net(tf.gather(inputs, rows), training=True) - tf.gather(answers, rows)
                    loss = tf.reduce_mean(tf.square(error))
                gradients = tape.gradient(loss, net.trainable_variables)
                optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
                return index + 1

            tf.while_loop(lambda index: index < self.num_steps, step, [tf.constant(0)])

        fit()
        return net
