"""Detectors as Keras models and SavedModels: the same numbers, and a verdict on every image."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier

import keras_fisher as kf
from keras_fisher import artefacts, testing
from keras_fisher.detectors import ScoreDetector, SoftmaxDetector, feature_detector
from keras_fisher.detectors.export import encoded_images, reading_layer, saved_model
from keras_fisher.detectors.export.encoded_images import decode_images

SHAPE = (8, 8, 1)
NUM_CLASSES = 4
NUM_IMAGES = 64
OUTPUTS = {"class_probabilities", "eigenvalues", "adversarial_probability", "is_adversarial", "is_valid"}

HEADS = (
    "random_forest",
    "gaussian_nb",
    "logistic_regression",
    "ydf_random_forest",
    "ydf_gradient_boosted_trees",
)
#: Name → net, detector. These are exported, once each.
EXPORTED = {
    "forest": ("softmax", lambda net: kf.FisherDetector(net)),
    "forest, extended": ("softmax", lambda net: kf.FisherDetector(net, features="extended")),
    "naive Bayes": ("dense", lambda net: kf.FisherDetector(net, head="gaussian_nb")),
    "logistic": ("dense", lambda net: kf.FisherDetector(net, head="logistic_regression")),
    "YDF forest": ("dense", lambda net: kf.FisherDetector(net, head="ydf_random_forest")),
    "YDF boosted": ("dense", lambda net: kf.FisherDetector(net, head="ydf_gradient_boosted_trees")),
    "softmax detector": ("softmax", lambda net: SoftmaxDetector(net)),
    "power iteration": ("dense", lambda net: kf.FisherDetector(net, 1, solver="power", seed=3)),
}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0.2, 0.8, (NUM_IMAGES, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def nets():
    """Name → classifier: convolutions that end in a softmax, a linear one, and what dtypes can do."""
    dense = testing.small_net("dense", num_classes=NUM_CLASSES, image_shape=SHAPE)
    convolutions = testing.small_net("softmax", num_classes=NUM_CLASSES, image_shape=SHAPE)
    return {
        "dense": kf.Classifier(dense),
        "softmax": kf.Classifier(convolutions),
        "float64": kf.Classifier(testing.float64_copy(convolutions)),
    }


@pytest.fixture(scope="module")
def adversarial(nets, images):
    return {name: kf.attacks.FGM(epsilon=1.0)(net, images).images for name, net in nets.items()}


@pytest.fixture(scope="module")
def fit(nets, images, adversarial):
    """(name of a net, detector of that net) → the detector, fitted."""

    def fit(net, make):
        return make(nets[net]).fit(images, adversarial[net])

    return fit


@pytest.fixture(scope="module")
def forest(fit):
    return fit("dense", kf.FisherDetector)


@pytest.fixture(scope="module")
def bayes(fit):
    return fit("dense", lambda net: SoftmaxDetector(net, head="gaussian_nb", threshold=0.4))


@pytest.fixture(scope="module")
def export(fit, images, tmp_path_factory):
    """Name in EXPORTED → the detector, the folder of the version, and what TensorFlow loads from it."""
    done = {}

    def export(name):
        if name not in done:
            detector = fit(*EXPORTED[name]).calibrate(images, 0.3)
            folder = detector.export(tmp_path_factory.mktemp("export") / "served")
            done[name] = detector, folder, tf.saved_model.load(str(folder))
        return done[name]

    return export


#: Other heads in the same graph: `test_model_gives_the_probabilities_of_the_detector` has them all.
ALIKE = {"naive Bayes", "logistic", "YDF boosted", "softmax detector"}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in EXPORTED]
)
def exported(request, export):
    return export(request.param)


def ask(loaded, images, signature="serving_default"):
    outputs = loaded.signatures[signature](images=tf.constant(images))
    return {name: output.numpy() for name, output in outputs.items()}


def asked(model, images):
    return {name: output.numpy() for name, output in model(tf.constant(images)).items()}


def assert_probabilities_of(detector, found, images):
    """Trees, of scikit-learn and of YDF, agree to the bit.

    Naive Bayes and logistic regression add up to 40 float64 terms in another order than scikit-learn, some of
    them in the thousands: 1e-12 of the log odds, of which the probability moves at most a quarter.
    """
    expected = detector.score_samples(images)
    if str(detector.head) in ("gaussian_nb", "logistic_regression"):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, expected)
    assert np.unique(expected).size > 10


# The same numbers


@pytest.mark.parametrize("features", ["paper", "extended"])
@pytest.mark.parametrize("head", HEADS)
def test_model_gives_the_probabilities_of_the_detector(head, features, fit, images):
    detector = fit("softmax", lambda net: kf.FisherDetector(net, head=head, features=features))
    outputs = asked(detector.to_keras(), images)
    assert set(outputs) == OUTPUTS
    assert_probabilities_of(detector, outputs["adversarial_probability"], images)
    np.testing.assert_array_equal(outputs["is_adversarial"], detector.predict(images))


@pytest.mark.parametrize("make", [SoftmaxDetector, ScoreDetector])
def test_model_of_a_detector_without_eigenvalues_shows_them_too(make, fit, nets, images):
    detector = fit("softmax", make)
    outputs = asked(detector.to_keras(), images)
    # Both heads put out something else than trees, or one column: see above for the tolerance.
    np.testing.assert_allclose(
        outputs["adversarial_probability"], detector.score_samples(images), rtol=0, atol=1e-12
    )
    expected = kf.fisher_spectrum(nets["softmax"], images).eigenvalues
    np.testing.assert_allclose(np.log10(outputs["eigenvalues"]), np.log10(expected), atol=1e-5)


def test_export_gives_the_numbers_of_the_detector(exported, images):
    detector, _, loaded = exported
    outputs = ask(loaded, images)
    assert set(outputs) == OUTPUTS
    assert_probabilities_of(detector, outputs["adversarial_probability"], images)
    k = outputs["eigenvalues"].shape[1]
    expected = kf.fisher_spectrum(detector.classifier, images, num_eigenpairs=k).eigenvalues
    # Asked for: five digits. Iterative solvers stop at less, relative to the largest.
    assert k == min(getattr(detector, "num_eigenvalues", 99), NUM_CLASSES - 1)
    np.testing.assert_allclose(np.log10(outputs["eigenvalues"]), np.log10(expected), atol=1e-5)
    probabilities = np.exp(detector.classifier.log_probabilities(images))
    np.testing.assert_allclose(outputs["class_probabilities"], probabilities, rtol=1e-5, atol=1e-30)
    assert outputs["is_valid"].all()
    np.testing.assert_array_equal(ask(loaded, images, "eigenvalues")["eigenvalues"], outputs["eigenvalues"])


def test_eigenvalues_of_an_export_are_those_of_an_independent_reference(export, nets, images):
    _, _, loaded = export("forest")
    reference = testing.reference_spectrum(nets["float64"].model, images[:8])
    found = ask(loaded, images[:8])["eigenvalues"]
    # The gradients of the net are float32.
    np.testing.assert_allclose(found, reference.eigenvalues[:, : NUM_CLASSES - 1], rtol=1e-3)


def test_calibrated_threshold_arrives_in_the_verdict(exported, images):
    detector, folder, loaded = exported
    outputs = ask(loaded, images)
    assert detector.threshold_ != detector.threshold
    flagged = outputs["adversarial_probability"] >= detector.threshold_
    np.testing.assert_array_equal(outputs["is_adversarial"], flagged)
    # Rounding moves the image that the threshold stands just above: one, and not for trees.
    allowed = int(0.3 * NUM_IMAGES)
    assert 0 < flagged.sum() <= allowed + (str(detector.head) in ("gaussian_nb", "logistic_regression"))
    assert kf.load_detector(folder).threshold_ == detector.threshold_


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_probability_that_equals_the_threshold_is_flagged(threshold, fit, images):
    detector = copy.copy(fit("dense", kf.FisherDetector))
    model = detector.to_keras()
    probabilities = asked(model, images)["adversarial_probability"]
    detector.threshold_ = float(np.sort(probabilities)[10]) if threshold else 0.0
    outputs = asked(detector.to_keras(), images)
    np.testing.assert_array_equal(outputs["is_adversarial"], probabilities >= detector.threshold_)
    assert outputs["is_adversarial"].sum() >= NUM_IMAGES - 10


def test_model_shares_the_weights_of_the_classifier(nets, images, fit):
    # A copy would double the memory, and would not follow weights that are loaded into the net.
    detector = fit("dense", kf.FisherDetector)
    held = {id(variable) for variable in detector.to_keras().variables}
    assert {id(variable) for variable in nets["dense"].model.variables} <= held


# Dtypes


def test_float64_model_is_read_in_float64(fit, nets, images):
    detector = fit("float64", kf.FisherDetector)
    outputs = asked(detector.to_keras(), images.astype(np.float64))
    assert outputs["class_probabilities"].dtype == np.float64
    np.testing.assert_array_equal(outputs["adversarial_probability"], detector.score_samples(images))
    expected = np.exp(nets["float64"].log_probabilities(images))
    np.testing.assert_allclose(outputs["class_probabilities"], expected, rtol=1e-12)


@pytest.fixture
def mixed_precision(export):
    export("forest")  # before, if no other test asked for it
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def test_global_policy_of_mixed_precision_changes_no_number(mixed_precision, export, images, tmp_path):
    detector, _, loaded = export("forest")
    expected = ask(loaded, images)
    model = detector.to_keras()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    exported = tf.saved_model.load(str(detector.export(tmp_path / "served")))
    for outputs in (asked(model, images), asked(again, images), ask(exported, images)):
        for name in OUTPUTS:
            np.testing.assert_array_equal(outputs[name], expected[name])


def test_net_of_mixed_precision_is_detected_as_it_is(mixed_precision, images):
    net = kf.Classifier(testing.small_net("softmax", num_classes=NUM_CLASSES, image_shape=SHAPE))
    assert net.model.layers[1].compute_dtype == "float16"
    detector = kf.FisherDetector(net).fit(images, kf.attacks.FGM(epsilon=1.0)(net, images).images)
    # In a graph, as `predict` and a server run it: operation by operation, oneDNN rounds to float16 between.
    outputs = detector.to_keras().predict(images, verbose=0)
    np.testing.assert_array_equal(outputs["adversarial_probability"], detector.score_samples(images))
    assert outputs["eigenvalues"].dtype == np.float64


# Batches


def test_signatures_say_what_goes_in_and_out(exported):
    _, _, loaded = exported
    assert set(loaded.signatures) == {"serving_default", "eigenvalues", "encoded_images"}
    whole = loaded.signatures["serving_default"]
    assert whole.structured_input_signature[1] == {
        "images": tf.TensorSpec((None, *SHAPE), tf.float32, name="images")
    }
    found = {
        name: (tuple(output.shape)[:1], output.shape.rank, output.dtype)
        for name, output in whole.structured_outputs.items()
    }
    assert found == {
        "class_probabilities": ((None,), 2, tf.float32),
        "eigenvalues": ((None,), 2, tf.float64),
        "adversarial_probability": ((None,), 1, tf.float64),
        "is_adversarial": ((None,), 1, tf.bool),
        "is_valid": ((None,), 1, tf.bool),
    }
    assert set(loaded.signatures["eigenvalues"].structured_outputs) == {"eigenvalues"}
    encoded = loaded.signatures["encoded_images"]
    assert encoded.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")
    }
    assert set(encoded.structured_outputs) == OUTPUTS


def test_any_batch_size_is_one_trace(export, images, monkeypatch):
    detector, _, loaded = export("forest")
    traces = []
    call = reading_layer.ReadingLayer.call

    def counted(self, images):
        traces.append(images.shape)
        return call(self, images)

    monkeypatch.setattr(reading_layer.ReadingLayer, "call", counted)
    model = detector.to_keras()
    traces.clear()
    run = tf.function(model, input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
    for size in range(1, NUM_IMAGES + 1):
        expected = detector.score_samples(images[:size])
        for outputs in (run(images[:size]), ask(loaded, images[:size])):
            np.testing.assert_array_equal(outputs["adversarial_probability"], expected)
    # tf.function traces a model twice at first, to see whether it makes variables.
    assert 1 <= len(traces) <= 2
    assert {shape[0] for shape in traces} == {None}
    assert len(loaded.serving_default.concrete_functions) == 1


def test_export_traces_the_detector_once(fit, tmp_path, monkeypatch):
    # Three signatures, one graph: tracing is what an export takes its time for.
    traces = []
    call = reading_layer.ReadingLayer.call

    def counted(self, images):
        traces.append(images)
        return call(self, images)

    detector = fit("dense", lambda net: SoftmaxDetector(net, head="gaussian_nb"))
    monkeypatch.setattr(reading_layer.ReadingLayer, "call", counted)
    monkeypatch.setattr(keras.export.ExportArchive, "write_out", lambda self, path, **_: os.mkdir(path))
    detector.to_keras()
    built = len(traces)
    traces.clear()
    detector.export(tmp_path / "served")
    # Twice, as tf.function looks for variables first, and once by Keras as it tracks the model.
    assert len(traces) - built <= 3


def test_empty_batch_has_an_empty_answer(exported):
    _, _, loaded = exported
    outputs = ask(loaded, np.zeros((0, *SHAPE), np.float32))
    assert set(outputs) == OUTPUTS
    assert {len(output) for output in outputs.values()} == {0}
    assert outputs["class_probabilities"].shape == (0, NUM_CLASSES)
    encoded = loaded.signatures["encoded_images"](image_bytes=tf.zeros([0], tf.string))
    assert {len(output) for output in encoded.values()} == {0}


# Images that cannot be judged

BAD_PIXELS = {
    "NaN": np.nan,
    "infinite": np.inf,
    "minus infinite": -np.inf,
    "just above": np.nextafter(np.float32(1), np.float32(2)),
    # TensorFlow takes what is smaller for zero.
    "just below": -np.finfo(np.float32).tiny,
    "huge": np.finfo(np.float32).max,
}


def assert_not_judged(outputs, bad):
    """Rows `bad` are refused, and no others."""
    np.testing.assert_array_equal(np.flatnonzero(~outputs["is_valid"]), bad)
    assert outputs["is_adversarial"][bad].all()
    for name in ("class_probabilities", "eigenvalues", "adversarial_probability"):
        assert np.isnan(outputs[name][bad]).all()
        assert np.isfinite(np.delete(outputs[name], bad, axis=0)).all()


def test_bad_image_is_flagged_and_its_neighbours_do_not_notice(exported, images):
    _, _, loaded = exported
    expected = ask(loaded, images)
    spoilt = images.copy()
    bad = np.arange(len(BAD_PIXELS)) * 7 + 3
    # The last pixel of one, the first of another: all are looked at.
    for row, pixel in zip(bad, BAD_PIXELS.values(), strict=True):
        spoilt[row, *((-1, -1, -1) if row % 2 else (0, 0, 0))] = pixel
    outputs = ask(loaded, spoilt)
    assert_not_judged(outputs, bad)
    for name in OUTPUTS:
        np.testing.assert_array_equal(
            np.delete(outputs[name], bad, axis=0), np.delete(expected[name], bad, axis=0)
        )
    everything = ask(loaded, np.full_like(images, np.nan))
    assert_not_judged(everything, np.arange(NUM_IMAGES))


class Strict(keras.layers.Layer):
    """Passes images on, and fails on a pixel that is no number in [0, 1]."""

    def call(self, images):
        is_good = tf.reduce_all((images >= 0) & (images <= 1))
        with tf.control_dependencies([tf.debugging.assert_equal(is_good, True, "a bad pixel")]):
            return tf.identity(images)


def test_bad_image_is_not_shown_to_the_classifier(bayes, nets, images):
    inputs = keras.Input(SHAPE)
    net = keras.Model(inputs, nets["dense"].model(Strict()(inputs)))
    detector = SoftmaxDetector(kf.Classifier(net), head="gaussian_nb")
    detector.head_, detector.threshold_ = bayes.head_, 0.5
    model = detector.to_keras()
    for pixel in BAD_PIXELS.values():
        spoilt = images.copy()
        spoilt[3, 0, 0, 0] = pixel
        assert_not_judged(asked(model, spoilt), [3])
        with pytest.raises(tf.errors.InvalidArgumentError, match="a bad pixel"):
            net(spoilt)


def test_pixels_at_the_bounds_are_good(export, images):
    _, _, loaded = export("forest")
    corners = images.copy()
    corners[0], corners[1], corners[2] = 0.0, 1.0, -0.0
    assert ask(loaded, corners)["is_valid"].all()


@pytest.mark.parametrize("features", ["paper", "extended"])
def test_overflow_of_a_model_without_bounds_is_flagged(features, nets, images, tmp_path):
    net = kf.Classifier(nets["dense"].model, bounds=None)
    attacked = kf.attacks.FGM(epsilon=1.0)(net, images).images
    detector = kf.FisherDetector(net, features=features).fit(images, attacked)
    wide = images.copy()
    wide[5] = -3.0  # out of [0, 1], and no matter
    expected = detector.score_samples(wide)
    wide[[2, 9]] = 3e38 * np.sign(images[0] - 0.5)
    with pytest.raises(ValueError, match="logits overflow"):
        detector.score_samples(wide)
    outputs = asked(detector.to_keras(), wide)
    assert_not_judged(outputs, [2, 9])
    kept = np.delete(np.arange(NUM_IMAGES), [2, 9])
    np.testing.assert_array_equal(outputs["adversarial_probability"][kept], expected[kept])


# Encoded images


def png(pixels):
    return tf.io.encode_png(pixels).numpy()


def pixels_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_encoded_images_are_answered_as_their_pixels_are(exported):
    _, _, loaded = exported
    pixels = [pixels_of(SHAPE, seed) for seed in range(5)]
    files = tf.constant([png(one) for one in pixels])
    found = loaded.signatures["encoded_images"](image_bytes=files)
    expected = ask(loaded, np.stack(pixels).astype(np.float32) / np.float32(255))
    for name in OUTPUTS:
        np.testing.assert_array_equal(found[name], expected[name])
    assert expected["is_valid"].all()


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 255.0), (-0.1, 0.7), None])
def test_black_and_white_are_the_bounds(bounds):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    found = decode_images(tf.constant([png(pixels)]), (16, 16, 1), bounds).numpy()
    lower, upper = bounds or (0.0, 1.0)
    np.testing.assert_array_equal(found[0], (lower + (upper - lower) * (pixels / 255)).astype(np.float32))
    # In bounds as float32 has them, or else a white pixel would not be valid.
    assert found.min() == np.float32(lower)
    assert found.max() == np.float32(upper)


def test_channels_of_a_file_become_those_of_the_classifier():
    grey, colour = pixels_of((6, 5, 1)), pixels_of((6, 5, 3))
    as_colour = decode_images(tf.constant([png(grey)]), (6, 5, 3), None).numpy()
    np.testing.assert_array_equal(as_colour[0], np.repeat(grey, 3, axis=2) / np.float32(255))
    as_grey = decode_images(tf.constant([png(colour)]), (6, 5, 1), None).numpy()
    luma = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(255 * as_grey[0, ..., 0], luma, atol=1.5)
    with_alpha = np.concatenate([colour, np.full((6, 5, 1), 255, np.uint8)], axis=2)
    opaque = decode_images(tf.constant([png(with_alpha)]), (6, 5, 4), None).numpy()
    np.testing.assert_array_equal(opaque[0], with_alpha / np.float32(255))


def test_jpeg_is_read():
    smooth = np.linspace(40, 200, 16).repeat(16).reshape(16, 16, 1).astype(np.uint8)
    file = tf.io.encode_jpeg(smooth, quality=100)
    found = decode_images(tf.reshape(file, [1]), (16, 16, 1), None).numpy()
    # TensorFlow's fast inverse transform is good to a few grey levels.
    np.testing.assert_allclose(255 * found[0], smooth, atol=5)


def gif(pixels):
    """A GIF of one frame, which TensorFlow would read for a classifier of colours."""
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "GIF")
    return file.getvalue()


def test_files_that_are_no_image_of_the_size_are_errors():
    colour = pixels_of((6, 5, 3))
    good = png(colour)
    jpeg = tf.io.encode_jpeg(colour).numpy()
    wrong = {
        # The last two have no pixels: the size is looked at before anything is decoded.
        "6 x 5 pixels": [
            *(png(colour[:5]), png(colour[:, :4]), png(colour.transpose(1, 0, 2))),
            *(png(colour[:5])[:24], good[:16] + b"\x7f" * 8),
        ],
        "PNG or JPEG": [
            *(gif(colour), b"", b"\x89", b"nonsense", good[1:], b"BM" + good),
            *(good[:end] for end in range(24)),
        ],
        ".": [good[:24], good[:-20], good[:40], jpeg[:3], jpeg[:-30], b"\xff\xd8\xff" + good],
    }
    for text, files in wrong.items():
        for file in files:
            with pytest.raises(tf.errors.InvalidArgumentError, match=text):
                decode_images(tf.constant([good, file]), (6, 5, 3), None)
    for position in range(8, len(good)):
        flipped = bytearray(good)
        flipped[position] ^= 1
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_images(tf.constant([bytes(flipped)]), (6, 5, 3), None)


def test_classifier_of_images_that_no_file_has_gets_no_encoded_signature(tmp_path):
    shape = (6, 6, 2)
    net = kf.Classifier(testing.small_net("dense", num_classes=3, image_shape=shape))
    images = np.random.default_rng(0).uniform(0.2, 0.8, (20, *shape)).astype(np.float32)
    attacked = kf.attacks.FGM(epsilon=1.0)(net, images).images
    detector = SoftmaxDetector(net, head="gaussian_nb").fit(images, attacked)
    loaded = tf.saved_model.load(str(detector.export(tmp_path / "served")))
    assert set(loaded.signatures) == {"serving_default", "eigenvalues"}


# .keras files

ROUND_TRIP = """
import sys
import numpy as np
import keras
import keras_fisher.detectors

for path in sys.argv[1:]:
    known = np.load(path + ".npz")
    outputs = keras.models.load_model(path, safe_mode=True)(known["images"])
    assert set(outputs) == set(known.files) - {"images"}
    for name, output in outputs.items():
        np.testing.assert_array_equal(np.asarray(output), known[name], err_msg=f"{path}, {name}")
print("equal")
"""


@pytest.mark.slow
def test_keras_file_gives_the_same_numbers_in_a_fresh_process(export, images, tmp_path):
    spoilt = images.copy()
    spoilt[3, 0, 0, 0] = np.nan
    paths = []
    for name in ("forest, extended", "YDF forest", "power iteration"):
        model = export(name)[0].to_keras()
        paths.append(str(tmp_path / f"{len(paths)}.keras"))
        model.save(paths[-1])
        np.savez(paths[-1] + ".npz", images=spoilt, **asked(model, spoilt))
    command = [sys.executable, "-c", ROUND_TRIP, *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("equal")


def test_layers_say_their_settings(fit):
    model = fit("dense", lambda net: kf.FisherDetector(net, 1, solver="power", seed=3)).to_keras()
    config = model.get_layer("readings").get_config()
    again = reading_layer.ReadingLayer.from_config(config)
    for setting in ("reading", "bounds", "num_classes", "features", "num_eigenvalues", "eigensolver", "seed"):
        assert getattr(again, setting) == getattr(model.get_layer("readings"), setting), setting
    assert again.seed == 3
    assert again.num_eigenvalues == 1
    assert model.get_layer("verdict").get_config() == {"name": "verdict", "threshold": 0.5}


# Versions


@pytest.fixture
def no_graph(monkeypatch):
    """Exports leave the model out, which takes seconds and has nothing to do with folders."""

    def write(model, bounds, folder):
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"a stand-in")

    monkeypatch.setattr(saved_model, "_write_saved_model", write)
    monkeypatch.setattr(feature_detector, "keras_detector", lambda *settings: None)


@pytest.mark.usefixtures("no_graph")
def test_versions_count_up_from_one(bayes, tmp_path):
    base = tmp_path / "a" / "served"
    assert bayes.export(str(base)) == base / "1"
    assert bayes.export(base) == base / "2"
    assert bayes.export(base, version=20) == base / "20"
    assert bayes.export(base, version=0) == base / "0"
    # By number, not by name: "9" < "20".
    assert bayes.export(base, version=9) == base / "9"
    assert bayes.export(base) == base / "21"
    assert sorted(child.name for child in base.iterdir()) == ["0", "1", "2", "20", "21", "9"]


@pytest.mark.usefixtures("no_graph")
def test_other_things_in_the_base_are_left_alone(bayes, tmp_path):
    for name in (".deadbeef.7", "notes", "1.5", "v3"):
        (tmp_path / name).mkdir()
    (tmp_path / "models.config").touch()
    assert bayes.export(tmp_path) == tmp_path / "1"
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.usefixtures("no_graph")
def test_version_that_cannot_be_is_refused(bayes, tmp_path):
    bayes.export(tmp_path, version=3)
    (tmp_path / "3" / "kept").touch()
    with pytest.raises(FileExistsError, match=r"`version` must be new, got 3.*leave out `version`"):
        bayes.export(tmp_path, version=3)
    for version in (-1, 2**63):
        with pytest.raises(ValueError, match="`version` must be in"):
            bayes.export(tmp_path, version=version)
    for version in ("4", 1.0, True):
        with pytest.raises(TypeError, match="`version` must be an integer"):
            bayes.export(tmp_path, version=version)
    assert [child.name for child in tmp_path.iterdir()] == ["3"]
    assert (tmp_path / "3" / "kept").exists()


@pytest.mark.usefixtures("no_graph")
def test_export_goes_nowhere_but_to_a_folder_of_versions(bayes, tmp_path):
    (tmp_path / "file").touch()
    saved = bayes.save(tmp_path / "saved")
    exported = bayes.export(tmp_path / "served")
    before = sorted(tmp_path.rglob("*"))
    for path in (tmp_path / "file", saved, exported):
        with pytest.raises(FileExistsError, match="`path` must be new, or a folder of versions"):
            bayes.export(path)
    assert sorted(tmp_path.rglob("*")) == before


def test_manifest_vouches_for_every_file_and_names_no_folder(export):
    for name in ("forest", "YDF forest"):
        _, folder, _ = export(name)
        manifest = artefacts.check_manifest(folder / "manifest.json")
        files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
        assert set(manifest["files"]) == files - {"manifest.json"}
        assert {"saved_model.pb", "variables/variables.index"} < files
        assert manifest["command"] == "FisherDetector.export('served', version=1)"
        package = os.path.dirname(os.path.dirname(kf.__file__))
        for file in (folder / file for file in files):
            content = file.read_bytes()
            assert str(folder.parent).encode() not in content, file
            assert package.encode() not in content, file
        assert [child.name for child in folder.parent.iterdir()] == ["1"]


# An export that is interrupted


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["_write_saved_model", "write_detector", "write_manifest"])
def test_interrupted_export_leaves_nothing(bayes, no_graph, step, error, tmp_path, monkeypatch):
    base = tmp_path / "served"
    bayes.export(base)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    real = getattr(saved_model, step)

    def fail(*arguments, **settings):
        real(*arguments, **settings)
        raise error

    monkeypatch.setattr(saved_model, step, fail)
    for path in (base, tmp_path / "another"):
        with pytest.raises(type(error)):
            bayes.export(path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert [child.name for child in base.iterdir()] == ["1"]
    monkeypatch.undo()
    assert kf.load_detector(base).threshold_ == 0.4


def test_version_that_another_process_made_meanwhile_is_not_replaced(bayes, no_graph, tmp_path, monkeypatch):
    real = saved_model.write_manifest

    def race(path, *rest):
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "theirs").touch()
        return real(path, *rest)

    monkeypatch.setattr(saved_model, "write_manifest", race)
    with pytest.raises(OSError, match="1"):
        bayes.export(tmp_path)
    assert [file.name for file in tmp_path.rglob("*")] == ["1", "theirs"]


# What cannot be exported


def test_head_that_is_no_layer_is_refused_before_anything_is_written(fit, tmp_path):
    detector = fit("dense", lambda net: kf.FisherDetector(net, head=KNeighborsClassifier()))
    for attempt in (detector.to_keras, lambda: detector.export(tmp_path / "served")):
        with pytest.raises(TypeError, match=r"`head` must be a RandomForestClassifier.*KNeighbors"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_images_of_any_size_are_refused(bayes, tmp_path):
    inputs = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(inputs))
    net = keras.Model(inputs, keras.layers.Dense(NUM_CLASSES)(pooled))
    detector = SoftmaxDetector(kf.Classifier(net), head="gaussian_nb")
    detector.head_, detector.threshold_ = bayes.head_, 0.5
    for attempt in (detector.to_keras, lambda: detector.export(tmp_path / "served")):
        with pytest.raises(ValueError, match=r"`classifier` must take images of one size.*keras\.Input"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_detector_that_is_not_fitted_is_refused(nets, tmp_path):
    detector = kf.FisherDetector(nets["dense"])
    for attempt in (detector.to_keras, lambda: detector.export(tmp_path / "served")):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            attempt()
    assert not list(tmp_path.iterdir())


# Back from an export


@pytest.fixture
def base(bayes, forest, no_graph, tmp_path):
    """Version 2 is naive Bayes, version 10 a forest."""
    bayes.export(tmp_path / "served", version=2)
    forest.export(tmp_path / "served", version=10)
    return tmp_path / "served"


def test_detector_comes_back_from_its_export(base, bayes, forest, images):
    latest = kf.load_detector(base)
    assert type(latest) is kf.FisherDetector
    np.testing.assert_array_equal(latest.score_samples(images), forest.score_samples(images))
    for path in (base / "2", str(base / "2")):
        earlier = kf.load_detector(path)
        assert type(earlier) is SoftmaxDetector
        assert earlier.threshold_ == 0.4
        np.testing.assert_array_equal(earlier.score_samples(images), bayes.score_samples(images))
    # One that was loaded can be exported again.
    assert latest.export(base) == base / "11"


@pytest.mark.parametrize("name", ["head.skops", "model.keras", "detector.json"])
def test_damaged_export_is_refused(base, name):
    file = base / "10" / "assets.extra" / "keras_fisher_detector" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    for path in (base, base / "10"):
        with pytest.raises(ValueError, match=rf"{name.replace('.', '[.]')}.*the file was changed"):
            kf.load_detector(path)
    assert kf.load_detector(base / "2").threshold_ == 0.4
    file.unlink()
    with pytest.raises(FileNotFoundError, match=name):
        kf.load_detector(base)


def test_folder_without_a_detector_is_refused(base, tmp_path):
    shutil.rmtree(base / "10" / "assets.extra")
    for path in (base, base / "10", tmp_path):
        with pytest.raises((FileNotFoundError, ValueError), match="`path` must"):
            kf.load_detector(path)
    with pytest.raises(FileNotFoundError, match="`path` must be the folder of a saved detector"):
        kf.load_detector(tmp_path / "nothing")


def test_decoder_knows_what_the_export_offers():
    # Channels that decode_image can give; a file cannot have others.
    for channels in saved_model._ENCODED_CHANNELS:
        found = encoded_images.decode_images(tf.constant([png(pixels_of((4, 4, 3)))]), (4, 4, channels), None)
        assert found.shape == (1, 4, 4, channels)
