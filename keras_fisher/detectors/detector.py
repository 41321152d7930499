"""The interface of every detector, and what all of them share."""

from __future__ import annotations

import abc
import inspect
import os
import pathlib
import warnings
from typing import Any, Self, final

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import ClassifierTags, Tags, TargetTags

from keras_fisher.checks import check_integer, check_option, check_real, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.detectors.heads import check_head, check_probabilities, make_head
from keras_fisher.detectors.label_attack import label_attack
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.detectors.store import StoredDetector, write_detector
from keras_fisher.detectors.threshold_at import threshold_at
from keras_fisher.typing import Array, Images

#: Settings that a fitted head does not depend on.
_KEEPS_FIT = {"threshold", "batch_size"}


class Detector(abc.ABC):
    """Tells adversarial images from others, by features of what the classifier makes of them.

    A subclass writes `features_of`. Checks, noisy negatives, head, scores and storage are done here, once. As
    in scikit-learn, settings are stored in `__init__`, data enters at `fit`, and learnt values end in `_`;
    `sklearn.base.clone` gives an unfitted copy with the same settings and the same classifier.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        head: "random_forest" (depth at most 5, 100 trees), "gaussian_nb", "logistic_regression" on
            standardised features, "ydf_random_forest", "ydf_gradient_boosted_trees" (the extra `trees`), or
            an unfitted scikit-learn classifier with `predict_proba`, which is cloned.
        seed: of the noisy negatives and of a head given by name.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on, unless `calibrate` finds another.
    """

    #: The fitted head.
    head_: Any
    #: `predict` answers 1 from this probability on: the setting, until `calibrate` finds another.
    threshold_: float

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        head: str | BaseEstimator = "random_forest",
        *,
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        self.classifier = as_classifier(classifier)
        self.head = check_head(head)
        self.seed = check_integer("seed", seed, 0, 2**31 - 1)
        self.batch_size = None if batch_size is None else check_integer("batch_size", batch_size, 1)
        self.threshold = check_real("threshold", threshold, 0.0, 1.0)

    @abc.abstractmethod
    def features_of(self, images: Images) -> Array:
        """Returns (n, f) float64, finite: what the head is given.

        Args:
            images: (n, h, w, c) within the bounds, or a Dataset of batches of them.
        """

    @final
    @suggests_keywords
    def fit(self, clean: Array, adversarial: Array, noisy: Array | None = None) -> Self:
        """Returns itself, fitted to tell `adversarial` from `clean` and noise.

        Args:
            clean: (n, h, w, c), in bounds.
            adversarial: (n, h, w, c), what an attack made of `clean`; only images that it moved.
            noisy: further negatives, of any number; an empty array for none. None puts Gaussian noise on each
                clean image, of the realised l2 norm of its adversarial partner (see `matched_noise`); that
                needs `clean` and `adversarial` of the same length, in the same order.

        Raises:
            TypeError, ValueError: images that do not fit the classifier, fewer than two of a kind, lengths
                that differ without `noisy`, or an adversarial image that equals a clean one.
        """
        return self.fit_labelled(label_attack(self.classifier, clean, adversarial, noisy, self.seed))

    @final
    def fit_labelled(self, labelled: LabelledImages) -> Self:
        """Returns itself, fitted to images that have their labels already.

        Raises:
            TypeError: no LabelledImages, or a head that gives no probabilities.
            ValueError: only adversarial images, or none, or features that are the same for all.
        """
        if not isinstance(labelled, LabelledImages):
            raise TypeError(message("labelled", "be LabelledImages", type(labelled).__name__))
        _check_both_kinds("labelled", labelled.is_adversarial)
        return self.fit_features(self.features_of(labelled.images), labelled.is_adversarial)

    @final
    def fit_features(self, features: Array, is_adversarial: Array) -> Self:
        """Returns itself, its head fitted to features that `features_of` gave: they cost, heads do not.

        Args:
            features: (n, f) float64.
            is_adversarial: (n,) bool, of both kinds.

        Raises:
            TypeError: a head that gives no probabilities.
            ValueError: labels of one kind or another number, or features that are the same for all.
        """
        features, is_adversarial = np.asarray(features, np.float64), np.asarray(is_adversarial, bool)
        if features.ndim != 2 or is_adversarial.shape != features.shape[:1]:
            found = f"{features.shape} and {is_adversarial.shape}"
            raise ValueError(message("features", "be (n, f), with n labels", found))
        _check_both_kinds("is_adversarial", is_adversarial)
        if (features == features[0]).all():
            found = f"the same features for all {len(features)}"
            remedy = "Its softmax may be saturated to exactly one."
            raise ValueError(message("classifier", "answer differently to different images", found, remedy))
        head = make_head(self.head, self.seed)
        head.fit(features, is_adversarial.astype(np.int64))
        self.head_ = check_probabilities(head, head)
        self.threshold_ = self.threshold
        return self

    @final
    @suggests_keywords
    def calibrate(self, images: Images, false_positive_rate: float = 0.01) -> Self:
        """Returns itself, with the threshold set so that at most this share of `images` is flagged.

        Args:
            images: (n, h, w, c), not adversarial, and not those that the detector was fitted to: on these it
                is surer than on others.
            false_positive_rate: in (0, 1]. Where images that must not be flagged have the probability 1, the
                threshold is above it, nothing is flagged at all, and a warning says so.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: images that do not fit, or too few to tell so small a rate.
        """
        rate = check_real("false_positive_rate", false_positive_rate, 0.0, 1.0, exclusive_minimum=True)
        self.threshold_ = threshold_at(self.score_samples(images), rate)
        if self.threshold_ > 1:
            warnings.warn(
                f"More than {rate:g} of the images have an adversarial probability of 1: with a threshold "
                "above that nothing will be flagged. Calibrate for a higher rate, or take another head.",
                stacklevel=2,
            )
        return self

    @final
    def predict_proba(self, images: Images) -> Array:
        """Returns (n, 2) float64, the probabilities that each image is not adversarial, and that it is.

        Args:
            images: (n, h, w, c) within the bounds, or a Dataset of batches of them.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: images that do not fit the classifier, or none.
        """
        head = self._fitted_head()
        features = self.features_of(images)
        if not len(features):
            raise ValueError(message("images", "hold at least one image", "none"))
        return np.asarray(head.predict_proba(features), np.float64)

    @final
    def score_features(self, features: Array) -> Array:
        """Returns (n,) float64, the probability that each is adversarial, from what `features_of` gave."""
        if not len(features):
            return np.zeros(0)
        return np.asarray(self._fitted_head().predict_proba(features), np.float64)[:, 1]

    @final
    def score_samples(self, images: Images) -> Array:
        """Returns (n,) float64, the probability that each image is adversarial; raises as `predict_proba`."""
        return self.predict_proba(images)[:, 1]

    @final
    def predict(self, images: Images) -> Array:
        """Returns (n,) int64, 1 where the probability reaches the threshold; raises as `predict_proba`."""
        return (self.score_samples(images) >= self.threshold_).astype(np.int64)

    @final
    @property
    def classes_(self) -> Array:
        """(2,) int64, [0, 1]: not adversarial, adversarial; the columns of `predict_proba`."""
        return self._fitted_head().classes_

    @final
    @suggests_keywords
    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> pathlib.Path:
        """Returns the folder that it writes: the classifier's model, the head, the settings, a manifest.

        The folder appears whole or not at all. Nothing in it is a pickle; `kf.load_detector` reads it.

        Args:
            path: the folder, new unless `overwrite`.
            overwrite: replace a detector that was saved there. Any other folder is left alone.

        Raises:
            NotFittedError: before `fit`.
            FileExistsError: there is something at `path` already.
            TypeError: a head, a solver or a setting that cannot be stored safely.
        """
        return write_detector(self._stored(), path, overwrite=overwrite)

    @final
    @suggests_keywords
    def get_params(self, deep: bool = False) -> dict[str, Any]:
        """Returns the settings by name, as `__init__` takes them; `deep` is for scikit-learn only."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    @final
    def set_params(self, **settings: Any) -> Self:
        """Returns itself with other settings, checked as `__init__` does.

        It is no longer fitted then: its head knows other features, or is another. A new `threshold` or
        `batch_size` alone keeps what was fitted, and the threshold holds at once.

        Raises:
            TypeError, ValueError: a setting that there is not, or a bad one; then nothing is changed.
        """
        known = self.get_params()
        for name in settings:
            check_option("settings", name, known)
        # A new one checks them all, and makes what follows from them.
        changed = type(self)(**(known | settings))
        if hasattr(self, "head_") and set(settings) <= _KEEPS_FIT:
            changed.head_ = self.head_
            changed.threshold_ = changed.threshold if "threshold" in settings else self.threshold_
        vars(self).clear()
        vars(self).update(vars(changed))
        return self

    def __sklearn_tags__(self) -> Tags:
        target = TargetTags(required=True)
        return Tags(estimator_type="classifier", target_tags=target, classifier_tags=ClassifierTags())

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "head_")

    def __repr__(self) -> str:
        settings = {name: value for name, value in self.get_params().items() if name != "classifier"}
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in settings.items())
        return f"{type(self).__name__}({shown})"

    def _stored(self) -> StoredDetector:
        head = self._fitted_head()
        settings = {name: value for name, value in self.get_params().items() if name != "classifier"}
        return StoredDetector(type(self).__name__, settings, self.classifier, head, self.threshold_)

    def _fitted_head(self) -> Any:
        if not hasattr(self, "head_"):
            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet. Call fit(clean, adversarial) first, or get a "
                "fitted one by kf.load_detector(path)."
            )
        return self.head_


def _shown(value: Any) -> str:
    """Returns a setting in one line: of an array its shape."""
    return f"<array {value.shape}>" if isinstance(value, np.ndarray) else repr(value)


def _check_both_kinds(argument: str, is_adversarial: Array) -> None:
    num_adversarial = int(is_adversarial.sum())
    if num_adversarial in (0, len(is_adversarial)):
        found = f"{num_adversarial} adversarial of {len(is_adversarial)}"
        raise ValueError(message(argument, "hold images of both kinds", found))
