"""Adversarial training through `model.fit`: the step, the logs, and the model afterwards."""

from __future__ import annotations

import csv
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher.training.batches import class_indices
from keras_fisher.training.best_checkpoint import BestCheckpoint

EPSILON = 0.7
FAST_PGD = kf.attacks.PGD(0.5, steps=3)
#: The attack that is traced fastest, where it does not matter which.
FAST = kf.attacks.FGM()


def net(*, seed: int = 0, activation: str | None = None, kind: str = "functional") -> keras.Model:
    """A small net of images (6, 6, 1) → 4 classes."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Conv2D(3, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(4, activation=activation),
    ]
    if kind == "sequential":
        return keras.Sequential(layers)  # without an Input: built by the first batch
    if kind == "subclassed":
        return Subclassed(layers)
    return keras.Sequential([keras.Input((6, 6, 1)), *layers])


class Subclassed(keras.Model):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, inputs, training=False):
        for part in self.parts:
            inputs = part(inputs, training=training)
        return inputs


class Recorder(keras.Model):
    """A model whose own training step keeps the images that it is given."""

    is_stopped = False

    def train_step(self, data):
        if self.is_stopped:
            raise KeyboardInterrupt
        self.seen.assign(keras.utils.unpack_x_y_sample_weight(data)[0])
        return super().train_step(data)


def compiled(model: keras.Model, **settings) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        **({"optimizer": keras.optimizers.SGD(0.1), "loss": loss, "metrics": ["accuracy"]} | settings)
    )
    return model


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightest quadrant is their class: 64 of them."""
    generator = np.random.default_rng(0)
    labels = np.arange(64) % 4
    images = generator.uniform(0.2, 0.5, size=(64, 6, 6, 1))
    for image, label in zip(images, labels, strict=True):
        row, column = 3 * (label // 2), 3 * (label % 2)
        image[row : row + 3, column : column + 3] += 0.3
    return images.astype(np.float32), labels


def fit(model, data, *callbacks, epochs=1, **settings):
    options = {"batch_size": 16, "shuffle": False, "verbose": 0} | settings
    return model.fit(*data, epochs=epochs, callbacks=list(callbacks), **options)


def recording_net(data) -> Recorder:
    inner = net()
    model = compiled(Recorder(inner.inputs, inner.outputs), optimizer=keras.optimizers.SGD(0.0))
    model.seen = tf.Variable(np.zeros((64, 6, 6, 1), np.float32))
    return model


def lengths(moved, images):
    return np.linalg.norm((np.asarray(moved, np.float64) - images).reshape(len(images), -1), axis=-1)


@pytest.mark.parametrize(
    ("attack", "fraction"),
    [(None, 1.0), (None, 0.25), (kf.attacks.FGM(), 0.5), (kf.attacks.PGD(steps=3), 0.5)],
)
def test_the_models_own_step_gets_perturbed_images(data, attack, fraction):
    model = recording_net(data)
    callback = kf.callbacks.OSSACallback(EPSILON, fraction, attack, bounds=None)
    fit(model, data, callback, batch_size=64)
    moved = lengths(model.seen.numpy(), data[0])
    assert (moved > 0).sum() == 64 * fraction
    assert moved.max() <= EPSILON * (1 + 1e-6)
    if not isinstance(attack, kf.attacks.PGD):
        np.testing.assert_allclose(moved[moved > 0], EPSILON, rtol=1e-5)


def test_images_are_moved_against_the_true_labels(data):
    model = recording_net(data)
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
        ("functional", {"run_eagerly": True}),
        ("subclassed", {"run_eagerly": True}),
        ("functional", {"steps_per_execution": 2, "optimizer": "adam"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "graph",
)
def test_any_compiled_classifier_trains(kind, settings, data):
    settings = dict(settings)
    attack = settings.pop("attack", FAST)
    model = compiled(net(kind=kind), **settings)
    history = fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=attack), epochs=2)
    assert np.isfinite(history.history["loss"]).all()
    assert {"accuracy", "adversarial_epsilon", "adversarial_fraction"} <= set(history.history)
    assert model.evaluate(*data, verbose=0)[1] >= 0


@pytest.mark.parametrize(
    "form", ["dataset", "one_hot", "column", "weights", "class_weight", "softmax", "uint8"]
)
def test_every_form_of_data_and_output_that_keras_takes(form, data):
    images, labels = data
    settings, options, model = {}, {}, net()
    callback = kf.callbacks.OSSACallback(EPSILON, attack=FAST)
    if form == "one_hot":
        labels = keras.utils.to_categorical(labels, 4)
        settings["loss"] = keras.losses.CategoricalCrossentropy(from_logits=True)
    elif form == "column":
        labels = labels[:, None]
    elif form == "weights":
        options["sample_weight"] = np.linspace(0, 1, 64)
    elif form == "class_weight":
        options["class_weight"] = {0: 1.0, 1: 2.0, 2: 1.0, 3: 0.5}
    elif form == "softmax":
        model = net(activation="softmax")
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
    model = recording_net(data)
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


def test_validation_logs_are_those_of_the_attack_and_the_spectrum(data):
    model = compiled(net())
    validation = (data[0][:20], data[1][:20])
    callback = kf.callbacks.OSSACallback(
        EPSILON, attack=FAST, validation_data=validation, validation_attack=FAST_PGD
    )
    history = fit(model, data, callback, epochs=2, validation_data=validation).history
    result = FAST_PGD(model, *validation)
    assert history["val_robust_accuracy"][-1] == pytest.approx(1 - result.success.mean())
    eigenvalues = kf.fisher_spectrum(model, validation[0], 1, solver="exact").eigenvalues[:, 0]
    assert history["val_fisher_eigenvalue_mean"][-1] == pytest.approx(eigenvalues.mean(), rel=1e-5)
    assert history["val_fisher_eigenvalue_median"][-1] == pytest.approx(np.median(eigenvalues), rel=1e-5)
    assert history["val_fisher_eigenvalue_mean"][0] != history["val_fisher_eigenvalue_mean"][1]
    assert history["val_accuracy"][-1] == pytest.approx(
        (kf.Classifier(model).predict(validation[0]) == validation[1]).mean()
    )


def test_validation_is_by_pgd_at_the_last_epsilon_unless_another_attack_is_given(data):
    validation = tf.data.Dataset.from_tensor_slices((data[0][:8], data[1][:8])).batch(4)
    callback = kf.callbacks.OSSACallback(
        kf.callbacks.Warmup(0.5, 1, start=0.1), attack=FAST, validation_data=validation
    )
    model = compiled(net())
    history = fit(model, data, callback, epochs=2).history
    expected = kf.attacks.PGD(0.5)(model, data[0][:8], data[1][:8]).success.mean()
    assert history["val_robust_accuracy"][-1] == pytest.approx(1 - expected)


def test_logs_reach_the_callbacks_behind_it(data, tmp_path):
    callback = kf.callbacks.OSSACallback(
        EPSILON, attack=FAST, validation_data=(data[0][:8], data[1][:8]), validation_attack=FAST_PGD
    )
    table = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    board = keras.callbacks.TensorBoard(str(tmp_path / "board"))
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.keras"), monitor="val_robust_accuracy", mode="max", save_best_only=True
    )
    history = fit(compiled(net()), data, callback, table, board, best, epochs=2).history
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_robust_accuracy"]) for row in rows] == pytest.approx(
        history["val_robust_accuracy"]
    )
    assert (tmp_path / "best.keras").exists()
    tags = {
        value.tag
        for path in (tmp_path / "board").glob("*/events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    # Keras files what begins with "val_" under "validation", without that.
    assert {"epoch_robust_accuracy", "epoch_fisher_eigenvalue_mean", "epoch_adversarial_epsilon"} <= tags


def test_the_checkpoint_holds_the_best_epoch(data, tmp_path):
    path = tmp_path / "best.keras"
    callback = kf.callbacks.OSSACallback(
        EPSILON, attack=FAST, validation_data=data, validation_attack=kf.attacks.FGM(0.4), checkpoint=path
    )
    history = fit(compiled(net()), data, callback, epochs=6).history["val_robust_accuracy"]
    stored = BestCheckpoint(path).details()
    assert stored == {
        "epoch": int(np.argmax(history)),
        "name": "val_robust_accuracy",
        "value": pytest.approx(max(history)),
    }
    again = keras.models.load_model(path)
    assert 1 - kf.attacks.FGM(0.4)(again, *data).success.mean() == pytest.approx(max(history))
    # One file, so that a kill cannot part the two.
    assert {file.name for file in tmp_path.iterdir()} == {"best.keras"}


def test_training_that_goes_on_has_to_beat_the_stored_checkpoint(data, tmp_path):
    path = tmp_path / "best.keras"
    settings = {"validation_data": data, "validation_attack": kf.attacks.FGM(0.4), "checkpoint": path}
    fit(compiled(net()), data, kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings), epochs=1)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["keras_fisher_best.json"] = json.dumps(BestCheckpoint(path).details() | {"value": 2.0}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    before = path.read_bytes()
    fit(
        compiled(net()),
        data,
        kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings),
        epochs=2,
        initial_epoch=1,
    )
    assert path.read_bytes() == before
    fit(compiled(net()), data, kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings), epochs=1)
    assert BestCheckpoint(path).details()["value"] <= 1


class Interruption(keras.callbacks.Callback):
    """Raises in one place of a fit of two batches."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def on_train_batch_begin(self, batch, logs=None):
        if self.where == "between steps" and batch == 1:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.where == "another callback":
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["nowhere", "in a step", "between steps", "another callback", "validation"])
def test_the_model_is_what_it_was_after_the_fit_or_an_interruption(where, data, monkeypatch):
    model = recording_net(data)
    callback = kf.callbacks.OSSACallback(EPSILON, 1.0, FAST, validation_data=data, validation_attack=FAST_PGD)
    batches = tf.data.Dataset.from_tensor_slices(data).repeat(2).batch(64)

    model.is_stopped = where == "in a step"
    if where == "validation":

        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(kf.attacks.FixedEpsilonAttack, "run", stop)
    settings = {"verbose": 0, "callbacks": [callback, Interruption(where)]}
    if where == "nowhere":
        model.fit(batches, **settings)
    else:
        with pytest.raises(KeyboardInterrupt):
            model.fit(batches, **settings)
    model.is_stopped = False
    if where in {"nowhere", "in a step", "validation"}:  # at once, not only when it trains again
        assert "make_train_function" not in vars(model)
    assert {"train_step", "compute_loss"} & set(vars(model)) == set()
    # Whatever was interrupted: training without the callback is plain.
    fit(model, data, batch_size=64)
    np.testing.assert_array_equal(model.seen.numpy(), data[0])
    assert "make_train_function" not in vars(model)
    model.train_on_batch(*data)
    np.testing.assert_array_equal(model.seen.numpy(), data[0])


def test_a_model_compiled_anew_after_an_interruption_trains_by_its_new_optimizer(data):
    model = compiled(net())
    callback = kf.callbacks.OSSACallback(EPSILON, attack=FAST)
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, callback, Interruption("another callback"))
    compiled(model, optimizer=keras.optimizers.SGD(0.0))
    before = model.get_weights()
    fit(model, data, callback)
    fit(model, data)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_settings_that_are_changed_between_fits_count(data):
    model = recording_net(data)
    callback = kf.callbacks.OSSACallback(EPSILON, 1.0, FAST, bounds=None)
    fit(model, data, callback, batch_size=64)
    by_fgm = model.seen.numpy()
    callback.attack = kf.attacks.PGD(steps=1, random_start=False, step_size=EPSILON / 2)
    fit(model, data, callback, batch_size=64)
    np.testing.assert_allclose(lengths(model.seen.numpy(), data[0]), lengths(by_fgm, data[0]) / 2, rtol=1e-4)


@pytest.mark.parametrize("form", ["one_hot", "column", "weights", "dataset"])
def test_validation_data_has_any_form_that_fit_takes(form, data):
    images, labels = data[0][:8], data[1][:8]
    validation = {
        "one_hot": (images, keras.utils.to_categorical(labels, 4)),
        "column": (images, labels[:, None]),
        "weights": (images, labels, np.ones(8)),
        "dataset": tf.data.Dataset.from_tensor_slices((images, np.eye(4)[labels])).batch(3),
    }[form]
    callback = kf.callbacks.OSSACallback(
        EPSILON, attack=FAST, validation_data=validation, validation_attack=kf.attacks.FGM(0.4)
    )
    model = compiled(net())
    history = fit(model, data, callback).history
    expected = 1 - kf.attacks.FGM(0.4)(model, images, labels).success.mean()
    assert history["val_robust_accuracy"] == [pytest.approx(expected)]


def test_a_warm_up_may_outlast_the_fit_and_a_schedule_may_be_keras_own(data):
    model = compiled(net())
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

    inner = net()
    model = compiled(OwnLoss(inner.inputs, inner.outputs), metrics=None)
    callback = kf.callbacks.OSSACallback(fraction=0.0, regularizer=kf.losses.FisherRegularizer())
    with pytest.raises(ValueError, match="`regularizer` must be None for a model whose train_step does not"):
        fit(model, data, callback)
    fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))


def test_train_on_batch_after_an_interruption_is_plain(data):
    model = recording_net(data)
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            data,
            kf.callbacks.OSSACallback(EPSILON, 1.0, FAST),
            Interruption("another callback"),
            batch_size=64,
        )
    model.train_on_batch(*data)
    np.testing.assert_array_equal(model.seen.numpy(), data[0])


def test_it_is_reusable_and_does_not_trace_again_for_the_same_model(data):
    model = recording_net(data)
    callback = kf.callbacks.OSSACallback(EPSILON, 1.0, FAST)
    traces = []
    own = model.train_step
    model.train_step = lambda data: (traces.append(-1), own(data))[1]
    fit(model, data, callback, batch_size=64)
    count = len(traces)
    for _ in range(2):
        fit(model, data, callback, batch_size=64)
        assert (lengths(model.seen.numpy(), data[0]) > 0).all()
    assert len(traces) == count
    # Compiled anew, or another model: a new function.
    compiled(model, optimizer=keras.optimizers.SGD(0.0))
    fit(model, data, callback, batch_size=64)
    assert len(traces) > count
    other = recording_net(data)
    fit(other, data, callback, batch_size=64)
    assert (lengths(other.seen.numpy(), data[0]) > 0).all()


def test_a_fit_that_resumes_repeats_an_unbroken_one(data, tmp_path):
    def model():
        return compiled(net(seed=3), optimizer=keras.optimizers.Adam(0.01))

    def callback():
        return kf.callbacks.OSSACallback(kf.callbacks.Warmup(EPSILON, 2), 0.5, kf.attacks.PGD(steps=2))

    whole, first = model(), model()
    fit(whole, data, callback(), epochs=4)
    with pytest.raises(KeyboardInterrupt):
        fit(
            first,
            data,
            callback(),
            keras.callbacks.BackupAndRestore(str(tmp_path), delete_checkpoint=False),
            StopAt(2),
            epochs=4,
        )
    second = model()
    history = fit(second, data, callback(), keras.callbacks.BackupAndRestore(str(tmp_path)), epochs=4)
    assert len(history.history["loss"]) == 2
    for weight, expected in zip(second.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)


class StopAt(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_save_load_evaluate_and_predict_are_as_before(data, tmp_path):
    model = compiled(net())
    fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    assert again.evaluate(*data, verbose=0) == pytest.approx(model.evaluate(*data, verbose=0))
    assert len(again.weights) == len(net().weights)
    fit(again, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))


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
    model = compiled(net(), optimizer=keras.optimizers.SGD(0.0), **settings)
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
    models = [compiled(net()), compiled(net())]
    fit(models[0], data, epochs=20)
    fit(models[1], data, kf.callbacks.OSSACallback(fraction=0.0, regularizer=regularizer), epochs=20)
    plain, penalised = (kf.fisher_spectrum(model, data[0], 1).eigenvalues.mean() for model in models)
    assert penalised < 0.7 * plain


def test_images_out_of_bounds_are_refused_after_the_first_batch_unperturbed(data):
    images = 255.0 * data[0]
    # XLA drops assertions from a graph.
    model = compiled(recording_net(data), optimizer=keras.optimizers.SGD(0.0), jit_compile=True)
    with pytest.raises(ValueError, match=r"`images` must be within the bounds \[0, 1\].*Divide 8-bit"):
        fit(model, (images, data[1]), kf.callbacks.OSSACallback(EPSILON, attack=FAST), batch_size=64)
    np.testing.assert_array_equal(model.seen.numpy(), images)
    assert "make_train_function" not in vars(model)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"epsilon": -1.0}, ValueError, "`epsilon` must be a finite number"),
        ({"epsilon": None}, TypeError, "`epsilon` must be a real number"),
        ({"fraction": 2.0}, ValueError, "`fraction` must be a finite number"),
        ({"fraction": 0.0}, ValueError, "`fraction` must be above 0 without a `regularizer`"),
        ({"attack": kf.attacks.OTCM()}, ValueError, r"`attack` must be one of BIM, FGM, .*PGD"),
        ({"attack": kf.attacks.FGM(0.3)}, ValueError, r"Leave the attack's own epsilon out: FGM\(\)"),
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
    model = compiled(net(), **settings)
    before = model.get_weights()
    with pytest.raises(error, match=text):
        fit(model, data, kf.callbacks.OSSACallback(**arguments), epochs=2)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    fit(model, data)


def test_two_callbacks_in_one_fit_are_refused(data):
    model = compiled(net())
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
