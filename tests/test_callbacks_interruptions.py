"""The model after adversarial training: after its end, after an interruption, and when it goes on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from tests.small_fits import (
    EPSILON,
    FAST,
    compiled,
    fit,
    lengths,
    quadrants,
    recording_net,
    small_net,
)

# A net that has learnt little is wrong on most images.
pytestmark = pytest.mark.filterwarnings("ignore:The classifier gives only")


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return quadrants()


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


def start_fit(data):
    """A model, and a callback that looks at it after each epoch."""
    settings = {"validation_data": data, "validation_attack": FAST}
    return recording_net(), kf.callbacks.OSSACallback(EPSILON, 1.0, FAST, **settings)


@pytest.fixture(scope="module")
def shared_fit(data):
    """For interruptions outside of the step, which is traced once."""
    return start_fit(data)


@pytest.mark.parametrize("where", ["nowhere", "in a step", "between steps", "another callback", "validation"])
def test_the_model_is_what_it_was_after_the_fit_or_an_interruption(where, data, shared_fit, monkeypatch):
    model, callback = start_fit(data) if where == "in a step" else shared_fit
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
    model = compiled(small_net())
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
    model = recording_net()
    callback = kf.callbacks.OSSACallback(EPSILON, 1.0, FAST, bounds=None)
    fit(model, data, callback, batch_size=64)
    by_fgm = model.seen.numpy()
    callback.attack = kf.attacks.PGD(steps=1, random_start=False, step_size=EPSILON / 2)
    fit(model, data, callback, batch_size=64)
    np.testing.assert_allclose(lengths(model.seen.numpy(), data[0]), lengths(by_fgm, data[0]) / 2, rtol=1e-4)


def test_train_on_batch_after_an_interruption_is_plain(data):
    model = recording_net()
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
    model = recording_net()
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
    other = recording_net()
    fit(other, data, callback, batch_size=64)
    assert (lengths(other.seen.numpy(), data[0]) > 0).all()


def test_a_fit_that_resumes_repeats_an_unbroken_one(data, tmp_path):
    def model():
        return compiled(small_net(seed=3), optimizer=keras.optimizers.Adam(0.01))

    def callback():
        return kf.callbacks.OSSACallback(kf.callbacks.Warmup(EPSILON, 2), 0.5, kf.attacks.RandomNoise())

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
    model = compiled(small_net())
    fit(model, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    assert again.evaluate(*data, verbose=0) == pytest.approx(model.evaluate(*data, verbose=0))
    assert len(again.weights) == len(small_net().weights)
    fit(again, data, kf.callbacks.OSSACallback(EPSILON, attack=FAST))
