"""Iterative and minimum-norm attacks: closed forms, bounds, targets, images that leave, best attempts."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.attacks.image_ops import unit

EPSILON = {
    "fgm": kf.attacks.FGM,
    "otcm": kf.attacks.OTCM,
    "ossa": kf.attacks.OSSA,
    "bim": kf.attacks.BIM,
    "pgd": lambda **options: kf.attacks.PGD(random_start=False, **options),
    "iterative_otcm": kf.attacks.IterativeOTCM,
    "iterative_ossa": kf.attacks.IterativeOSSA,
}
ITERATIVE = {
    "bim": kf.attacks.BIM,
    "pgd": kf.attacks.PGD,
    "iterative_otcm": kf.attacks.IterativeOTCM,
    "iterative_ossa": kf.attacks.IterativeOSSA,
}
MINIMUM_NORM = {
    "deep_fool": kf.attacks.DeepFool,
    "ddn": kf.attacks.DDN,
    "carlini_wagner": lambda **options: kf.attacks.CarliniWagner(
        **({"steps": 1000, "step_size": 0.002} | options)
    ),
    "opt": lambda **options: kf.attacks.Opt(**({"steps": 1000, "step_size": 0.0005} | options)),
}


def flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype(np.float64)


def softmax_regression(num_classes: int) -> tuple[kf.Classifier, np.ndarray, np.ndarray]:
    """A linear softmax model of unbounded 4 × 4 images, with images and their exact least norms."""
    model = testing.small_net("dense", num_classes=num_classes, image_shape=(4, 4, 1), seed=5)
    pixels = np.random.default_rng(3).uniform(size=(12, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    logits = flat(pixels) @ kernel + bias
    top = logits.argmax(axis=-1)
    normals = kernel[:, None, :] - kernel[:, :, None]  # normals[:, y, j] = w_j − w_y
    gaps = logits[np.arange(len(top)), top][:, None] - logits
    lengths = np.linalg.norm(normals, axis=0)[top]
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.where(lengths > 0, gaps / lengths, np.inf)
    return kf.Classifier(model, bounds=None), pixels, distances


@pytest.mark.parametrize("name", EPSILON)
def test_two_classes_every_attack_with_epsilon_meets_the_analytic_least_norm(name):
    classifier, pixels, distances = softmax_regression(2)
    expected = distances.min(axis=-1)
    attack = EPSILON[name](clip=False)
    bracket = (0.0, float(1.2 * expected.max()))
    least = kf.attacks.least_perturbation(
        attack, classifier, pixels, bracket=bracket, num_scanned=12, num_refined=10
    )
    assert least.success.all()
    np.testing.assert_allclose(least.norms, expected, rtol=1e-2)


# With more classes the gradient of the cross-entropy, which DDN and Opt follow, is a mixture of the normals:
# it does not lead to the nearest boundary, theirs is a little farther.
@pytest.mark.parametrize(
    ("name", "num_classes"),
    [*((name, 2) for name in MINIMUM_NORM), ("deep_fool", 4), ("carlini_wagner", 4)],
)
def test_minimum_norm_attacks_meet_the_analytic_least_norm(name, num_classes):
    classifier, pixels, distances = softmax_regression(num_classes)
    result = MINIMUM_NORM[name]()(classifier, pixels)
    expected = distances.min(axis=-1)
    assert result.success.all()
    assert (result.norms >= expected * (1 - 1e-3)).all()
    np.testing.assert_allclose(result.norms, expected, rtol=1e-2)


@pytest.mark.parametrize("name", ["ddn", "carlini_wagner", "opt"])
def test_targeted_minimum_norm_attacks_meet_the_analytic_distance_to_the_target(name):
    classifier, pixels, distances = softmax_regression(2)
    targets = distances.argmin(axis=-1)
    result = MINIMUM_NORM[name](targeted=True)(classifier, pixels, targets=targets)
    np.testing.assert_array_equal(result.predictions, targets)
    np.testing.assert_allclose(result.norms, distances.min(axis=-1), rtol=1e-2)


@pytest.mark.parametrize("name", ["fgm", "otcm", "bim", "pgd", "iterative_otcm"])
def test_targeted_attacks_with_epsilon_reach_the_target_at_the_analytic_distance(name):
    classifier, pixels, distances = softmax_regression(2)
    targets = distances.argmin(axis=-1)
    for factor, reached in ((0.98, False), (1.02, True)):
        for row in range(3):
            attack = EPSILON[name](epsilon=factor * distances[row].min(), targeted=True, clip=False)
            result = attack(classifier, pixels[row : row + 1], targets=targets[row : row + 1])
            assert bool(result.success[0]) == reached


@pytest.mark.parametrize("name", ["ddn", "carlini_wagner", "opt", "bim", "iterative_otcm"])
def test_targeted_success_means_the_target(name, classifier, images, labels):
    targets = kf.attacks.random_targets(labels, 10, seed=1)
    options = {"targeted": True}
    if name in ("carlini_wagner", "opt"):
        options |= {"steps": 60, "step_size": 0.05, "binary_search_steps": 4}
    attack = (ITERATIVE | MINIMUM_NORM)[name](**options)
    if name in ITERATIVE:
        attack = dataclasses.replace(attack, epsilon=3.0)
    result = attack(classifier, images[:12], labels[:12], targets=targets[:12])
    np.testing.assert_array_equal(result.success, result.predictions == targets[:12])
    assert result.success.mean() > 0.8


def test_otcm_counts_any_wrong_class_unless_targeted(classifier, sample):
    images, labels = sample[0][:100], sample[1][:100]
    anything = kf.attacks.OTCM(epsilon=3.0)(classifier, images, labels)
    target = kf.attacks.OTCM(epsilon=3.0, targeted=True)(classifier, images, labels)
    np.testing.assert_array_equal(anything.images, target.images)
    np.testing.assert_array_equal(anything.success, anything.predictions != labels)
    assert anything.success.sum() > target.success.sum() > 0


def test_otcm_takes_random_least_likely_and_given_targets(classifier, images, labels):
    def run(**options):
        targets = options.pop("targets", None)
        return kf.attacks.OTCM(epsilon=1.0, clip=False, **options)(
            classifier, images, labels, targets=targets
        )

    least = kf.attacks.least_likely_targets(classifier, images, labels)
    random = kf.attacks.random_targets(labels, 10)
    logits = classifier.logits(images)
    assert (logits[np.arange(24), least] <= np.sort(logits, axis=-1)[:, 1]).all()
    assert (least != labels).all()
    assert (random != labels).all()
    assert len(np.unique((random - labels) % 10)) > 4
    np.testing.assert_array_equal(run(target="least_likely").images, run(targets=least).images)
    np.testing.assert_array_equal(run().images, run(targets=random).images)
    assert not np.array_equal(run(seed=1).images, run().images)


@pytest.mark.parametrize("name", ITERATIVE)
def test_iterates_stay_in_the_ball_and_the_bounds_to_the_last_float(name, lenet, images, labels):
    classifier = kf.Classifier(lenet, bounds=(-0.1, 0.3))
    shrunk = (images * 0.3).astype(np.float32)
    attack = dataclasses.replace(ITERATIVE[name](epsilon=2.0, steps=8, step_size=1.0), early_stop=False)
    result = attack(classifier, shrunk, labels)
    assert result.images.max() == np.float32(0.3)
    assert result.images.min() == np.float32(-0.1)
    assert result.norms.max() <= 2.0 * (1 + 1e-6)
    # And so they are images for the same classifier.
    classifier.predict(result.images)


@pytest.mark.parametrize("name", MINIMUM_NORM)
def test_minimum_norm_attacks_keep_the_bounds_to_the_last_float(name, lenet, images, labels):
    classifier = kf.Classifier(lenet, bounds=(0.0, 0.7))
    shrunk = (images[:8] * 0.7).astype(np.float32)
    options = {"steps": 30, "step_size": 0.05} if name in ("carlini_wagner", "opt") else {}
    result = MINIMUM_NORM[name](**options)(classifier, shrunk, labels[:8])
    assert result.images.min() >= np.float32(0.0)
    assert result.images.max() <= np.float32(0.7)
    unclipped = MINIMUM_NORM[name](clip=False, **options)(classifier, shrunk, labels[:8])
    assert unclipped.images.min() < 0


def test_penalty_attacks_know_an_image_by_itself(classifier, sample):
    # Forty together: two may finish and stay in the batch for a while. They must not go on in their results.
    images, labels = sample[0][:40], sample[1][:40]
    attack = kf.attacks.CarliniWagner(steps=100, step_size=0.05, binary_search_steps=2)
    together = attack(classifier, images, labels)
    assert len(np.unique(together.num_iterations)) > 2
    # Those that leave together with few others.
    rows = np.argsort(together.num_iterations)[:5]
    for row in rows:
        alone = attack(classifier, images[row : row + 1], labels[row : row + 1])
        assert alone.num_iterations[0] == together.num_iterations[row]
        np.testing.assert_allclose(alone.norms[0], together.norms[row], rtol=0.02)


def test_a_success_is_taken_before_a_larger_loss():
    """Three logits of one pixel: x = 1 fools with p_y = 0.40, x = −1 does not with p_y = 0.34."""

    class Two(keras.layers.Layer):
        def call(self, inputs):
            x = keras.ops.reshape(inputs, (-1, 1))
            ahead = keras.ops.log(keras.ops.convert_to_tensor([[0.40, 0.41, 0.19]]))
            behind = keras.ops.log(keras.ops.convert_to_tensor([[0.34, 0.33, 0.33]]))
            middle = keras.ops.convert_to_tensor([[0.0, -1.0, -2.0]])
            tilt = keras.ops.convert_to_tensor([[0.0, 1e-3, 0.0]])
            away = keras.ops.where(x > 0.5, ahead, keras.ops.where(x < -0.5, behind, middle))
            return away + tilt * x * (1 - x * x)

    inputs = keras.Input((1, 1, 1))
    classifier = kf.Classifier(keras.Model(inputs, Two()(inputs)), bounds=None)
    result = kf.attacks.OSSA(epsilon=1.0)(classifier, np.zeros((1, 1, 1, 1)), [0])
    assert result.success.all()
    assert result.images.item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["deep_fool", "carlini_wagner"])
def test_a_tie_that_the_label_has_won_is_no_dead_end(name):
    model = keras.Sequential(
        [keras.Input((1, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    model.set_weights([np.array([[1.0, -1.0]])])
    classifier = kf.Classifier(model, bounds=None)
    attack = {"deep_fool": kf.attacks.DeepFool(), "carlini_wagner": kf.attacks.CarliniWagner(steps=20)}[name]
    result = attack(classifier, np.zeros((1, 1, 1, 1)), [0])
    assert result.success.all()
    assert 0 < result.norms[0] < 0.02


def test_one_step_of_adam_is_looked_at(classifier, images, labels):
    result = kf.attacks.Opt(steps=1, step_size=0.3, binary_search_steps=1)(classifier, images, labels)
    right = classifier.predict(images) == labels
    assert (result.norms[right] > 0).mean() > 0.9
    assert (result.num_iterations[right] == 1).all()


def test_settings_that_a_subclass_adds_are_compiled_anew(classifier, images, labels):
    @dataclasses.dataclass(frozen=True)
    class Slowed(kf.attacks.BIM):
        share: float = 1.0

        def direction(self, classifier, images, classes):
            directions, logits = super().direction(classifier, images, classes)
            return self.share * directions, logits

    norms = [
        Slowed(1.0, clip=False, steps=1, step_size=1.0, share=share)(classifier, images, labels).norms.max()
        for share in (1.0, 0.25)
    ]
    np.testing.assert_allclose(norms, [1.0, 0.25], rtol=1e-5)


@pytest.mark.parametrize("name", ["bim", "iterative_ossa"])
def test_leaving_the_batch_changes_no_result(name, classifier, sample):
    images, labels = sample[0][:40], sample[1][:40]
    attack = ITERATIVE[name](epsilon=1.5, steps=10)
    together = attack(classifier, images, labels)
    assert 0 < together.success.sum() < 40
    assert len(np.unique(together.num_iterations)) > 3
    for row in range(0, 40, 8):
        alone = attack(classifier, images[row : row + 1], labels[row : row + 1])
        np.testing.assert_allclose(alone.images[0], together.images[row], atol=1e-3)
        assert alone.num_iterations[0] == together.num_iterations[row]


def test_the_cost_follows_the_images_that_are_left(classifier, sample, monkeypatch):
    images, labels = sample[0][:64], sample[1][:64]
    sizes = []
    advance = kf.attacks.IterativeAttack._advance

    def spy(self, classifier, chunk, state, is_last):
        sizes.append(int(state.images.shape[0]))
        return advance(self, classifier, chunk, state, is_last)

    monkeypatch.setattr(kf.attacks.IterativeAttack, "_advance", spy)
    result = kf.attacks.BIM(epsilon=2.0, steps=20)(classifier, images, labels)
    assert sizes[0] == 64
    assert sizes == sorted(sizes, reverse=True)
    # At most one in sixteen rows has finished already.
    assert sum(sizes) <= (result.num_iterations.sum() + 64) * 16 / 15 + 64
    sizes.clear()
    kf.attacks.BIM(epsilon=2.0, steps=20, early_stop=False)(classifier, images, labels)
    assert sizes == [64] * 21


@pytest.mark.parametrize("name", ITERATIVE)
def test_an_iterative_failure_is_its_best_attempt(name, classifier, images, labels):
    result = ITERATIVE[name](epsilon=0.5, steps=5)(classifier, images, labels)
    failed = ~result.success
    assert failed.mean() > 0.7
    before, after = (margins(classifier, batch, labels) for batch in (images, result.images))
    assert (result.norms[failed] > 0).mean() > 0.9
    assert (after[failed] <= before[failed]).all()
    assert (result.num_iterations[failed] == 5).all()


def margins(classifier, images, labels):
    logits = np.array(classifier.logits(images))
    of_label = logits[np.arange(len(labels)), labels].copy()
    logits[np.arange(len(labels)), labels] = -np.inf
    return of_label - logits.max(axis=-1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deep_fool", {"steps": 1, "relaxation": 0.1}),
        ("ddn", {"steps": 2, "initial_norm": 0.1}),
        ("carlini_wagner", {"steps": 3, "binary_search_steps": 1}),
        ("opt", {"steps": 2, "binary_search_steps": 1, "step_size": 1e-3}),
    ],
)
def test_a_minimum_norm_failure_is_its_best_attempt(name, options, classifier, images, labels):
    result = MINIMUM_NORM[name](**options)(classifier, images, labels)
    failed = ~result.success
    assert failed.mean() > 0.8
    before, after = (margins(classifier, batch, labels) for batch in (images, result.images))
    assert (after[failed] < before[failed]).mean() > 0.9
    assert (result.norms[failed] > 0).mean() > 0.9


# PGD starts elsewhere.
@pytest.mark.parametrize("name", [*(name for name in ITERATIVE if name != "pgd"), *MINIMUM_NORM])
def test_an_image_that_is_wrong_already_is_left_as_it_is(name, classifier, images, labels):
    wrong = labels[:3].copy()
    wrong[1] = (labels[1] + 1) % 10
    options = {"steps": 20} if name in ("carlini_wagner", "opt") else {}
    result = (ITERATIVE | MINIMUM_NORM)[name](**options)(classifier, images[:3], wrong)
    assert result.success[1]
    assert result.norms[1] == 0.0
    assert result.num_iterations[1] == 0


def test_early_stop_false_goes_on_to_a_larger_margin(classifier, images, labels):
    quick, deep = (
        kf.attacks.BIM(epsilon=3.0, steps=10, early_stop=early)(classifier, images, labels)
        for early in (True, False)
    )
    both = quick.success & deep.success
    assert both.sum() > 15
    assert (margins(classifier, deep.images, labels) < margins(classifier, quick.images, labels) - 1)[
        both
    ].all()
    assert (deep.num_iterations == 10).all()


def test_pgd_starts_are_seeded_within_the_ball_and_restarts_help(classifier, sample):
    images, labels = sample[0][:48], sample[1][:48]
    tiny = kf.attacks.PGD(epsilon=2.0, steps=1, step_size=1e-9, clip=False)
    start = tiny(classifier, images, labels).images - images
    norms = np.linalg.norm(flat(start), axis=-1)
    assert (norms <= 2.0 * (1 + 1e-6)).all()
    assert (norms > 1.8).all()  # nearly all of the volume of a ball in 784 dimensions is at its surface
    other = dataclasses.replace(tiny, seed=1)(classifier, images, labels).images - images
    cosine = np.sum(flat(start) * flat(other), axis=-1) / norms / np.linalg.norm(flat(other), axis=-1)
    assert np.abs(cosine).max() < 0.2
    one, three = (
        kf.attacks.PGD(epsilon=1.0, steps=5, restarts=number)(classifier, images, labels) for number in (1, 3)
    )
    assert (three.success >= one.success).all()
    margin_one, margin_three = (margins(classifier, result.images, labels) for result in (one, three))
    assert (margin_three <= margin_one + 1e-3).all()
    assert (margin_three < margin_one - 1e-3).any()


def test_iterative_ossa_steps_along_the_top_eigenvector_uphill(classifier, images, labels):
    attack = kf.attacks.IterativeOSSA(epsilon=0.01, steps=1, step_size=0.01, clip=False, tolerance=1e-4)
    moved = attack(classifier, images, labels).images.astype(np.float64) - images
    vectors = kf.fisher_spectrum(classifier, images, num_eigenpairs=1, solver="exact").eigenvectors[:, 0]
    right = classifier.predict(images) == labels
    norms = np.linalg.norm(flat(moved), axis=-1)
    np.testing.assert_allclose(norms[right], 0.01, rtol=1e-3)
    cosine = np.sum(flat(moved) * flat(vectors), axis=-1)[right] / norms[right]
    assert np.abs(cosine).min() > 0.999
    ends = (images, (images + moved).astype(np.float32))
    before, after = (answers(classifier, batch, labels)[1] for batch in ends)
    assert (after < before)[right].all()


def test_iterative_ossa_needs_no_more_iterations_than_bim(classifier, sample):
    images, labels = sample[0][:100], sample[1][:100]
    counts = {}
    for attack in (kf.attacks.BIM, kf.attacks.IterativeOSSA):
        budget = attack(epsilon=6.0, step_size=0.1, clip=False)
        curve = kf.attacks.fooling_curve(budget, classifier, images, labels, iterations=range(31))
        counts[attack] = int(np.argmax(curve.rates >= 0.9))
    assert 0 < counts[kf.attacks.IterativeOSSA] <= counts[kf.attacks.BIM]


def test_the_kth_eigenvector_and_the_best_of_several(classifier, sample):
    images, labels = sample[0][:60], sample[1][:60]
    vectors = kf.fisher_spectrum(classifier, images, solver="exact").eigenvectors
    second = kf.attacks.OSSA(epsilon=3.0, eigenvector=2, clip=False)(classifier, images, labels)
    cosine = np.sum(flat(second.images - images) * flat(vectors[:, 1]), axis=-1) / 3.0
    assert (np.abs(cosine) > 0.999).all()
    best = kf.attacks.OSSA(epsilon=3.0, num_eigenvectors=3, clip=False)(classifier, images, labels)
    each = [
        kf.attacks.OSSA(epsilon=3.0, eigenvector=k, clip=False, solver="exact")(classifier, images, labels)
        for k in (1, 2, 3)
    ]
    odds = np.stack([answers(classifier, result.images, labels)[1] for result in each])
    of_best = answers(classifier, best.images, labels)[1]
    np.testing.assert_allclose(of_best, odds.min(axis=0), atol=1e-3)
    assert best.success_rate > max(result.success_rate for result in each)


def test_ossa_refuses_eigenvectors_that_the_classes_do_not_have(classifier, images):
    with pytest.raises(ValueError, match="`eigenvector` must end within the 9"):
        kf.attacks.OSSA(eigenvector=8, num_eigenvectors=3)(classifier, images)


def test_deep_fool_relaxation_one_is_quicker_and_one_half_nearer(classifier, sample):
    images, labels = sample[0][:60], sample[1][:60]
    quick, near = (kf.attacks.DeepFool(relaxation=share)(classifier, images, labels) for share in (1.0, 0.5))
    assert quick.success.all()
    assert near.success.all()
    assert near.mean_norm < 0.97 * quick.mean_norm
    assert quick.num_iterations.mean() < near.num_iterations.mean()


def test_confidence_is_the_margin_of_the_wrong_class(classifier, images, labels):
    attack = kf.attacks.CarliniWagner(steps=60, step_size=0.05, binary_search_steps=5, confidence=4.0)
    result = attack(classifier, images[:8], labels[:8])
    assert result.success.all()
    found = margins(classifier, result.images, labels[:8])
    assert (found <= -4.0 + 1e-3).all()
    assert (found > -7.0).mean() > 0.7  # and hardly more than asked for


def test_abort_early_saves_iterations_and_no_norm(classifier, images, labels):
    settings = {"steps": 50, "step_size": 0.05, "binary_search_steps": 5, "initial_const": 1e-3}
    early, late = (
        kf.attacks.CarliniWagner(abort_early=flag, **settings)(classifier, images, labels)
        for flag in (True, False)
    )
    at_work = classifier.predict(images) == labels
    assert (late.num_iterations[at_work] == 250).all()
    assert early.num_iterations.mean() < 240
    assert early.success.sum() >= late.success.sum()
    both = early.success & late.success
    assert early.norms[both].mean() <= 1.01 * late.norms[both].mean()


def test_unit_holds_where_squares_underflow():
    vectors = tf.constant(np.full((1, 2, 2, 1), 3e-30, np.float32))
    np.testing.assert_allclose(unit(vectors).numpy(), 0.5, rtol=1e-6)
    assert not unit(tf.zeros((1, 2, 2, 1))).numpy().any()


@pytest.mark.parametrize("name", ["bim", "iterative_ossa", "deep_fool", "ddn", "carlini_wagner", "opt"])
def test_constant_model_gives_a_failure_not_nan(name):
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3, kernel_initializer="zeros")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].bias.assign([3.0, 0.0, -1.0])
    options = {"steps": 10} if name in ("carlini_wagner", "opt") else {}
    pixels = np.random.default_rng(0).uniform(size=(2, 4, 4, 1)).astype(np.float32)
    result = (ITERATIVE | MINIMUM_NORM)[name](**options)(model, pixels)
    assert not result.success.any()
    assert np.isfinite(result.images).all()


@pytest.mark.parametrize(
    ("attack", "targets", "error", "words"),
    [
        (kf.attacks.FGM(targeted=True), None, ValueError, "`targets` must be given"),
        (kf.attacks.FGM(), np.zeros(24, int), ValueError, r"FGM\(targeted=True\) seeks them"),
        (kf.attacks.OSSA(), np.zeros(24, int), ValueError, "OSSA seeks no class"),
        (kf.attacks.BIM(targeted=True), np.zeros(3, int), ValueError, r"`targets` must have the shape"),
        (kf.attacks.BIM(targeted=True), np.zeros(24), TypeError, "`targets` must be integers"),
        (kf.attacks.BIM(targeted=True), np.full(24, 10), ValueError, "`targets` must be in"),
        (kf.attacks.DDN(targeted=True), "labels", ValueError, "`targets` must differ from the labels"),
    ],
)
def test_bad_targets_are_refused_before_any_work(
    attack, targets, error, words, classifier, images, labels, monkeypatch
):
    monkeypatch.setattr(type(attack), "run", lambda *_: pytest.fail("work was done"))
    with pytest.raises(error, match=words):
        attack(classifier, images, labels, targets=labels if isinstance(targets, str) else targets)


def test_an_interrupted_attack_leaves_nothing_half_done(classifier, images, labels, monkeypatch):
    attack = kf.attacks.BIM(epsilon=2.0, steps=5)
    expected = attack(classifier, images, labels).images
    advance, calls = kf.attacks.IterativeAttack._advance, []

    def interrupt(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return advance(*arguments)

    given = images.copy()
    with monkeypatch.context() as patch:
        patch.setattr(kf.attacks.IterativeAttack, "_advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            attack(classifier, given, labels)
    np.testing.assert_array_equal(given, images)
    np.testing.assert_array_equal(attack(classifier, given, labels).images, expected)
