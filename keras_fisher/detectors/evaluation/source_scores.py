"""The scores that a detector gives to the versions of each source."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, eq=False)
class SourceScores:
    """Scores of three versions of each source, higher where more adversarial. Row i is one source."""

    #: (n,) float64.
    adversarial: Array
    #: (n,) float64.
    clean: Array
    #: (n,) float64, of noise as long as the attack's perturbation.
    noisy: Array
    #: (n,) bool, the attack had success on the source.
    success: Array

    def select(self, mask: Array) -> SourceScores:
        """Returns the sources where `mask`, (n,) bool, is True."""
        return SourceScores(*(getattr(self, field.name)[mask] for field in dataclasses.fields(self)))


def worst_case(attacks: Sequence[SourceScores]) -> SourceScores:
    """Returns for each source the successful attack of the least score, with the noise of that attack.

    Sources on which no attack succeeded are left out. Of attacks with equal scores the first is taken.

    Args:
        attacks: at least one, all of the same sources.
    """
    success = np.stack([scores.success for scores in attacks])
    adversarial = np.where(success, np.stack([scores.adversarial for scores in attacks]), np.inf)
    is_attacked = np.asarray(success.any(axis=0))
    chosen = adversarial.argmin(axis=0), np.arange(success.shape[1])
    noisy = np.stack([scores.noisy for scores in attacks])
    worst = SourceScores(adversarial[chosen], attacks[0].clean, noisy[chosen], is_attacked)
    return worst.select(is_attacked)
