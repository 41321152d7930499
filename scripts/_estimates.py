"""Numbers with their 95 % intervals, as the results have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats

import keras_fisher as kf

Estimate = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sample:
    """A number estimated from a sample, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> Estimate:
        """Returns the fields; what is not finite is None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()} | {
            "n": int(self.n)
        }


def mean(values: np.ndarray) -> Estimate:
    """Returns the mean with its interval by Student's t."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return Sample(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values)).to_json()
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return Sample(values.mean(), values.mean() - half, values.mean() + half, len(values)).to_json()


def share(is_counted: np.ndarray) -> Estimate:
    """Returns the share of True with its interval by Wilson, in percent."""
    count, n = int(np.sum(is_counted)), len(is_counted)
    if not n:
        return Sample(np.nan, np.nan, np.nan, 0).to_json()
    interval = scipy.stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    return Sample(100 * count / n, 100 * interval.low, 100 * interval.high, n).to_json()


def bootstrap(
    statistic: Callable[..., float], *samples: np.ndarray, seed: int = 0, num_resamples: int = 1000
) -> Estimate:
    """Returns a statistic of paired samples with its percentile interval over images drawn anew."""
    generator = np.random.default_rng(seed)
    n = len(samples[0])
    drawn = [
        statistic(*(sample[rows] for sample in samples))
        for rows in generator.integers(n, size=(num_resamples, n))
    ]
    # "nearest": a number between a finite and an infinite one is none.
    low, high = np.percentile(drawn, [2.5, 97.5], method="nearest")
    return Sample(statistic(*samples), float(low), float(high), n).to_json()


def median(values: np.ndarray) -> Estimate:
    """Returns the median with its bootstrap interval."""
    return bootstrap(lambda drawn: float(np.median(drawn)), values)


def spearman(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Returns the rank correlation with its bootstrap interval."""
    return bootstrap(lambda a, b: float(scipy.stats.spearmanr(a, b).statistic), first, second)


def pearson(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Returns the linear correlation with its bootstrap interval."""
    return bootstrap(lambda a, b: float(np.corrcoef(a, b)[0, 1]), first, second)


def auc(
    is_adversarial: np.ndarray, scores: np.ndarray, sources: np.ndarray, num_sources: int, seed: int = 0
) -> Estimate:
    """Returns the AUC in percent with its bootstrap interval over sources."""
    value, (low, high) = kf.detectors.bootstrap_auc(is_adversarial, scores, sources, seed=seed)
    return Sample(100 * value, 100 * low, 100 * high, num_sources).to_json()


def auc_of(cell: kf.detectors.Cell) -> Estimate:
    """Returns the AUC of a cell in percent, n its number of sources."""
    low, high = cell.interval
    return Sample(100 * cell.auc, 100 * low, 100 * high, cell.num_sources).to_json()
