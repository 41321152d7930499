"""Classifiers from files, and several classifiers as one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return testing.small_net("depthwise")


@pytest.fixture(scope="module")
def folder(net, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("saved") / "net"
    net.export(str(path), verbose=False)
    return str(path)


@pytest.mark.parametrize("name", ["FGM", pytest.param("BIM", marks=pytest.mark.slow), "OSSA"])
def test_attacks_on_a_saved_model_are_those_on_the_model(name, net, folder, images):
    attack = getattr(kf.attacks, name)(epsilon=1.0)
    expected = attack(net, images[:6])
    found = attack(kf.Classifier(folder), images[:6])
    np.testing.assert_allclose(found.images, expected.images, atol=1e-5)


def test_keras_file_is_the_model(net, tmp_path, images):
    net.save(tmp_path / "net.keras")
    classifier = kf.Classifier(tmp_path / "net.keras")
    np.testing.assert_allclose(classifier.logits(images), kf.Classifier(net).logits(images), atol=1e-6)
    # Whatever takes a model takes the path too.
    assert kf.attacks.FGM()(str(tmp_path / "net.keras"), images[:2]).images.shape == (2, 28, 28, 1)


def test_a_saved_softmax_is_taken_with_a_warning(net, tmp_path, images):
    model = keras.Sequential([net, keras.layers.Softmax()])
    model.export(str(tmp_path / "soft"), verbose=False)
    with pytest.warns(UserWarning, match="not its last layer"):
        classifier = kf.Classifier(tmp_path / "soft")
    np.testing.assert_array_equal(classifier.predict(images), kf.Classifier(net).predict(images))


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no such path"):
        kf.Classifier(tmp_path / "absent")
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a \.keras file that Keras can read"):
        kf.Classifier(tmp_path / "broken.keras")
    (tmp_path / "weights.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a \.h5 file that Keras can read"):
        kf.Classifier(tmp_path / "weights.h5")
    with pytest.raises(ValueError, match="the folder of a SavedModel"):
        kf.Classifier(tmp_path)
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model, or the path"):
        kf.Classifier(3)


def test_saved_model_without_a_serving_signature_is_refused(tmp_path):
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "bare"))
    with pytest.raises(ValueError, match="have one of the signatures serving_default, serve"):
        kf.Classifier(tmp_path / "bare")
    two = tf.function(lambda x: {"a": x, "b": x}, input_signature=[tf.TensorSpec([None, 2])])
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"serving_default": two})
    with pytest.raises(ValueError, match=r"one tensor to one.*'a', 'b'"):
        kf.Classifier(tmp_path / "two")


def test_ensemble_is_the_mean_of_the_probabilities(net, images, tmp_path):
    other = testing.small_net("depthwise", seed=9)
    with_softmax = keras.Sequential([other, keras.layers.Softmax()])
    both = kf.ensemble([net, with_softmax])
    mean = np.mean(
        [np.exp(kf.Classifier(member).log_probabilities(images)) for member in (net, other)], axis=0
    )
    np.testing.assert_allclose(np.exp(both.log_probabilities(images)), mean, rtol=1e-5)
    result = kf.attacks.BIM(epsilon=3.0)(both, images)
    assert result.success_rate > 0.5
    both.model.save(tmp_path / "both.keras")
    again = kf.Classifier(tmp_path / "both.keras")
    np.testing.assert_allclose(again.logits(images), both.logits(images), atol=1e-6)


def test_ensemble_of_sure_members_does_not_saturate(lenet, images):
    both = kf.ensemble([lenet, testing.scaled_logits(lenet, 2.0)])
    expected = kf.attacks.FGM(epsilon=1.0, clip=False)(lenet, images)
    found = kf.attacks.FGM(epsilon=1.0, clip=False)(both, images)
    np.testing.assert_allclose(found.norms, 1.0, rtol=1e-4)
    # The doubt of the member with twice the logits is about the square of the other's: where that is small,
    # the loss of both together goes the way of the first alone.
    sure = kf.Classifier(lenet).log_probabilities(images).max(axis=-1) > -1e-4
    assert sure.sum() > 10
    cosine = np.sum((found.images - images) * (expected.images - images), axis=(1, 2, 3))
    assert cosine[sure].min() > 0.99


def test_members_that_do_not_fit_together_are_refused(net):
    with pytest.raises(ValueError, match="at least one classifier"):
        kf.ensemble([])
    with pytest.raises(TypeError, match="`members` must be a list"):
        kf.ensemble(net)
    with pytest.raises(ValueError, match="share their num_classes"):
        kf.ensemble([net, testing.small_net("depthwise", num_classes=4)])
    with pytest.raises(ValueError, match="share their bounds"):
        kf.ensemble([net, kf.Classifier(net, bounds=None)])


def test_bounds_are_compared_in_the_precision_of_the_images(net):
    pixels = np.full((1, 28, 28, 1), 0.3, np.float32)  # above 0.3 in float64
    assert kf.Classifier(net, bounds=(0.1, 0.3)).logits(pixels).shape == (1, 10)
    with pytest.raises(ValueError, match="within the bounds"):
        kf.Classifier(net, bounds=(0.1, 0.3)).logits(np.nextafter(pixels, np.float32(1)))
