"""Attacks against closed forms, float64 gradients and Foolbox; the contract that all of them keep."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing

ATTACKS = {
    "fgm": kf.attacks.FGM,
    "fgm_float32": lambda **options: kf.attacks.FGM(float32_loss=True, **options),
    "otcm": kf.attacks.OTCM,
    "ossa": kf.attacks.OSSA,
    "ossa_second": lambda **options: kf.attacks.OSSA(eigenvector=2, **options),
    "ossa_best_of_3": lambda **options: kf.attacks.OSSA(num_eigenvectors=3, **options),
    "noise": kf.attacks.RandomNoise,
    "bim": lambda **options: kf.attacks.BIM(steps=6, **options),
    "pgd": lambda **options: kf.attacks.PGD(steps=4, restarts=2, **options),
    "iterative_otcm": lambda **options: kf.attacks.IterativeOTCM(steps=6, **options),
    "iterative_ossa": lambda **options: kf.attacks.IterativeOSSA(steps=6, **options),
}
ONE_STEP = [name for name in ATTACKS if name not in ("bim", "pgd", "iterative_otcm", "iterative_ossa")]
MINIMUM_NORM = {
    "deep_fool": kf.attacks.DeepFool,
    "ddn": lambda **options: kf.attacks.DDN(steps=30, **options),
    "carlini_wagner": lambda **options: kf.attacks.CarliniWagner(
        steps=40, step_size=0.05, binary_search_steps=4, **options
    ),
    "opt": lambda **options: kf.attacks.Opt(steps=40, step_size=0.02, binary_search_steps=4, **options),
}
TARGETED = ["fgm", "otcm", "bim", "pgd", "iterative_otcm", "ddn", "carlini_wagner", "opt"]


def make(name: str, **options) -> kf.attacks.Attack:
    """An attack by its name in either table; `epsilon` is for those that have one."""
    if name in MINIMUM_NORM:
        options.pop("epsilon", None)
        return MINIMUM_NORM[name](**options)
    return ATTACKS[name](**options)


@pytest.fixture(scope="module")
def linear() -> tuple[kf.Classifier, np.ndarray, np.ndarray, np.ndarray]:
    """A softmax regression on 4 × 4 images, unbounded, with images, their classes and exact least norms."""
    model = testing.small_net("dense", num_classes=4, image_shape=(4, 4, 1), seed=2)
    pixels = np.random.default_rng(0).uniform(size=(40, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    logits = pixels.reshape(40, -1) @ kernel + bias
    top = logits.argmax(axis=-1)
    distances = np.full((40, 4), np.inf)
    for row, label in enumerate(top):
        for other in range(4):
            if other != label:
                normal = kernel[:, other] - kernel[:, label]
                distances[row, other] = (logits[row, label] - logits[row, other]) / np.linalg.norm(normal)
    return kf.Classifier(model, bounds=None), pixels, top, distances


def flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).astype(np.float64)


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


@pytest.mark.parametrize("name", [*ATTACKS, *MINIMUM_NORM])
def test_contract_of_every_attack(name, classifier, images, labels):
    attack = make(name, epsilon=1.5)
    result = attack(classifier, images, labels)
    assert result.images.shape == images.shape
    assert result.images.dtype == np.float32
    assert result.success.shape == result.norms.shape == (24,)
    assert result.images.min() >= 0.0
    assert result.images.max() <= 1.0
    norms = np.linalg.norm(flat(result.images) - flat(images), axis=-1)
    np.testing.assert_allclose(result.norms, norms, rtol=1e-6)
    if name in ATTACKS:
        assert result.norms.max() <= 1.5 * (1 + 1e-6)
    else:
        assert result.success.all()
    assert result.num_iterations.shape == (24,)
    assert result.num_iterations.dtype == result.predictions.dtype == np.int64
    if name in ONE_STEP:
        assert (result.num_iterations == 1).all()
    np.testing.assert_array_equal(result.predictions, classifier.predict(result.images))
    np.testing.assert_array_equal(result.success, result.predictions != labels)
    np.testing.assert_allclose(result.success_rate, result.success.mean())
    # The same again, from a Dataset with labels; and in chunks, where batches of another size round otherwise
    # and Adam and the projections carry that on.
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(9)
    np.testing.assert_array_equal(attack(classifier, dataset).images, result.images)
    in_chunks = attack(classifier, images, labels, batch_size=9)
    atol = 1e-4 if name in ONE_STEP else 0.02 if name in ATTACKS else 0.15
    np.testing.assert_allclose(in_chunks.images, result.images, atol=atol)
    np.testing.assert_allclose(in_chunks.norms, result.norms, rtol=0.01)
    np.testing.assert_array_equal(in_chunks.success, result.success)


@pytest.mark.parametrize("name", ONE_STEP)
def test_unclipped_steps_have_exactly_the_length_epsilon(name, classifier, images, labels):
    result = make(name, epsilon=2.0, clip=False)(classifier, images, labels)
    moved = result.norms > 0  # Ordinary float32 FGM has no gradient at all for some.
    assert moved.mean() > (0.5 if name == "fgm_float32" else 0.999)
    np.testing.assert_allclose(result.norms[moved], 2.0, rtol=1e-5)
    assert result.images.min() < 0.0


@pytest.mark.parametrize("name", ["fgm", "ossa", "bim", "ddn"])
def test_labels_default_to_the_predictions(name, classifier, images):
    attack = make(name, epsilon=1.0)
    given = attack(classifier, images, classifier.predict(images))
    np.testing.assert_array_equal(attack(classifier, images).images, given.images)


@pytest.fixture(scope="module")
def logits_and_softmax() -> tuple[kf.Classifier, kf.Classifier]:
    """One net, that ends in logits and in softmax probabilities."""
    model = testing.small_net("depthwise")
    return kf.Classifier(model), kf.Classifier(keras.Sequential([model, keras.layers.Softmax()]))


@pytest.mark.parametrize("name", [*ATTACKS, *MINIMUM_NORM])
def test_a_softmax_left_on_changes_nothing(name, logits_and_softmax, images):
    logits, softmax = logits_and_softmax
    attack = make(name, epsilon=1.0)
    expected, found = attack(logits, images[:12]), attack(softmax, images[:12])
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)
    np.testing.assert_array_equal(found.success, expected.success)


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


@pytest.mark.parametrize("ossa_solver", ["exact", "power", "lanczos", kf.solvers.GolubKahan(tolerance=1e-6)])
def test_ossa_with_every_solver_is_the_same_attack(ossa_solver, classifier, images):
    expected = kf.attacks.OSSA(epsilon=1.0, clip=False, solver="exact")(classifier, images).images - images
    found = kf.attacks.OSSA(epsilon=1.0, clip=False, solver=ossa_solver)(classifier, images).images - images
    assert cosines(found, expected).min() > 0.999


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
            double, images, ATTACKS[name](epsilon=1e-3, clip=False)(classifier, images, labels).images
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
    assert np.abs(cosines((first - images)[:-1], (first - images)[1:])).max() < 0.2


def test_least_perturbation_meets_the_closed_form_on_a_linear_model(linear):
    classifier, pixels, top, distances = linear
    # Two classes that matter: along the gradient of a softmax regression the boundary is met where the
    # nearest logit overtakes. Along each unit direction d the least step is the first of gap / slope.
    attack = kf.attacks.FGM(clip=False)
    least = kf.attacks.least_perturbation(attack, classifier, pixels, top, bracket=(0.0, 12.0))
    direction = flat(attack(classifier, pixels, top).images - pixels)
    kernel, bias = (weight.astype(np.float64) for weight in classifier.model.layers[-1].get_weights())
    logits, slopes = flat(pixels) @ kernel + bias, direction @ kernel
    gaps = logits[np.arange(40), top][:, None] - logits
    rates = slopes - slopes[np.arange(40), top][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.where((gaps > 0) & (rates > 0), gaps / rates, np.inf).min(axis=-1)
    reachable = crossings < 11.9
    assert reachable.sum() > 20
    np.testing.assert_array_equal(least.success, reachable)
    np.testing.assert_allclose(least.norms[reachable], crossings[reachable], rtol=1e-2, atol=2e-3)
    assert (least.norms[reachable] >= distances.min(axis=-1)[reachable] * (1 - 1e-4)).all()
    np.testing.assert_allclose(least.norms, least.epsilons, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(classifier.predict(least.images) != top, least.success)


def test_two_classes_ossa_and_fgm_reach_the_analytic_least_norm():
    model = testing.small_net("dense", num_classes=2, image_shape=(4, 4, 1), seed=5)
    pixels = np.random.default_rng(3).uniform(size=(30, 4, 4, 1)).astype(np.float32)
    kernel, bias = (weight.astype(np.float64) for weight in model.layers[-1].get_weights())
    normal = kernel[:, 0] - kernel[:, 1]
    expected = np.abs(flat(pixels) @ normal + bias[0] - bias[1]) / np.linalg.norm(normal)
    for attack in (kf.attacks.OSSA(clip=False), kf.attacks.FGM(clip=False)):
        least = kf.attacks.least_perturbation(
            attack, model, pixels, bracket=(0.0, 1.1 * expected.max()), num_refined=12
        )
        assert least.success.all()
        np.testing.assert_allclose(least.norms, expected, rtol=1e-2)
        np.testing.assert_allclose(least.mean_norm, expected.mean(), rtol=1e-2)


class Bump(keras.layers.Layer):
    """Logits of a one-pixel image that are fooled between 1 and 2 and beyond 5, not in between."""

    def call(self, inputs):
        x = keras.ops.reshape(inputs, (-1, 1))
        score = (x - 1.0) * (x - 2.0) * (x - 5.0)
        return keras.ops.concatenate([0.0 * score, score], axis=-1)


def test_least_perturbation_finds_the_first_success_where_fooling_is_not_monotone():
    inputs = keras.Input((1, 1, 1))
    classifier = kf.Classifier(keras.Model(inputs, Bump()(inputs)), bounds=None)
    images = np.zeros((3, 1, 1, 1))
    # Plain bisection of [0, 6] looks at 3 first (not fooled), then at 4.5 (not fooled), and answers 5.
    least = kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, images, bracket=(0.0, 6.0))
    np.testing.assert_allclose(least.norms, 1.0, atol=2e-3)


def test_failed_and_finished_images_of_a_search(classifier, sample):
    images, labels = sample[0][:30], sample[1][:30].copy()
    labels[0] = (classifier.predict(images[:1])[0] + 1) % 10  # Wrong from the start.
    least = kf.attacks.least_perturbation(
        kf.attacks.OSSA(), classifier, images, labels, bracket=(0.0, 1.0), num_scanned=4, num_refined=3
    )
    assert least.success[0]
    assert least.norms[0] == 0.0
    np.testing.assert_array_equal(least.images[0], images[0])
    failed = ~least.success
    assert failed.any()
    # A failure is the attempt at the upper end, never zeros.
    expected = kf.attacks.OSSA(epsilon=1.0)(classifier, images, labels).images
    np.testing.assert_allclose(least.images[failed], expected[failed], atol=1e-6)
    assert (least.epsilons[failed] == 1.0).all()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: kf.attacks.FGM(epsilon=0.0),
            ValueError,
            r"`epsilon` must be a finite number in \(0, 1e\+18\]",
        ),
        (lambda: kf.attacks.FGM(epsilon=float("nan")), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon=1e300), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon=10**400), ValueError, "`epsilon`"),
        (lambda: kf.attacks.FGM(epsilon="big"), TypeError, "`epsilon` must be a real number"),
        (lambda: kf.attacks.FGM(clip=1), TypeError, "`clip`"),
        (lambda: kf.attacks.FGM(float32_loss="no"), TypeError, "`float32_loss`"),
        (lambda: kf.attacks.OSSA(solver="svd"), ValueError, "`solver`"),
        (lambda: kf.attacks.OSSA(seed=-1), ValueError, "`seed`"),
        (lambda: kf.attacks.RandomNoise(seed=0.5), TypeError, "`seed`"),
        (lambda: kf.attacks.FGM(1.0, False), TypeError, "positional"),
    ],
)
def test_bad_settings_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (np.zeros(23, int), ValueError, r"`labels` must have the shape \(24,\)"),
        (np.zeros((24, 10), int), ValueError, "not one-hot"),
        (np.zeros((24, 1), int), ValueError, r"labels\[:, 0\]"),
        (np.zeros(24), TypeError, "`labels` must be integers"),
        ([[1], [1, 2]], TypeError, "`labels` must be an array of integers"),
        (np.full(24, 10), ValueError, r"`labels` must be in \[0, 9\]"),
        (np.full(24, -1), ValueError, r"`labels` must be in \[0, 9\]"),
    ],
)
def test_bad_labels_are_refused_before_any_work(labels, error, words, classifier, images, monkeypatch):
    monkeypatch.setattr(kf.Classifier, "run", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(error, match=words):
        kf.attacks.FGM()(classifier, images, labels)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bracket": (2.0, 1.0)}, ValueError),
        ({"bracket": (-1.0, 1.0)}, ValueError),
        ({"bracket": 3.0}, ValueError),
        ({"num_scanned": 0}, ValueError),
        ({"num_refined": -1}, ValueError),
        ({"batch_size": 0}, ValueError),
    ],
)
def test_bad_searches_are_refused(options, error, classifier, images):
    with pytest.raises(error):
        kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, images, **options)
    with pytest.raises(TypeError, match=r"kf\.attacks"):
        kf.attacks.least_perturbation("fgm", classifier, images)


def test_no_attack_overrides_the_call_that_owns_the_checks():
    def subclasses(cls):
        return [cls, *(deeper for sub in cls.__subclasses__() for deeper in subclasses(sub))]

    owners = {cls for cls in subclasses(kf.attacks.Attack) if "__call__" in vars(cls)}
    assert owners == {kf.attacks.Attack}
