"""Detection by the eigenvalues of the Fisher information."""

from __future__ import annotations

import math
import warnings

import keras
import numpy as np
from sklearn.base import BaseEstimator

from keras_fisher.checks import check_integer, check_option
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.detector import Detector
from keras_fisher.fisher import fisher_spectrum
from keras_fisher.fisher.solvers import Solver, choose_solver
from keras_fisher.typing import Array, Images

#: ln 1e-100, what an exact zero counts as, since its logarithm is −∞. Far below what a trained net gives (λ₉
#: of MNIST images goes down to e⁻⁷⁴), near enough that one zero in a column does not ruin its variance.
LOG_FLOOR = math.log(1e-100)

_FEATURES = ("paper",)


class FisherDetector(Detector):
    """Tells adversarial images by the top eigenvalues of the Fisher information in the image.

    Features are natural logarithms of eigenvalues, descending, at least `LOG_FLOOR`. C classes give C − 1 of
    them, ten classes nine: the paper's "top 20" are nine values and eleven zeros. The columns up to
    `num_eigenvalues` are filled with `LOG_FLOOR`, a constant, which no head learns from.

    λ₁ is nearly the confidence of the classifier: compare with `SoftmaxDetector` before giving the
    eigenvalues the credit. Attacks that go deep into the wrong class look clean to both.

    Args:
        classifier: a Classifier or a keras.Model, what is attacked.
        num_eigenvalues: f, the number of features.
        head: "random_forest" (depth at most 5, 100 trees), "gaussian_nb", or an unfitted scikit-learn
            classifier with `predict_proba`, which is cloned.
        features: "paper", the log eigenvalues.
        solver: of `kf.fisher_spectrum`. One that finds fewer eigenvalues needs `num_eigenvalues` to match.
        seed: of the noisy negatives, of a head given by name, and of solvers that start at random.
        batch_size: images at once; None chooses by their size.
        threshold: `predict` answers 1 from this probability on.

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

    def __init__(
        self,
        classifier: Classifier | keras.Model,
        num_eigenvalues: int = 20,
        head: str | BaseEstimator = "random_forest",
        features: str = "paper",
        *,
        solver: str | Solver = "exact",
        seed: int = 0,
        batch_size: int | None = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(classifier, head, seed=seed, batch_size=batch_size, threshold=threshold)
        self.num_eigenvalues = check_integer("num_eigenvalues", num_eigenvalues, 1)
        self.features = check_option("features", features, _FEATURES)
        choose_solver(solver, None, self.classifier.num_classes)
        self.solver = solver

    def features_of(self, images: Images) -> Array:
        """Returns (n, num_eigenvalues) float64: log eigenvalues, descending, padded with `LOG_FLOOR`."""
        spectrum = fisher_spectrum(
            self.classifier,
            images,
            num_eigenpairs=self._num_found(),
            solver=self.solver,
            eigenvectors=False,
            batch_size=self.batch_size,
            seed=self.seed,
        )
        if not spectrum.converged.all():
            warnings.warn(
                f"The eigenvalues of {(~spectrum.converged).sum()} of {len(spectrum)} images did not "
                'converge; the detector goes by what there is. Pass solver="exact", or a solver object with '
                "more iterations.",
                stacklevel=2,
            )
        found = np.maximum(spectrum.log_eigenvalues, LOG_FLOOR)
        padding = ((0, 0), (0, self.num_eigenvalues - found.shape[1]))
        return np.pad(found, padding, constant_values=LOG_FLOOR)

    def _num_found(self) -> int:
        """Returns how many of the eigenvalues can differ from zero: no more than classes − 1, or pixels."""
        shape = self.classifier.image_shape
        num_pixels = self.num_eigenvalues if None in shape else math.prod(side or 1 for side in shape)
        return min(self.num_eigenvalues, self.classifier.num_classes - 1, num_pixels)
