"""The solvers by name, and the choice among them. Public as `kf.solvers`."""

from __future__ import annotations

from typing import TypeAlias

from keras_fisher.checks import check_integer, message
from keras_fisher.fisher.likelihoods import Likelihood, SampledCategorical
from keras_fisher.fisher.sampled import Sampled
from keras_fisher.linalg import (
    Dense,
    Eigensolver,
    FixedGolubKahan,
    GolubKahan,
    Gram,
    Lanczos,
    PowerIteration,
    Staged,
)
from keras_fisher.serialization import register

__all__ = ["Dense", "FixedGolubKahan", "GolubKahan", "Gram", "Lanczos", "PowerIteration", "Sampled", "Staged"]

register(Dense, FixedGolubKahan, GolubKahan, Gram, Lanczos, PowerIteration, Sampled, Staged)

Solver: TypeAlias = Eigensolver

SOLVERS: dict[str, Eigensolver] = {
    "exact": Gram(),
    "dense": Dense(),
    "power": PowerIteration(),
    "lanczos": Lanczos(),
    "golub_kahan": GolubKahan(),
    "alias_power": Sampled(PowerIteration()),
    "alias_lanczos": Sampled(Lanczos()),
}

#: Up to here all backward passes at once are the cheapest way to several eigenpairs, and to one.
_MAX_EXACT_OUTPUTS = 64
_MAX_EXACT_FOR_ONE = 5
#: What is tried first for one pair: the space of two vectors, whose pair is mostly right to 0.1 % and says
#: so.
_QUICK = FixedGolubKahan(num_products=4)
#: The solver of "auto" where every step must cost the same and XLA may compile it: in training.
TRAINING_SOLVER = FixedGolubKahan(num_products=3)


def choose_solver(
    solver: str | Eigensolver,
    num_eigenpairs: int | None,
    num_outputs: int,
    output_activation: str = "softmax",
) -> Eigensolver:
    """Returns the solver object for a name; "auto" decides by the numbers of outputs and of eigenpairs.

    Only with the output activation "softmax" is there a good guess to start from.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a solver.
    """
    if isinstance(solver, Eigensolver):
        return solver
    if not isinstance(solver, str):
        raise TypeError(message("solver", "be a name or an object of kf.solvers", type(solver).__name__))
    if solver == "auto":
        return _automatic(num_eigenpairs, num_outputs, output_activation)
    if solver not in SOLVERS:
        names = ", ".join(repr(name) for name in ("auto", *SOLVERS))
        raise ValueError(message("solver", f"be one of {names} or an object of kf.solvers", repr(solver)))
    return SOLVERS[solver]


def _automatic(num_eigenpairs: int | None, num_outputs: int, output_activation: str) -> Eigensolver:
    """Returns the cheapest solver; the gap of each matrix decides between the two of `Staged`."""
    # With few outputs even one pair is no dearer exactly, and the exact answer has no blind spot.
    has_many = num_outputs > _MAX_EXACT_OUTPUTS
    is_one = output_activation == "softmax" and num_eigenpairs == 1
    if num_outputs <= (_MAX_EXACT_FOR_ONE if is_one else _MAX_EXACT_OUTPUTS):
        return SOLVERS["exact"]
    if is_one and not has_many:
        return Staged(_QUICK, SOLVERS["exact"])
    # k of them take about 4 k + 6.
    is_cheaper = num_eigenpairs is not None and num_outputs - 1 <= 4 * num_eigenpairs + 6
    return SOLVERS["exact" if is_cheaper else "golub_kahan"]


def choose_num_eigenpairs(
    solver: Eigensolver, num_eigenpairs: int | None, likelihood: Likelihood, num_outputs: int, num_pixels: int
) -> int:
    """Returns k: what was asked for, if the rank and the solver allow it, or the solver's default.

    Raises:
        TypeError: no integer.
        ValueError: more than there are nonzero eigenvalues, or than the solver can find.
    """
    reason = f"{num_outputs} outputs"
    inner = solver.solver if isinstance(solver, Sampled) else solver
    if isinstance(solver, Sampled):
        likelihood = SampledCategorical(solver.num_samples)
        reason = f"{likelihood.factor_dim(num_outputs)} draws from {num_outputs} classes"
    elif likelihood.output_activation == "softmax":
        reason = f"{num_outputs} classes"
    rank_bound = min(likelihood.rank_bound(num_outputs), num_pixels)
    if num_eigenpairs is None:
        return inner.default_num_eigenpairs(rank_bound)
    most = inner.max_num_eigenpairs(rank_bound)
    if most < rank_bound:
        remedy = f'{type(inner).__name__} finds {most}; use solver="exact" for more.'
        check_integer("num_eigenpairs", num_eigenpairs, 1, remedy=remedy)
        if most < num_eigenpairs <= rank_bound:
            raise ValueError(message("num_eigenpairs", f"be at most {most}", num_eigenpairs, remedy))
    check_integer("num_eigenpairs", num_eigenpairs, 1)
    if num_eigenpairs > rank_bound:
        rule = f"be in [1, {rank_bound}] (rank bound of {reason})"
        raise ValueError(message("num_eigenpairs", rule, num_eigenpairs, "All further eigenvalues are zero."))
    return num_eigenpairs
