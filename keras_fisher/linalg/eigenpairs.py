"""What an eigensolver returns."""

from __future__ import annotations

from typing import NamedTuple

from keras_fisher.typing import Tensor


class Eigenpairs(NamedTuple):
    """The leading eigenpairs of a batch of symmetric positive semi-definite matrices."""

    #: (batch, k) float64, descending, ≥ 0, of A itself, less the scale of the operator.
    eigenvalues: Tensor
    #: (batch, k, dim) float64, unit norm, rows; or None.
    eigenvectors: Tensor | None
    #: (batch, k) float64: ‖A v − λ v‖ / λ₁, or a bound on it; 0 where λ₁ = 0.
    residual_norms: Tensor
    #: (batch,) bool: every pair has a residual of at most `tolerance` times its own eigenvalue; GolubKahan
    #: says it of the estimated error of the eigenvalue.
    converged: Tensor
    #: (batch,) int32: products with one factor of the operator (R or Rᵀ) spent.
    num_products: Tensor
    #: (batch,) float64: the eigenvalues meant are e^log_scale times those above.
    log_scale: Tensor
