"""The interface of every eigensolver, and what they have in common."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from keras_fisher.checks import Settings, message
from keras_fisher.linalg.operators import FactoredOperator, SymmetricOperator
from keras_fisher.linalg.vectors import divide_or_zero
from keras_fisher.typing import Tensor


class Eigenpairs(NamedTuple):
    """The leading eigenpairs of a batch of symmetric positive semi-definite matrices."""

    #: (batch, k) float64, descending, ≥ 0, of A itself, less the scale of the operator.
    eigenvalues: Tensor
    #: (batch, k, dim) unit norm, rows, in the dtype of the operator; or None.
    eigenvectors: Tensor | None
    #: (batch, k, factor_dim) float64, unit norm or zero: R v / ‖R v‖ of a factored A = RᵀR. None where they
    #: were not come by.
    left_vectors: Tensor | None
    #: (batch, k) float64: ‖A v − λ v‖ / λ₁, or a bound on it; 0 where λ₁ = 0.
    residual_norms: Tensor
    #: (batch,) bool: every pair has a residual of at most `tolerance` times its own eigenvalue; Golub–Kahan
    #: says it of the estimated error of the eigenvalue.
    converged: Tensor
    #: (batch,) int32: products with one factor of the operator (R or Rᵀ) made for this matrix.
    num_products: Tensor
    #: (batch,) float64: the eigenvalues meant are e^log_scale times those above.
    log_scale: Tensor


class Eigensolver(Settings, abc.ABC):
    """Finds the leading eigenpairs of a batch of operators. Settings in `__init__`, data in `solve`.

    Solvers are frozen dataclasses: they compare and hash by their settings, which is how compiled
    programs are found again.
    """

    #: Whether all sizes but that of the batch are known before a run, so that XLA compiles it.
    has_static_shapes: ClassVar[bool] = True
    #: Whether a factored operator is needed.
    needs_factor: ClassVar[bool] = False

    @abc.abstractmethod
    def solve(
        self,
        operator: Any,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        """Returns the `num_eigenpairs` leading eigenpairs of each matrix.

        Runs inside a `tf.function`; the batch size may be unknown.

        Args:
            operator: a SymmetricOperator, or a FactoredOperator where `needs_factor`.
            num_eigenpairs: k, at most `operator.rank_bound`.
            eigenvectors: whether to form them; some solvers save work without.
            seed: of the start vector, one for the whole batch, so that an answer does not depend on the
                company that an image keeps.
        """

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns about how many float64 vectors of `dim` numbers are held at once for each matrix."""
        return 2 * num_eigenpairs + 4

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        """Returns how many vectors each matrix is multiplied by at once."""
        return 1

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        """Returns how many pairs are found when the caller names no number."""
        return rank_bound

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        """Returns how many pairs this solver can find."""
        return rank_bound


@dataclasses.dataclass(frozen=True)
class Staged(Eigensolver):
    """A quick solver for all matrices, and a sure one for those on which it has not converged.

    An iterative solver is quick where the top eigenvalue stands apart from the next, and slow or even wrong
    where it does not: which of the two a matrix is shows in the first steps.

    Args:
        first: tries all matrices.
        second: takes those that `first` leaves unconverged.

    Example:
        >>> import tensorflow as tf
        >>> from keras_fisher.linalg import DenseOperator, FixedGolubKahan, Gram, Staged
        >>> matrices = tf.linalg.diag([[3.0, 0.1, 0.0], [3.0, 2.99, 2.98]])
        >>> pairs = Staged(FixedGolubKahan(), Gram()).solve(DenseOperator(matrices), 1)
        >>> [round(float(value), 4) for value in pairs.eigenvalues[:, 0]]
        [3.0, 3.0]
    """

    first: Eigensolver
    second: Eigensolver

    has_static_shapes: ClassVar[bool] = False
    needs_factor: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            solver = getattr(self, name)
            if not isinstance(solver, Eigensolver):
                raise TypeError(message(name, "be an object of kf.solvers", repr(solver)))

    def num_vectors(self, num_eigenpairs: int, rank_bound: int) -> int:
        return max(solver.num_vectors(num_eigenpairs, rank_bound) for solver in (self.first, self.second))

    def num_copies(self, num_eigenpairs: int, rank_bound: int) -> int:
        return max(solver.num_copies(num_eigenpairs, rank_bound) for solver in (self.first, self.second))

    def default_num_eigenpairs(self, rank_bound: int) -> int:
        return self.first.default_num_eigenpairs(rank_bound)

    def max_num_eigenpairs(self, rank_bound: int) -> int:
        return min(solver.max_num_eigenpairs(rank_bound) for solver in (self.first, self.second))

    def solve(
        self,
        operator: FactoredOperator,
        num_eigenpairs: int,
        *,
        eigenvectors: bool = True,
        seed: Tensor | int = 0,
    ) -> Eigenpairs:
        check_factored(self, operator)
        pairs = self.first.solve(operator, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)
        unsolved = tf.cast(tf.where(~pairs.converged)[:, 0], tf.int32)

        def solve_rest() -> list[Tensor]:
            rest = operator.restrict(unsolved)
            part = self.second.solve(rest, num_eigenpairs, eigenvectors=eigenvectors, seed=seed)
            part = part._replace(num_products=part.num_products + tf.gather(pairs.num_products, unsolved))
            return [
                tf.tensor_scatter_nd_update(whole, unsolved[:, None], piece)
                for whole, piece in zip(pairs, part, strict=True)
                if whole is not None
            ]

        # No work at all where nothing is left: an empty batch still goes through a net.
        fields = [name for name, value in pairs._asdict().items() if value is not None]
        kept = [getattr(pairs, name) for name in fields]
        found = tf.cond(tf.size(unsolved) > 0, solve_rest, lambda: kept)
        return pairs._replace(**dict(zip(fields, found, strict=True)))


def check_factored(solver: Eigensolver, operator: SymmetricOperator) -> None:
    """Raises a TypeError for an operator without factors."""
    if not isinstance(operator, FactoredOperator):
        name = type(solver).__name__
        remedy = "Use Lanczos or PowerIteration instead."
        raise TypeError(
            message("operator", f"be a FactoredOperator for {name}", type(operator).__name__, remedy)
        )


def relative_residuals(residuals: Tensor, eigenvalues: Tensor) -> Tensor:
    """Returns (batch, k) residuals over the top eigenvalue; 0 where that is 0."""
    return divide_or_zero(residuals, eigenvalues[:, :1])


def all_converged(residuals: Tensor, eigenvalues: Tensor, tolerance: float) -> Tensor:
    """Returns (batch,) bool: each residual is at most `tolerance` times its own eigenvalue.

    |λ − θ| ≤ ‖A v − θ v‖, so that this certifies every eigenvalue to `tolerance`. Measured against λ₁
    instead, a small eigenvalue could be pure rounding and still pass. Nothing vouches for λ₁ = 0: products in
    which everything cancels or underflows look the same.
    """
    return tf.reduce_all(residuals <= tolerance * eigenvalues, axis=-1) & (eigenvalues[:, 0] > 0)
