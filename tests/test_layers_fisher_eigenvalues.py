"""The layer of Fisher eigenvalues against the float64 reference, and as a Keras layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_fisher as kf
from keras_fisher import testing


@pytest.mark.parametrize("kind", ["softmax", "dense"])
def test_layer_gives_the_eigenvalues_of_the_reference(kind, images):
    model = testing.small_net(kind)
    layer = kf.layers.FisherEigenvalues(model, k=4)
    found = layer(images).numpy()
    expected = testing.reference_spectrum(testing.float64_copy(model), images).eigenvalues[:, :4]
    assert found.dtype == np.float64
    is_large = expected > 1e-6 * expected[:, :1]
    np.testing.assert_allclose(found[is_large], expected[is_large], rtol=1e-3)


def test_layer_in_a_functional_model_survives_a_file(lenet, images, tmp_path):
    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, kf.layers.FisherEigenvalues(lenet, k=9)(inputs))
    assert model.output_shape == (None, 9)
    before = model.predict(images, verbose=0)
    eager = kf.layers.FisherEigenvalues(kf.Classifier(lenet), k=9)(images).numpy()
    # The order of a sum may be another.
    np.testing.assert_allclose(before[:, :3], eager[:, :3], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(again.predict(images, verbose=0), before)


def test_a_net_beside_its_layer_is_one_net_in_a_file_too(images, tmp_path):
    net = testing.small_net("dense")
    inputs = keras.Input((28, 28, 1))
    model = keras.Model(inputs, [net(inputs), kf.layers.FisherEigenvalues(net, k=2)(inputs)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    held = {id(layer.model) for layer in again.layers if isinstance(layer, kf.layers.FisherEigenvalues)}
    assert held == {id(layer) for layer in again.layers if isinstance(layer, keras.Model)}
    for found, expected in zip(again(images), model(images), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_layer_shares_the_weights_of_its_model(images):
    model = testing.small_net("dense")
    layer = kf.layers.FisherEigenvalues(model, k=2)
    before = layer(images).numpy()
    model.layers[-1].set_weights([2 * weight for weight in model.layers[-1].get_weights()])
    assert not np.allclose(layer(images).numpy(), before, rtol=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"k": 0}, ValueError, "`k` must be at least 1"),
        ({"k": 10}, ValueError, r"`k` must be in \[1, 9\] \(rank bound of 10 classes\), got 10"),
        ({"k": 2.0}, TypeError, "`k` must be an integer"),
        ({"k": 2, "reading": "logits"}, ValueError, "`reading` must be one of"),
    ],
)
def test_bad_argument_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        kf.layers.FisherEigenvalues(testing.small_net("dense"), **arguments)


def test_no_model_is_refused():
    for settings in ({}, {"reading": "as_is"}):
        with pytest.raises(TypeError, match="`model` must be"):
            kf.layers.FisherEigenvalues(np.eye(3), k=1, **settings)
