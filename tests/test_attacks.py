"""The contract of every attack: shapes, bounds, success, scales of pixels, last layers, errors, memory."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from tests.linear_models import flat


@dataclasses.dataclass(frozen=True)
class Kind:
    """An attack in the table, and what it can do."""

    make: type[kf.attacks.Attack]
    settings: dict = dataclasses.field(default_factory=dict)
    has_epsilon: bool = True
    takes_one_step: bool = False
    can_target: bool = False
    #: Two classes are enough for it.
    needs_three_classes: bool = False

    def __call__(self, **options) -> kf.attacks.Attack:
        if not self.has_epsilon:
            options.pop("epsilon", None)
        return self.make(**(self.settings | options))


ADAM = {"steps": 40, "binary_search_steps": 4}
ATTACKS = {
    "fgm": Kind(kf.attacks.FGM, takes_one_step=True, can_target=True),
    "fgm_float32": Kind(kf.attacks.FGM, {"float32_loss": True}, takes_one_step=True, can_target=True),
    "otcm": Kind(kf.attacks.OTCM, takes_one_step=True, can_target=True),
    "ossa": Kind(kf.attacks.OSSA, takes_one_step=True),
    "ossa_second": Kind(kf.attacks.OSSA, {"eigenvector": 2}, takes_one_step=True, needs_three_classes=True),
    "ossa_best_of_3": Kind(
        kf.attacks.OSSA, {"num_eigenvectors": 3}, takes_one_step=True, needs_three_classes=True
    ),
    "noise": Kind(kf.attacks.RandomNoise, takes_one_step=True),
    "bim": Kind(kf.attacks.BIM, {"steps": 6}, can_target=True),
    "pgd": Kind(kf.attacks.PGD, {"steps": 4, "restarts": 2}, can_target=True),
    "iterative_otcm": Kind(kf.attacks.IterativeOTCM, {"steps": 6}, can_target=True),
    "iterative_ossa": Kind(kf.attacks.IterativeOSSA, {"steps": 6}),
    "deep_fool": Kind(kf.attacks.DeepFool, has_epsilon=False),
    "ddn": Kind(kf.attacks.DDN, {"steps": 30}, has_epsilon=False, can_target=True),
    "carlini_wagner": Kind(
        kf.attacks.CarliniWagner, ADAM | {"step_size": 0.05}, has_epsilon=False, can_target=True
    ),
    "opt": Kind(kf.attacks.Opt, ADAM | {"step_size": 0.02}, has_epsilon=False, can_target=True),
}
#: Each part of these is in another of the table: a direction, PGD's steps, Carlini and Wagner's search.
ALIKE = {"fgm_float32", "ossa_second", "bim", "iterative_otcm", "iterative_ossa", "opt"}
SOME = {name: pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in ATTACKS}
ONE_STEP = [name for name, kind in ATTACKS.items() if kind.takes_one_step]


@pytest.mark.parametrize("name", ATTACKS)
def test_contract_of_every_attack(name, classifier, images, labels):
    attack = ATTACKS[name](epsilon=1.5)
    result = attack(classifier, images, labels)
    assert result.images.shape == images.shape
    assert result.images.dtype == np.float32
    assert result.success.shape == result.norms.shape == (24,)
    assert result.images.min() >= 0.0
    assert result.images.max() <= 1.0
    norms = np.linalg.norm(flat(result.images) - flat(images), axis=-1)
    np.testing.assert_allclose(result.norms, norms, rtol=1e-6)
    if ATTACKS[name].has_epsilon:
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
    np.testing.assert_array_equal(result.is_correct, classifier.predict(images) == labels)
    assert result.num_correct == result.is_correct.sum() == 23
    np.testing.assert_allclose(result.success_rate_of_correct, result.success[result.is_correct].mean())
    # The same again, from a Dataset with labels; and in chunks, where batches of another size round otherwise
    # and Adam and the projections carry that on.
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(9)
    np.testing.assert_array_equal(attack(classifier, dataset).images, result.images)
    in_chunks = attack(classifier, images, labels, batch_size=9)
    atol = 1e-4 if name in ONE_STEP else 0.02 if ATTACKS[name].has_epsilon else 0.15
    np.testing.assert_allclose(in_chunks.images, result.images, atol=atol)
    np.testing.assert_allclose(in_chunks.norms, result.norms, rtol=0.01)
    np.testing.assert_array_equal(in_chunks.success, result.success)


@pytest.mark.parametrize("name", ["fgm", "ossa", "bim", "ddn"])
def test_labels_default_to_the_predictions(name, classifier, images):
    attack = ATTACKS[name](epsilon=1.0)
    given = attack(classifier, images, classifier.predict(images))
    np.testing.assert_array_equal(attack(classifier, images).images, given.images)


def binary_net() -> keras.Model:
    """A smooth net of one output, unsure of most 5 × 5 images."""
    inputs = keras.Input((5, 5, 1))
    hidden = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    generator = np.random.default_rng(0)
    model.set_weights([generator.standard_normal(weight.shape) * 0.5 for weight in model.get_weights()])
    return model


def on_scale(model: keras.Model, bounds: tuple[float, float], last: str) -> kf.Classifier:
    """The net for pixels between other bounds, with another last layer: the same two classes."""
    lower, upper = bounds
    width = upper - lower
    inputs = keras.Input((5, 5, 1))
    score = model(keras.layers.Rescaling(1 / width, -lower / width)(inputs))
    if last == "sigmoid":
        outputs = keras.layers.Activation("sigmoid")(score)
    else:
        outputs = keras.layers.Concatenate()([keras.layers.Rescaling(0.0)(score), score])
        outputs = keras.layers.Softmax()(outputs) if last == "softmax" else outputs
    return kf.Classifier(keras.Model(inputs, outputs), bounds=bounds)


@pytest.fixture(scope="module")
def same_nets() -> dict[tuple, kf.Classifier]:
    """One classifier of two classes, by the bounds of its pixels and its last layer."""
    model = binary_net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # One unit is taken for two classes, and said so.
        return {
            (bounds, last): on_scale(model, bounds, last)
            for bounds in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
            for last in ("linear", "softmax", "sigmoid")
        }


#: Every range of pixels and every last layer once.
DIAGONAL = [((0.0, 1.0), "sigmoid"), ((0.0, 255.0), "softmax"), ((-1.0, 1.0), "linear")]


@pytest.mark.parametrize("cells", ["diagonal", pytest.param("whole table", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [SOME[name] for name, kind in ATTACKS.items() if not kind.needs_three_classes]
)
def test_the_scale_of_the_pixels_and_the_last_layer_change_nothing(name, cells, same_nets):
    pixels = np.clip(np.random.default_rng(1).uniform(-0.2, 1.2, size=(20, 5, 5, 1)), 0.0, 1.0)
    kind = ATTACKS[name]
    # No lengths are set: all of them follow the range.
    settings = {key: value for key, value in kind.settings.items() if key != "step_size"}
    attack = kind.make(**settings)
    expected = attack(same_nets[(0.0, 1.0), "linear"], pixels)
    assert expected.success.mean() > (0.04 if name == "noise" else 0.2)
    for bounds, last in DIAGONAL if cells == "diagonal" else same_nets:
        lower, upper = bounds
        result = attack(same_nets[bounds, last], lower + (upper - lower) * pixels)
        assert result.success.tolist() == expected.success.tolist(), (bounds, last)
        np.testing.assert_allclose(
            result.norms / (upper - lower), expected.norms, rtol=0.01, atol=1e-6, err_msg=f"{bounds} {last}"
        )


def test_without_bounds_lengths_are_those_of_a_range_of_one(same_nets):
    classifier = kf.Classifier(same_nets[(0.0, 1.0), "linear"].model, bounds=None)
    pixels = np.random.default_rng(1).uniform(size=(4, 5, 5, 1))
    np.testing.assert_allclose(kf.attacks.FGM()(classifier, pixels).norms, 1.0, rtol=1e-5)


@pytest.fixture(scope="module")
def nets_of_300_classes():
    """One net for pixels of two ranges, with its logits and with their softmax."""
    plain = testing.small_net("dense", num_classes=300, image_shape=(5, 5, 1))
    nets = {}
    for highest, activation in itertools.product((1.0, 255.0), ("linear", "softmax")):
        layers = [keras.Input((5, 5, 1)), keras.layers.Rescaling(1 / highest), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(300, activation=activation)])
        model.set_weights(plain.get_weights())
        nets[highest, activation] = kf.Classifier(model, bounds=(0.0, highest))
    return nets


#: Attacks that cost many passes of a net, or a solver for each image.
SLOW = {"opt", "carlini_wagner", "iterative_ossa", "ossa_second", "ossa_best_of_3", "pgd", "deep_fool"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ATTACKS]
)
def test_of_300_classes_too_scale_and_last_layer_change_nothing(name, nets_of_300_classes):
    pixels = np.random.default_rng(1).uniform(0.05, 0.95, size=(6, 5, 5, 1)).astype(np.float32)
    kind = ATTACKS[name]
    attack = kind.make(**{key: value for key, value in kind.settings.items() if key != "step_size"})
    results = {key: attack(net, key[0] * pixels) for key, net in nets_of_300_classes.items()}
    first = results[1.0, "linear"]
    assert first.success.any()
    for (highest, _), result in results.items():
        np.testing.assert_array_equal(result.success, first.success)
        # Where the answer changes is found to the rounding of float32, step after step.
        np.testing.assert_allclose(result.norms / highest, first.norms, rtol=2e-2)


@pytest.mark.parametrize("name", [name for name, kind in ATTACKS.items() if kind.can_target])
def test_targeted_success_means_the_target(name, classifier, images, labels):
    targets = kf.attacks.random_targets(labels, 10, seed=1)
    attack = ATTACKS[name](targeted=True, epsilon=3.0)
    result = attack(classifier, images[:12], labels[:12], targets=targets[:12])
    np.testing.assert_array_equal(result.success, result.predictions == targets[:12])
    if not ATTACKS[name].takes_one_step:
        assert result.success.mean() > 0.5


# PGD starts elsewhere, a single step is taken in any case.
@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in ("pgd", *ONE_STEP)])
def test_an_image_that_is_wrong_already_is_left_as_it_is(name, classifier, images, labels):
    wrong = labels[:3].copy()
    wrong[1] = (labels[1] + 1) % 10
    result = ATTACKS[name]()(classifier, images[:3], wrong)
    assert result.success[1]
    assert result.norms[1] == 0.0
    assert result.num_iterations[1] == 0
    assert result.is_correct.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "name", ["bim", *(SOME[name] for name in ("iterative_ossa", "deep_fool", "ddn", "carlini_wagner", "opt"))]
)
def test_constant_model_gives_a_failure_not_nan(name):
    inputs = keras.Input((4, 4, 1))
    outputs = keras.layers.Dense(3, kernel_initializer="zeros")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].bias.assign([3.0, 0.0, -1.0])
    pixels = np.random.default_rng(0).uniform(size=(2, 4, 4, 1)).astype(np.float32)
    result = ATTACKS[name]()(model, pixels)
    assert not result.success.any()
    assert np.isfinite(result.images).all()


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (kf.attacks.FGM(epsilon=1.5), "`epsilon` = 1.5 is below 1 % of the range of pixels"),
        (kf.attacks.BIM(epsilon=50.0, step_size=0.1), "`step_size` = 0.1"),
        (kf.attacks.DDN(initial_norm=1.0), "`initial_norm` = 1"),
        (kf.attacks.Opt(step_size=0.01, steps=3, binary_search_steps=1), "`step_size` = 0.05"),
    ],
)
def test_lengths_of_another_scale_are_warned_of_by_name(attack, words, same_nets):
    pixels = np.random.default_rng(1).uniform(size=(2, 5, 5, 1))
    with pytest.warns(UserWarning, match=words):
        attack(same_nets[(0.0, 255.0), "linear"], 255 * pixels)


def test_searches_of_another_scale_are_warned_of(same_nets):
    classifier, pixels = same_nets[(0.0, 255.0), "linear"], np.full((2, 5, 5, 1), 127.0)
    search = {"num_scanned": 2, "num_refined": 1}
    with pytest.warns(UserWarning, match="`bracket` = 2 is below 1 %"):
        kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, pixels, bracket=(0.0, 2.0), **search)
    with pytest.warns(UserWarning, match="`epsilons` = 1 is below 1 %"):
        kf.attacks.fooling_curve(kf.attacks.FGM(), classifier, pixels, epsilons=[0.5, 1.0])
    # The default follows the range: 6 ranges.
    least = kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, pixels, **search)
    assert np.nanmax(least.epsilons) > 255


def test_labels_that_the_net_mostly_misses_are_warned_of_once(classifier, images):
    labels = classifier.predict(images)
    labels[8:] = (labels[8:] + 1) % 10
    with pytest.warns(UserWarning, match="gives only 8 of 24 images the label") as caught:
        result = kf.attacks.BIM(epsilon=1.0, steps=2)(classifier, images, labels, batch_size=8)
    assert len(caught) == 1
    assert result.num_correct == 8
    assert result.success_rate >= 2 / 3 > result.success_rate_of_correct


@pytest.mark.parametrize("name", SOME.values())
def test_an_answer_that_is_not_finite_is_no_success(name):
    """A net with the root of the pixels: its slope is infinite at 0, and it has no answer below."""

    class Root(keras.layers.Layer):
        def call(self, inputs):
            x = keras.ops.reshape(inputs, (-1, 4))
            return keras.ops.sqrt(x) @ keras.ops.convert_to_tensor(
                np.eye(4, dtype=np.float32)[:, [3, 1, 2, 0]]
            )

    inputs = keras.Input((2, 2, 1))
    classifier = kf.Classifier(keras.Model(inputs, Root()(inputs)), from_logits=True)
    pixels = np.random.default_rng(0).uniform(0.1, 0.9, size=(6, 2, 2, 1))
    pixels[:3, 0, 0] = 0.0
    for clip in (True, False):
        result = ATTACKS[name](clip=clip)(classifier, pixels)
        assert np.isfinite(result.images).all()
        logits = np.asarray(classifier.outputs_of(result.images))
        has_answer = np.isfinite(logits).all(axis=-1)
        assert not result.success[~has_answer].any()
        assert (result.predictions[~has_answer] == -1).all()
        assert (result.predictions[has_answer] == logits[has_answer].argmax(axis=-1)).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bounds", [(-1e25, 1e25), (-1e18, 1e18), (0.0, 1e6)])
@pytest.mark.parametrize("name", ["carlini_wagner", SOME["opt"], "ddn", "deep_fool", "bim"])
def test_absurd_bounds_give_no_success_that_is_none(name, bounds):
    model = testing.small_net("dense", num_classes=3, image_shape=(4, 4, 1))
    pixels = np.random.default_rng(0).uniform(size=(4, 4, 4, 1)).astype(np.float32)
    result = ATTACKS[name]()(kf.Classifier(model, bounds=bounds), pixels)
    assert np.isfinite(result.images).all()
    answers = np.asarray(model(result.images)).argmax(axis=-1)
    start = np.asarray(model(pixels)).argmax(axis=-1)
    np.testing.assert_array_equal(result.success & (answers == start), False)


def test_settings_that_are_numbers_add_no_programs(same_nets):
    classifier = kf.Classifier(same_nets[(0.0, 1.0), "linear"].model)
    pixels = np.random.default_rng(1).uniform(size=(4, 5, 5, 1))

    def attacks(value):
        yield kf.attacks.FGM(value)
        yield kf.attacks.OSSA(value, seed=int(value * 1000))
        yield kf.attacks.RandomNoise(value, seed=int(value * 1000))
        yield kf.attacks.PGD(value, steps=2 + int(value * 8), step_size=value, seed=int(value * 1000))
        yield kf.attacks.BIM(value, early_stop=value > 0.5)
        yield kf.attacks.DDN(steps=2 + int(value * 8), initial_norm=value, gamma=value / 2)
        yield kf.attacks.DeepFool(steps=2 + int(value * 8), overshoot=value, relaxation=value)
        adam = {"steps": 2 + int(value * 8), "binary_search_steps": 1 + int(value * 3), "step_size": value}
        yield kf.attacks.CarliniWagner(confidence=value, initial_const=value, **adam)
        yield kf.attacks.Opt(initial_const=None if value > 0.5 else value, abort_early=value > 0.5, **adam)

    counts = []
    for value in (0.9, 0.3, 0.5, 0.7):
        for attack in attacks(value):
            attack(classifier, pixels)
        kf.fisher_spectrum(classifier, pixels, 1, "power", seed=int(value * 1000))
        counts.append(len(classifier._compiled._compiled))
    # The first pass lacks one program: where c starts at a number, nothing is asked of the net.
    assert counts[1] == counts[2] == counts[3]


def test_nets_and_classifiers_that_were_attacked_and_their_programs_go_when_they_are_dropped():
    model = testing.small_net("dense", num_classes=3, image_shape=(4, 4, 1))
    classifier = kf.Classifier(model, bounds=(0.0, 1.0))
    pixels = np.random.default_rng(0).uniform(size=(4, 4, 4, 1)).astype(np.float32)
    for kind in ATTACKS.values():
        if not kind.needs_three_classes:
            kind()(classifier, pixels)
    for solver in ("auto", "golub_kahan"):
        kf.fisher_spectrum(classifier, pixels, 1, solver)
    kf.FisherOperator(model, pixels).trace()
    watched = weakref.ref(model), weakref.ref(classifier)
    del model, classifier
    gc.collect()
    assert [reference() for reference in watched] == [None, None]


def test_results_say_what_they_are_in_one_line(classifier, images, labels):
    result = kf.attacks.BIM(epsilon=1.5, steps=6)(classifier, images, labels)
    assert repr(result) == (
        f"AttackResult(n=24, num_correct=23, success_rate={result.success_rate:.3g}, "
        f"mean_norm={result.mean_norm:.4g})"
    )
    unknown = kf.attacks.AttackResult(*list(vars(result).values())[:5])
    assert repr(unknown).startswith("AttackResult(n=24, success_rate=")
    search = {"num_scanned": 2, "num_refined": 1}
    least = kf.attacks.least_perturbation(kf.attacks.FGM(), classifier, images, labels, **search)
    assert repr(least).startswith("LeastPerturbation(n=24, num_correct=23, success_rate=")
    curve = kf.attacks.fooling_curve(kf.attacks.FGM(), classifier, images, labels, [0.0, 6.0])
    assert repr(curve).startswith("FoolingCurve(n=24, 2 values=0 to 6, rates=0.0417 to ")
    assert "\n" not in repr(result) + repr(least) + repr(curve)


def test_an_unknown_setting_is_met_with_the_one_that_was_meant():
    with pytest.raises(TypeError, match="Did you mean `epsilon`"):
        kf.attacks.PGD(eps=1.0)
    with pytest.raises(TypeError, match="Did you mean `steps`"):
        kf.attacks.BIM(iterations=3)


def test_an_interrupted_attack_leaves_nothing_half_done(classifier, images, labels, monkeypatch):
    attack = kf.attacks.BIM(epsilon=2.0, steps=20)
    expected = attack(classifier, images, labels).images
    run, calls = kf.Classifier.run, []

    def interrupt(self, *arguments, **settings):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(self, *arguments, **settings)

    given = images.copy()
    with monkeypatch.context() as patch:
        patch.setattr(kf.Classifier, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            attack(classifier, given, labels)
    np.testing.assert_array_equal(given, images)
    np.testing.assert_array_equal(attack(classifier, given, labels).images, expected)


def test_no_attack_overrides_the_call_that_owns_the_checks():
    def subclasses(cls):
        return [cls, *(deeper for sub in cls.__subclasses__() for deeper in subclasses(sub))]

    owners = {cls for cls in subclasses(kf.attacks.Attack) if "__call__" in vars(cls)}
    assert owners == {kf.attacks.Attack}
