"""Foolbox attacks as ours and ours as Foolbox's, beside Foolbox itself on the same model."""

from __future__ import annotations

import dataclasses
import gc
import sys
import weakref

import eagerpy
import foolbox
import keras
import numpy as np
import pytest
import tensorflow as tf
from foolbox.criteria import Misclassification, TargetedMisclassification

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.interop.foolbox import as_foolbox, from_foolbox
from keras_fisher.interop.foolbox.as_foolbox import classifier_of_foolbox

NUM = 6
#: Without randomness: (attack, epsilon in its own norm).
DETERMINISTIC = {
    "l2": (foolbox.attacks.L2BasicIterativeAttack(steps=6), 1.5),
    "linf": (foolbox.attacks.LinfBasicIterativeAttack(steps=6), 0.15),
    "l1": (foolbox.attacks.L1BasicIterativeAttack(steps=6), 15.0),
    "repeated": (foolbox.attacks.L2BasicIterativeAttack(steps=6).repeat(2), 1.5),
    "ddn": (foolbox.attacks.DDNAttack(steps=20), None),
    "deep_fool": (foolbox.attacks.L2DeepFoolAttack(steps=6, candidates=3), None),
    "blur": (foolbox.attacks.GaussianBlurAttack(steps=20, distance=foolbox.distances.l2), None),
    "spatial": (foolbox.attacks.SpatialAttack(num_rotations=2, num_translations=2), None),
}


@pytest.fixture(scope="module")
def digits(images, labels) -> tuple[np.ndarray, np.ndarray]:
    return images[:NUM], labels[:NUM]


@pytest.fixture(scope="module")
def fmodel(soft) -> foolbox.TensorFlowModel:
    return foolbox.TensorFlowModel(soft, bounds=(0, 1), device="/CPU:0")


def wrong(labels: np.ndarray) -> np.ndarray:
    return (labels + 3) % 10


def call(attack, fmodel, digits, epsilons, criterion=None):
    images, labels = digits
    criterion = tf.constant(labels) if criterion is None else criterion
    return attack(fmodel, tf.constant(images), criterion, epsilons=epsilons)


def l2(difference: np.ndarray) -> np.ndarray:
    return np.linalg.norm(difference.reshape(len(difference), -1).astype(np.float64), axis=-1)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_from_foolbox_returns_the_images_that_foolbox_does(name, soft_classifier, fmodel, digits):
    images, labels = digits
    attack, epsilon = DETERMINISTIC[name]
    _, expected, success = call(attack, fmodel, digits, epsilon)
    result = from_foolbox(attack, epsilon)(soft_classifier, images, labels)
    # A graph instead of single operations: float32 rounds otherwise, and the steps carry it on.
    np.testing.assert_allclose(result.images, expected.numpy(), atol=1e-4)
    np.testing.assert_array_equal(result.success, success.numpy())
    np.testing.assert_allclose(result.norms, l2(expected.numpy() - images), rtol=1e-3)


def test_num_iterations_are_the_calls_of_the_model_by_the_attack(soft_classifier, digits):
    for attack, epsilon, expected in (
        (foolbox.attacks.L2PGD(steps=7), 1.0, 7),
        (foolbox.attacks.L2PGD(steps=7).repeat(2), 1.0, 14),
        (foolbox.attacks.DDNAttack(steps=9), None, 9),
    ):
        result = from_foolbox(attack, epsilon)(soft_classifier, *digits)
        np.testing.assert_array_equal(result.num_iterations, expected)


def test_targets_reach_foolbox(soft_classifier, fmodel, digits):
    images, labels = digits
    targets = wrong(labels)
    for attack, epsilon in (
        (foolbox.attacks.L2BasicIterativeAttack(steps=10), 3.0),
        (foolbox.attacks.DDNAttack(steps=20), None),
    ):
        criterion = TargetedMisclassification(tf.constant(targets))
        _, expected, success = call(attack, fmodel, digits, epsilon, criterion)
        result = from_foolbox(attack, epsilon, targeted=True)(
            soft_classifier, images, labels, targets=targets
        )
        np.testing.assert_allclose(result.images, expected.numpy(), atol=1e-4)
        np.testing.assert_array_equal(result.success, success.numpy())
        np.testing.assert_array_equal(result.success, result.predictions == targets)
        assert result.success.any()


def test_an_attack_that_knows_no_targets_says_so(soft_classifier, digits):
    images, labels = digits
    attack = from_foolbox(foolbox.attacks.L2FastGradientAttack(), 1.0, targeted=True)
    with pytest.raises(ValueError, match="`targeted` must be what L2FastGradientAttack can do, got True"):
        attack(soft_classifier, images, labels, targets=wrong(labels))


def test_black_images_for_failures_of_carlini_wagner_are_no_successes(classifier, lenet, digits):
    images, labels = digits
    attack = foolbox.attacks.L2CarliniWagnerAttack(steps=2, binary_search_steps=1)
    fmodel = foolbox.TensorFlowModel(lenet, bounds=(0, 1), device="/CPU:0")
    _, found, success = call(attack, fmodel, digits, None)
    # What Foolbox does: nothing found, and called a success.
    assert (found.numpy() == 0).all()
    assert success.numpy().any()
    result = from_foolbox(attack)(classifier, images, labels)
    assert not result.success.any()
    np.testing.assert_array_equal(result.images, images)
    np.testing.assert_array_equal(result.norms, 0.0)


def test_an_image_that_foolbox_returns_unchanged_is_a_failure(classifier, digits):
    images, labels = digits
    result = from_foolbox(foolbox.attacks.DDNAttack(steps=1))(classifier, images, labels)
    assert not result.success.any()
    np.testing.assert_array_equal(result.norms, 0.0)


def test_a_black_image_that_another_attack_finds_is_kept(digits):
    images, _ = digits
    # White images are class 1, dark ones class 0: contrast goes down to black.
    inputs = keras.Input((28, 28, 1))
    brightness = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(brightness))
    model.layers[-1].set_weights([np.float32([[-1.0, 1.0]]), np.float32([0.1, -0.1])])
    attack = foolbox.attacks.LinearSearchContrastReductionAttack(
        distance=foolbox.distances.l2, target=0.0, steps=1
    )
    white = np.ones_like(images)
    result = from_foolbox(attack)(kf.Classifier(model), white, np.ones(NUM, np.int64))
    assert (result.images == 0).all()
    assert result.success.all()


def test_nan_from_foolbox_is_a_failure(classifier, digits):
    class Broken(foolbox.attacks.base.MinimizationAttack):
        distance = foolbox.distances.l2

        def run(self, model, inputs, criterion, *, early_stop=None, **kwargs):
            return inputs * np.nan

    result = from_foolbox(Broken())(classifier, *digits)
    np.testing.assert_array_equal(result.images, digits[0])
    assert not result.success.any()


def test_one_image_without_a_start_does_not_end_a_decision_based_attack(classifier, sample, digits):
    class Grey(foolbox.attacks.base.MinimizationAttack):
        """A start that fools the classifier about all images but those of its own class."""

        distance = foolbox.distances.l2

        def run(self, model, inputs, criterion, *, early_stop=None, **kwargs):
            return inputs * 0 + 0.5

    grey = int(classifier.predict(np.full((1, 28, 28, 1), 0.5, np.float32))[0])
    right = classifier.predict(sample[0][:100]) == sample[1][:100]
    alike = np.flatnonzero(right & (sample[1][:100] == grey))[:1]
    others = np.flatnonzero(right & (sample[1][:100] != grey))[:4]
    chosen = np.concatenate([others[:2], alike, others[2:]])
    images, labels = sample[0][chosen], sample[1][chosen]
    attack = foolbox.attacks.BoundaryAttack(init_attack=Grey(), steps=3)
    fmodel = foolbox.TensorFlowModel(classifier.model, bounds=(0, 1), device="/CPU:0")
    with pytest.raises(ValueError, match="init_attack failed"):
        call(attack, fmodel, (images, labels), None)
    result = from_foolbox(attack)(classifier, images, labels)
    assert result.success.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(result.images[2], images[2])


def test_misclassified_images_stay_as_they_are(soft_classifier, digits):
    images, labels = digits
    mislabelled = labels.copy()
    mislabelled[1] = wrong(labels)[1]
    result = from_foolbox(foolbox.attacks.DDNAttack(steps=10))(soft_classifier, images, mislabelled)
    np.testing.assert_array_equal(result.images[1], images[1])
    assert result.success[1]
    assert result.num_iterations.tolist() == [10, 0, 10, 10, 10, 10]


def test_each_image_gets_its_own_epsilon(soft_classifier, digits):
    images, labels = digits
    attack = from_foolbox(foolbox.attacks.L2BasicIterativeAttack(steps=4), 1.0)
    batch = attack.gather(soft_classifier, images, labels, None, None)
    epsilon = np.array([0.0, 0.5, 1.0, 0.5, 2.0, 0.0])
    attempt = attack.attempt(soft_classifier, batch, attack.prepare(soft_classifier, batch), epsilon)
    np.testing.assert_array_equal(attempt.images[[0, 5]], images[[0, 5]])
    np.testing.assert_array_equal(attempt.num_iterations, [0, 4, 4, 4, 4, 0])
    for position in range(1, 5):
        alone = dataclasses.replace(attack, epsilon=epsilon[position])(
            soft_classifier, images[[position]], labels[[position]]
        )
        np.testing.assert_allclose(attempt.images[[position]], alone.images, atol=1e-5)


def test_least_perturbation_searches_over_a_foolbox_attack(soft_classifier, fmodel, digits):
    images, labels = digits
    attack = foolbox.attacks.L2BasicIterativeAttack(steps=3)
    found = kf.attacks.least_perturbation(
        from_foolbox(attack, 1.0), soft_classifier, images, labels, (0.0, 8.0), num_scanned=4, num_refined=1
    )
    assert found.success.all()
    # The same by hand: the least of the grid that Foolbox itself calls a success, from below.
    grid = np.linspace(0.0, 8.0, 9)
    _, _, success = call(attack, fmodel, digits, grid.tolist())
    success = success.numpy()
    at_found = np.rint(found.epsilons).astype(int)
    np.testing.assert_allclose(found.epsilons, grid[at_found])
    assert success[at_found, np.arange(NUM)].all()
    assert not success[at_found - 1, np.arange(NUM)].any()


def test_a_seed_repeats_the_noise_and_another_does_not(soft_classifier, digits):
    tf.random.set_seed(1)
    noise = foolbox.attacks.L2AdditiveGaussianNoiseAttack()
    first = from_foolbox(noise, 5.0)(soft_classifier, *digits).images
    again = from_foolbox(noise, 5.0)(soft_classifier, *digits).images
    other = from_foolbox(noise, 5.0, seed=1)(soft_classifier, *digits).images
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    # NumPy's state is what the spatial attack draws from.
    spatial = foolbox.attacks.SpatialAttack(grid_search=False, random_steps=4, max_rotation=90)
    first = from_foolbox(spatial)(soft_classifier, *digits)
    assert first.success.any()
    np.random.uniform()  # noqa: NPY002
    again = from_foolbox(spatial)(soft_classifier, *digits)
    np.testing.assert_array_equal(first.images, again.images)


def test_global_random_states_go_on_as_if_there_had_been_no_seed(soft_classifier, digits):
    attack = from_foolbox(foolbox.attacks.L2AdditiveGaussianNoiseAttack(), 5.0, seed=3)

    def after_attack(seed: int) -> tuple[float, float]:
        tf.random.set_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        attack(soft_classifier, *digits)
        return float(tf.random.uniform([])), np.random.uniform()  # noqa: NPY002

    assert after_attack(7) == after_attack(7)
    assert after_attack(7)[0] != after_attack(8)[0]
    assert after_attack(7)[1] == np.random.RandomState(7).uniform()


def test_a_softmax_changes_nothing(soft, digits):
    images, labels = digits
    ended = keras.Model(soft.inputs, keras.layers.Softmax()(soft.outputs[0]))
    for attack, epsilon in (
        (foolbox.attacks.L2BasicIterativeAttack(steps=3), 1.0),
        (foolbox.attacks.DDNAttack(steps=5), None),
    ):
        expected = from_foolbox(attack, epsilon)(kf.Classifier(soft), images, labels)
        result = from_foolbox(attack, epsilon)(kf.Classifier(ended), images, labels)
        np.testing.assert_allclose(result.images, expected.images, atol=1e-5)
    fmodel = foolbox.TensorFlowModel(ended, bounds=(0, 1), device="/CPU:0")
    expected = kf.attacks.FGM(epsilon=1.0)(kf.Classifier(soft), images, labels)
    _, found, _ = call(as_foolbox(kf.attacks.FGM()), fmodel, digits, 1.0)
    np.testing.assert_allclose(found.numpy(), expected.images, atol=1e-5)


def test_other_bounds_and_float64_models(soft, digits):
    images, labels = digits
    bytewise = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), soft])
    classifier = kf.Classifier(bytewise, bounds=(0, 255))
    attack = foolbox.attacks.L2BasicIterativeAttack(steps=4)
    expected = from_foolbox(attack, 1.0)(kf.Classifier(soft), images, labels)
    result = from_foolbox(attack, 255.0)(classifier, images * 255, labels)
    np.testing.assert_allclose(result.images / 255, expected.images, atol=1e-4)
    assert result.images.max() > 200
    double = kf.Classifier(testing.float64_copy(soft))
    result = from_foolbox(attack, 1.0)(double, images, labels)
    assert result.images.dtype == np.float64
    np.testing.assert_allclose(result.images, expected.images, atol=1e-4)
    # One of those that Foolbox itself cannot run in float64.
    result = from_foolbox(foolbox.attacks.DDNAttack(steps=10))(double, images, labels)
    assert result.success.any()


def test_as_foolbox_gives_what_the_attack_gives(soft_classifier, fmodel, digits):
    images, labels = digits
    attack = kf.attacks.BIM(epsilon=99.0, steps=6)
    epsilons = [0.0, 0.5, 1.5]
    raw, clipped, success = call(as_foolbox(attack), fmodel, digits, epsilons)
    assert len(raw) == len(clipped) == 3
    assert success.shape == (3, NUM)
    assert success.dtype == tf.bool
    np.testing.assert_array_equal(raw[0].numpy(), images)
    for position in (1, 2):
        expected = dataclasses.replace(attack, epsilon=epsilons[position])(soft_classifier, images, labels)
        np.testing.assert_array_equal(raw[position].numpy(), expected.images)
        np.testing.assert_array_equal(success[position].numpy(), expected.success)
        # Foolbox scales what rounding made too long.
        np.testing.assert_allclose(clipped[position].numpy(), expected.images, atol=1e-6)
        assert l2(clipped[position].numpy() - images).max() <= epsilons[position] * (1 + 1e-6)
    one, _, is_success = call(as_foolbox(attack), fmodel, digits, 1.5)
    np.testing.assert_array_equal(one.numpy(), raw[2].numpy())
    np.testing.assert_array_equal(is_success.numpy(), success[2].numpy())
    with pytest.raises(NotImplementedError, match="None in epsilons"):
        call(as_foolbox(attack), fmodel, digits, None)


def test_directions_are_computed_once_for_all_epsilons_of_a_call(fmodel, digits, monkeypatch):
    calls = []
    prepare = kf.attacks.FGM.prepare

    def spy(self, classifier, batch):
        calls.append(self.targeted)
        return prepare(self, classifier, batch)

    monkeypatch.setattr(kf.attacks.FGM, "prepare", spy)
    attack = as_foolbox(kf.attacks.FGM())
    call(attack, fmodel, digits, [0.0, 0.5, 1.0, 2.0])
    assert calls == [False]
    call(attack, fmodel, digits, [0.5, 1.0], TargetedMisclassification(tf.constant(wrong(digits[1]))))
    assert calls == [False, True]
    call(attack, fmodel, digits, [0.0])
    assert calls == [False, True]


def test_directions_are_those_of_the_weights_at_each_call(digits):
    net = testing.small_net("dense")
    images, labels = np.random.default_rng(0).uniform(size=(4, *net.input_shape[1:])), np.arange(4) % 2
    wrapped = foolbox.TensorFlowModel(net, bounds=(0, 1), device="/CPU:0")
    attack = as_foolbox(kf.attacks.FGM())
    # The same objects each time.
    inputs = eagerpy.astensor(tf.constant(images, tf.float32))
    criterion = Misclassification(eagerpy.astensor(tf.constant(labels)))
    before, _, _ = attack(wrapped, inputs, criterion, epsilons=1.0)
    net.set_weights([-weight for weight in net.get_weights()])
    after, _, _ = attack(wrapped, inputs, criterion, epsilons=1.0)
    assert (after - before).abs().max().item() > 0.01


def test_foolbox_takes_ours_for_attacks_of_its_own_kinds():
    base = foolbox.attacks.base
    assert isinstance(as_foolbox(kf.attacks.FGM()), base.FixedEpsilonAttack)
    assert isinstance(as_foolbox(kf.attacks.DDN()), base.MinimizationAttack)
    assert not isinstance(as_foolbox(kf.attacks.DDN()), base.FixedEpsilonAttack)


def test_as_foolbox_of_an_attack_without_epsilon(soft_classifier, fmodel, digits):
    images, labels = digits
    attack = kf.attacks.DDN(steps=15)
    expected = attack(soft_classifier, images, labels)
    raw, clipped, success = call(as_foolbox(attack), fmodel, digits, [None, 0.01, 9.0])
    for part in (*raw, clipped[0], clipped[2]):
        np.testing.assert_array_equal(part.numpy(), expected.images)
    np.testing.assert_array_equal(success[0].numpy(), expected.success)
    np.testing.assert_allclose(l2(clipped[1].numpy() - images), 0.01, rtol=1e-4)
    assert not success[1].numpy().any()
    one, _, is_success = call(as_foolbox(attack), fmodel, digits, None)
    np.testing.assert_array_equal(one.numpy(), expected.images)
    np.testing.assert_array_equal(is_success.numpy(), expected.success)


def test_criteria_of_foolbox(soft_classifier, fmodel, digits):
    images, labels = digits
    targets = wrong(labels)
    # An image that has its target's class already is no mistake in Foolbox.
    targets[0] = soft_classifier.predict(images)[0]
    attack = kf.attacks.BIM(steps=10)
    criterion = TargetedMisclassification(tf.constant(targets))
    raw, _, success = call(as_foolbox(attack), fmodel, digits, 3.0, criterion)
    expected = dataclasses.replace(attack, epsilon=3.0, targeted=True)(
        soft_classifier, images[1:], labels[1:], targets=targets[1:]
    )
    # Another batch size: sums are rounded otherwise.
    np.testing.assert_allclose(raw.numpy()[1:], expected.images, atol=1e-5)
    np.testing.assert_array_equal(success.numpy(), [True, *expected.success])
    assert expected.success.any()
    labelled, _, _ = call(as_foolbox(attack), fmodel, digits, 1.0, Misclassification(tf.constant(labels)))
    plain, _, _ = call(as_foolbox(attack), fmodel, digits, 1.0)
    np.testing.assert_array_equal(labelled.numpy(), plain.numpy())


def test_criteria_that_do_not_go_with_an_attack(fmodel, digits):
    targeted = TargetedMisclassification(tf.constant(wrong(digits[1])))
    with pytest.raises(ValueError, match="`targeted` must be False for OSSA"):
        call(as_foolbox(kf.attacks.OSSA()), fmodel, digits, 1.0, targeted)
    with pytest.raises(ValueError, match="`criterion` must name targets for a targeted attack"):
        call(as_foolbox(kf.attacks.FGM(targeted=True)), fmodel, digits, 1.0)
    with pytest.raises(TypeError, match="`criterion` must be labels, Misclassification or"):
        call(as_foolbox(kf.attacks.FGM()), fmodel, digits, 1.0, targeted & targeted)
    with pytest.raises(TypeError, match="unexpected keyword argument 'mask'"):
        as_foolbox(kf.attacks.FGM())(
            fmodel, tf.constant(digits[0]), tf.constant(digits[1]), epsilons=1.0, mask=None
        )
    with pytest.raises(ValueError, match=r"`times` must be 1.*PGD\(restarts"):
        as_foolbox(kf.attacks.FGM()).repeat(3)


def preprocessed(kind: str, soft: keras.Model) -> tuple[foolbox.TensorFlowModel, int]:
    """Returns a Foolbox model that puts something before LeNet-5, and the number of channels it takes."""
    if kind == "function":
        return foolbox.TensorFlowModel(lambda x: soft(1 - x), bounds=(0, 1), device="/CPU:0"), 1
    if kind == "softmax":
        model = keras.Model(soft.inputs, keras.layers.Softmax()(soft.outputs[0]))
        preprocessing = {"mean": np.float32(0.1), "std": np.float32(0.8)}
    else:
        inputs = keras.Input((28, 28, 3))
        model = keras.Model(inputs, soft(keras.layers.Conv2D(1, 1, use_bias=False)(inputs)))
        model.layers[1].set_weights([np.float32([0.7, 0.2, 0.1]).reshape(1, 1, 3, 1)])
        preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.9, 0.8, 0.7], "axis": -1, "flip_axis": -1}
        preprocessing |= {key: np.float32(preprocessing[key]) for key in ("mean", "std")}
    wrapped = foolbox.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0", preprocessing=preprocessing)
    if kind == "bounds":
        return wrapped.transform_bounds((0, 255)), 3
    return wrapped, 1 if kind == "softmax" else 3


@pytest.mark.parametrize("kind", ["colour", "bounds", "softmax", "function"])
def test_preprocessing_and_its_gradient_are_part_of_the_model(kind, soft, digits):
    wrapped, channels = preprocessed(kind, soft)
    scale = wrapped.bounds.upper
    images = np.repeat(digits[0], channels, axis=-1) * np.float32(scale)
    images = np.minimum(images + np.float32(0.1 * scale), np.float32(scale))
    classifier = classifier_of_foolbox(wrapped, images.shape[1:])
    assert classifier.bounds == (0, scale)
    pixels = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        expected = wrapped(pixels)
        loss = tf.reduce_sum(tf.gather(expected, 3, axis=1))
    if kind == "softmax":
        np.testing.assert_allclose(np.exp(classifier.log_probabilities(images)), expected, rtol=1e-4)
        return
    np.testing.assert_allclose(classifier.logits(images), expected.numpy(), rtol=1e-4, atol=1e-5)
    with tf.GradientTape() as ours:
        ours.watch(pixels)
        found = tf.reduce_sum(tf.gather(classifier.target.logits(pixels), 3, axis=1))
    gradient = tape.gradient(loss, pixels).numpy()
    np.testing.assert_allclose(ours.gradient(found, pixels).numpy(), gradient, atol=1e-4 * gradient.max())
    fgm, _, success = call(as_foolbox(kf.attacks.FGM()), wrapped, (images, digits[1]), 2.0 * scale)
    np.testing.assert_array_equal(success.numpy(), wrapped(fgm).numpy().argmax(axis=-1) != digits[1])


def test_one_classifier_for_each_foolbox_model_as_long_as_both_last(soft):
    wrapped = foolbox.TensorFlowModel(soft, bounds=(0, 1), device="/CPU:0", preprocessing={"mean": 0.1})
    first = classifier_of_foolbox(wrapped, (28, 28, 1))
    assert classifier_of_foolbox(wrapped, (28, 28, 1)) is first
    wrapped.transform_bounds((0, 2), inplace=True)
    changed = classifier_of_foolbox(wrapped, (28, 28, 1))
    assert changed is not first
    assert changed.bounds == (0, 2)
    reference = weakref.ref(wrapped)
    del wrapped
    gc.collect()
    assert reference() is None


def test_unbounded_foolbox_models_give_unbounded_classifiers(soft):
    wrapped = foolbox.TensorFlowModel(soft, bounds=(-np.inf, np.inf), device="/CPU:0")
    assert classifier_of_foolbox(wrapped, (28, 28, 1)).bounds is None


def test_there_and_back(soft_classifier, digits):
    attack = kf.attacks.FGM(epsilon=1.0)
    expected = attack(soft_classifier, *digits)
    result = from_foolbox(as_foolbox(attack), 1.0)(soft_classifier, *digits)
    np.testing.assert_allclose(result.images, expected.images, atol=1e-5)


def test_wrong_objects_are_refused(soft, fmodel, digits):
    pgd, ddn = foolbox.attacks.L2PGD(), foolbox.attacks.DDNAttack()
    with pytest.raises(TypeError, match=r"got the class DDNAttack. Make one: DDNAttack\(\)\."):
        from_foolbox(foolbox.attacks.DDNAttack)
    with pytest.raises(TypeError, match="`attack` must be an attack object of Foolbox, got FGM"):
        from_foolbox(kf.attacks.FGM())
    with pytest.raises(ValueError, match="`epsilon` must be given for L2Projected"):
        from_foolbox(pgd)
    with pytest.raises(ValueError, match="`epsilon` must be None for DDNAttack, got 1"):
        from_foolbox(ddn, 1.0)
    with pytest.raises(ValueError, match=r"`epsilon` must be a finite number in .0, 1e.18."):
        from_foolbox(pgd, 0.0)
    with pytest.raises(ValueError, match="`seed` must be in"):
        from_foolbox(pgd, 1.0, seed=-1)
    with pytest.raises(TypeError, match="`attack` must be a Foolbox attack with epsilon, got DDNAttack"):
        kf.interop.foolbox.FoolboxFixedEpsilonAttack(1.0, attack=ddn)
    with pytest.raises(ValueError, match="`clip` must be True"):
        kf.interop.foolbox.FoolboxMinimumNormAttack(attack=ddn, clip=False)
    with pytest.raises(ValueError, match=r"`classifier` must have bounds.*kf.Classifier\(model, bounds="):
        from_foolbox(ddn)(kf.Classifier(soft, bounds=None), *digits)
    with pytest.raises(TypeError, match=r"got the class FGM. Make one: FGM\(\)\."):
        as_foolbox(kf.attacks.FGM)
    with pytest.raises(TypeError, match=r"`attack` must be an attack of kf\.attacks, got DDNAttack"):
        as_foolbox(ddn)
    other = foolbox.models.ThresholdingWrapper(fmodel, 0.5)
    with pytest.raises(TypeError, match=r"`model` must be a foolbox.TensorFlowModel, got Thresholding"):
        call(as_foolbox(kf.attacks.FGM()), other, digits, 1.0)


def test_without_foolbox_the_error_names_the_command(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("keras_fisher.interop.foolbox")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(kf.interop, "foolbox")
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(
        ImportError, match=r'`foolbox` must be installed.*pip install "keras-fisher\[compare\]"'
    ):
        _ = kf.interop.foolbox
