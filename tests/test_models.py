"""The nets: their architectures, and where their weights come from."""

import dataclasses
import itertools
import shutil
from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_fisher import artefacts, datasets, models


@dataclasses.dataclass(frozen=True)
class Net:
    """An architecture, how a small one of it is built, and where its stored weights are."""

    name: str
    build: Callable[..., keras.Model]
    settings: dict
    stored: str
    folder: str
    script: str

    def small(self, weights=None) -> keras.Model:
        return self.build(weights, **self.settings)

    def images(self, number: int) -> np.ndarray:
        shape = self.small().input_shape[1:]
        return np.random.default_rng(0).random((number, *shape), dtype=np.float32)


NETS = [
    Net("lenet5", models.lenet5, {}, "mnist", "lenet5_mnist", r"scripts/train_lenet5\.py"),
    Net("vgg", models.vgg, {"width": 2}, "cifar10", "vgg_cifar10", r"scripts/train_vgg\.py"),
]


@pytest.fixture(params=NETS, ids=[net.name for net in NETS])
def net(request) -> Net:
    return request.param


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


def test_lenet5_has_the_maps_and_units_that_were_asked_for():
    model = models.lenet5(maps=(20, 50), units=(500,))
    shapes = [tuple(weight.shape) for weight in model.trainable_variables]
    assert shapes == [
        *[(5, 5, 1, 20), (20,), (5, 5, 20, 50), (50,)],
        *[(1250, 500), (500,), (500, 10), (10,)],
    ]
    stored = models.lenet5(weights="mnist_wide")
    assert [tuple(weight.shape) for weight in stored.trainable_variables] == shapes
    images, labels = datasets.mnist_sample()
    assert np.mean(np.argmax(stored.predict(images, verbose=0), axis=1) == labels) >= 0.99


@pytest.mark.parametrize(
    ("name", "value", "error", "rule"),
    [
        ("maps", (6,), ValueError, r"be positive integers, two of them, got \(6,\)"),
        ("maps", (6, 0), ValueError, "be at least 1, got 0"),
        ("maps", 6, TypeError, "be positive integers, two of them, got 6"),
        ("units", (), ValueError, r"be positive integers, got \(\)"),
        ("units", (1.5,), TypeError, "be an integer, got 1.5"),
        ("units", "84", TypeError, "be positive integers, got '84'"),
    ],
)
def test_lenet5_refuses_sizes_that_are_none(name, value, error, rule):
    with pytest.raises(error, match=f"`{name}` must {rule}"):
        models.lenet5(**{name: value})


def test_lenet5_refuses_the_stored_weights_for_another_size():
    rule = (
        r"`maps` must be None or \(6, 16\), those of the stored net, got \(20, 50\)\. Train one by scripts/"
    )
    with pytest.raises(ValueError, match=rule):
        models.lenet5(weights="mnist", maps=(20, 50))


@pytest.mark.parametrize("width", [None, 8])
def test_vgg_is_the_net_that_it_says(width):
    model = models.vgg(width=width)
    w = width or 64
    assert model.name == "vgg"
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 10)
    maps = [3, w, w, 2 * w, 2 * w, 4 * w, 4 * w, 4 * w]
    normalised = [
        *[(3, 3, before, after) for before, after in itertools.pairwise(maps)],
        # Three poolings leave 4 × 4 of the 32 × 32 pixels.
        (16 * 4 * w, 512 * w // 64),
    ]
    expected = [shape for kernel in normalised for shape in (kernel, kernel[-1:], kernel[-1:])]
    expected += [(512 * w // 64, 10), (10,)]
    assert [tuple(weight.shape) for weight in model.trainable_variables] == expected
    # Beside the trained ones only the moving mean and variance of each normalisation: the pixels' is fixed.
    assert [tuple(weight.shape) for weight in model.non_trainable_variables if "seed" not in weight.name] == [
        kernel[-1:] for kernel in normalised for _ in range(2)
    ]


def test_vgg_computes_in_the_order_that_it_says():
    kinds = [type(layer).__name__ for layer in models.vgg(width=2).layers]
    convolution = ["Conv2D", "BatchNormalization", "ReLU"]
    end_of_block = ["MaxPooling2D", "Dropout"]
    assert kinds == [
        *["InputLayer", "Rescaling"],
        *[*(2 * convolution), *end_of_block],
        *[*(2 * convolution), *end_of_block],
        *[*(3 * convolution), *end_of_block],
        *["Flatten", "Dense", "BatchNormalization", "ReLU", "Dropout", "Dense"],
    ]


def test_vgg_without_normalisation_has_biases_in_its_place():
    with_it, without = models.vgg(width=2), models.vgg(width=2, batch_normalisation=False)
    kinds = [type(layer).__name__ for layer in with_it.layers]
    expected = [kind for kind in kinds if kind != "BatchNormalization"]
    assert [type(layer).__name__ for layer in without.layers] == expected
    for layer in without.layers:
        if hasattr(layer, "kernel"):
            assert layer.use_bias


@pytest.mark.parametrize(
    ("weights", "value", "error", "rule"),
    [
        (None, 1, TypeError, "be True or False, got 1"),
        ("cifar10_narrow", False, ValueError, "be one of True, got False"),
    ],
)
def test_vgg_refuses_another_normalisation(weights, value, error, rule):
    with pytest.raises(error, match=f"`batch_normalisation` must {rule}"):
        models.vgg(weights=weights, batch_normalisation=value)


def test_vgg_centres_the_pixels_itself():
    model = models.vgg(width=2)
    centred = keras.Model(model.input, model.get_layer("rescaling").output)
    pixels = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None, None] * np.ones((32, 32, 3), np.float32)
    np.testing.assert_array_equal(np.unique(centred(pixels)), [-2, -1, 0, 1, 2])


@pytest.mark.parametrize(("weights", "width"), [("cifar10", 64), ("cifar10_narrow", 32)])
def test_vgg_has_the_stored_width_with_the_stored_weights(weights, width):
    stored = models.vgg(weights=weights)
    assert stored.get_layer("convolution_1_1").filters == width
    again = models.vgg(weights=weights, width=width)
    for expected, found in zip(stored.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_vgg_refuses_the_stored_weights_for_another_width():
    rule = r'`width` must be None or 64, .*weights="cifar10".*got 32\..*--width 32 by '
    rule += r"scripts/train_vgg\.py or scripts/train_robust\.py"
    with pytest.raises(ValueError, match=rule):
        models.vgg(weights="cifar10", width=32)


@pytest.mark.parametrize("weights", [None, "cifar10"])
@pytest.mark.parametrize(
    ("width", "error", "rule"),
    [
        (0, ValueError, "be at least 1, got 0"),
        (-32, ValueError, "be at least 1, got -32"),
        (32.0, TypeError, "be an integer, got 32.0"),
        (True, TypeError, "be an integer, got True"),
        ("32", TypeError, "be an integer, got '32'"),
    ],
)
def test_vgg_refuses_a_width_that_is_none(weights, width, error, rule):
    with pytest.raises(error, match=f"`width` must {rule}"):
        models.vgg(weights, width=width)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_vgg_refuses_a_file_of_another_width(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    model = models.vgg(width=2)
    (model.save if suffix == ".keras" else model.save_weights)(path)
    with pytest.raises(ValueError, match="`weights` must hold the weights of a vgg of width 3"):
        models.vgg(path, width=3)


def test_net_ends_in_logits(net):
    model = net.small()
    assert model.layers[-1].activation is keras.activations.linear
    logits = model(net.images(50))
    assert np.min(logits) < 0
    assert np.ptp(np.sum(logits, axis=1)) > 1e-3


def test_net_drops_out_in_training_only(net):
    model = net.small()
    images = net.images(5)
    np.testing.assert_array_equal(model(images, training=False), model(images, training=False))
    assert np.any(np.asarray(model(images, training=True)) != np.asarray(model(images, training=True)))


def test_every_dropout_of_a_net_drops_some(net):
    dropouts = [layer for layer in net.small().layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == {"lenet5": 2, "vgg": 4}[net.name]
    for dropout in dropouts:
        kept = np.asarray(dropout(np.ones((100, 100), np.float32), training=True)) > 0
        assert 0.5 < np.mean(kept) < 1


def test_random_weights_repeat_with_the_seed_and_differ_without(net):
    kernels = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        kernels.append(net.small().get_weights()[0])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.any(kernels[0] != kernels[2])


def test_stored_lenet5_classifies_the_sample():
    images, labels = datasets.mnist_sample()
    logits = models.lenet5(weights="mnist").predict(images, verbose=0)
    assert np.mean(np.argmax(logits, axis=1) == labels) >= 0.99


@pytest.mark.parametrize(
    ("folder", "max_bytes", "min_accuracy"),
    [
        ("lenet5_mnist", 400_000, 0.992),
        ("lenet5_mnist_elu", 400_000, 0.99),
        ("lenet5_mnist_fgm", 400_000, 0.99),
        ("lenet5_mnist_ossa", 400_000, 0.99),
        ("lenet5_mnist_wide", 2_000_000, 0.99),
        ("vgg_cifar10", 9_000_000, 0.90),
        ("vgg_cifar10_narrow", 5_000_000, 0.85),
        ("vgg_mnist_fgm", 6_000_000, 0.99),
        ("vgg_mnist_relu", 6_000_000, 0.99),
        ("vgg_mnist_ossa", 2_000_000, 0.99),
    ],
)
def test_stored_net_is_small_and_reports_its_accuracy(folder, max_bytes, min_accuracy):
    manifest = artefacts.check_manifest(artefacts.saved_model_path(folder) / "manifest.json")
    assert manifest["files"]["model.keras"]["bytes"] < max_bytes
    assert manifest["metrics"]["test_accuracy"] >= min_accuracy
    assert manifest["metrics"]["test_images"] == 10_000


@pytest.mark.parametrize(
    ("build", "weights"),
    itertools.product([models.lenet5, models.vgg], ["mnist_fgm", "mnist_ossa"]),
)
def test_stored_robust_net_has_elu_and_classifies_the_sample(build, weights):
    images, labels = datasets.mnist_sample()
    model = build(weights=weights)
    names = {layer.name for layer in model.layers}
    activations = {getattr(layer.get_config().get("activation"), "lower", str)() for layer in model.layers}
    assert "elu_dense" in names or "elu" in activations
    assert "relu" not in activations
    images, labels = images[::3], labels[::3]
    assert np.mean(np.argmax(model.predict(images, verbose=0), axis=1) == labels) >= 0.98
    with pytest.raises(ValueError, match="`activation` must be one of 'elu', got 'relu'"):
        build(weights=weights, activation="relu")


@pytest.mark.parametrize("build", [models.lenet5, lambda **settings: models.vgg(width=2, **settings)])
def test_activation_is_what_was_asked_for(build):
    images = np.random.default_rng(0).random((2, *build().input_shape[1:]), dtype=np.float32)
    one, other = build(activation="relu"), build(activation="elu")
    other.set_weights(one.get_weights())
    assert not np.allclose(one(images), other(images), atol=1e-6)
    with pytest.raises(ValueError, match="`activation` must be one of 'relu', 'elu', got 'tanh'"):
        build(activation="tanh")


@pytest.mark.parametrize(("weights", "activation"), [("mnist", "relu"), ("mnist_fgm", "elu")])
def test_vgg_of_the_papers_width_is_stored_for_mnist(weights, activation):
    model = models.vgg(weights=weights)
    assert model.get_layer("convolution_1_1").filters == 64
    assert model.get_layer(f"{activation}_dense").output.shape == (None, 512)


def test_vgg_takes_images_of_mnist_if_told_so():
    assert models.vgg(width=2, image_shape=(28, 28, 1)).input_shape == (None, 28, 28, 1)
    assert models.vgg(weights="mnist_fgm").input_shape == (None, 28, 28, 1)
    with pytest.raises(ValueError, match=r"`image_shape` must be one of \(32, 32, 3\), \(28, 28, 1\), got"):
        models.vgg(width=2, image_shape=(28, 28, 3))
    with pytest.raises(ValueError, match=r"`image_shape` must be one of \(28, 28, 1\), got \(32, 32, 3\)"):
        models.vgg(weights="mnist_fgm", image_shape=(32, 32, 3))


def test_stored_net_loads_in_plain_keras(net):
    plain = keras.models.load_model(artefacts.saved_model_path(net.folder) / "model.keras")
    images = net.images(20)
    np.testing.assert_array_equal(plain(images), net.build(weights=net.stored)(images))


@pytest.fixture
def copied(net, tmp_path, monkeypatch):
    """A copy of the stored net, in the place of the real one."""
    folder = tmp_path / "saved_models" / net.folder
    shutil.copytree(artefacts.saved_model_path(net.folder), folder)
    monkeypatch.setattr(artefacts, "_PACKAGE", tmp_path / "keras_fisher")
    return folder


def test_stored_weights_that_were_changed_are_refused(net, copied):
    net.build(weights=net.stored)
    net.small().save(copied / "model.keras")
    with pytest.raises(ValueError, match=rf"'model\.keras'.*changed.*{net.script}"):
        net.build(weights=net.stored)


def test_stored_weights_that_are_missing_say_what_to_do(net, copied):
    shutil.rmtree(copied)
    with pytest.raises(FileNotFoundError, match=rf"{net.folder}.*scripts/"):
        net.build(weights=net.stored)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("as_text", [True, False])
def test_weights_come_back_from_a_file(net, tmp_path, suffix, as_text):
    path = tmp_path / f"net{suffix}"
    model = net.small()
    # Not the first values: those of a normalisation are the same in every net.
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(weight.shape) for weight in model.get_weights()])
    (model.save if suffix == ".keras" else model.save_weights)(path)
    loaded = net.small(str(path) if as_text else path)
    for expected, found in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("weights", ["imagenet", "net.h5", ""])
def test_weights_of_an_unknown_kind_are_refused(net, weights):
    with pytest.raises(
        ValueError, match=f'`weights` must be None, "{net.stored}", .*or the path of a .keras'
    ):
        net.build(weights=weights)


@pytest.mark.parametrize("weights", [3, True, np.zeros(3)])
def test_weights_of_a_wrong_type_are_refused(net, weights):
    with pytest.raises(TypeError, match=f'`weights` must be None, "{net.stored}", .*or the path'):
        net.build(weights=weights)


def test_weights_file_that_is_missing_is_reported(net, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no such file.*{net.script}"):
        net.build(weights=tmp_path / "net.keras")


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_of_another_net_are_refused(net, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    other = keras.Sequential(
        [keras.Input(net.small().input_shape[1:]), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    (other.save if suffix == ".keras" else other.save_weights)(path)
    with pytest.raises(ValueError, match=f"`weights` must hold the weights of a {net.name}.*{net.script}"):
        net.small(path)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_broken_weights_file_is_refused(net, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=f"`weights` must hold the weights of a {net.name}"):
        net.small(path)


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


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["cifar10", "cifar10_narrow"])
def test_stored_vgg_has_the_accuracy_that_its_manifest_reports(weights):
    import tensorflow_datasets as tfds

    if not tfds.builder("cifar10").is_prepared():
        pytest.skip(
            "CIFAR-10 is not prepared: run `keras_fisher.datasets.load('cifar10', 'test')` with a network"
        )
    images, labels = datasets.load("cifar10", "test[:2000]")
    manifest = artefacts.check_manifest(artefacts.saved_model_path(f"vgg_{weights}") / "manifest.json")
    logits = models.vgg(weights=weights).predict(images, batch_size=500, verbose=0)
    accuracy = np.mean(np.argmax(logits, axis=1) == labels)
    expected = manifest["metrics"]["test_accuracy"]
    # 2,000 images drawn from 10,000 without replacement: three standard deviations of their accuracy.
    deviation = np.sqrt(expected * (1 - expected) / 2000 * (10_000 - 2000) / 9999)
    assert accuracy == pytest.approx(expected, abs=3 * deviation)
