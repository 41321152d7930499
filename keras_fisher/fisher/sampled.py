"""A solver on the paper's Monte Carlo estimate."""

from __future__ import annotations

import dataclasses

from keras_fisher.checks import check_integer, message
from keras_fisher.linalg import Eigensolver


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Runs a solver on the FIM estimated from classes drawn by the alias method (softmax outputs only).

    The residual and `converged` of the answer are measured against the *true* FIM, so that a bad estimate
    says so; that costs two passes an eigenpair on top.

    Args:
        solver: what finds the eigenpairs of the estimate.
        num_samples: draws for an image; None is a fifth of the classes, at least two (the paper's choice).

    Source: Zhao et al. 2019, Table 1, "Alias + Lanczos" and "Alias + power iteration".
    """

    solver: Eigensolver
    num_samples: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.solver, Eigensolver):
            raise TypeError(message("solver", "be an Eigensolver", type(self.solver).__name__))
        if self.num_samples is not None:
            check_integer("num_samples", self.num_samples, 1)
