"""Detectors that read an image by feature objects, inside one compiled graph."""

from __future__ import annotations

import abc
import math
import os
import pathlib
import warnings
from typing import final

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.export import export_detector, keras_detector
from keras_fisher.detectors.features import Feature, ImageView
from keras_fisher.fisher.solvers import SOLVERS, Solver
from keras_fisher.typing import Array, Images, Tensor


class FeatureDetector(Detector):
    """A detector whose features come from feature objects: it scores, and can be exported, as one graph.

    A subclass names its features; the arguments are those of `Detector`.
    """

    @property
    @abc.abstractmethod
    def feature_objects(self) -> tuple[Feature, ...]:
        """The features, whose columns stand side by side in this order."""

    @property
    def eigensolver(self) -> Solver:
        """What finds the eigenvalues."""
        return SOLVERS["exact"]

    @property
    def num_eigenvalues_shown(self) -> int:
        """How many eigenvalues the exported detector returns: all that can differ from zero."""
        return rank_bound(self.classifier)

    @final
    def to_keras(self) -> keras.Model:
        """Returns the fitted detector as one Keras model, which shares the weights of the classifier's.

        images (batch, h, w, c) → a dict of `class_probabilities` (batch, classes), `eigenvalues` (batch, k)
        float64, descending, `adversarial_probability` (batch,) float64, as `score_samples` gives it (of trees
        the same bits, of other heads to 1e-12), `is_adversarial` (batch,) bool, by the threshold, and
        `is_valid` (batch,) bool. The batch may be empty. An image with a pixel that is NaN, infinite or out
        of bounds is not valid: its numbers are NaN and `is_adversarial` is True, for what cannot be judged is
        not to be let through.

        The model is saved and loaded as any other (`.keras`, safe mode); `import keras_fisher.detectors`
        first makes its layers known.

        Raises:
            NotFittedError: before `fit`.
            TypeError: a head that cannot be written as TensorFlow ops.
            ValueError: a classifier of images of any size.
        """
        return keras_detector(
            self.classifier,
            self.feature_objects,
            self.eigensolver,
            self.num_eigenvalues_shown,
            self.seed,
            self._fitted_head(),
            self.threshold_,
        )

    @final
    @suggests_keywords
    def export(self, path: str | os.PathLike, *, version: int | None = None) -> pathlib.Path:
        """Returns the folder `path/version` that it writes: a SavedModel for TensorFlow Serving.

        Signatures: `serving_default` takes `images` and returns what `to_keras` names; `eigenvalues` takes
        `images` and returns these alone; `encoded_images` takes `image_bytes` (batch,), PNG or JPEG files of
        the classifier's size (1, 3 or 4 channels). It needs TensorFlow only, and a head of YDF the op of
        `ydf-tf`, which TensorFlow Serving has. `kf.load_detector(path)` reads the latest version back.

        The folder appears whole or not at all, with a manifest.

        Args:
            path: the folder of all versions: the model's base path for TensorFlow Serving.
            version: a number; None is the one after the latest.

        Raises:
            NotFittedError: before `fit`.
            FileExistsError: there is this version already, or something else at `path`.
            TypeError, ValueError: as `to_keras` and `save`.
        """
        return export_detector(self.to_keras(), self._stored(), path, version)

    @final
    def view(self, images: Tensor) -> ImageView:
        """Returns what the features read of a tensor of images, unchecked. For use inside a `tf.function`."""
        classifier = self.classifier
        return ImageView(classifier.target, images, self.eigensolver, self.seed)

    @final
    def features_in_graph(self, view: ImageView) -> Tensor:
        """Returns (batch, f) float64. For use inside a `tf.function`."""
        return concatenate_features(self.feature_objects, view)

    @final
    def features_of(self, images: Images) -> Array:
        """Returns (n, f) float64, finite: the columns of all features.

        Args:
            images: (n, h, w, c) within the bounds, or a Dataset of batches of them.
        """
        chunks = [self._of_chunk(chunk) for chunk in self.classifier.batches(images, self.batch_size)]
        if not chunks:
            raise ValueError(message("images", "hold at least one image", "none"))
        features, converged = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
        bad = np.flatnonzero(~np.isfinite(features).all(axis=-1))
        if bad.size:
            found = f"NaN or infinity for {bad.size} of {len(features)} images, first at index {bad[0]}"
            remedy = "Its logits overflow there."
            raise ValueError(message("classifier", "give finite features", found, remedy))
        if not converged.all():
            warnings.warn(
                f"The eigenvalues of {(~converged).sum()} of {len(converged)} images did not converge; the "
                'detector goes by what there is. Pass solver="exact", or a solver with more iterations.',
                stacklevel=2,
            )
        return features

    def _of_chunk(self, images: Array) -> tuple[Array, Array]:
        """Returns the features and whether their eigenvalues converged, of checked images."""
        features, converged = self.classifier.run(
            _read,
            images,
            tf.constant(self.seed),
            features=self.feature_objects,
            eigensolver=self.eigensolver,
        )
        return features.numpy(), converged.numpy()


def _read(
    target: Target, images: Tensor, seed: Tensor, *, features: tuple[Feature, ...], eigensolver: Solver
) -> tuple[Tensor, Tensor]:
    view = ImageView(target, images, eigensolver, seed)
    return concatenate_features(features, view), view.converged


def rank_bound(classifier: Classifier) -> int:
    """Returns how many eigenvalues can differ from zero: no more than classes − 1, or pixels."""
    shape = classifier.image_shape
    num_pixels = classifier.num_classes if None in shape else math.prod(side or 1 for side in shape)
    return min(classifier.num_classes - 1, num_pixels)


def concatenate_features(features: tuple[Feature, ...], view: ImageView) -> Tensor:
    """Returns (batch, f) float64, the columns of all features in order."""
    return tf.concat([feature.of(view) for feature in features], axis=-1)
