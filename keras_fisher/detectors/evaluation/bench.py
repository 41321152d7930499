"""Sources, clean and attacked, on which detectors are fitted and measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from keras_fisher.attacks import AttackResult
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation.attacked_sources import AttackedSources, add_noise, check_result
from keras_fisher.detectors.evaluation.calibrated_detector import CalibratedDetector, calibrate_detector
from keras_fisher.detectors.evaluation.cell import Cell
from keras_fisher.detectors.evaluation.feature_cache import FeatureCache
from keras_fisher.detectors.evaluation.measure import measure
from keras_fisher.detectors.evaluation.source_scores import SourceScores, worst_case
from keras_fisher.detectors.evaluation.source_split import SourceSplit
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """Everything that detectors are measured with, the same for all of them."""

    classifier: Classifier
    #: (n, h, w, c), the sources: images that the classifier answers right.
    clean: Array
    #: (n,) int64
    labels: Array
    #: name to n images.
    attacked: dict[str, AttackedSources]
    split: SourceSplit
    false_positive_rates: tuple[float, ...]
    num_resamples: int
    seed: int
    cache: FeatureCache = dataclasses.field(default_factory=FeatureCache)

    def image_sets(self, train_attacks: Iterable[str]) -> Iterator[tuple[Array, Array]]:
        """Yields (images, rows), whose features are needed if these attacks are fitted to."""
        yield self.clean, np.arange(len(self.clean))
        for name, attack in self.attacked.items():
            fit, calibration = self.split.fit[:0], self.split.calibration[:0]
            if name in train_attacks:
                fit, calibration = self.split.fit[attack.is_fitted_to[self.split.fit]], self.split.calibration
            yield attack.noisy, np.concatenate([fit, calibration, self.split.test])
            yield attack.adversarial, np.concatenate([fit, self.split.test])

    def calibrate(self, given: Detector, train_attacks: Sequence[str]) -> CalibratedDetector:
        """Returns a clone of the detector, fitted to these attacks and calibrated."""
        chosen = [self.attacked[name] for name in train_attacks]
        return calibrate_detector(
            given, self.cache, self.clean, chosen, self.split, self.false_positive_rates
        )

    def cells(self, calibrated: CalibratedDetector, detector: str, trained_on: str) -> Iterator[Cell]:
        """Yields the cells of all attacks and of the worst case."""
        scored = {name: self._score(calibrated, attack) for name, attack in self.attacked.items()}
        for name, scores in scored.items():
            successful = scores.select(scores.success)
            yield self._cell(calibrated, successful, detector, trained_on, name, "successful")
            yield self._cell(calibrated, scores, detector, trained_on, name, "all")
        worst = worst_case(list(scored.values()))
        yield self._cell(calibrated, worst, detector, trained_on, None, "worst_case")

    def adaptive_cell(
        self,
        calibrated: CalibratedDetector,
        attack: Callable[[Detector, LabelledImages, Array, Array], AttackResult],
        train_attacks: Sequence[str],
        detector: str,
        trained_on: str,
        name: str,
    ) -> Cell:
        """Returns the cell of an attack that is shown the detector, its images, and the test side."""
        test = self.split.test
        if calibrated.fitted is None:
            nothing = SourceScores(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, bool))
            return self._cell(calibrated, nothing, detector, trained_on, name, "adaptive")
        known = [value for value in calibrated.thresholds.values() if not np.isnan(value)]
        if known:
            # The lowest threshold: what stays below it stays below all.
            calibrated.fitted.threshold_ = min(known)
        clean = self.clean[test]
        result = attack(calibrated.fitted, self._fitted_to(train_attacks), clean, self.labels[test])
        check_result(f"adaptive[{name!r}]", result, self.classifier, clean)
        attacked = add_noise(self.classifier, clean, result.images, result.success, self.seed)
        rows = np.arange(len(test))
        scores = SourceScores(
            calibrated.scores(attacked.adversarial, rows),
            calibrated.scores(self.clean, test),
            calibrated.scores(attacked.noisy, rows),
            attacked.success,
        )
        successful = scores.select(scores.success)
        return self._cell(calibrated, successful, detector, trained_on, name, "adaptive")

    def _fitted_to(self, train_attacks: Sequence[str]) -> LabelledImages:
        """Returns the images that a detector is fitted to; their sources are positions in `clean`."""
        attacks = [self.attacked[name] for name in train_attacks]
        kept = [self.split.fit[attack.is_fitted_to[self.split.fit]] for attack in attacks]
        pairs = list(zip(attacks, kept, strict=True))
        images = [self.clean[rows] for rows in kept]
        images += [attack.noisy[rows] for attack, rows in pairs]
        images += [attack.adversarial[rows] for attack, rows in pairs]
        sources = np.concatenate(kept * 3)
        is_adversarial = np.arange(len(sources)) >= 2 * sum(map(len, kept))
        return LabelledImages(np.concatenate(images), is_adversarial, sources)

    def _score(self, calibrated: CalibratedDetector, attack: AttackedSources) -> SourceScores:
        test = self.split.test
        return SourceScores(
            calibrated.scores(attack.adversarial, test),
            calibrated.scores(self.clean, test),
            calibrated.scores(attack.noisy, test),
            attack.success[test],
        )

    def _cell(
        self,
        calibrated: CalibratedDetector,
        scores: SourceScores,
        detector: str,
        trained_on: str,
        attack: str | None,
        subset: str,
    ) -> Cell:
        measured = measure(
            calibrated,
            scores,
            num_tested=len(self.split.test),
            num_resamples=self.num_resamples,
            seed=self.seed,
        )
        return Cell(detector=detector, trained_on=trained_on, attack=attack, subset=subset, **measured)
