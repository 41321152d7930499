"""LeNet-5: its architecture, and where its weights come from."""

import shutil

import keras
import numpy as np
import pytest

from keras_fisher import artefacts, datasets, models


def test_lenet5_is_the_net_that_it_says():
    model = models.lenet5()
    assert model.name == "lenet5"
    assert model.input_shape == (None, 28, 28, 1)
    assert model.output_shape == (None, 10)
    assert model.count_params() == 61_706
    shapes = [tuple(weight.shape) for weight in model.trainable_variables]
    assert shapes == [
        *[(5, 5, 1, 6), (6,), (5, 5, 6, 16), (16,)],
        *[(400, 120), (120,), (120, 84), (84,), (84, 10), (10,)],
    ]


def test_lenet5_ends_in_logits():
    model = models.lenet5()
    assert model.layers[-1].activation is keras.activations.linear
    logits = model(datasets.mnist_sample()[0][:50])
    assert np.min(logits) < 0
    assert np.ptp(np.sum(logits, axis=1)) > 1e-3


def test_lenet5_drops_out_in_training_only():
    model = models.lenet5()
    images = datasets.mnist_sample()[0][:5]
    np.testing.assert_array_equal(model(images, training=False), model(images, training=False))
    assert np.any(np.asarray(model(images, training=True)) != np.asarray(model(images, training=True)))


def test_random_weights_repeat_with_the_seed_and_differ_without():
    kernels = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        kernels.append(models.lenet5().get_weights()[0])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


def test_stored_lenet5_classifies_the_sample():
    images, labels = datasets.mnist_sample()
    logits = models.lenet5(weights="mnist").predict(images, verbose=0)
    assert np.mean(np.argmax(logits, axis=1) == labels) >= 0.99


def test_stored_lenet5_is_small_and_reports_its_accuracy():
    folder = artefacts.saved_model_path("lenet5_mnist")
    manifest = artefacts.check_manifest(folder / "manifest.json")
    assert manifest["files"]["model.keras"]["bytes"] < 400_000
    assert manifest["metrics"]["test_accuracy"] >= 0.992
    assert manifest["metrics"]["test_images"] == 10_000


def test_stored_lenet5_loads_in_plain_keras():
    path = artefacts.saved_model_path("lenet5_mnist") / "model.keras"
    images = datasets.mnist_sample()[0][:20]
    plain = keras.models.load_model(path)
    np.testing.assert_array_equal(plain(images), models.lenet5(weights="mnist")(images))


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the stored LeNet-5, in the place of the real one."""
    folder = tmp_path / "saved_models" / "lenet5_mnist"
    shutil.copytree(artefacts.saved_model_path("lenet5_mnist"), folder)
    monkeypatch.setattr(artefacts, "_PACKAGE", tmp_path / "keras_fisher")
    return folder


def test_stored_weights_that_were_changed_are_refused(copied):
    models.lenet5(weights="mnist")
    other = models.lenet5()
    other.save(copied / "model.keras")
    with pytest.raises(ValueError, match=r"'model\.keras'.*changed.*scripts/train_lenet5\.py"):
        models.lenet5(weights="mnist")


def test_stored_weights_that_are_missing_say_what_to_do(copied):
    shutil.rmtree(copied)
    with pytest.raises(FileNotFoundError, match=r"lenet5_mnist.*scripts/"):
        models.lenet5(weights="mnist")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("as_text", [True, False])
def test_weights_come_back_from_a_file(tmp_path, suffix, as_text):
    path = tmp_path / f"net{suffix}"
    model = models.lenet5()
    (model.save if suffix == ".keras" else model.save_weights)(path)
    loaded = models.lenet5(weights=str(path) if as_text else path)
    for expected, found in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("weights", ["imagenet", "net.h5", ""])
def test_weights_of_an_unknown_kind_are_refused(weights):
    with pytest.raises(ValueError, match=r'`weights` must be None, "mnist", or the path of a .keras'):
        models.lenet5(weights=weights)


@pytest.mark.parametrize("weights", [3, True, np.zeros(3)])
def test_weights_of_a_wrong_type_are_refused(weights):
    with pytest.raises(TypeError, match='`weights` must be None, "mnist", or the path'):
        models.lenet5(weights=weights)


def test_weights_file_that_is_missing_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file.*scripts/train_lenet5\.py"):
        models.lenet5(weights=tmp_path / "net.keras")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_of_another_net_are_refused(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    other = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    (other.save if suffix == ".keras" else other.save_weights)(path)
    with pytest.raises(ValueError, match="`weights` must hold the weights of a lenet5"):
        models.lenet5(weights=path)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_broken_weights_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="`weights` must hold the weights of a lenet5"):
        models.lenet5(weights=path)


@pytest.mark.slow
def test_stored_lenet5_has_the_accuracy_that_its_manifest_reports():
    import tensorflow_datasets as tfds

    if not tfds.builder("mnist").is_prepared():
        pytest.skip("MNIST is not prepared: run `keras_fisher.datasets.load('mnist', 'test')` with a network")
    images, labels = datasets.load("mnist", "test")
    manifest = artefacts.check_manifest(artefacts.saved_model_path("lenet5_mnist") / "manifest.json")
    logits = models.lenet5(weights="mnist").predict(images, batch_size=500, verbose=0)
    accuracy = np.mean(np.argmax(logits, axis=1) == labels)
    # Other kernels round otherwise: up to two images that lie on a decision boundary may change sides.
    assert accuracy == pytest.approx(manifest["metrics"]["test_accuracy"], abs=2e-4)
