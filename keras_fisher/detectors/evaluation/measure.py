"""From scores to what a cell reports."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_fisher.detectors.bootstrap_auc import bootstrap_auc
from keras_fisher.detectors.evaluation.calibrated_detector import MIN_IMAGES, CalibratedDetector
from keras_fisher.detectors.evaluation.roc_points import roc_points
from keras_fisher.detectors.evaluation.source_scores import SourceScores
from keras_fisher.typing import Array


def measure(
    calibrated: CalibratedDetector, scores: SourceScores, *, num_tested: int, num_resamples: int, seed: int
) -> dict[str, Any]:
    """Returns the fields of a `Cell` but its names.

    Args:
        calibrated: what gave the scores.
        scores: of the sources that the cell is about.
        num_tested: sources of the test side, those too that the cell leaves out.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    thresholds, num_sources = calibrated.thresholds, len(scores.adversarial)
    missing = dict.fromkeys(thresholds, float("nan"))
    fields: dict[str, Any] = {
        "num_sources": num_sources,
        "num_successful": int(scores.success.sum()),
        "num_fit": calibrated.num_fit,
        "thresholds": thresholds,
        "tpr": missing,
        "fpr": dict(missing),
        "evasion": dict(missing),
        "reason": calibrated.reason,
    }
    if calibrated.fitted is None:
        return fields
    # An attack without success evades nothing, which is known without an image to test on.
    fields["evasion"] = {
        rate: float("nan") if math.isnan(value) else _num_missed(scores, value) / num_tested
        for rate, value in thresholds.items()
    }
    if num_sources < MIN_IMAGES:
        return fields | {"reason": f"{num_sources} adversarial images to test on"}
    negatives = np.concatenate([scores.clean, scores.noisy])
    everything = np.concatenate([negatives, scores.adversarial])
    is_adversarial = np.repeat([False, True], [len(negatives), num_sources])
    sources = np.tile(np.arange(num_sources), 3)
    auc, interval = bootstrap_auc(is_adversarial, everything, sources, num_resamples=num_resamples, seed=seed)
    unknown = [f"{100 * rate:g} %" for rate, value in thresholds.items() if math.isnan(value)]
    return fields | {
        "auc": auc,
        "interval": interval,
        "tpr": {rate: _share_flagged(scores.adversarial, value) for rate, value in thresholds.items()},
        "fpr": {rate: _share_flagged(negatives, value) for rate, value in thresholds.items()},
        "roc": roc_points(is_adversarial, everything),
        "reason": f"too few calibration images for {', '.join(unknown)}" if unknown else "",
    }


def _num_missed(scores: SourceScores, threshold: float) -> int:
    """Returns how many successes are not flagged."""
    return int((scores.success & (scores.adversarial < threshold)).sum())


def _share_flagged(scores: Array, threshold: float) -> float:
    """Returns the share of scores that reach the threshold; NaN without one."""
    return float("nan") if math.isnan(threshold) else float((scores >= threshold).mean())
