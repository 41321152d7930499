"""The share of images fooled, against epsilon or iterations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_fisher.attacks.attack import FixedEpsilonAttack, check_fixed_epsilon, warn_of_short_lengths
from keras_fisher.attacks.batch import Batch
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.checks import KnowsKeywords, check_flag, check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True, repr=False)
class FoolingCurve(KnowsKeywords):
    """Which images are fooled at each epsilon, or after each number of iterations."""

    #: (m,) float64 epsilons, or int64 numbers of iterations, as given.
    values: Array
    #: (m, n) bool.
    success: Array

    @property
    def rates(self) -> Array:
        """(m,) successes over all images."""
        return self.success.mean(axis=1)

    def __repr__(self) -> str:
        ends = f"{self.values[0]:g} to {self.values[-1]:g}, rates={self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"FoolingCurve(n={self.success.shape[1]}, {len(self.values)} values={ends})"


@suggests_keywords
def fooling_curve(
    attack: FixedEpsilonAttack,
    classifier: Classifier | keras.Model,
    images: Images,
    labels: Labels | None = None,
    epsilons: Sequence[float] | Array | None = None,
    *,
    iterations: Sequence[int] | Array | None = None,
    targets: Labels | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> FoolingCurve:
    """Returns the images that an attack fools at each epsilon, or within each number of iterations.

    Over epsilons, what does not depend on epsilon is computed once. Over iterations a single run of the most
    iterations tells them all: an image counts from the first iteration at which it is fooled.

    Args:
        attack: one with an epsilon; over iterations an iterative one with a `step_size`.
        classifier: a Classifier or a keras.Model.
        images: (n, h, w, c) within the bounds, or a Dataset.
        labels: (n,) class indices; None: the Dataset's, or the model's own predictions.
        epsilons: l2 norms, at least 0, in place of the attack's own.
        iterations: numbers of iterations, at least 0, in place of the attack's own `steps`.
        targets: (n,) class indices, of a targeted attack.
        batch_size: images at once.
        progress: show a bar.

    Raises:
        TypeError, ValueError: a bad argument; neither or both of `epsilons` and `iterations`.

    Source: Zhao et al. 2019, Figure 2.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> model = kf.models.lenet5(weights="mnist")
        >>> curve = kf.attacks.fooling_curve(kf.attacks.FGM(), model, images[:20], labels[:20], [0.0, 6.0])
        >>> curve.rates.shape, bool(curve.rates[0] < curve.rates[1])
        ((2,), True)
    """
    check_fixed_epsilon(attack)
    check_flag("progress", progress)
    if (epsilons is None) == (iterations is None):
        found = "neither" if epsilons is None else "both"
        raise ValueError(message("epsilons", "be given, or else `iterations`", found))
    values = _check_values("epsilons" if iterations is None else "iterations", epsilons, iterations)
    if iterations is not None:
        attack = _over_iterations(attack, int(values.max()))
    classifier = as_classifier(classifier)
    everything = attack.gather(classifier, images, labels, targets, batch_size)
    if iterations is None:
        warn_of_short_lengths({"epsilons": float(values.max())}, classifier)
    batches = list(everything.split(batch_size or classifier.default_batch_size()))
    parts = [
        _successes(attack, classifier, batch, values, iterations is not None)
        for batch in track(batches, f"{type(attack).__name__} curve", len(batches), progress)
    ]
    return FoolingCurve(values, np.concatenate(parts, axis=1))


def _successes(
    attack: FixedEpsilonAttack, classifier: Classifier, batch: Batch, values: Array, over_iterations: bool
) -> Array:
    """Returns (m, n) bool."""
    prepared, count = attack.prepare(classifier, batch), len(batch)
    if over_iterations:
        found = attack.attempt(classifier, batch, prepared, np.full(count, attack.radius(classifier.bounds)))
        return found.is_success & (found.num_iterations <= values[:, None])
    epsilons = [np.full(count, epsilon) for epsilon in values]
    return np.stack([attack.attempt(classifier, batch, prepared, row).is_success for row in epsilons])


def _check_values(name: str, epsilons: Any, iterations: Any) -> Array:
    given = epsilons if iterations is None else iterations
    rule = "be a sequence of numbers of at least 0"
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(message(name, rule, repr(given))) from error
    if values.ndim != 1 or not values.size or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(message(name, rule, repr(given)))
    if iterations is None:
        return values
    return np.array([check_integer("iterations", number, 0) for number in iterations], np.int64)


def _over_iterations(attack: FixedEpsilonAttack, most: int) -> IterativeAttack:
    """Returns the attack with `most` iterations, one whose first success can be told."""
    if not isinstance(attack, IterativeAttack):
        raise TypeError(message("attack", "be iterative for a curve over iterations", type(attack).__name__))
    if attack.step_size is None:
        remedy = "With None it depends on the number of steps."
        raise ValueError(message("step_size", "be set for a curve over iterations", None, remedy))
    if not attack.early_stop:
        raise ValueError(message("early_stop", "be True for a curve over iterations", False))
    if attack.restarts > 1:
        raise ValueError(message("restarts", "be 1 for a curve over iterations", attack.restarts))
    return dataclasses.replace(attack, steps=max(most, 1))
