"""Attacks of one step: directions against float64, signs, eigenvectors, noise, directions of a user's own."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.classifiers import class_odds
from tests.linear_models import flat

STEPS = {
    "fgm": kf.attacks.FGM,
    "fgm_float32": lambda **options: kf.attacks.FGM(float32_loss=True, **options),
    "otcm": kf.attacks.OTCM,
    "ossa": kf.attacks.OSSA,
    "ossa_second": lambda **options: kf.attacks.OSSA(eigenvector=2, **options),
    "noise": kf.attacks.RandomNoise,
}


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first, second = flat(first), flat(second)
    return np.sum(first * second, axis=-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


def float64_gradient(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """∇(−log p_y) / (1 − p_y) by autodiff of log-odds in float64: another route than the cotangent."""
    pixels = tf.constant(images, tf.float64)
    of_label = tf.one_hot(labels, 10, on_value=True, off_value=False)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        logits = testing.float64_copy(model)(pixels, training=False)
        others = tf.where(of_label, tf.constant(-np.inf, tf.float64), logits)
        margin = tf.reduce_logsumexp(others, axis=-1) - tf.boolean_mask(logits, of_label)
    return tape.gradient(margin, pixels).numpy()


def log_odds(classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) log p_y − log(1 − p_y), which does not saturate."""
    return class_odds(classifier.outputs_of(images), labels).log_odds.numpy()


@pytest.mark.parametrize("name", STEPS)
def test_unclipped_steps_have_exactly_the_length_epsilon(name, classifier, images, labels):
    result = STEPS[name](epsilon=2.0, clip=False)(classifier, images, labels)
    moved = result.norms > 0  # Ordinary float32 FGM has no gradient at all for some.
    assert moved.mean() > (0.5 if name == "fgm_float32" else 0.999)
    np.testing.assert_allclose(result.norms[moved], 2.0, rtol=1e-5)
    assert result.images.min() < 0.0


def test_fgm_directions_are_the_float64_gradient_on_every_sample_image(lenet, sample):
    images, labels = sample[0][:400], sample[1][:400]
    result = kf.attacks.FGM(epsilon=1.0, clip=False)(lenet, images, labels)
    expected = float64_gradient(lenet, images, labels)
    assert cosines(result.images - images.astype(np.float64), expected).min() >= 0.9999


def test_ordinary_float32_fgm_loses_its_direction_where_softmax_saturates(lenet, sample):
    images, labels = sample[0][:400], sample[1][:400]
    result = kf.attacks.FGM(epsilon=1.0, clip=False, float32_loss=True)(lenet, images, labels)
    expected = float64_gradient(lenet, images, labels)
    moved = result.norms > 0
    lost = (
        1
        - np.mean(cosines((result.images - images)[moved], expected[moved]) > np.cos(np.pi / 7.2))
        * moved.mean()
    )
    assert lost > 0.1
    # And agrees where it does not.
    unsure = np.exp(kf.Classifier(lenet).log_probabilities(images).max(axis=-1)) < 0.999
    assert cosines((result.images - images)[unsure], expected[unsure]).min() > 0.999


def test_ossa_takes_the_side_with_the_larger_loss_at_its_own_epsilon(classifier, sample):
    images, labels = sample[0][:100], sample[1][:100]
    vectors = kf.fisher_spectrum(classifier, images, num_eigenpairs=1).eigenvectors[:, 0]
    odds = {}
    for sign in (1, -1):
        ends = np.clip(images + sign * np.float32(2.5) * vectors, 0, 1)
        log_p = classifier.log_probabilities(ends)
        odds[sign] = log_p[np.arange(100), labels]
    better = np.where((odds[1] <= odds[-1])[:, None, None, None], 1, -1)
    result = kf.attacks.OSSA(epsilon=2.5)(classifier, images, labels)
    decided = np.abs(odds[1] - odds[-1]) > 1e-3
    assert decided.sum() > 30
    expected = np.clip(images + better * np.float32(2.5) * vectors, 0, 1)
    np.testing.assert_allclose(result.images[decided], expected[decided], atol=1e-5)


class Cubic(keras.layers.Layer):
    """Two logits of a one-pixel image: 0 and −1 + x − x³. Uphill is +x for small steps, −x for large ones."""

    def call(self, inputs):
        x = keras.ops.reshape(inputs, (-1, 1))
        return keras.ops.concatenate([0.0 * x, -1.0 + x - x**3], axis=-1)


def test_the_sign_of_ossa_is_chosen_anew_at_every_epsilon():
    inputs = keras.Input((1, 1, 1))
    classifier = kf.Classifier(keras.Model(inputs, Cubic()(inputs)), bounds=None)
    image = np.zeros((1, 1, 1, 1))
    assert kf.attacks.OSSA(epsilon=0.5)(classifier, image).images.item() == pytest.approx(0.5)
    assert kf.attacks.OSSA(epsilon=2.0)(classifier, image).images.item() == pytest.approx(-2.0)
    # So that the least perturbation is on the far side: −1 − x + x³ = 0 at 1.3247.
    least = kf.attacks.least_perturbation(kf.attacks.OSSA(), classifier, image)
    assert least.images.item() == pytest.approx(-1.3247, abs=2e-3)


@pytest.mark.parametrize(
    "ossa_solver",
    [pytest.param("power", marks=pytest.mark.slow), "lanczos", kf.solvers.GolubKahan(tolerance=1e-6)],
)
def test_ossa_with_every_solver_is_the_same_attack(ossa_solver, classifier, images):
    expected = kf.attacks.OSSA(epsilon=1.0, clip=False, solver="exact")(classifier, images).images - images
    found = kf.attacks.OSSA(epsilon=1.0, clip=False, solver=ossa_solver)(classifier, images).images - images
    assert cosines(found, expected).min() > 0.999


@pytest.mark.filterwarnings("ignore:`epsilon` = 0.001 is below")
def test_kl_along_ossa_is_no_less_than_along_fgm_for_small_steps(lenet, classifier, sample):
    # The eigenvector maximises the second-order term of KL. At epsilon 0.05 the third-order term of this
    # sharp net decides between directions a few degrees apart (scripts/benchmark_spectrum.py --only kl),
    # and in a flat background, where all inputs of a max-pool are equal, there is no second order at all.
    noise = np.random.default_rng(0).uniform(size=sample[0].shape)
    images = (0.9 * sample[0] + 0.1 * noise).astype(np.float32)
    correct = classifier.predict(images) == sample[1]
    images, labels = images[correct], sample[1][correct]
    double = testing.float64_copy(lenet)
    ossa, fgm = (
        testing.kl_divergence(
            double, images, STEPS[name](epsilon=1e-3, clip=False)(classifier, images, labels).images
        )
        for name in ("ossa", "fgm")
    )
    assert len(images) > 950
    assert np.mean(ossa >= 0.999 * fgm) >= 0.99
    assert np.mean(ossa > 1.001 * fgm) > 0.1


def test_random_noise_follows_the_seed_and_the_position_not_the_batch(classifier, images):
    first = kf.attacks.RandomNoise(epsilon=1.0, clip=False)(classifier, images).images
    other = kf.attacks.RandomNoise(epsilon=1.0, clip=False, seed=1)(classifier, images).images
    assert np.abs(cosines(first - images, other - images)).max() < 0.2
    in_batches = kf.attacks.RandomNoise(epsilon=1.0, clip=False)(classifier, images, batch_size=5).images
    np.testing.assert_array_equal(in_batches, first)
    assert np.abs(cosines((first - images)[:-1], (first - images)[1:])).max() < 0.2


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
    odds = np.stack([log_odds(classifier, result.images, labels) for result in each])
    of_best = log_odds(classifier, best.images, labels)
    np.testing.assert_allclose(of_best, odds.min(axis=0), atol=1e-3)
    assert best.success_rate > max(result.success_rate for result in each)


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


def uphill(target, images, labels, seed):
    """The gradient of the cross-entropy, as a user writes it."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = tf.cast(target.logits(images), tf.float64)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return kf.attacks.unit(tape.gradient(loss, images)), logits


@dataclasses.dataclass(frozen=True)
class Blend:
    """Noise and the gradient, by a setting of its own."""

    share: float

    def __call__(self, target, images, labels, seed):
        noise = tf.map_fn(
            lambda pair: tf.random.stateless_normal(images.shape[1:], pair),
            seed,
            fn_output_signature=tf.float32,
        )
        gradient, _ = uphill(target, images, labels, seed)
        return kf.attacks.unit(self.share * kf.attacks.unit(noise) + (1 - self.share) * gradient)


def test_a_direction_of_a_users_own_makes_the_attacks_that_it_is_the_direction_of(images):
    classifier = kf.Classifier(testing.small_net("depthwise"))
    labels = classifier.predict(images)
    one = kf.attacks.OneStepAttack(epsilon=1.0, direction=uphill)
    np.testing.assert_allclose(
        one(classifier, images, labels).images,
        kf.attacks.FGM(1.0)(classifier, images, labels).images,
        atol=1e-4,
    )
    many = kf.attacks.IterativeAttack(epsilon=1.0, direction=uphill, steps=5)
    bim = kf.attacks.BIM(1.0, steps=5)
    targets = kf.attacks.random_targets(labels, classifier.num_classes)
    for targeted in (False, True):
        options = {"targets": targets if targeted else None}
        found, expected = (
            dataclasses.replace(attack, targeted=targeted)(classifier, images, labels, **options)
            for attack in (many, bim)
        )
        np.testing.assert_allclose(found.images, expected.images, atol=1e-3)
        np.testing.assert_array_equal(found.success, expected.success)


@pytest.mark.parametrize("make", [kf.attacks.OneStepAttack, kf.attacks.IterativeAttack])
def test_what_a_direction_reads_is_not_forgotten(make, images):
    classifier = kf.Classifier(testing.small_net("dense"))
    options = {"epsilon": 1.0, "clip": False}

    def moved(share, seed, rows=slice(None)):
        return make(direction=Blend(share), seed=seed, **options)(classifier, images[rows]).images

    first = moved(0.5, 0)
    np.testing.assert_array_equal(moved(0.5, 0), first)
    for other in (moved(0.9, 0), moved(0.5, 1)):
        assert (other != first).any(axis=(1, 2, 3)).all()
    # A seed belongs to a position, not to a batch.
    np.testing.assert_allclose(moved(0.5, 0, slice(0, 3)), first[:3], atol=1e-4)
