"""The smallest perturbation with which an attack succeeds."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack import (
    FixedEpsilonAttack,
    check_fixed_epsilon,
    judge,
    warn_of_short_lengths,
)
from keras_fisher.attacks.attempt import AttackResult, Attempt, concatenate, to_arrays
from keras_fisher.attacks.batch import Batch
from keras_fisher.attacks.image_ops import pixel_range
from keras_fisher.checks import check_flag, check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels

#: The upper end of the bracket where none is given, in ranges of the pixels: the paper's.
_UPPER = 6.0


@dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
class LeastPerturbation(AttackResult):
    """The least successful perturbation of each image; `images` of a failure are its best attempt.

    `norms` of a failure are NaN: nothing in the bracket is known to be enough.
    """

    #: (n,) float64, the attack's epsilon, NaN of a failure; `norms` are less where clipping took a part.
    epsilons: Array


@suggests_keywords
def least_perturbation(
    attack: FixedEpsilonAttack,
    classifier: Classifier | keras.Model,
    images: Images,
    labels: Labels | None = None,
    bracket: tuple[float, float] | None = None,
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
        bracket: (lower, upper) epsilon, 0 ≤ lower < upper; None is 0 to 6 ranges of the pixels, the paper's
            (0.0, 6.0) for pixels in [0, 1]. At the lower end success counts as the answer.
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
    if bracket is not None:
        _check_bracket(bracket)
    check_integer("num_scanned", num_scanned, 1)
    check_integer("num_refined", num_refined, 0)
    classifier = as_classifier(classifier)
    everything = attack.gather(classifier, images, labels, targets, batch_size)
    lower, upper = (0.0, _UPPER * pixel_range(classifier.bounds)) if bracket is None else bracket
    warn_of_short_lengths({"bracket": upper}, classifier)
    grid = np.linspace(lower, upper, num_scanned + 1)
    batches = list(everything.split(batch_size or classifier.default_batch_size()))
    found = [
        _search(attack, classifier, batch, grid, num_refined)
        for batch in track(batches, f"least {type(attack).__name__}", len(batches), progress)
    ]
    attempt, epsilons = concatenate(found)
    result = vars(judge(everything, attempt))
    # A success of the attack, which may ask for more than a wrong answer.
    norms = np.where(result["success"], result["norms"], np.nan)
    epsilons = np.where(result["success"], epsilons, np.nan)
    return LeastPerturbation(**(result | {"norms": norms}), epsilons=epsilons)


def _check_bracket(bracket: Any) -> tuple[float, float]:
    try:
        lower, upper = (float(end) for end in bracket)
    except (TypeError, ValueError):
        lower = upper = float("nan")
    if not (np.isfinite(upper) and 0 <= lower < upper):
        raise ValueError(message("bracket", "be a pair with 0 <= lower < upper", repr(bracket)))
    return lower, upper


def _search(
    attack: FixedEpsilonAttack, classifier: Classifier, batch: Batch, grid: Array, num_refined: int
) -> tuple[Attempt, Array]:
    """Returns the attempts at the least successful epsilon, and the epsilons."""
    prepared = attack.prepare(classifier, batch)
    count = len(batch)
    best = to_arrays(Attempt.none(tf.constant(batch.images)))
    has_any = False
    below, above = np.full(count, grid[0]), np.full(count, grid[-1])
    fooled = np.zeros(count, bool)

    def attempt(mask: Array, epsilon: Array) -> Array:
        """Perturbs the images in `mask`, keeps what succeeds, and returns (n,) where that is."""
        nonlocal best, has_any
        rows = np.flatnonzero(mask)
        part = tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), prepared)
        found = attack.attempt(classifier, batch.select(rows), part, epsilon[rows])
        if not has_any:  # The scan begins with all images.
            best, has_any = found, True
            return found.is_success
        spent = best.num_iterations[rows] + found.num_iterations
        # The attempt at the upper end of an image that nothing fools is kept too: its best.
        is_kept = found.is_success | (epsilon[rows] == grid[-1])
        clean = best.clean_predictions[rows]
        for whole, new in zip(best, found, strict=True):
            whole[rows[is_kept]] = new[is_kept]
        best.num_iterations[rows], best.clean_predictions[rows] = spent, clean
        succeeded = np.zeros(count, bool)
        succeeded[rows] = found.is_success
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
