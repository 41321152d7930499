"""Adversarial training through `model.fit`: the step, the data, schedules, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher.training.batches import class_indices
from tests.small_fits import (
    EPSILON,
    FAST,
    compiled,
    fit,
    lengths,
    quadrants,
    recording_net,
    small_layers,
    small_net,
)

# A net that has learnt little is wrong on most images.
pytestmark = pytest.mark.filterwarnings("ignore:The classifier gives only")


def net(kind: str) -> keras.Model:
    """The small net, made in another way."""
    keras.utils.set_random_seed(0)
    if kind == "sequential":
        return keras.Sequential(small_layers())  # without an Input: built by the first batch
    return Subclassed(small_layers()) if kind == "subclassed" else small_net()


class Subclassed(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, inputs, training=False):
        for part in self.parts:
            inputs = part(inputs, training=training)
        return inputs


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return quadrants()


@pytest.mark.parametrize(
    ("attack", "fraction"),
    [
        pytest.param(None, 1.0, marks=pytest.mark.slow),
        (None, 0.25),
        (kf.attacks.FGM(), 0.5),
        (kf.attacks.PGD(steps=3), 0.5),
    ],
)
def test_the_models_own_step_gets_perturbed_images(data, attack, fraction):
    model = recording_net()
    callback = kf.callbacks.OSSACallback(EPSILON, fraction, attack, bounds=None)
    fit(model, data, callback, batch_size=64)
    moved = lengths(model.seen.numpy(), data[0])
    assert (moved > 0).sum() == 64 * fraction
    assert moved.max() <= EPSILON * (1 + 1e-6)
    if not isinstance(attack, kf.attacks.PGD):
        np.testing.assert_allclose(moved[moved > 0], EPSILON, rtol=1e-5)


def test_images_are_moved_against_the_true_labels(data):
    model = recording_net()
    wrong = (data[1] + 1) % 4
    for labels in (data[1], wrong):
        fit(
            model, (data[0], labels), kf.callbacks.OSSACallback(EPSILON, 1.0, kf.attacks.FGM()), batch_size=64
        )
        expected = kf.attacks.FGM(EPSILON)(model, data[0], labels).images
        np.testing.assert_allclose(model.seen.numpy(), expected, atol=1e-5)


@pytest.mark.slow  # README's example says the same, and is run.
def test_it_teaches_what_plain_training_does_not(sample):
    # The stored LeNet-5, four epochs on: real digits, an attack and images that are new to it.
    images, labels = sample
    errors = []
    for callbacks in ([kf.callbacks.OSSACallback(1.5, 1.0)], []):
        keras.utils.set_random_seed(0)
        model = compiled(kf.models.lenet5(weights="mnist"), optimizer=keras.optimizers.Adam(2e-3))
        fit(model, (images[:800], labels[:800]), *callbacks, epochs=4, batch_size=50)
        errors.append(kf.attacks.PGD(1.5, steps=10)(model, images[800:], labels[800:]).success.mean())
    assert errors[0] < 0.7 * errors[1], errors


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("functional", {"attack": None}),
        ("sequential", {}),
        ("subclassed", {}),
        pytest.param("sequential", {"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param("functional", {"run_eagerly": True}, marks=pytest.mark.slow),
        ("subclassed", {"run_eagerly": True}),
        ("functional", {"steps_per_execution": 2, "optimizer": "adam"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "graph",
)
def test_any_compiled_classifier_trains(kind, settings, data):
    settings = dict(settings)
    attack = settings.pop("attack", FAST)
    model = compiled(net(kind), **settings)
    history = fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=attack), epochs=2)
    assert np.isfinite(history.history["loss"]).all()
    assert {"accuracy", "adversarial_epsilon", "adversarial_fraction"} <= set(history.history)
    assert model.evaluate(*data, verbose=0)[1] >= 0


@pytest.mark.parametrize("form", ["dataset", "one_hot, class_weight", "column, weights", "softmax", "uint8"])
def test_every_form_of_data_and_output_that_keras_takes(form, data):
    images, labels = data
    settings, options, model = {}, {}, small_net()
    callback = kf.callbacks.OSSACallback(EPSILON, attack=FAST)
    if form == "column, weights":
        labels = labels[:, None]
        options["sample_weight"] = np.linspace(0, 1, 64)
    elif form == "one_hot, class_weight":
        labels = keras.utils.to_categorical(labels, 4)
        settings["loss"] = keras.losses.CategoricalCrossentropy(from_logits=True)
        options["class_weight"] = {0: 1.0, 1: 2.0, 2: 1.0, 3: 0.5}
    elif form == "softmax":
        model = small_net(activation="softmax")
        settings["loss"] = "sparse_categorical_crossentropy"
    elif form == "uint8":
        images = np.round(255 * images).astype(np.uint8)
        callback = kf.callbacks.OSSACallback(255 * EPSILON, attack=FAST, bounds=(0, 255))
    compiled(model, **settings)
    if form == "dataset":
        dataset = tf.data.Dataset.from_tensor_slices(data).batch(16)
        history = model.fit(dataset, verbose=0, callbacks=[callback])
    else:
        history = fit(model, (images, labels), callback, **options)
    assert np.isfinite(history.history["loss"]).all()


def test_labels_become_class_indices():
    assert class_indices(None, 4) is None
    np.testing.assert_array_equal(class_indices(np.array([3, 1]), 4), [3, 1])
    np.testing.assert_array_equal(class_indices(np.array([[3.0], [1.0]]), 4), [3, 1])
    np.testing.assert_array_equal(class_indices(np.eye(4)[[3, 1]], 4), [3, 1])
    with pytest.raises(
        ValueError, match=r"`labels` must be class indices, .*\(batch, 4\), got the shape \(2, 3\)"
    ):
        class_indices(np.zeros((2, 3)), 4)


def test_schedules_set_each_epoch_and_trace_once(data):
    model = recording_net()
    epsilon = kf.callbacks.Warmup(0.6, epochs=2, start=0.2)
    fractions = [0.5, 0.25, 1.0]
    callback = kf.callbacks.OSSACallback(epsilon, fractions.__getitem__, FAST, bounds=None)
    traces, moved = [], []
    own = model.train_step
    model.train_step = lambda data: (traces.append(-1), own(data))[1]

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            moved.append(lengths(model.seen.numpy(), data[0]))

            # Keras itself traces the first step twice, since it makes the optimizer's variables.
            traces.append(epoch)

    history = fit(model, data, callback, Look(), epochs=3, batch_size=64)
    for lengths_, size, fraction in zip(moved, (0.2, 0.4, 0.6), fractions, strict=True):
        assert (lengths_ > 0).sum() == 64 * fraction
        np.testing.assert_allclose(lengths_[lengths_ > 0], size, rtol=1e-5)
    np.testing.assert_allclose(history.history["adversarial_epsilon"], [0.2, 0.4, 0.6])
    np.testing.assert_allclose(history.history["adversarial_fraction"], fractions)
    assert traces[-3:] == [0, 1, 2]


def test_a_warm_up_may_outlast_the_fit_and_a_schedule_may_be_keras_own(data):
    model = compiled(small_net())
    history = fit(model, data, kf.callbacks.OSSACallback(kf.callbacks.Warmup(1.0, 3), attack=FAST))
    assert history.history["adversarial_epsilon"] == [0.0]
    schedule = keras.optimizers.schedules.CosineDecay(0.5, 10)
    history = fit(model, data, kf.callbacks.OSSACallback(schedule, attack=FAST))
    assert history.history["adversarial_epsilon"] == [pytest.approx(0.5)]


def test_a_regularizer_that_the_training_step_would_not_use_is_refused(data):
    class OwnLoss(keras.Model):
        def train_step(self, data):
            images, labels = keras.utils.unpack_x_y_sample_weight(data)[:2]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(
                    keras.losses.sparse_categorical_crossentropy(labels, self(images), True)
                )
            self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
            return {"loss": loss}

    inner = small_net()
    model = compiled(OwnLoss(inner.inputs, inner.outputs), metrics=None)
    callback = kf.callbacks.OSSACallback(fraction=0.0, regularizer=kf.losses.FisherRegularizer())
    with pytest.raises(ValueError, match="`regularizer` must be None for a model whose train_step does not"):
        fit(model, data, callback)
    fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))


@pytest.mark.parametrize(
    ("penalty", "settings"),
    [
        ("spectral_norm", {}),
        ("trace", {}),
        ("kl", {}),
        pytest.param("trace", {"run_eagerly": True}, marks=pytest.mark.slow),
        pytest.param("spectral_norm", {"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param("kl", {"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_a_regularizer_adds_its_penalty_to_the_loss(penalty, settings, data):
    # By this solver, since the other one starts with random numbers, and XLA has other ones.
    regularizer = kf.losses.FisherRegularizer(0.5, penalty, epsilon=0.5, solver="exact")
    model = compiled(small_net(), optimizer=keras.optimizers.SGD(0.0), **settings)
    plain = fit(model, data, batch_size=64).history["loss"][0]
    expected = float(regularizer(model, data[0], step=model.optimizer.iterations))
    history = fit(
        model, data, kf.callbacks.OSSACallback(fraction=0.0, regularizer=regularizer), batch_size=64
    )
    assert history.history["loss"][0] - plain == pytest.approx(expected, rel=1e-3)
    assert history.history["adversarial_fraction"] == [0.0]
    assert fit(model, data, batch_size=64).history["loss"][0] == pytest.approx(plain, rel=1e-6)


@pytest.mark.slow
def test_training_with_a_regularizer_lowers_the_largest_eigenvalue(data):
    regularizer = kf.losses.FisherRegularizer(0.5)
    models = [compiled(small_net()), compiled(small_net())]
    fit(models[0], data, epochs=20)
    fit(models[1], data, kf.callbacks.OSSACallback(fraction=0.0, regularizer=regularizer), epochs=20)
    plain, penalised = (kf.fisher_spectrum(model, data[0], 1).eigenvalues.mean() for model in models)
    assert penalised < 0.7 * plain


def test_images_out_of_bounds_are_refused_after_the_first_batch_unperturbed(data):
    images = 255.0 * data[0]
    # XLA drops assertions from a graph.
    model = compiled(recording_net(), optimizer=keras.optimizers.SGD(0.0), jit_compile=True)
    with pytest.raises(ValueError, match=r"`images` must be within the bounds \[0, 1\].*Divide 8-bit"):
        fit(model, (images, data[1]), kf.callbacks.OSSACallback(EPSILON, attack=FAST), batch_size=64)
    np.testing.assert_array_equal(model.seen.numpy(), images)
    assert "make_train_function" not in vars(model)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"epsilon": -1.0}, ValueError, "`epsilon` must be a finite number"),
        ({"epsilon": "1"}, TypeError, "`epsilon` must be a real number"),
        ({"eps": 1.5}, TypeError, r"`OSSACallback` must be given .*, got eps. Did you mean `epsilon`"),
        ({"fraction": 2.0}, ValueError, "`fraction` must be a finite number"),
        ({"fraction": 0.0}, ValueError, "`fraction` must be above 0 without a `regularizer`"),
        ({"attack": kf.attacks.OTCM()}, ValueError, r"`attack` must be one of BIM, FGM, .*PGD"),
        (
            {"epsilon": 1.5, "attack": kf.attacks.FGM(0.3)},
            ValueError,
            r"`attack` must agree with `epsilon` = 1.5 .*, got FGM\(epsilon=0.3\). Leave one",
        ),
        (
            {"epsilon": kf.callbacks.Warmup(0.3, 2), "attack": kf.attacks.FGM(0.3)},
            ValueError,
            "`attack` must agree with `epsilon` = a schedule",
        ),
        ({"solver": "qr"}, ValueError, "`solver` must be one of"),
        ({"solver": "alias_power"}, ValueError, "`solver` must be deterministic in training"),
        ({"validation_attack": kf.attacks.DDN()}, TypeError, "`attack` must be an attack of kf.attacks with"),
        ({"regularizer": "trace"}, TypeError, r"`regularizer` must be a kf\.losses\.FisherRegularizer"),
        ({"checkpoint": "best.keras"}, ValueError, "`checkpoint` must be None without `validation_data`"),
        ({"checkpoint": "best.h5", "validation_data": 1}, ValueError, r"`checkpoint` must end in \.keras"),
        ({"checkpoint": 3, "validation_data": 1}, TypeError, "`checkpoint` must be the path"),
        ({"bounds": (1.0, 0.0)}, ValueError, "`bounds` must be a pair"),
        ({"from_logits": "yes"}, ValueError, "`from_logits` must be one of"),
        ({"seed": 1.5}, TypeError, "`seed` must be an integer"),
    ],
)
def test_a_bad_argument_is_refused_at_once(arguments, error, text):
    with pytest.raises(error, match=text):
        kf.callbacks.OSSACallback(**arguments)


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        ({"epsilon": lambda epoch: -epoch}, {}, ValueError, "`epsilon` must be a finite number"),
        ({"validation_data": 3}, {}, TypeError, r"`validation_data` must be \(images, labels\)"),
        ({"solver": "golub_kahan"}, {"jit_compile": True}, ValueError, "`solver` must have static shapes"),
        (
            {"validation_data": (np.zeros((3, 5, 5, 1)), [0, 1, 2])},
            {},
            ValueError,
            "`validation_data` must have the shape",
        ),
        (
            {"validation_data": (np.zeros((3, 6, 6, 1)), [1, 2])},
            {},
            ValueError,
            "`labels` must have the shape",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_refused_before_any_work(arguments, settings, error, text, data):
    model = compiled(small_net(), **settings)
    before = model.get_weights()
    with pytest.raises(error, match=text):
        fit(model, data, kf.callbacks.OSSACallback(**arguments), epochs=2)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    fit(model, data)


def test_two_callbacks_in_one_fit_are_refused(data):
    model = compiled(small_net())
    with pytest.raises(ValueError, match="`callbacks` must hold one OSSACallback"):
        fit(model, data, kf.callbacks.OSSACallback(), kf.callbacks.OSSACallback())
    fit(model, data, kf.callbacks.OSSACallback())


def test_a_model_of_two_inputs_is_refused(data):
    inputs = [keras.Input((6, 6, 1)), keras.Input((6, 6, 1))]
    hidden = keras.layers.Flatten()(keras.layers.Add()(inputs))
    model = compiled(keras.Model(inputs, keras.layers.Dense(4)(hidden)))
    with pytest.raises(ValueError, match="`model` must take one tensor of images"):
        model.fit([data[0], data[0]], data[1], verbose=0, callbacks=[kf.callbacks.OSSACallback()])


def test_warmup_rises_linearly_and_refuses_bad_settings():
    warmup = kf.callbacks.Warmup(2.0, epochs=4, start=1.0)
    assert [warmup(epoch) for epoch in range(6)] == [1.0, 1.25, 1.5, 1.75, 2.0, 2.0]
    for settings in ({"value": -1.0}, {"epochs": 0}, {"start": -1.0}):
        with pytest.raises(ValueError, match=f"`{next(iter(settings))}` must be"):
            kf.callbacks.Warmup(**({"value": 1.0, "epochs": 1} | settings))
