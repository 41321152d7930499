"""Attacks that know of the detector."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import numpy as np

from keras_fisher.adaptive.detector_oracle import (
    DetectorOracle,
    ScoringDetector,
    SelfJudged,
    check_detector,
    log_odds_of,
)
from keras_fisher.adaptive.evasion_result import EvasionResult
from keras_fisher.adaptive.evasive_carlini_wagner import EvasiveCarliniWagner
from keras_fisher.adaptive.evasive_pgd import EvasivePGD
from keras_fisher.adaptive.score_gradient import DetectorGuide, ScoreGradient, SurrogateGuide
from keras_fisher.attacks import PGD, Attack, Attempt, Batch, CarliniWagner
from keras_fisher.attacks.attack import judge
from keras_fisher.checks import check_option, check_real, message
from keras_fisher.classifiers import Classifier
from keras_fisher.typing import Array

#: Settings by name: two goals need more steps than one.
_METHODS: dict[str, PGD | CarliniWagner] = {
    "pgd": PGD(steps=100),
    "carlini_wagner": CarliniWagner(steps=200, step_size=0.02, binary_search_steps=6),
}


class _EvasionAttempt(NamedTuple):
    """An attempt, with arrays, and what it cost in questions."""

    attempt: Attempt
    num_queries: Array  # (n,) int64


@dataclasses.dataclass(frozen=True)
class DetectorAware(Attack):
    """Fools a classifier and its detector at once: the test that a detector has to stand.

    Its call returns an `EvasionResult`: beside `success` what the detector itself says of the images. A
    detector without a gradient, such as a forest, is attacked by a stand-in that has one
    (`kf.detectors.surrogates.surrogate_of`), or by its scores alone.

    Args:
        target: a surrogate, an object with `log_odds(images)` in a graph, whose gradient is followed; or a
            fitted detector, of which scores alone are asked (`ScoreGradient`, which has settings).
        epsilon: l2 radius of the ball, of "pgd"; None takes that of `method`. "carlini_wagner" has none.
        method: "pgd" (100 steps), "carlini_wagner" (200 steps for each of 6 constants), or a PGD or
            CarliniWagner with settings of its own.
        clip: keep the images within the classifier's bounds.
        targeted: only the class that `targets` names is a success.
        detector: what judges the images. None is the surrogate's own `detector`, or where it has none the
            surrogate.
        weight: of the detector. "pgd": None goes along the classifier's gradient where it does not err yet,
            else along the detector's; a number adds the detector's, of unit norm as the other, times this
            where the detector objects.
            "carlini_wagner": of the penalty max(log odds + confidence, 0); None is 1.
        confidence: by how much the log odds are to lie below the detector's threshold: of the detector itself
            with "pgd", of the surrogate with "carlini_wagner", which asks the detector at the end only.

    Raises:
        TypeError, ValueError: a bad setting, or a detector that is not fitted.

    Source: "pgd" by turns is selective projected gradient descent, Bryniarski, Hingun, Pachuca, Wang and
    Carlini 2021, "Evading adversarial example detection defenses with orthogonal projected gradient descent",
    with l2 steps; of the iterates that fool, the one that the detector finds least adversarial is returned.
    "carlini_wagner" is Carlini and Wagner 2017, "Adversarial examples are not easily detected: bypassing ten
    detection methods", with the detector's penalty beside the classifier's, not as a further class.

    Example:
        >>> import keras_fisher as kf
        >>> from keras_fisher.detectors.surrogates import surrogate_of
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> plain = kf.attacks.PGD(epsilon=2.0)(classifier, images[:40], labels[:40])
        >>> detector = kf.FisherDetector(classifier, head="gaussian_nb")
        >>> detector = detector.fit(images[:40][plain.success], plain.images[plain.success])
        >>> attack = kf.adaptive.DetectorAware(surrogate_of(detector), epsilon=2.0)
        >>> result = attack(classifier, images[40:48], labels[40:48])
        >>> result.evaded.shape, bool(result.evasion_rate > 0.5)
        ((8,), True)
    """

    target: Any
    epsilon: float | None = None
    method: str | PGD | CarliniWagner = "pgd"
    _: dataclasses.KW_ONLY
    detector: Any = None
    weight: float | None = None
    confidence: float = 0.0

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self._has_surrogate and not isinstance(self.target, ScoreGradient):
            check_detector("target", self.target)
        if self.detector is not None:
            check_detector("detector", self.detector)
        if self.weight is not None:
            check_real("weight", self.weight, 0.0, exclusive_minimum=True)
        check_real("confidence", self.confidence, 0.0)
        method = self._method()
        if self.epsilon is not None:
            if isinstance(method, CarliniWagner):
                remedy = "It looks for the least norm: choose by result.norms."
                raise ValueError(message("epsilon", "be None for CarliniWagner", self.epsilon, remedy))
            dataclasses.replace(method, epsilon=self.epsilon)  # checks it
        for name in ("clip", "targeted"):
            found, wanted = getattr(self, name), getattr(method, name)
            if found != wanted:
                remedy = f"Say DetectorAware(..., {name}={wanted}) too."
                raise ValueError(message(name, f"be that of `method`, {wanted}", found, remedy))
        if isinstance(method, CarliniWagner) and not self._has_surrogate:
            remedy = "Make one: kf.detectors.surrogates.surrogate_of(detector, labelled)."
            raise ValueError(message("target", "be a surrogate for CarliniWagner", repr(self.target), remedy))

    def run(self, classifier: Classifier, batch: Batch) -> _EvasionAttempt:
        oracle = DetectorOracle(self.judge, batch.positions)
        attempt = self._attack(oracle).attempt(classifier, batch)
        return _EvasionAttempt(attempt, oracle.num_queries)

    def result(self, batch: Batch, attempt: _EvasionAttempt) -> EvasionResult:
        judged = judge(batch, attempt.attempt)
        scores = np.asarray(self.judge.score_samples(judged.images), np.float64)
        return EvasionResult(
            **{field.name: getattr(judged, field.name) for field in dataclasses.fields(judged)},
            scores=scores,
            undetected=scores < self.judge.threshold_,
            num_queries=attempt.num_queries,
        )

    def lengths(self, batch: Batch) -> dict[str, float]:
        given = {} if self.epsilon is None else {"epsilon": float(self.epsilon)}
        return self._method().lengths(batch) | given

    @property
    def judge(self) -> ScoringDetector:
        """The detector that judges the images."""
        if self.detector is not None:
            return self.detector
        if self._has_surrogate:
            detector = getattr(self.target, "detector", None)
            return SelfJudged(self.target) if detector is None else detector
        return self.target.detector if isinstance(self.target, ScoreGradient) else self.target

    @property
    def _has_surrogate(self) -> bool:
        return hasattr(self.target, "log_odds") and not isinstance(self.target, type)

    def _method(self) -> PGD | CarliniWagner:
        """Returns the settings of the method; those by name have `clip` and `targeted` of this attack.

        Raises:
            ValueError: a name that there is not.
            TypeError: neither a name nor a PGD or CarliniWagner.
        """
        if isinstance(self.method, str):
            remedy = "Or pass a PGD or CarliniWagner with settings."
            method = _METHODS[check_option("method", self.method, _METHODS, remedy)]
            return dataclasses.replace(method, clip=self.clip, targeted=self.targeted)
        if type(self.method) not in (PGD, CarliniWagner):
            rule = f"be one of {', '.join(map(repr, _METHODS))}, or a PGD or CarliniWagner"
            remedy = "Pass an object, not its class." if isinstance(self.method, type) else ""
            raise TypeError(message("method", rule, repr(self.method), remedy))
        return self.method

    def _attack(self, oracle: DetectorOracle) -> EvasivePGD | EvasiveCarliniWagner:
        method = self._method()
        if isinstance(method, CarliniWagner):
            offset = self.confidence - float(log_odds_of(self.judge.threshold_))
            return EvasiveCarliniWagner(method, self.target, self.weight or 1.0, offset)
        if self.epsilon is not None:
            method = dataclasses.replace(method, epsilon=self.epsilon)
        return EvasivePGD(method, self._guide(), oracle, self.weight, self.confidence)

    def _guide(self) -> DetectorGuide:
        if self._has_surrogate:
            return SurrogateGuide(self.target)
        return self.target if isinstance(self.target, ScoreGradient) else ScoreGradient(self.target)
