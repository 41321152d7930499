"""One number of an evaluation with all that belongs to it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from keras_fisher.checks import KnowsKeywords

#: Which images of the test side a cell is about.
SUBSETS = ("successful", "all", "worst_case", "adaptive")
_NAN = float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell(KnowsKeywords):
    """How well one detector, fitted to one attack, tells the images of another from clean and noisy ones.

    Each test source gives one adversarial image, a positive, and two negatives: itself, and noise of the
    norm of the perturbation. What is not available is NaN, and `reason` says why.
    """

    #: the name given to `evaluate`.
    detector: str
    #: the attack, or several joined by " + ", whose successes the detector was fitted to.
    trained_on: str
    #: what it was tested on; None for the worst case over all attacks.
    attack: str | None
    #: "successful": sources on which the attack had success; "all": all of the test side; "worst_case": for
    #: each source the successful attack of the least score; "adaptive": the successes of an attack that knew
    #: the fitted detector.
    subset: str
    #: number of sources; as many adversarial images, twice as many negatives.
    num_sources: int
    #: sources among them on which the attack had success.
    num_successful: int
    #: adversarial images that the detector was fitted to.
    num_fit: int
    #: in [0, 1].
    auc: float = _NAN
    #: (low, high), 95 %, bootstrap over sources.
    interval: tuple[float, float] = (_NAN, _NAN)
    #: asked false positive rate to the threshold that has it on the negatives of the calibration side.
    thresholds: dict[float, float] = dataclasses.field(default_factory=dict)
    #: asked false positive rate to the share of adversarial images flagged.
    tpr: dict[float, float] = dataclasses.field(default_factory=dict)
    #: asked false positive rate to that realised on the negatives of this cell. Only those of "all" are a
    #: sample like the calibration side: sources that attacks fool are nearer to the boundary, clean too.
    fpr: dict[float, float] = dataclasses.field(default_factory=dict)
    #: asked false positive rate to the share of *all* test sources on which the attack fooled the classifier
    #: and was not flagged.
    evasion: dict[float, float] = dataclasses.field(default_factory=dict)
    #: (false positive rates, true positive rates), points of the ROC curve; empty where there is none.
    roc: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    #: why numbers are missing; empty if none is.
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON has them: NaN is None, rates are strings."""
        return {field.name: _to_json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Cell:
        """Returns the cell that `to_json` described."""
        read = dict(fields)
        read["auc"] = _number(read["auc"])
        low, high = read["interval"]
        read["interval"] = _number(low), _number(high)
        for name in ("thresholds", "tpr", "fpr", "evasion"):
            read[name] = {float(rate): _number(value) for rate, value in read[name].items()}
        first, second = read["roc"]
        read["roc"] = tuple(first), tuple(second)
        return cls(**read)


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {repr(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: float | None) -> float:
    return _NAN if value is None else float(value)
