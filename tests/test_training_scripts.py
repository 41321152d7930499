"""What the training scripts do to images and to files."""

import importlib
import pathlib
import sys

import keras
import numpy as np
import pytest

import keras_fisher as kf

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch):
    """Returns a function that imports a script."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for name in ("_training", "train_lenet5", "train_robust", "train_vgg"):
        sys.modules.pop(name, None)


def test_rounded_kernels_are_compressed_and_any_keras_reads_them(script, tmp_path):
    training = script("_training")
    model = kf.models.vgg(width=4)
    # A bias that float16 does not have: biases and statistics stay as they are.
    model.get_layer("logits").bias.assign(np.full(10, 0.1, np.float32))
    before = [weight.copy() for weight in model.get_weights()]
    training.round_kernels(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert new.dtype == np.float32
        expected = old.astype(np.float16).astype(np.float32) if old.ndim > 1 else old
        np.testing.assert_array_equal(new, expected)
    assert any((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))

    model.save(tmp_path / "plain.keras")
    training.save_compressed(model, tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (tmp_path / "model.keras").stat().st_size < 0.75 * (tmp_path / "plain.keras").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "plain.keras"]


@pytest.fixture
def in_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_a_net_trained_in_bfloat16_is_stored_in_float32_with_kernels_of_bfloat16(script, in_bfloat16):
    training = script("_training")
    trained = kf.models.vgg(width=2)
    assert trained.get_layer("convolution_1_1").compute_dtype == "bfloat16"
    net = training.finished(trained, lambda: kf.models.vgg(width=2))
    assert {layer.compute_dtype for layer in net.layers} == {"float32"}
    for old, new in zip(trained.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    before = net.get_weights()
    assert training.round_kernels(net, training.KERNELS["mixed_bfloat16"]) == "rounded to bfloat16"
    for old, new in zip(before, net.get_weights(), strict=True):
        if old.ndim > 1:
            # Eight bits of the mantissa are left; the other 16 of the word are zero.
            assert not (new.view(np.uint32) & 0xFFFF).any()
            np.testing.assert_allclose(new, old, rtol=2.0**-8)
        else:
            np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train_lenet5", ["--epochs", "15", "--seed", "3", "--wide"]),
        ("train_vgg", ["--width", "32", "--without-normalisation", "--precision", "mixed_bfloat16"]),
        ("train_vgg", ["--width", "64"]),
        ("train_robust", ["--net", "vgg", "--attack", "fgm", "--precision", "mixed_bfloat16"]),
        ("train_robust", ["--attack", "none", "--activation", "relu"]),
    ],
)
def test_the_command_of_a_manifest_repeats_the_run(name, words, script, monkeypatch):
    training = script(name)
    monkeypatch.setattr(sys, "argv", [name, *words])
    arguments = training.parse_arguments()
    python, path, *again = training.command(arguments).split()
    assert (python, path) == ("python", f"scripts/{name}.py")
    monkeypatch.setattr(sys, "argv", [name, *again])
    assert vars(training.parse_arguments()) == vars(arguments)


@pytest.mark.parametrize("name", ["train_lenet5", "train_robust", "train_vgg"])
@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--epochs", "0"], "argument --epochs: must be at least 1, got 0"),
        (["--epochs", "-3"], "argument --epochs: must be at least 1, got -3"),
        (["--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["--seed", "2147483648"], "argument --seed: must be at most 2147483647, got 2147483648"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_a_training_that_trains_nothing_is_refused(name, words, rule, script, monkeypatch, capsys):
    training = script(name)
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit):
        training.parse_arguments()
    assert rule in capsys.readouterr().err


def test_lenet5_is_as_wide_as_its_command_says(script, monkeypatch):
    training = script("train_lenet5")
    for words, maps, folder in (([], 6, "lenet5_mnist"), (["--wide"], 20, "lenet5_mnist_wide")):
        monkeypatch.setattr(sys, "argv", ["train_lenet5", *words])
        arguments = training.parse_arguments()
        assert training.build(arguments).get_layer("convolution_1").filters == maps
        assert arguments.output.name == folder


@pytest.mark.parametrize(
    ("name", "shape", "is_mirrored"),
    [("train_robust", (28, 28, 1), False), ("train_vgg", (32, 32, 3), True)],
)
def test_images_are_shifted_and_only_those_of_cifar10_are_mirrored(name, shape, is_mirrored, script):
    training = script(name)
    # One bright pixel right of the middle tells where an image went.
    middle = shape[0] // 2
    images = np.zeros((200, *shape), np.float32)
    images[:, middle, middle + 3] = 1.0
    moved = training.augment(images, (0, 1)).numpy()
    assert moved.shape == images.shape
    positions = np.array([np.argwhere(image[..., 0] == 1.0)[0] for image in moved])
    most = training.MAX_SHIFT
    assert set(positions[:, 0] - middle) == set(range(-most, most + 1))
    # Mirrored, column c becomes size − 1 − c.
    is_right = positions[:, 1] >= middle + 3 - most
    mirrored = shape[1] - 1 - (middle + 3)
    is_left = positions[:, 1] <= mirrored + most
    assert (is_right | is_left).all()
    only_left = positions[:, 1] < middle + 3 - most
    assert bool(only_left.any()) is is_mirrored
