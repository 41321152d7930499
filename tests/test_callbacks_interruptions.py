"""The model after adversarial training: after its end, after an interruption, and when it goes on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf

EPSILON = 0.7
FAST_PGD = kf.attacks.PGD(0.5, steps=3)
#: The attack that is traced fastest, where it does not matter which.
FAST = kf.attacks.FGM()
# A net that has learnt little is wrong on most images.
pytestmark = pytest.mark.filterwarnings("ignore:The classifier gives only")


def net(seed: int = 0) -> keras.Model:
    """A small net of images (6, 6, 1) → 4 classes."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Conv2D(3, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
    ]
    return keras.Sequential([keras.Input((6, 6, 1)), *layers])


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
