"""FGM beside Foolbox's, on the same model."""

from __future__ import annotations

import eagerpy
import foolbox
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing


def foolbox_fgm(model, images, labels, epsilon):
    wrapped = foolbox.TensorFlowModel(model, bounds=(0, 1))
    attack = foolbox.attacks.L2FastGradientAttack()
    _, clipped, success = attack(wrapped, tf.constant(images), tf.constant(labels), epsilons=[epsilon])
    return eagerpy.astensor(clipped[0]).numpy(), eagerpy.astensor(success[0]).numpy()


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_float32_fgm_is_foolbox_fgm_on_lenet5(epsilon, lenet, sample):
    images, labels = sample[0][:256], sample[1][:256]
    expected, success = foolbox_fgm(lenet, images, labels, epsilon)
    result = kf.attacks.FGM(epsilon=epsilon, float32_loss=True)(lenet, images, labels)
    # Foolbox divides by max(‖g‖, 1e-12): smaller gradients, of images it cannot attack, stay short there.
    gradients = np.linalg.norm((expected - images).reshape(256, -1), axis=-1)
    comparable = (gradients > 0.5 * result.norms) | (result.norms == 0)
    assert comparable.mean() > 0.9
    np.testing.assert_allclose(result.images[comparable], expected[comparable], atol=1e-5)
    np.testing.assert_array_equal(result.success[comparable], success[comparable])


@pytest.mark.parametrize("kind", ["depthwise", "dense"])
def test_stable_fgm_is_foolbox_fgm_where_nothing_saturates(kind, images):
    model = testing.scaled_logits(testing.small_net(kind), 0.2)
    labels = kf.Classifier(model).predict(images)
    expected, _ = foolbox_fgm(model, images, labels, 1.0)
    result = kf.attacks.FGM(epsilon=1.0)(model, images, labels)
    np.testing.assert_allclose(result.images, expected, atol=1e-5)
