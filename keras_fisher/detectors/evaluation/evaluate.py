"""The evaluation of detectors on attacks that they were, and were not, fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_fisher.artefacts import versions
from keras_fisher.attacks import AttackResult
from keras_fisher.attacks.batch import gather
from keras_fisher.checks import check_flag, check_integer, check_option, suggests_keywords
from keras_fisher.detectors.detector import Detector
from keras_fisher.detectors.evaluation.arguments import (
    check_attacks,
    check_detectors,
    check_mixtures,
    check_names,
    check_one_classifier,
    check_rates,
    describe,
)
from keras_fisher.detectors.evaluation.attacked_sources import AttackedSources, add_noise, check_result
from keras_fisher.detectors.evaluation.bench import Bench
from keras_fisher.detectors.evaluation.evaluation import Evaluation
from keras_fisher.detectors.evaluation.source_split import SIDES, check_fractions, split_sources
from keras_fisher.detectors.labelled_images import LabelledImages
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels


@suggests_keywords
def evaluate(
    detectors: Mapping[str, Detector],
    attacks: Mapping[str, Callable[..., AttackResult] | AttackResult],
    images: Images,
    labels: Labels | None = None,
    *,
    train_attacks: Sequence[str | tuple[str, ...]] | None = None,
    adaptive: Mapping[str, Callable[[Detector, LabelledImages, Array, Array], AttackResult]] | None = None,
    adaptive_on: Sequence[str | tuple[str, ...]] | None = None,
    fit_to: str = "successful",
    fractions: tuple[float, float, float] = (0.4, 0.2, 0.4),
    false_positive_rates: Sequence[float] = (0.01, 0.05, 0.1),
    num_resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Returns how well each detector, fitted to each training attack, tells the images of every attack.

    Images that the classifier gets wrong as they are leave first. The others, the sources, are drawn onto
    three sides, and all versions of a source go with it:

    - fit: the successes of the training attack, or all that it moved, with their clean and noisy versions.
      Noise is Gaussian and as long as the perturbation (see `matched_noise`);
    - calibration: thresholds, from the clean images and the training attack's noise;
    - test, for every attack: its images are positives, the same sources clean and with that attack's noise
      negatives; once for the sources on which it succeeded and once for all. An image that an attack left as
      it was is no success. The worst case takes for each source the successful attack of the least score.

    An attack runs once, features are computed once for each set of images (see `FeatureCache`), and the
    detectors given stay as they are. Where there are fewer than two successes to fit to or to test on, or
    too few calibration images for a rate, numbers are NaN and `Cell.reason` says why.

    Args:
        detectors: name to detector, of any head, fitted or not; all of one classifier.
        attacks: name to an attack, to any callable (classifier, images, labels) → AttackResult, such as
            `functools.partial(kf.attacks.least_perturbation, kf.attacks.FGM())`, or to the AttackResult of
            all `images`. Success is by the result's own account. Adversarial images must be within the
            classifier's bounds: `Classifier(model, bounds=None)` takes any.
        images: (n, h, w, c), in bounds, or a Dataset.
        labels: (n,) class indices; None: the Dataset's, or the model's own predictions.
        train_attacks: names, or tuples of names, each a mixture; None for each attack by itself.
        adaptive: name to a callable (fitted_detector, labelled, images, labels) → AttackResult, an attack
            that knows the detector, such as `DetectorAware`. `labelled` is what the detector was fitted to,
            for a stand-in; images and labels are the test side. `fitted_detector.threshold_` is that of the
            highest false positive rate that could be calibrated: what stays below it stays below all.
        adaptive_on: for which of the training attacks the adaptive ones run; None for the first. Each runs
            once for each detector.
        fit_to: "successful", or "all", failures of the training attack too: what an attack of a fixed epsilon
            makes of images that resist it is to be detected as well.
        fractions: of the sources, for fit, calibration and test.
        false_positive_rates: for which thresholds are calibrated.
        num_resamples: of the bootstrap for the interval of the AUC.
        seed: of the split, the noise and the bootstrap.
        progress: show bars.

    Raises:
        TypeError, ValueError: a bad argument, before any attack runs; or an attack whose result does not fit.

    Source: Zhao et al. 2019, section 4 and Table 4, which fit and test on one attack and give the AUC. The
    three sides, thresholds, every pair of attacks and the worst case are ours.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> detectors = {"softmax": kf.detectors.SoftmaxDetector(classifier, head="gaussian_nb")}
        >>> attacks = {"FGM": kf.attacks.FGM(epsilon=4.0), "OTCM": kf.attacks.OTCM(epsilon=4.0)}
        >>> evaluation = evaluate(detectors, attacks, images[:100], labels[:100], train_attacks=["FGM"])
        >>> cell = evaluation.cell(detector="softmax", trained_on="FGM", attack="OTCM")
        >>> cell.auc > 0.5, cell.subset
        (True, 'successful')
    """
    classifier = check_detectors(detectors)
    check_one_classifier(detectors)
    attacks = check_attacks("attacks", attacks, results=True)
    mixtures = check_mixtures(
        "train_attacks", list(attacks) if train_attacks is None else train_attacks, attacks
    )
    adaptive = {} if adaptive is None else check_attacks("adaptive", adaptive, results=False)
    check_names(attacks, adaptive)
    first = [next(iter(mixtures.values()))]
    shown = check_mixtures("adaptive_on", first if adaptive_on is None else adaptive_on, attacks)
    for trained_on in shown:
        check_option("adaptive_on", trained_on, mixtures, "It is to be one of `train_attacks`.")
    rates = check_rates(false_positive_rates)
    check_option("fit_to", fit_to, ("successful", "all"))
    check_fractions(fractions)
    check_integer("num_resamples", num_resamples, 1)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_flag("progress", progress)
    everything = gather(classifier, images, labels)
    for name, attack in attacks.items():
        if isinstance(attack, AttackResult):
            check_result(f"attacks[{name!r}]", attack, classifier, everything.images)

    is_source = classifier.predict(everything.images) == everything.labels
    bench = Bench(
        classifier=classifier,
        clean=everything.images[is_source],
        labels=everything.labels[is_source],
        attacked={},
        split=split_sources(int(is_source.sum()), fractions, seed),
        false_positive_rates=rates,
        num_resamples=num_resamples,
        seed=seed,
    )
    for name, attack in track(attacks.items(), "Attacks", len(attacks), progress):
        bench.attacked[name] = _attack(f"attacks[{name!r}]", attack, bench, is_source, fit_to)

    sets = list(bench.image_sets({name for mixture in mixtures.values() for name in mixture}))
    needed = [(detector, *image_set) for detector in detectors.values() for image_set in sets]
    for detector, array, rows in track(needed, "Features", len(needed), progress):
        bench.cache.features(detector, array, rows)

    cells = []
    pairs = [(trained_on, name) for trained_on in mixtures for name in detectors]
    for trained_on, name in track(pairs, "Detectors", len(pairs), progress):
        calibrated = bench.calibrate(detectors[name], mixtures[trained_on])
        cells += bench.cells(calibrated, name, trained_on)
        if trained_on in shown:
            for attack_name, attack in adaptive.items():
                cells.append(
                    bench.adaptive_cell(
                        calibrated, attack, mixtures[trained_on], name, trained_on, attack_name
                    )
                )

    sizes = {side: len(getattr(bench.split, side)) for side in SIDES}
    return Evaluation(
        cells=tuple(cells),
        detectors={name: describe(detector) for name, detector in detectors.items()},
        attacks={name: describe(attack) for name, attack in (attacks | adaptive).items()},
        num_sources={"given": len(is_source), "misclassified": int((~is_source).sum())} | sizes,
        false_positive_rates=rates,
        fit_to=fit_to,
        num_resamples=num_resamples,
        seed=seed,
        versions=versions(),
    )


def _attack(argument: str, attack: Any, bench: Bench, is_source: Array, fit_to: str) -> AttackedSources:
    """Returns what the attack makes of the sources, or what of a ready result belongs to them."""
    if isinstance(attack, AttackResult):
        images, success = np.asarray(attack.images)[is_source], np.asarray(attack.success)[is_source]
    else:
        result = attack(bench.classifier, bench.clean, bench.labels)
        check_result(argument, result, bench.classifier, bench.clean)
        images, success = result.images, result.success
    return add_noise(bench.classifier, bench.clean, images, success, bench.seed, fit_to)
