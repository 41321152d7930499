"""Detection by the eigenvalues of the Fisher information."""

from __future__ import annotations

from typing import Any

import keras
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_integer, check_option, message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.feature_detector import FeatureDetector, rank_bound
from keras_fisher.detectors.features import EXTENSION, Feature, LogEigenvalues
from keras_fisher.fisher.solvers import Solver, choose_solver

_FEATURES = ("paper", "extended")


class FisherDetector(FeatureDetector):
    """Tells adversarial images by the eigenvalues of the Fisher information in the image.

    The paper's features are natural logarithms of the largest eigenvalues. C classes give C − 1 of them, ten
    classes nine: the paper's "top 20" are nine values and eleven zeros. The columns up to `num_eigenvalues`
    hold ln 1e-100, a constant, which no head learns from.

    λ₁ is nearly the confidence of the classifier: compare with `SoftmaxDetector` before giving the
    eigenvalues the credit. Attacks that go deep into the wrong class look clean to both, and less so to the
    extended features: from the same Jacobian the spectra at softmax temperatures 5, 20 and infinity (J Jᵀ
    without p), trace, spectral entropy and log-probabilities; from a lightly blurred image the change of the
    log eigenvalues and the divergence of the prediction. They cost twice the passes.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        num_eigenvalues: how many of the largest eigenvalues the head is given.
        head: "random_forest" (depth at most 5, 100 trees), "gaussian_nb", "logistic_regression" on
            standardised features, "ydf_random_forest", "ydf_gradient_boosted_trees" (the extra `trees`), or
            an unfitted scikit-learn classifier with `predict_proba`, which is cloned.
        features: "paper", the log eigenvalues; "extended"; or a tuple of objects of `kf.detectors.features`.
        solver: of `kf.fisher_spectrum`. One that finds fewer eigenvalues needs `num_eigenvalues` to match.
            Spectra at other temperatures are always exact.
        seed: of the noisy negatives, of a head given by name, and of solvers that start at random.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on, unless `calibrate` finds another.

    Raises:
        TypeError, ValueError: a bad setting; see Classifier for models.

    Source: Zhao et al. 2019, section 4. We take logarithms, which naive Bayes needs and forests do not mind,
    noise as long as the attack's step after clipping, and give both classes the same weight.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> result = kf.attacks.OSSA(epsilon=4.0)(classifier, images[:60], labels[:60])
        >>> detector = kf.FisherDetector(classifier)
        >>> detector = detector.fit(images[:60][result.success], result.images[result.success])
        >>> detector.score_samples(images[60:]).shape
        (940,)
    """

    @suggests_keywords
    def __init__(
        self,
        classifier: Classifier | keras.Model,
        num_eigenvalues: int = 20,
        head: str | BaseEstimator = "random_forest",
        features: str | tuple[Feature, ...] = "paper",
        *,
        solver: str | Solver = "exact",
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self.num_eigenvalues = check_integer("num_eigenvalues", num_eigenvalues, 1)
        self.features = _check_features(features)
        choose_solver(solver, None, self.classifier.num_classes)
        self.solver = solver
        for feature in self.feature_objects:
            feature.check_image_shape(self.classifier.image_shape)

    @property
    def feature_objects(self) -> tuple[Feature, ...]:
        """The features, whose columns stand side by side in this order."""
        if not isinstance(self.features, str):
            return self.features
        paper = LogEigenvalues(count=self.num_eigenvalues)
        return (paper,) if self.features == "paper" else (paper, *EXTENSION)

    @property
    def num_eigenvalues_shown(self) -> int:
        """How many eigenvalues the exported detector returns: those that are features, without padding."""
        return min(self.num_eigenvalues, rank_bound(self.classifier))

    @property
    def eigensolver(self) -> Solver:
        """What finds the eigenvalues at temperature one."""
        return choose_solver(self.solver, None, self.classifier.num_classes)


def _check_features(features: Any) -> Any:
    """Returns `features`: a name, or a tuple of objects.

    Raises:
        ValueError: a name that there is not, or an empty tuple.
        TypeError: anything else.
    """
    if isinstance(features, str):
        return check_option("features", features, _FEATURES, "Or pass a tuple of kf.detectors.features.")
    rule = f"be one of {', '.join(map(repr, _FEATURES))}, or a tuple of objects of kf.detectors.features"
    if not isinstance(features, tuple) or not all(isinstance(feature, Feature) for feature in features):
        remedy = "Pass an object, not its class." if isinstance(features, type) else ""
        raise TypeError(message("features", rule, repr(features), remedy))
    if not features:
        raise ValueError(message("features", rule, "an empty tuple"))
    return features
