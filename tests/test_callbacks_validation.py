"""Validation in `model.fit`: the logs, and the checkpoint of the best epoch."""

from __future__ import annotations

import csv
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher.training.best_checkpoint import BestCheckpoint
from tests.small_fits import EPSILON, FAST, FAST_PGD, compiled, fit, quadrants, small_net

# A net that has learnt little is wrong on most images.
pytestmark = pytest.mark.filterwarnings("ignore:The classifier gives only")


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return quadrants()


def test_validation_logs_are_those_of_the_attack_and_the_spectrum(data):
    model = compiled(small_net())
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
    model = compiled(small_net())
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
    history = fit(compiled(small_net()), data, callback, table, board, best, epochs=2).history
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
    history = fit(compiled(small_net()), data, callback, epochs=6).history["val_robust_accuracy"]
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
    fit(compiled(small_net()), data, kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings), epochs=1)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["keras_fisher_best.json"] = json.dumps(BestCheckpoint(path).details() | {"value": 2.0}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    before = path.read_bytes()
    fit(
        compiled(small_net()),
        data,
        kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings),
        epochs=2,
        initial_epoch=1,
    )
    assert path.read_bytes() == before
    fit(compiled(small_net()), data, kf.callbacks.OSSACallback(EPSILON, attack=FAST, **settings), epochs=1)
    assert BestCheckpoint(path).details()["value"] <= 1


@pytest.mark.parametrize("form", ["one_hot", "column, weights", "dataset"])
def test_validation_data_has_any_form_that_fit_takes(form, data):
    images, labels = data[0][:8], data[1][:8]
    validation = {
        "one_hot": (images, keras.utils.to_categorical(labels, 4)),
        "column, weights": (images, labels[:, None], np.ones(8)),
        "dataset": tf.data.Dataset.from_tensor_slices((images, np.eye(4)[labels])).batch(3),
    }[form]
    callback = kf.callbacks.OSSACallback(
        EPSILON, attack=FAST, validation_data=validation, validation_attack=kf.attacks.FGM(0.4)
    )
    model = compiled(small_net())
    history = fit(model, data, callback).history
    expected = 1 - kf.attacks.FGM(0.4)(model, images, labels).success.mean()
    assert history["val_robust_accuracy"] == [pytest.approx(expected)]


def test_a_targeted_validation_attack_is_refused_at_once(sample):
    with pytest.raises(ValueError, match=r"`validation_attack` must be untargeted, got PGD\(targeted=True\)"):
        kf.callbacks.OSSACallback(
            1.0, validation_data=sample, validation_attack=kf.attacks.PGD(1.0, targeted=True)
        )
