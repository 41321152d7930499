"""What the rest of a program may have switched on: behaviour of NumPy, checks of numerics, channels first."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import testing
from keras_fisher.testing import nets

SETTINGS = {
    "numpy": "tf.experimental.numpy.experimental_enable_numpy_behavior()",
    "numerics": "tf.debugging.enable_check_numerics()",
    "channels": 'keras.config.set_image_data_format("channels_first")',
}
#: From the spectrum to the export. A head of each kind has other layers.
WHOLE = """
import pathlib, sys
import keras, numpy as np, tensorflow as tf
{setting}
import keras_fisher as kf
keras.utils.set_random_seed(0)
kf.models.from_keras_applications("MobileNetV2", weights=None, image_shape=(64, 64, 3))
for kind in ("depthwise", "attention", "softmax", "dense"):
    kf.fisher_spectrum(kf.testing.small_net(kind), np.full((2, 28, 28, 1), 0.5, np.float32), 1)
net = kf.models.lenet5(weights="mnist")
images, labels = kf.datasets.mnist_sample()
images, labels = images[::25], labels[::25]
for solver in ("auto", "exact", "lanczos", "alias_power"):
    assert np.isfinite(kf.fisher_spectrum(net, images[:4], 1, solver=solver).eigenvalues).all()
attacks = kf.attacks
for attack in (
    attacks.OSSA(2.0),
    attacks.PGD(2.0, steps=4),
    attacks.DDN(steps=10),
    attacks.DeepFool(),
    attacks.CarliniWagner(steps=20, binary_search_steps=2),
    attacks.Opt(steps=20, binary_search_steps=2),
):
    assert np.isfinite(attack(net, images[:8], labels[:8]).images).all(), attack
assert attacks.least_perturbation(attacks.OSSA(), net, images[:8], labels[:8]).success.any()
moved = attacks.FGM(2.0)(net, images, labels).images
for head in ("random_forest", "logistic_regression"):
    detector = kf.FisherDetector(net, head=head).fit(images, moved)
    detector.export(pathlib.Path(sys.argv[1]) / head)
model = kf.models.lenet5()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
robust = kf.callbacks.OSSACallback(1.0, regularizer=kf.losses.FisherRegularizer(0.1))
model.fit(images, labels, verbose=0, callbacks=[robust])
"""


def run(program: str, *arguments: str) -> None:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", program, *arguments]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_everything_works_under_settings_of_the_users_program(setting, tmp_path):
    run(WHOLE.format(setting=SETTINGS[setting]), str(tmp_path))


@pytest.fixture
def channels_first():
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("kind", nets.KINDS)
def test_small_nets_have_their_channels_last(kind, channels_first):
    net = testing.small_net(kind, image_shape=(28, 28, 1), num_classes=3)
    assert np.isfinite(kf.Classifier(net).logits(np.full((1, 28, 28, 1), 0.5))).all()


def test_nets_of_keras_have_their_channels_last(channels_first):
    net = kf.models.from_keras_applications("MobileNet", weights=None, image_shape=(32, 32, 3), num_classes=3)
    assert net.get_layer("conv1").data_format == "channels_last"
    assert keras.config.image_data_format() == "channels_first"


def not_finite(graph: tf.Graph) -> list[str]:
    """Names of constants with NaN or infinity, in the graph and in the functions that it calls."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for each in definition.library.function for node in each.node_def)]
    values = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in nodes if node.op == "Const"}
    floats = {name: value for name, value in values.items() if value.dtype.kind == "f"}
    return [name for name, value in floats.items() if not np.isfinite(value).all()]


def test_no_graph_holds_an_infinity_or_nan_of_our_own():
    # TensorFlow's check of numerics stops at one, used or not.
    net = kf.Classifier(testing.small_net("dense", image_shape=(4, 4, 1), num_classes=3))
    images = np.random.default_rng(0).uniform(size=(6, 4, 4, 1)).astype(np.float32)
    kf.fisher_spectrum(net, images, 1, solver="alias_lanczos")
    for attack in (
        kf.attacks.OSSA(1.0),
        kf.attacks.DDN(steps=1),
        kf.attacks.DeepFool(steps=1),
        kf.attacks.CarliniWagner(steps=1, binary_search_steps=1),
    ):
        attack(net, images)
    detector = kf.FisherDetector(net, head="gaussian_nb")
    detector.fit(images, kf.attacks.RandomNoise(1.0)(net, images).images)
    programs = [program.get_concrete_function() for program in net._compiled._compiled.values()]
    assert len(programs) > 7
    assert not [name for program in programs for name in not_finite(program.graph)]
