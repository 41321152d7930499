"""The smallest perturbation with which an attack succeeds."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk, concatenate, split
from keras_fisher.attacks.fixed_epsilon_attack import FixedEpsilonAttack, check_fixed_epsilon
from keras_fisher.attacks.judgement import judge
from keras_fisher.checks import check_flag, check_integer, message
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True)
class LeastPerturbation(AttackResult):
    """The least successful perturbation of each image; without one, that at the upper end of the bracket."""

    #: (n,) float64, the attack's epsilon; `norms` are less where clipping took a part.
    epsilons: Array


def least_perturbation(
    attack: FixedEpsilonAttack,
    classifier: Classifier | keras.Model,
    images: Images,
    labels: Labels | None = None,
    bracket: tuple[float, float] = (0.0, 6.0),
    *,
    targets: Labels | None = None,
    num_scanned: int = 24,
    num_refined: int = 8,
    batch_size: int | None = None,
    progress: bool = False,
) -> LeastPerturbation:
    """Returns the least epsilon in the bracket with which the attack fools the classifier, for each image.

    Fooling is not monotone in epsilon, so that bisection alone may return a late success. The bracket is
    scanned upwards in `num_scanned` equal steps to the first success, and the step before it is bisected
    `num_refined` times. Images leave once they are fooled. The answer is exact to
    (upper − lower) / num_scanned / 2^num_refined unless the classifier errs and recovers within one step.

    Args:
        attack: one with an epsilon, which is not used; the other settings are. A `MinimumNormAttack` finds
            the least norm by itself: call it.
        classifier: a Classifier or a keras.Model.
        images: (n, h, w, c) within the bounds, or a Dataset.
        labels: (n,) class indices; None: the Dataset's, or the model's own predictions.
        bracket: (lower, upper) epsilon, 0 ≤ lower < upper. At the lower end success counts as the answer.
        targets: (n,) class indices, of a targeted attack.
        num_scanned: steps of the scan.
        num_refined: bisections.
        batch_size: images at once.
        progress: show a bar.

    Raises:
        TypeError, ValueError: a bad argument, before any work is done.

    Source: Zhao et al. 2019, Table 2 ("binary search in [0.0, 6.0]").
    """
    check_fixed_epsilon(attack)
    check_flag("progress", progress)
    lower, upper = _check_bracket(bracket)
    check_integer("num_scanned", num_scanned, 1)
    check_integer("num_refined", num_refined, 0)
    classifier = as_classifier(classifier)
    everything = attack.gather(classifier, images, labels, targets, batch_size)
    grid = np.linspace(lower, upper, num_scanned + 1)
    chunks = list(split(classifier, everything, batch_size))
    found = [
        _search(attack, classifier, chunk, grid, num_refined)
        for chunk in track(chunks, f"least {type(attack).__name__}", len(chunks), progress)
    ]
    result = judge(everything, concatenate([attempt for attempt, _ in found]))
    epsilons = np.concatenate([epsilons for _, epsilons in found])
    return LeastPerturbation(**vars(result), epsilons=epsilons)


def _check_bracket(bracket: Any) -> tuple[float, float]:
    try:
        lower, upper = (float(end) for end in bracket)
    except (TypeError, ValueError):
        lower = upper = float("nan")
    if not (np.isfinite(upper) and 0 <= lower < upper):
        raise ValueError(message("bracket", "be a pair with 0 <= lower < upper", repr(bracket)))
    return lower, upper


def _search(
    attack: FixedEpsilonAttack, classifier: Classifier, chunk: Chunk, grid: Array, num_refined: int
) -> tuple[Attempt, Array]:
    """Returns the attempts at the least successful epsilon, and the epsilons."""
    prepared = attack.prepare(classifier, chunk)
    count = len(chunk.images)
    best = Attempt(chunk.images.copy(), chunk.labels.copy(), np.zeros(count, np.int64))
    below, above = np.full(count, grid[0]), np.full(count, grid[-1])
    fooled = np.zeros(count, bool)

    def attempt(mask: Array, epsilon: Array) -> Array:
        """Perturbs the images in `mask`, keeps what succeeds, and returns (n,) where that is."""
        part = chunk.select(mask)
        found = attack.perturb(classifier, part, _rows(prepared, mask), epsilon[mask])
        is_kept = part.is_fooled(found.predictions)
        # The attempt at the upper end of an image that nothing fools is kept too: its best.
        is_kept_or_last = is_kept | (epsilon[mask] == grid[-1])
        best.put(np.flatnonzero(mask)[is_kept_or_last], found.select(is_kept_or_last))
        best.num_iterations[mask] += found.num_iterations
        succeeded = np.zeros(count, bool)
        succeeded[mask] = is_kept
        return succeeded

    for epsilon in grid:
        open_images = ~fooled
        if not open_images.any():
            break
        now = attempt(open_images, np.full(count, epsilon))
        above[now] = epsilon
        fooled |= now
        below[~fooled] = epsilon
    # Fooled at the lower end already: nothing to refine.
    refinable = fooled & (above > grid[0])
    for _ in range(num_refined):
        if not refinable.any():
            break
        middle = 0.5 * (below + above)
        now = attempt(refinable, middle)
        above = np.where(refinable & now, middle, above)
        below = np.where(refinable & ~now, middle, below)
    return best, above


def _rows(prepared: Any, mask: Array) -> Any:
    """Returns the part of what `prepare` gave that belongs to the images in `mask`."""
    return None if prepared is None else prepared[mask]
