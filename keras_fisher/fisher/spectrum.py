"""What `fisher_spectrum` returns."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_fisher.checks import KnowsKeywords
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, repr=False)
class Spectrum(KnowsKeywords):
    """The leading eigenpairs of the Fisher information of each image, as NumPy arrays."""

    #: (n, k) float64, descending, ≥ 0, in nats per squared unit of input.
    eigenvalues: Array
    #: (n, k, h, w, c) in the dtype of the model, unit l2 norm, sign arbitrary; or None.
    eigenvectors: Array | None
    #: (n, k) ‖G v − λ v‖ / λ₁, "golub_kahan" a bound on it; 0 where λ₁ is 0. "exact" has that of its small
    #: matrix: the rounding of the passes, some 1e-6 in float32 and more at a kink, is not in it.
    residual_norms: Array
    #: (n,) bool. Iterative solvers: the residual of every pair is at most the tolerance times its own
    #: eigenvalue ("golub_kahan": the estimated error of λ is). "exact" and "dense": always, if finite.
    converged: Array
    #: (n,) int: backward passes spent (a double backward pass counts as one): a gradient attack pays one.
    num_backward: Array
    #: (n, k) natural logarithm of the eigenvalues, finite also where all of them underflow because the
    #: classifier is so sure. Below about 1e-16 λ₁ an eigenvalue is rounding, and −inf if it came out as zero.
    log_eigenvalues: Array

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def __repr__(self) -> str:
        num_images, num_eigenpairs = self.eigenvalues.shape
        shown = f"n={num_images}, num_eigenpairs={num_eigenpairs}"
        if num_images:
            quartiles = np.sort(self.eigenvalues[:, 0])[[num_images * part // 4 for part in (1, 2, 3)]]
            shown += f", λ₁ quartiles={' / '.join(f'{value:.3g}' for value in quartiles)}"
            shown += f", converged={self.converged.mean():.3g}"
        return f"Spectrum({shown})"
