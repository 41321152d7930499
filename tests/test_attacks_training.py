"""Attacks in a graph, as training uses them, against calls on arrays and against closed forms."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.attacks.image_ops import seeds_of_images
from keras_fisher.attacks.iterative_attack import _start
from keras_fisher.classifiers import Target
from tests.linear_models import flat

#: Attacks whose answer for an image does not depend on its place in the batch.
PLACELESS = {
    "fgm": lambda **options: kf.attacks.FGM(**options),
    "fgm_float32": lambda **options: kf.attacks.FGM(float32_loss=True, **options),
    "ossa": lambda **options: kf.attacks.OSSA(**options),
    "ossa_best_of_3": lambda **options: kf.attacks.OSSA(num_eigenvectors=3, solver="exact", **options),
    "bim": lambda **options: kf.attacks.BIM(steps=4, **options),
    "iterative_ossa": lambda **options: kf.attacks.IterativeOSSA(steps=4, **options),
}
ATTACKS = PLACELESS | {
    "pgd": lambda **options: kf.attacks.PGD(steps=4, **options),
    "noise": lambda **options: kf.attacks.RandomNoise(**options),
}
SEED = tf.constant([3, 5])


def small_net(dtype: str = "float64", num_classes: int = 4) -> keras.Model:
    """A smooth convolutional net of 6 × 6 images, unsure of most."""
    inputs = keras.Input((6, 6, 1), dtype=dtype)
    x = layers.Conv2D(4, 3, activation="softplus", dtype=dtype)(inputs)
    x = layers.Dense(8, activation="tanh", dtype=dtype)(layers.Flatten(dtype=dtype)(x))
    model = keras.Model(inputs, layers.Dense(num_classes, dtype=dtype)(x))
    generator = np.random.default_rng(0)
    shapes = [weight.shape for weight in model.get_weights()]
    model.set_weights([generator.standard_normal(s) * 1.5 / np.sqrt(np.prod(s[:-1])) for s in shapes])
    return model


@pytest.fixture(scope="module")
def double() -> kf.Classifier:
    return kf.Classifier(small_net())


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Sixteen images, a quarter of their pixels at a bound."""
    return np.clip(np.random.default_rng(1).uniform(-0.2, 1.2, size=(16, 6, 6, 1)), 0.0, 1.0)


@pytest.fixture(scope="module")
def labels(double, pixels) -> np.ndarray:
    """The net's own answers, but for every third, which is wrong from the start."""
    labels = double.predict(pixels)
    labels[::3] = (labels[::3] + 1) % 4
    return labels


def perturb(attack, classifier, images, classes, epsilon, seed=SEED) -> np.ndarray:
    """Calls `perturb` with arrays; one epsilon stands for all images."""
    target = classifier if isinstance(classifier, Target) else classifier.target
    images = tf.convert_to_tensor(images)
    classes = None if classes is None else tf.convert_to_tensor(classes)
    epsilon = tf.constant(np.broadcast_to(epsilon, len(images)), tf.float64)
    return attack.perturb(target, images, classes, epsilon, seed).numpy()


def log_p(classifier: kf.Classifier, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n,) log probabilities of the classes, float64."""
    logits = classifier.model(images).numpy().astype(np.float64)
    return logits[np.arange(len(logits)), classes] - np.logaddexp.reduce(logits, axis=-1)


def gradient(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """∇ₓ(−log p_c), float64, of Keras's own cross-entropy."""
    images = tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = keras.losses.sparse_categorical_crossentropy(classes, model(images), from_logits=True)
    return tape.gradient(loss, images).numpy()


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("name", ["fgm", "fgm_float32", "ossa_exact", "ossa_best_of_3"])
def test_one_step_on_tensors_is_the_call_on_arrays(name, clip, double, pixels, labels):
    make = PLACELESS.get(name, lambda **options: kf.attacks.OSSA(solver="exact", **options))
    attack = make(epsilon=0.7, clip=clip)
    expected = attack(double, pixels, labels).images
    # float64, one order of operations or another. An OSSA of the other sign would differ by twice its step.
    np.testing.assert_allclose(perturb(attack, double, pixels, labels, 0.7), expected, atol=1e-10)
    assert np.abs(expected - pixels).max() > 0.05


def test_ossa_in_training_solves_with_few_steps_for_nearly_the_same_direction(lenet, images):
    classifier = kf.Classifier(lenet)
    epsilon = np.full(24, 0.5)
    found = perturb(kf.attacks.OSSA(clip=False), classifier, images, None, epsilon) - images
    exact = perturb(kf.attacks.OSSA(clip=False, solver="exact"), classifier, images, None, epsilon) - images
    cosines = np.sum(flat(found) * flat(exact), axis=-1) / 0.25
    assert np.median(cosines) > 0.999


def test_fgm_goes_along_the_gradient_of_the_cross_entropy(double, pixels, labels):
    uphill = flat(gradient(double.model, pixels, labels))
    expected = 0.7 * uphill / np.linalg.norm(uphill, axis=-1, keepdims=True)
    moved = perturb(kf.attacks.FGM(clip=False), double, pixels, labels, 0.7)
    np.testing.assert_allclose(flat(moved) - flat(pixels), expected, atol=1e-12)


def test_fgm_keeps_its_direction_where_softmax_saturates_and_ordinary_cross_entropy_loses_it(pixels):
    model = small_net("float32")
    model.layers[-1].set_weights([80.0 * weight for weight in model.layers[-1].get_weights()])
    classifier, images = kf.Classifier(model), pixels.astype(np.float32)
    sure = log_p(classifier, images, classifier.predict(images)) == 0.0
    assert sure.sum() > 3
    moved = perturb(kf.attacks.FGM(clip=False), classifier, images, None, 0.5)
    np.testing.assert_allclose(np.linalg.norm(flat(moved) - flat(images), axis=-1), 0.5, rtol=1e-5)
    double = kf.Classifier(testing.float64_copy(model))
    ways = [
        flat(perturb(attack, target, pixels, None, 0.5)) - flat(pixels)
        for attack, target in (
            (kf.attacks.FGM(clip=False), classifier),
            (kf.attacks.FGM(clip=False, float32_loss=True), classifier),
            (kf.attacks.FGM(clip=False), double),
        )
    ]
    cosines = [np.sum(way * ways[2], axis=-1)[sure] / 0.25 for way in ways]
    assert cosines[0].min() > 0.9999
    assert cosines[1].min() < 0.9


def test_ossa_goes_along_the_top_eigenvector_to_the_end_where_the_label_is_less_likely(
    double, pixels, labels
):
    attack = kf.attacks.OSSA(solver="exact")
    moved = perturb(attack, double, pixels, labels, 0.7)
    vectors = kf.fisher_spectrum(double, pixels, num_eigenpairs=1, solver="dense").eigenvectors[:, 0]
    ends = [np.clip(pixels + sign * 0.7 * vectors, 0.0, 1.0) for sign in (1, -1)]
    fooled = [double.predict(end) != labels for end in ends]
    odds = [log_p(double, end, labels) for end in ends]
    takes_second = np.where(fooled[0] == fooled[1], odds[1] < odds[0], fooled[1])
    assert 0 < takes_second.sum() < 16
    expected = np.where(takes_second[:, None, None, None], ends[1], ends[0])
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_ossa_of_three_eigenvectors_takes_the_best_of_six_ends(double):
    pixels = np.random.default_rng(2).uniform(size=(300, 6, 6, 1))
    labels = np.arange(300) % 4  # Mostly wrong from the start: the least probability decides.
    moved = perturb(kf.attacks.OSSA(num_eigenvectors=3, solver="exact"), double, pixels, labels, 2.0)
    vectors = kf.fisher_spectrum(double, pixels, num_eigenpairs=3, solver="dense").eigenvectors
    ends = np.stack(
        [np.clip(pixels + sign * 2.0 * vectors[:, i], 0, 1) for i in range(3) for sign in (1, -1)]
    )
    fooled = np.stack([double.predict(end) != labels for end in ends])
    odds = np.stack([log_p(double, end, labels) for end in ends])
    best = np.lexsort((odds, ~fooled), axis=0)[0]
    assert np.sum(best >= 2) > 10  # Not always the top eigenvector.
    np.testing.assert_allclose(moved, ends[best, np.arange(300)], atol=1e-9)


def test_two_linear_classes_are_moved_along_the_difference_of_their_weights(pixels):
    inputs = keras.Input((6, 6, 1), dtype="float64")
    outputs = layers.Dense(2, dtype="float64")(layers.Flatten(dtype="float64")(inputs))
    classifier = kf.Classifier(keras.Model(inputs, outputs), bounds=None)
    kernel, _ = classifier.model.layers[-1].get_weights()
    normal = (kernel[:, 1] - kernel[:, 0]) / np.linalg.norm(kernel[:, 1] - kernel[:, 0])
    for labels in (np.zeros(16, int), np.ones(16, int), classifier.predict(pixels)):
        away = np.where(labels[:, None] == 0, normal, -normal)
        for attack in (kf.attacks.FGM(), kf.attacks.OSSA(), kf.attacks.OSSA(solver="exact")):
            moved = perturb(attack, classifier, pixels, labels, 1.5)
            np.testing.assert_allclose(flat(moved) - flat(pixels), 1.5 * away, atol=1e-12)


def bim_by_hand(classifier, images, classes, epsilon, step_size, steps, clip, start=None) -> np.ndarray:
    """The last iterate of x ← P(x + s ∇ / ‖∇‖), in NumPy."""
    moved = images if start is None else start
    lower = images.shape
    for _ in range(steps):
        uphill = flat(gradient(classifier.model, moved, classes))
        uphill /= np.linalg.norm(uphill, axis=-1, keepdims=True)
        offset = flat(moved) + step_size * uphill - flat(images)
        lengths = np.linalg.norm(offset, axis=-1, keepdims=True)
        offset *= np.minimum(1.0, epsilon / lengths)
        moved = images + offset.reshape(lower)
        moved = np.clip(moved, 0.0, 1.0) if clip else moved
    return moved


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("step_size", [None, 0.2])
def test_bim_on_tensors_ends_at_the_last_iterate_of_its_definition(step_size, clip, double, pixels, labels):
    attack = kf.attacks.BIM(steps=5, step_size=step_size, clip=clip, early_stop=False)
    epsilon = np.linspace(0.2, 1.5, 16)
    moved = perturb(attack, double, pixels, labels, epsilon)
    size = (2.5 * epsilon / 5 if step_size is None else np.full(16, step_size))[:, None]
    expected = bim_by_hand(double, pixels, labels, epsilon[:, None], size, 5, clip)
    np.testing.assert_allclose(moved, expected, atol=1e-10)


def test_the_epsilon_that_is_given_counts_not_the_setting(double, pixels, labels):
    for make in ATTACKS.values():
        small, large = make(epsilon=0.1, clip=False), make(epsilon=9.0, clip=False)
        np.testing.assert_array_equal(
            perturb(small, double, pixels, labels, 0.5), perturb(large, double, pixels, labels, 0.5)
        )


def test_training_goes_on_after_an_image_is_fooled(double, pixels, labels):
    # A call stops there; a fixed cost cannot, and goes on to the full budget.
    early, late = (kf.attacks.BIM(steps=4, early_stop=stop) for stop in (True, False))
    np.testing.assert_array_equal(
        perturb(early, double, pixels, labels, 1.0), perturb(late, double, pixels, labels, 1.0)
    )
    assert (perturb(early, double, pixels, labels, 1.0)[::3] != pixels[::3]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("name", ATTACKS)
def test_images_stay_within_their_epsilon_and_their_bounds(name, clip, double, pixels, labels):
    epsilon = np.geomspace(1e-3, 3.0, 16)
    moved = perturb(ATTACKS[name](clip=clip), double, pixels, labels, epsilon)
    assert moved.shape == pixels.shape
    assert moved.dtype == np.float64
    norms = np.linalg.norm(flat(moved) - flat(pixels), axis=-1)
    assert (norms <= epsilon * (1 + 1e-9)).all()
    assert (norms > 0).all()
    if clip:
        assert moved.min() >= 0.0
        assert moved.max() <= 1.0
    else:
        assert moved.min() < 0.0 or moved.max() > 1.0
        if name in ("fgm", "ossa", "ossa_best_of_3"):
            np.testing.assert_allclose(norms, epsilon, rtol=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_images_with_epsilon_zero_are_not_moved_by_one_bit(name, double, pixels, labels):
    epsilon = np.where(np.arange(16) % 2, 1.0, 0.0)
    moved = perturb(ATTACKS[name](), double, pixels, labels, epsilon)
    np.testing.assert_array_equal(moved[::2], pixels[::2])
    assert (moved[1::2] != pixels[1::2]).any(axis=(1, 2, 3)).all()
    images = pixels.astype(np.float32)
    single = perturb(ATTACKS[name](), kf.Classifier(small_net("float32")), images, labels, epsilon)
    np.testing.assert_array_equal(single[::2], images[::2])


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "noise"])  # which reads no labels
def test_without_classes_the_answers_of_the_net_are_made_unlikely(name, double, pixels, labels):
    attack = ATTACKS[name]()
    own = perturb(attack, double, pixels, double.predict(pixels), 0.7)
    np.testing.assert_array_equal(perturb(attack, double, pixels, None, 0.7), own)
    given = perturb(attack, double, pixels, labels, 0.7)
    assert (given[::3] != own[::3]).any()  # Where the label is not the answer it matters.


@pytest.mark.parametrize("name", PLACELESS)
def test_a_batch_is_moved_as_its_images_one_by_one(name, double, pixels, labels):
    attack, epsilon = PLACELESS[name](), np.linspace(0.2, 1.0, 16)
    together = perturb(attack, double, pixels, labels, epsilon)
    for index in (0, 3, 7):
        alone = slice(index, index + 1)
        one = perturb(attack, double, pixels[alone], labels[alone], epsilon[alone])
        np.testing.assert_allclose(one, together[alone], atol=1e-10)


def test_pgd_without_a_random_start_is_bim(double, pixels, labels):
    pgd, bim = kf.attacks.PGD(steps=4, random_start=False), kf.attacks.BIM(steps=4)
    found, expected = (perturb(attack, double, pixels, labels, 0.7) for attack in (pgd, bim))
    np.testing.assert_array_equal(found, expected)


def test_pgd_starts_at_random_by_its_seed(double, pixels, labels):
    attack = kf.attacks.PGD(steps=3, clip=False)
    first = perturb(attack, double, pixels, labels, 0.7, tf.constant([1, 2]))
    np.testing.assert_array_equal(perturb(attack, double, pixels, labels, 0.7, tf.constant([1, 2])), first)
    for other in ([1, 3], [2, 2]):
        moved = perturb(attack, double, pixels, labels, 0.7, tf.constant(other))
        assert (moved != first).any(axis=(1, 2, 3)).all()
    # From the seed of a Keras SeedGenerator too, which is unsigned.
    seed = tf.constant([1, 2], tf.uint32)
    np.testing.assert_array_equal(perturb(attack, double, pixels, labels, 0.7, seed), first)


def starts(images: tf.Tensor, epsilon: tf.Tensor) -> np.ndarray:
    """Where PGD starts in training with `SEED`, within [0, 1]."""

    @tf.function
    def run(images, epsilon):
        seeds = seeds_of_images(SEED, images)
        return _start(None, images, seeds, epsilon, tf.constant(0), bounds=(0.0, 1.0))

    return run(images, epsilon).numpy()


def test_starts_of_pgd_fill_the_ball_uniformly():
    # A tiny image, so that the radius is not always nearly epsilon: P(radius < r) = (r / epsilon)².
    images = tf.fill([4000, 1, 2, 1], tf.constant(0.5, tf.float64))
    epsilon = tf.fill([4000], tf.constant(0.3, tf.float64))
    offsets = flat(starts(images, epsilon)) - 0.5
    radii = np.sort(np.linalg.norm(offsets, axis=-1))
    assert radii.max() <= 0.3 * (1 + 1e-12)
    # Kolmogorov–Smirnov: 1.95 / √n is exceeded once in a thousand draws, and the seed is fixed.
    assert np.abs(np.square(radii / 0.3) - np.arange(1, 4001) / 4000).max() < 1.95 / np.sqrt(4000)
    angles = np.sort(np.arctan2(offsets[:, 1], offsets[:, 0]) / (2 * np.pi) + 0.5)
    assert np.abs(angles - np.arange(1, 4001) / 4000).max() < 1.95 / np.sqrt(4000)
    at_corner = starts(tf.zeros_like(images), epsilon)
    assert at_corner.min() == 0.0


def test_pgd_goes_from_its_start_as_bim_does(double, pixels, labels):
    attack = kf.attacks.PGD(steps=3)
    epsilon = tf.fill([16], tf.constant(0.7, tf.float64))
    start = starts(tf.constant(pixels), epsilon)
    expected = bim_by_hand(double, pixels, labels, 0.7, 2.5 * 0.7 / 3, 3, True, start)
    np.testing.assert_allclose(perturb(attack, double, pixels, labels, 0.7), expected, atol=1e-10)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_bounds_nothing_is_clipped(name, double, pixels, labels):
    attack = ATTACKS[name]()
    unbounded = dataclasses.replace(double.target, bounds=None)
    moved = perturb(attack, unbounded, pixels, labels, 2.0)
    assert moved.min() < 0.0 or moved.max() > 1.0


@pytest.mark.parametrize("name", ATTACKS)
def test_a_graph_of_any_batch_size_gives_the_eager_images(name, double, pixels, labels):
    attack, epsilon = ATTACKS[name](), tf.constant(np.linspace(0.0, 1.0, 16))
    expected = perturb(attack, double, pixels, labels, epsilon.numpy())
    image = tf.TensorSpec([None, 6, 6, 1], tf.float64)

    @tf.function(input_signature=[image, tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float64)])
    def graph(images, classes, epsilon):
        moved = attack.perturb(double.target, images, classes, epsilon, SEED)
        assert moved.shape.as_list() == [None, 6, 6, 1]
        return moved

    moved = graph(tf.constant(pixels), tf.constant(labels), epsilon).numpy()
    np.testing.assert_allclose(moved, expected, atol=1e-10)


@pytest.mark.parametrize("name", ["fgm", pytest.param("ossa", marks=pytest.mark.slow), "bim", "pgd"])
def test_attacks_compiled_by_xla_give_the_eager_images(name, pixels):
    # Two classes: the start of the solver, which is random and other under XLA, makes no difference.
    classifier = kf.Classifier(small_net(num_classes=2))
    attack, epsilon = ATTACKS[name](), tf.constant(np.linspace(0.0, 1.0, 16))
    labels = tf.constant(np.arange(16) % 2)

    @tf.function(jit_compile=True)
    def compiled(images):
        return attack.perturb(classifier.target, images, labels, epsilon, SEED)

    moved = compiled(tf.constant(pixels)).numpy()
    np.testing.assert_array_equal(moved[0], pixels[0])
    if name == "pgd":  # XLA makes other normal numbers from the same seed.
        norms = np.linalg.norm(flat(moved) - flat(pixels), axis=-1)
        assert (norms <= epsilon.numpy() * (1 + 1e-9)).all()
        assert (norms[1:] > 0).all()
    else:
        expected = perturb(attack, classifier, pixels, labels, epsilon)
        np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_every_attack_with_an_epsilon_works_in_training_but_those_that_need_a_target():
    exported = [getattr(kf.attacks, name) for name in kf.attacks.__all__]
    exported = [cls for cls in exported if isinstance(cls, type) and issubclass(cls, kf.attacks.Attack)]
    fixed = {cls.__name__ for cls in exported if issubclass(cls, kf.attacks.FixedEpsilonAttack)}
    able = {cls.__name__ for cls in exported if getattr(cls, "works_in_training", False)}
    assert fixed - able == {"FixedEpsilonAttack", "OTCM", "IterativeOTCM"}
    assert able <= fixed


@pytest.mark.parametrize("make", [kf.attacks.OTCM, kf.attacks.IterativeOTCM])
def test_an_attack_that_needs_a_target_is_refused_in_training(make):
    with pytest.raises(ValueError, match=f"`attack` must be one of .*, got {make.__name__}"):
        kf.layers.OSSALayer(small_net("float32"), attack=make())


@pytest.mark.parametrize("attack", [kf.attacks.PGD(epsilon=1.0), kf.attacks.FGM(epsilon=1.0)])
def test_an_epsilon_that_contradicts_the_layers_is_refused_though_it_is_a_default(attack):
    with pytest.raises(ValueError, match="`attack` must agree with `epsilon` = 1"):
        kf.layers.OSSALayer(small_net("float32"), epsilon=1.5, attack=attack)
