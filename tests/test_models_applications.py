"""The nets of keras.applications: preprocessing inside, logits outside, weights from everywhere."""

import inspect
import sys
import time
import types
import warnings

import h5py
import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from keras.src.applications import imagenet_utils
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

import keras_fisher as kf
from keras_fisher.models import from_keras_applications
from keras_fisher.models.keras_applications import _NETS, _correct_variance

SMALL = (32, 32, 3)


def images_of(shape, number: int = 2) -> np.ndarray:
    return np.random.default_rng(0).random((number, *shape), dtype=np.float32)


def randomised(model: keras.Model) -> keras.Model:
    """The model with vectors unlike zeros and ones, so that no layer does nothing and no logit is tiny."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        # A normalisation of the pixels is no trained layer.
        if not isinstance(layer, keras.layers.Normalization):
            values = layer.get_weights()
            layer.set_weights([rng.uniform(0.5, 1.5, v.shape) if v.ndim == 1 else v for v in values])
    return model


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


def assert_same_logits(found, expected):
    """Equal to 1e-4 of their spread: some 1,000 roundings of float32 (6e-8 each), in other orders."""
    spread = np.std(expected)
    assert spread > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * spread)


def preprocess_input(name: str, images: np.ndarray) -> np.ndarray:
    """What the module of the net does with 8-bit pixels."""
    module = sys.modules[getattr(keras.applications, name).__module__]
    return module.preprocess_input(255 * images)


class _Stopped(Exception):  # noqa: N818
    """Raised by a fake, where a test has seen enough."""


@pytest.fixture
def no_network(monkeypatch):
    def refuse(name, *arguments, **settings):
        raise Exception(f"URL fetch failure on {name}: None -- no route to host")

    monkeypatch.setattr(file_utils, "get_file", refuse)


@pytest.fixture(scope="module")
def mobile() -> keras.Model:
    """A net of ours, with weights unlike any other's."""
    return randomised(from_keras_applications("MobileNetV2", None, image_shape=SMALL, num_classes=7))


def from_file(path, name: str = "MobileNetV2", num_classes: int = 7) -> keras.Model:
    return from_keras_applications(name, path, image_shape=SMALL, num_classes=num_classes)


# -- The table


def test_table_holds_the_nets_of_keras():
    members = vars(keras.applications).items()
    assert set(_NETS) == {name for name, member in members if inspect.isfunction(member)}


@pytest.mark.parametrize("name", _NETS)
def test_every_net_gets_what_its_preprocess_input_returns(name, monkeypatch):
    expected = preprocess_input(name, images_of((8, 6, 3)))

    def identity(*, input_tensor, **settings):
        return types.SimpleNamespace(output=input_tensor, name="identity")

    monkeypatch.setattr(keras.applications, name, identity)
    model = from_keras_applications(name, None, image_shape=(8, 6, 3))
    # Three roundings of numbers up to 255.
    np.testing.assert_allclose(model(images_of((8, 6, 3))), expected, rtol=1e-6, atol=1e-6 * np.ptp(expected))


@pytest.mark.parametrize("name", [name for name in _NETS if not name.startswith("MobileNetV3")])
def test_default_size_is_that_of_keras(name, monkeypatch):
    seen = []

    def stop(input_shape, default_size, **settings):
        seen.append(default_size if input_shape is None else input_shape)
        raise _Stopped

    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", stop)
    for build in (getattr(keras.applications, name), lambda weights: from_keras_applications(name, weights)):
        with pytest.raises(_Stopped):
            build(weights=None)
    size, shape = seen
    assert shape == (size, size, 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV3Large"])
def test_default_size_of_mobilenet_v3_is_the_one_that_keras_does_not_warn_of(name, no_network):
    with pytest.raises(FileNotFoundError, match="`rows` is not 224"):
        from_keras_applications(name, image_shape=(256, 256, 3))
    with pytest.raises(FileNotFoundError, match="no route to host"):
        from_keras_applications(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", _NETS)
def test_every_net_builds_and_takes_a_batch(name):
    shape = (80, 96, 3)
    model = from_keras_applications(name, None, image_shape=shape, num_classes=7)
    assert model.input_shape == (None, *shape)
    assert model(images_of(shape)).shape == (2, 7)
    keras.backend.clear_session()


# -- The net


@pytest.mark.parametrize(
    "name",
    [
        *["MobileNetV2", "EfficientNetB0", "MobileNetV3Small"],
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("ResNet50", "DenseNet121", "EfficientNetV2B0", "ConvNeXtTiny")
        ),
    ],
)
def test_logits_are_those_of_keras_on_its_own_preprocessing(name):
    shape = (64, 32, 3)
    settings = {"weights": None, "input_shape": shape, "classes": 7, "classifier_activation": None}
    theirs = randomised(getattr(keras.applications, name)(**settings))
    ours = from_keras_applications(name, None, image_shape=shape, num_classes=7)
    ours.set_weights(theirs.get_weights())
    images = images_of(shape)
    logits = logits_of(ours, images)
    assert_same_logits(logits, logits_of(theirs, preprocess_input(name, images)))
    assert logits.shape == (2, 7)
    assert ours.layers[-1].activation is keras.activations.linear
    assert ours.name == theirs.name
    assert len(ours.weights) == len(theirs.weights)


def test_net_takes_a_batch_without_a_warning():
    # Keras's own nets are models of a list of one tensor, and a Classifier or a caller has a tensor.
    model = from_keras_applications("MobileNetV2", None, image_shape=SMALL)
    assert model.input_shape == (None, *SMALL)
    assert isinstance(model.input, keras.KerasTensor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model(images_of(SMALL)).shape == (2, 1000)


def with_unit_logits(name: str) -> keras.Model:
    """A small net whose logits are of order one: others are so sure, or so unsure, that G is zero."""
    model = from_keras_applications(name, None, image_shape=SMALL, num_classes=10)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel / np.std(logits_of(model, images_of(SMALL))), bias])
    return model


@pytest.fixture(scope="module")
def vgg16() -> keras.Model:
    """The net with BGR inside that is quickest to build and to compile."""
    return with_unit_logits("VGG16")


def test_net_saves_and_loads_in_plain_keras_in_safe_mode(vgg16, tmp_path):
    vgg16.save(tmp_path / "net.keras")
    plain = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    images = images_of(SMALL)
    np.testing.assert_array_equal(logits_of(plain, images), logits_of(vgg16, images))


@pytest.mark.parametrize("name", ["VGG16", pytest.param("ResNet50", marks=pytest.mark.slow)])
def test_leading_fisher_eigenvalue_is_that_of_the_gram_matrix(name, vgg16):
    model = vgg16 if name == "VGG16" else with_unit_logits(name)
    images = images_of(SMALL, 1)
    with tf.GradientTape(persistent=True) as tape:
        pixels = tf.constant(images)
        tape.watch(pixels)
        logits = tf.unstack(model(pixels, training=False)[0])
    jacobian = np.stack([np.ravel(tape.gradient(logit, pixels)) for logit in logits]).astype(np.float64)
    odds = scipy.special.softmax(np.float64(logits))
    # G = Jᵀ (diag p − p pᵀ) J has the eigenvalues of A Aᵀ with A = diag √p (J − 1 pᵀ J).
    factor = np.sqrt(odds)[:, None] * (jacobian - odds @ jacobian)
    expected = np.linalg.eigvalsh(factor @ factor.T)[-1]
    assert expected > 1e-6
    spectrum = kf.fisher_spectrum(kf.Classifier(model), images, 1, solver="golub_kahan")
    # Gradients in float32 through many layers, and the solver's own tolerance.
    np.testing.assert_allclose(spectrum.eigenvalues, [[expected]], rtol=1e-3)


# -- ResNet-152


@pytest.fixture(scope="module")
def resnet152() -> keras.Model:
    return kf.models.resnet152(weights=None, image_shape=SMALL)


def test_resnet152_is_the_net_of_the_paper(resnet152):
    assert resnet152.name == "resnet152"
    assert resnet152.count_params() == 60_419_944
    assert resnet152.input_shape == (None, *SMALL)
    assert resnet152.output_shape == (None, 1000)
    # Of the convolutions, four are shortcuts.
    kernels = [layer for layer in resnet152.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) - 4 + 1 == 152


def test_resnet152_sees_the_centred_bytes_as_blue_green_red(resnet152):
    images = images_of(SMALL)
    seen = keras.Model(resnet152.input, resnet152.get_layer("conv1_pad").input)(images)
    expected = 255 * images[..., ::-1] - np.float32([103.939, 116.779, 123.68])
    # Two roundings of numbers up to 255.
    np.testing.assert_allclose(seen, expected, atol=255 * 2**-22)
    logits = logits_of(resnet152, images)
    assert np.max(np.abs(logits - logits_of(resnet152, images[..., ::-1].copy()))) > 0.01 * np.std(logits)


@pytest.mark.slow
def test_resnet152_saves_and_loads_in_safe_mode(resnet152, tmp_path):
    resnet152.save(tmp_path / "net.keras")
    images = images_of(SMALL)
    plain = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(logits_of(plain, images), logits_of(resnet152, images))


def test_resnet152_hands_its_weights_on(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`weights` must .*There is no such file"):
        kf.models.resnet152(tmp_path / "net.keras")
    with pytest.raises(ValueError, match="`image_shape` must be one that ResNet152 can take"):
        kf.models.resnet152(None, image_shape=(31, 31, 3))


# -- Weights from files


@pytest.mark.parametrize(("suffix", "as_text"), [(".keras", True), (".weights.h5", False)])
def test_weights_come_back_from_a_file(mobile, tmp_path, suffix, as_text):
    path = tmp_path / f"net{suffix}"
    (mobile.save if suffix == ".keras" else mobile.save_weights)(path)
    loaded = from_file(str(path) if as_text else path)
    images = images_of(SMALL)
    np.testing.assert_array_equal(logits_of(loaded, images), logits_of(mobile, images))


def save(model: keras.Model, path) -> None:
    """Writes weights, or for `.keras` and `whole.h5` the model."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.name in ("net.keras", "whole.h5"):
        model.save(path)
    else:  # As the files are that Keras downloads.
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.fixture(scope="module")
def theirs() -> keras.Model:
    return randomised(keras.applications.MobileNetV2(weights=None, input_shape=SMALL, classes=7))


@pytest.mark.parametrize("file", ["net.weights.h5", "net.h5", "whole.h5"])
def test_weights_of_a_net_of_keras_itself_load(theirs, tmp_path, file):
    path = tmp_path / file
    save(theirs, path)
    images = images_of(SMALL)
    logits = logits_of(from_file(path), images)
    odds = np.log(logits_of(theirs, preprocess_input("MobileNetV2", images)))
    # Theirs has its softmax, which loses what is common to the logits of an image.
    found, expected = (values - values.mean(axis=-1, keepdims=True) for values in (logits, odds))
    assert_same_logits(found, expected)


@pytest.mark.slow
def test_pretrained_efficientnet_from_a_file_divides_by_the_deviation(tmp_path, monkeypatch):
    # Keras's files of EfficientNetB0 to B7 hold the deviation as the variance (TensorFlow issue 49930), and
    # Keras divides by its root once more if it is told weights="imagenet", not if it is given the file.
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    stored = keras.applications.EfficientNetB0(weights=None)
    (normalization,) = (layer for layer in stored.layers if isinstance(layer, keras.layers.Normalization))
    normalization.set_weights([mean, deviation, normalization.get_weights()[2]])
    save(stored, tmp_path / "theirs.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *arguments, **settings: str(tmp_path / "theirs.h5"))
    named = from_keras_applications("EfficientNetB0", "imagenet")
    save(named, tmp_path / "named.weights.h5")
    downloaded = from_file(tmp_path / "theirs.h5", "EfficientNetB0", 1000)
    again = from_file(tmp_path / "named.weights.h5", "EfficientNetB0", 1000)
    for model in (named, downloaded, again):
        images = images_of(model.input_shape[1:], 1)
        seen = keras.Model(model.input, model.get_layer("stem_conv_pad").input)(images)
        np.testing.assert_allclose(seen, (images - mean) / deviation, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(downloaded.get_weights()[-2], stored.get_weights()[-2])


@pytest.mark.parametrize("variance", [1.0, [0.229**2, 0.224**2, 0.225**2], [0.229, 0.224, 0.3]])
def test_other_variances_stay_as_they_are(variance):
    # The second is what was corrected, saved and loaded.
    layer = keras.layers.Normalization()
    layer.build((None, 8, 8, 3))
    values = [np.zeros(3), np.broadcast_to(variance, 3), layer.get_weights()[2]]
    layer.set_weights(values)
    _correct_variance(layer)
    np.testing.assert_array_equal(layer.get_weights()[1], np.float32(values[1]))
    fixed = keras.layers.Normalization(mean=0.0, variance=0.229)
    fixed.build((None, 8, 8, 3))
    _correct_variance(fixed)
    np.testing.assert_allclose(fixed(np.ones((1, 8, 8, 3), np.float32)), 0.229**-0.5, rtol=1e-6)


# Keras 3.15 warns of each container in which it misses layers, and then raises.
@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize(
    ("suffix", "name", "num_classes"),
    [(".keras", "MobileNet", 7), (".weights.h5", "MobileNetV2", 8), (".h5", "MobileNetV3Small", 7)],
)
def test_weights_of_another_net_are_refused(mobile, tmp_path, suffix, name, num_classes):
    path = tmp_path / f"net{suffix}"
    save(mobile, path)
    rule = rf"`weights` must hold the weights of {name} with {num_classes} classes, got '.*net{suffix}'\. .*$"
    with pytest.raises(ValueError, match=rule) as caught:
        from_file(path, name, num_classes)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_truncated_weights_file_is_refused(mobile, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    save(mobile, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match="`weights` must hold the weights of MobileNetV2 with 7 classes, got"
    ):
        from_file(path)


def test_file_that_is_no_weights_file_is_refused(tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(b"not a model")
    with pytest.raises(
        ValueError, match="`weights` must hold the weights of MobileNetV2 with 7 classes, got"
    ):
        from_file(path)


@pytest.fixture
def nothing_is_built(monkeypatch):
    def build(**settings):
        raise AssertionError("A net was built before the arguments were checked.")

    monkeypatch.setattr(keras.applications, "MobileNetV2", build)


KINDS = '`weights` must be "imagenet", None, or the path of a .h5, .weights.h5 or .keras file, got '


@pytest.mark.parametrize("weights", ["imagnet", "", "net.hdf5", "net.ckpt", "net"])
def test_weights_of_an_unknown_kind_are_refused(weights, nothing_is_built):
    with pytest.raises(ValueError, match=f"{KINDS}'{weights}'"):
        from_file(weights)


@pytest.mark.parametrize("weights", [3, True, np.zeros(3), b"net.h5"])
def test_weights_of_a_wrong_type_are_refused(weights, nothing_is_built):
    with pytest.raises(TypeError, match=KINDS):
        from_file(weights)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_weights_file_that_is_missing_is_reported(tmp_path, suffix, nothing_is_built):
    with pytest.raises(FileNotFoundError, match=rf"{KINDS}'.*net{suffix}'\. There is no such file"):
        from_file(tmp_path / f"net{suffix}")


# -- Keras's own weights


def test_weights_of_keras_without_a_network_say_what_to_do(no_network):
    start = time.monotonic()
    rule = "`weights` must be available, got 'imagenet', .*no route to host.*Download the file where there is"
    with pytest.raises(FileNotFoundError, match=rule):
        from_keras_applications("MobileNetV2")
    # The net is built before Keras looks for its weights; nothing waits for a connection.
    assert time.monotonic() - start < 30


def test_weights_of_keras_that_came_broken_are_no_matter_of_the_shape(monkeypatch):
    def break_off(name, *arguments, **settings):
        raise ValueError("Incomplete or corrupted file detected.")

    monkeypatch.setattr(file_utils, "get_file", break_off)
    with pytest.raises(FileNotFoundError, match=r"`weights` must be available, .*corrupted file detected"):
        from_keras_applications("MobileNetV2")


def test_weights_of_keras_are_for_its_own_size_and_classes(no_network):
    with pytest.raises(
        ValueError, match=r"`image_shape` must be one that MobileNetV2 can take, .*224, 224, 3"
    ):
        from_keras_applications("MobileNetV2", image_shape=(32, 48, 3))
    with pytest.raises(ValueError, match='`num_classes` must be 1000 with weights="imagenet", got 10'):
        from_keras_applications("MobileNetV2", num_classes=10)


# -- Other arguments


@pytest.mark.parametrize(
    ("name", "meant"),
    [("resnet152", "ResNet152"), ("EfficientNet-B3", "EfficientNetB3"), ("vgg_16", "VGG16")],
)
def test_unknown_name_is_answered_with_the_closest(name, meant):
    with pytest.raises(ValueError, match=f"`name` must be .*VGG16.*, got '{name}'. Did you mean '{meant}'"):
        from_keras_applications(name, None)


def test_name_that_is_like_none_is_refused_without_a_guess():
    with pytest.raises(ValueError, match=r"`name` must be one of keras\.applications: VGG16.*, got '♥'\.$"):
        from_keras_applications("♥", None)
    with pytest.raises(TypeError, match=r"`name` must be one of .*, got 3"):
        from_keras_applications(3, None)


@pytest.mark.parametrize(
    ("shape", "error", "rule"),
    [
        (32, TypeError, r"be \(height, width, 3\), got 32"),
        ("abc", TypeError, r"be \(height, width, 3\), got 'abc'"),
        ((32, 32), ValueError, r"be \(height, width, 3\), got \(32, 32\)"),
        ((32, 32, 1), ValueError, r"be \(height, width, 3\), got \(32, 32, 1\)"),
        ((32.0, 32, 3), TypeError, r"be an integer, got 32\.0\. It is \(height, width, 3\)"),
        ((32, None, 3), TypeError, r"be an integer, got None\. It is \(height, width, 3\)"),
        ((32, 32, 3.0), TypeError, r"be an integer, got 3\.0\. It is \(height, width, 3\)"),
        ((0, 32, 3), ValueError, "be at least 1, got 0"),
    ],
)
def test_bad_image_shape_is_refused(shape, error, rule, nothing_is_built):
    with pytest.raises(error, match=f"`image_shape` must {rule}"):
        from_keras_applications("MobileNetV2", None, image_shape=shape)


@pytest.mark.parametrize(("name", "least"), [("MobileNetV2", 32), ("Xception", 71), ("InceptionV3", 75)])
def test_image_shape_too_small_for_the_net_says_what_it_takes(name, least):
    shape = (least, least - 1, 3)
    rule = (
        rf"`image_shape` must be one that {name} can take, got \({least}, {least - 1}, 3\).*{least}x{least}"
    )
    with pytest.raises(ValueError, match=rule):
        from_keras_applications(name, None, image_shape=shape)


def test_image_shape_may_hold_integers_of_numpy():
    model = from_keras_applications("MobileNetV2", None, image_shape=list(np.array(SMALL)))
    assert model.input_shape == (None, *SMALL)


@pytest.mark.parametrize(
    ("num_classes", "error", "rule"),
    [
        (1, ValueError, "be at least 2, got 1"),
        (True, TypeError, "be an integer, got True"),
        (10.0, TypeError, r"be an integer, got 10\.0"),
    ],
)
def test_bad_num_classes_is_refused(num_classes, error, rule, nothing_is_built):
    with pytest.raises(error, match=f"`num_classes` must {rule}"):
        from_keras_applications("MobileNetV2", None, num_classes=num_classes)
