"""The stored nets of the experiments."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable

# Read when TensorFlow is imported. Without it, VGG's convolutions take about twice as long on a CPU.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import keras_fisher as kf
from keras_fisher import artefacts

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Net:
    """A stored net of the experiments."""

    name: str
    data: str
    build: Callable[..., keras.Model]
    folder: str

    def load(self) -> keras.Model:
        """Returns the net with its stored weights."""
        path = artefacts.saved_model_path(self.folder) / "model.keras"
        manifest = artefacts.check_manifest(path.with_name("manifest.json"))
        names = ("width", "maps", "units", "activation", "image_shape", "batch_normalisation")
        settings = {name: manifest[name] for name in names if name in manifest}
        return self.build(path, **settings)


NETS = {
    net.name: net
    for net in (
        Net("LeNet", "mnist", kf.models.lenet5, "lenet5_mnist"),
        Net("LeNet, seed 1", "mnist", kf.models.lenet5, "lenet5_mnist_seed1"),
        Net("LeNet, seed 2", "mnist", kf.models.lenet5, "lenet5_mnist_seed2"),
        Net("LeNet, wide", "mnist", kf.models.lenet5, "lenet5_mnist_wide"),
        Net("LeNet, ELU", "mnist", kf.models.lenet5, "lenet5_mnist_elu"),
        Net("LeNet-adv", "mnist", kf.models.lenet5, "lenet5_mnist_fgm"),
        Net("VGG", "mnist", kf.models.vgg, "vgg_mnist_relu"),
        Net("VGG-adv", "mnist", kf.models.vgg, "vgg_mnist_fgm"),
        Net("VGG, CIFAR-10", "cifar10", kf.models.vgg, "vgg_cifar10"),
        Net("VGG of width 32, CIFAR-10", "cifar10", kf.models.vgg, "vgg_cifar10_narrow"),
        Net(
            "VGG of width 32 without normalisation, CIFAR-10",
            "cifar10",
            kf.models.vgg,
            "vgg_cifar10_width32_without_normalisation",
        ),
    )
}
#: The net of each data set that the paper's experiments are about.
NET_OF = {"mnist": "LeNet", "cifar10": "VGG, CIFAR-10"}


@functools.cache
def load_net(name: str) -> keras.Model:
    """Returns a net of the experiments, the same object each time: what was traced for it is kept."""
    # Now: another may be trained while an experiment runs.
    stored_weights(name)
    return NETS[name].load()


@functools.cache
def load_classifier(name: str, *, bounded: bool = True) -> kf.Classifier:
    """Returns the same as a classifier; one that is not bounded takes images beyond [0, 1]."""
    return kf.Classifier(load_net(name), bounds=(0.0, 1.0) if bounded else None)


@functools.cache
def weights_digest(classifier: kf.Classifier) -> str:
    """Returns what tells the net and its bounds from others."""
    # Not their names, which Keras counts up where two are built.
    layers = [
        (type(layer).__name__, {name: value for name, value in layer.get_config().items() if name != "name"})
        for layer in classifier.model.layers
    ]
    state = hashlib.sha256(f"{classifier.bounds} {classifier.image_dtype} {layers}".encode())
    for array in classifier.model.get_weights():
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()[:16]


@functools.cache
def stored_weights(name: str) -> str | None:
    """Returns the hash of the file of a net, as it was when first asked for; None if there is none."""
    if name not in NETS:
        return None
    manifest = REPOSITORY / "saved_models" / NETS[name].folder / "manifest.json"
    if not manifest.is_file():
        return None
    files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    return files["model.keras"]["sha256"][:16]
