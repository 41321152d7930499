"""The demo: its numbers are those of the library, and its figure can be read."""

import dataclasses
import io
import itertools
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from rich.console import Console

import keras_fisher as kf
from keras_fisher import demo
from keras_fisher.demo.run import NUM_REFINED, NUM_SCANNED

NUM_IMAGES = 63  # 19 and 55 are fooled: an odd number does not split in equal halves.


@pytest.fixture(scope="module")
def report():
    return demo.run_demo(NUM_IMAGES)


@pytest.fixture(scope="module")
def correct(classifier, sample):
    """The images and labels that the attacks start from."""
    images, labels = (array[:NUM_IMAGES] for array in sample)
    keep = classifier.predict(images) == labels
    return images[keep], labels[keep]


@pytest.fixture(scope="module")
def ossa(classifier, correct):
    return kf.attacks.OSSA(epsilon=2.0)(classifier, *correct)


def test_accuracy_counts_the_correct_images(report, correct):
    assert (report.num_images, report.num_correct) == (NUM_IMAGES, len(correct[0]))
    assert 0 < report.num_correct < NUM_IMAGES


@pytest.mark.parametrize(
    ("name", "attack"),
    [("FGM", kf.attacks.FGM), ("OSSA", kf.attacks.OSSA), ("random noise", kf.attacks.RandomNoise)],
)
def test_fooling_counts_are_those_of_the_attack(report, classifier, correct, name, attack):
    counts = next(fooling.num_fooled for fooling in report.fooling if fooling.attack == name)
    assert len(counts) == len(report.epsilons) == 6
    for epsilon in (1.0, 3.0):
        expected = attack(epsilon=epsilon)(classifier, *correct).success.sum()
        assert counts[report.epsilons.index(epsilon)] == expected


def test_fooling_grows_with_epsilon_and_noise_fools_less(report):
    fgm, ossa, noise = (fooling.num_fooled for fooling in report.fooling)
    assert ossa[0] < ossa[2] < ossa[5]
    assert noise[5] < min(fgm[5], ossa[5])


def test_least_norms_are_those_of_the_library_without_clipping(report, classifier, correct):
    fgm, ossa, noise = report.least_norms
    steps = {"num_scanned": NUM_SCANNED, "num_refined": NUM_REFINED}
    for clip in (False, True):
        attack = kf.attacks.FGM(clip=clip)
        least = kf.attacks.least_perturbation(attack, classifier, *correct, report.bracket, **steps)
        assert (least.mean_norm == fgm.mean_norm) == (not clip)
        assert (least.success.sum() == fgm.num_fooled) == (not clip)
    assert 0.9 * report.num_correct < fgm.num_fooled == ossa.num_fooled
    assert noise.num_fooled < 0.1 * report.num_correct


def test_detector_scores_are_those_of_holdout_auc(report, classifier, correct, ossa):
    clean, adversarial = correct[0][ossa.success], ossa.images[ossa.success]
    noisy = kf.detectors.matched_noise(classifier, clean, ossa.norms[ossa.success], report.seed)
    detectors = {
        "eigenvalues, random forest": kf.FisherDetector(classifier),
        "eigenvalues, naive Bayes": kf.FisherDetector(classifier, head="gaussian_nb"),
        "softmax, random forest": kf.detectors.SoftmaxDetector(classifier),
    }
    expected = kf.detectors.holdout_auc(detectors, clean, adversarial, noisy)
    scores = report.detections[0].scores
    assert [score.detector for score in scores] == list(expected)
    for score, wanted in zip(scores, expected.values(), strict=True):
        assert dataclasses.astuple(wanted) == (score.auc, score.num_train, score.num_test, score.interval)
        assert score.num_train + score.num_test == len(clean)
        assert 0.5 < score.auc <= 1.0


def test_eigenvalues_are_those_of_fisher_spectrum(report, classifier, correct, ossa):
    detection = report.detections[0]
    np.testing.assert_allclose(detection.norms, ossa.norms[ossa.success], rtol=1e-6)
    for found, images in ((detection.clean, correct[0]), (detection.adversarial, ossa.images)):
        spectrum = kf.fisher_spectrum(classifier, images[ossa.success], eigenvectors=False)
        # float32 passes, λ₁ to about 1e-4 of itself.
        np.testing.assert_allclose(found, np.log10(spectrum.eigenvalues[:, 0]), atol=1e-3)


def test_attack_raises_the_largest_eigenvalue_and_noise_does_not_as_much(report):
    for detection in report.detections:
        clean, noisy, adversarial = (
            np.median(part) for part in (detection.clean, detection.noisy, detection.adversarial)
        )
        assert clean < adversarial - 1
        assert noisy < adversarial - 1


def test_examples_are_what_the_net_says(report, classifier, correct):
    images, labels = correct
    assert len(report.examples) == len(np.unique(labels)) == 10
    for digit, example in enumerate(report.examples):
        pair = np.stack([example.original, example.adversarial])[..., np.newaxis]
        assert list(classifier.predict(pair)) == [digit, example.adversarial_prediction]
        assert example.prediction == digit != example.adversarial_prediction
        # Images are float32.
        assert np.linalg.norm(pair[1] - pair[0]) == pytest.approx(example.norm, rel=1e-5)
        spectrum = kf.fisher_spectrum(classifier, pair, eigenvectors=False)
        found = [example.log_eigenvalue, example.adversarial_log_eigenvalue]
        np.testing.assert_allclose(found, np.log10(spectrum.eigenvalues[:, 0]), atol=1e-3)
        assert (images == pair[0]).all(axis=(1, 2, 3)).sum() == 1


@pytest.mark.slow
def test_same_seed_repeats_every_number(report):
    for first, second in zip(_numbers(report), _numbers(demo.run_demo(NUM_IMAGES)), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_another_seed_has_other_noise_and_the_same_attacks(report):
    other = demo.run_demo(NUM_IMAGES, seed=1)
    for detection, others in zip(report.detections, other.detections, strict=True):
        np.testing.assert_array_equal(detection.adversarial, others.adversarial)
        assert np.all(detection.noisy != others.noisy)
    assert report.fooling[:2] == other.fooling[:2]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_images": 49}, ValueError, r"`num_images` must be in \[50, 1000\], got 49"),
        ({"num_images": 1001}, ValueError, r"`num_images` must be in \[50, 1000\], got 1001"),
        ({"num_images": 60.0}, TypeError, "`num_images` must be an integer"),
        ({"seed": -1}, ValueError, "`seed` must be in"),
        ({"progress": 1}, TypeError, "`progress` must be True or False"),
    ],
)
def test_bad_argument_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        demo.run_demo(**arguments)


def test_tables_hold_the_numbers_of_the_report(report):
    printed = _printed(report)
    assert re.search(
        rf"lenet5 +{NUM_IMAGES} +{report.num_correct} +{100 * report.num_correct / NUM_IMAGES:.1f}", printed
    )
    for fooling in report.fooling:
        rates = (f"{100 * count / report.num_correct:.1f}" for count in fooling.num_fooled)
        assert re.search(" +".join([fooling.attack, *rates]), printed)
    for least in report.least_norms:
        assert re.search(rf"{least.attack} +{least.mean_norm:.2f} +{least.num_fooled}", printed)
    for score in itertools.chain(*(detection.scores for detection in report.detections)):
        low, high = (f"{100 * end:.1f}" for end in score.interval)
        row = rf"{score.detector} +{100 * score.auc:.1f} +{low} – {high} +{score.num_test}"
        assert re.search(row, printed)
    for detection in report.detections:
        median = re.escape(f"{np.median(10**detection.adversarial):.1e}"[:2])
        assert re.search(rf"{detection.setting} .*{median}.* {len(detection.clean)}\b", printed)


def test_tables_say_that_softmax_does_as_well(report):
    assert "A forest on softmax probabilities does about as well" in _printed(report)


def test_least_norm_of_an_attack_that_fools_nothing_is_no_number(report):
    nothing = dataclasses.replace(report, least_norms=(demo.LeastNorm("nothing", float("nan"), 0),))
    assert re.search(r"nothing +– +0 +0\.0", _printed(nothing))


def test_figure_is_a_png_of_its_size(report, tmp_path):
    path = demo.write_figure(report, tmp_path / "figure.png")
    assert path == tmp_path / "figure.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert imread(path).shape == (1100, 1600, 4)
    assert path.stat().st_size < 400_000


def test_figure_shows_both_predictions_and_no_text_overlaps(report):
    figure = demo.draw_figure(report)
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    shown = [text.get_text() for text in texts]
    for example in report.examples:
        assert f"{example.prediction}" in shown
        assert f"{example.prediction} → {example.adversarial_prediction}" in shown
        assert f"norm {example.norm:.2f}" in shown
    boxes = [text.get_window_extent() for text in texts]
    for first, second in itertools.combinations(range(len(texts)), 2):
        assert not boxes[first].overlaps(boxes[second]), (shown[first], shown[second])
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= 1600
        assert box.y1 <= 1100


def test_perturbations_share_one_scale_around_zero(report):
    figure = demo.draw_figure(report)
    maps = [image for axes in figure.axes for image in axes.get_images() if image.get_cmap().name == "RdBu_r"]
    assert len(maps) == len(report.examples)
    largest = max(np.abs(example.adversarial - example.original).max() for example in report.examples)
    for image in maps:
        assert image.get_clim() == pytest.approx((-largest, largest))


def test_histograms_count_every_image(report):
    figure = demo.draw_figure(report)
    panels = figure.axes[-2:]
    for axes, detection in zip(panels, report.detections, strict=True):
        filled = [patch for patch in axes.patches if hasattr(patch, "get_height")]
        assert sum(patch.get_height() for patch in filled) == 3 * len(detection.clean)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, pytest.param(OSError, marks=pytest.mark.slow)])
def test_interrupted_drawing_leaves_what_was_there(report, tmp_path, monkeypatch, interruption):
    def save_half(figure, path, **settings):
        path.write_bytes(b"half")
        raise interruption

    monkeypatch.setattr(Figure, "savefig", save_half)
    (tmp_path / "old.png").write_bytes(b"old")
    for name in ("new.png", "old.png"):
        with pytest.raises(interruption):
            demo.write_figure(report, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


def _printed(report):
    console = Console(file=io.StringIO(), width=100)
    demo.print_report(report, console)
    return console.file.getvalue()


def _numbers(value):
    """Yields every number and array in a report."""
    if dataclasses.is_dataclass(value):
        value = tuple(getattr(value, field.name) for field in dataclasses.fields(value))
    if isinstance(value, tuple):
        for part in value:
            yield from _numbers(part)
    else:
        yield value
