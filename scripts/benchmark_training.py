"""Adversarial training: what it achieves and what it costs, as JSON.

    python scripts/benchmark_training.py                       all sections, about 15 minutes on two cores
    python scripts/benchmark_training.py --only robustness     one of: robustness, cost

robustness: the stored LeNet-5 nets on MNIST test images, under attacks of Foolbox and of this library, and
their largest Fisher eigenvalues. cost: seconds of an epoch of `model.fit`, plain and with the callback, turn
by turn in one run, so that the machine's own speed cancels in the ratios; beside ART's AdversarialTrainer,
and beside a plain step that makes the passes of OSSA first and nothing else ("passes alone"), the floor.
"""

# pyright: reportPrivateImportUsage=false
# Foolbox names its public parts in a way that pyright takes for private.

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import foolbox
import keras
import numpy as np
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ART says what else it could work with.
    from art.attacks.evasion import FastGradientMethod
    from art.defences.trainer import AdversarialTrainer
    from art.estimators.classification import TensorFlowV2Classifier

SECTIONS = ("robustness", "cost")
SEED = 0
EPSILON = 1.5
BATCH_SIZE = 128
NETS = {
    "standard, ReLU": "mnist",
    "standard, ELU": "mnist_elu",
    "FGM-trained, ELU": "mnist_fgm",
    "OSSA-trained, ELU": "mnist_ossa",
}


def main() -> None:
    arguments = parse_arguments()
    report: dict[str, Any] = {
        "command": " ".join(["python", "scripts/benchmark_training.py", *sys.argv[1:]]),
        "versions": artefacts.versions() | {"foolbox": foolbox.__version__},
        "cores": os.cpu_count(),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "seed": SEED,
    }
    for section in [arguments.only] if arguments.only else SECTIONS:
        report[section] = {"robustness": robustness, "cost": cost}[section](arguments)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.output:
        artefacts.write_atomically(arguments.output, lambda path: pathlib.Path(path).write_text(text + "\n"))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=SECTIONS, help="run one section")
    parser.add_argument(
        "--images", type=int, default=2000, help="test images of robustness (default: %(default)s)"
    )
    parser.add_argument("--ways", nargs="*", help='of cost: only what begins so, e.g. "OSSA" "FGM"')
    parser.add_argument("--repeats", type=int, default=3, help="timed epochs (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="also write the JSON here")
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def robustness(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns error rates and eigenvalues of each stored net on the first test images."""
    images, labels = kf.datasets.load("mnist", "test", data_dir=arguments.data_dir)
    rows: dict[str, Any] = {"all test images": len(labels), "attacked": arguments.images, "epsilon": EPSILON}
    for name, weights in NETS.items():
        classifier = kf.Classifier(kf.models.lenet5(weights=weights))
        clean = float(np.mean(classifier.predict(images) == labels))
        rows[name] = {"clean accuracy": clean} | attacked(
            classifier, images[: arguments.images], labels[: arguments.images]
        )
        say(f"{name}: {json.dumps(rows[name])}")
    return rows


def attacked(classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Returns the error rates within EPSILON, images that err unattacked among them."""
    tf.random.set_seed(SEED)
    model = foolbox.TensorFlowModel(classifier.model, bounds=(0, 1))
    foolbox_pgd = foolbox.attacks.L2ProjectedGradientDescentAttack(steps=50)
    errors = []
    for start in range(0, len(images), 250):
        batch = (tf.constant(images[start : start + 250]), tf.constant(labels[start : start + 250]))
        _, _, success = foolbox_pgd(model, *batch, epsilons=EPSILON)
        errors.append(success.numpy())
    mean = float(np.mean(np.concatenate(errors)))
    # Of a share p of n images: 1.96 · √(p (1 − p) / n).
    interval = 1.96 * np.sqrt(mean * (1 - mean) / len(images))
    own = kf.attacks.PGD(EPSILON, steps=50, restarts=3)(classifier, images, labels)
    one_step = kf.attacks.OSSA(EPSILON)(classifier, images, labels)
    largest = kf.fisher_spectrum(classifier, images, 1, solver="exact", eigenvectors=False).eigenvalues[:, 0]
    return {
        "Foolbox l2 PGD, 50 steps": mean,
        "± 95 %": float(interval),
        "PGD, 50 steps, 3 starts": float(np.mean(own.success)),
        "OSSA": float(np.mean(one_step.success)),
        "mean largest eigenvalue": float(np.mean(largest)),
        "its standard error": float(np.std(largest, ddof=1) / np.sqrt(len(largest))),
        "median largest eigenvalue": float(np.median(largest)),
    }


def cost(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the median seconds of an epoch and their ratio to a plain one, for two nets."""
    images, labels = kf.datasets.load("mnist", "train", data_dir=arguments.data_dir)
    colour, classes = kf.datasets.load("cifar10", "train", data_dir=arguments.data_dir)
    return {
        "LeNet-5, 6,400 MNIST images": epochs(kf.models.lenet5, images[:6400], labels[:6400], arguments),
        "VGG of width 16, 1,280 CIFAR-10 images": epochs(
            lambda: kf.models.vgg(width=16), colour[:1280], classes[:1280], arguments
        ),
    }


def epochs(
    build: Callable[[], keras.Model], images: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace
) -> dict[str, Any]:
    ways = {name: fit(build, callback, images, labels) for name, callback in callbacks().items()}
    ways["passes alone of OSSA, half"] = fit(lambda: with_passes(build()), None, images, labels)
    ways["ART's AdversarialTrainer, FGM, half"] = art(build, images, labels)
    if arguments.ways:
        wanted = ("plain", *arguments.ways)
        ways = {name: way for name, way in ways.items() if name.startswith(wanted)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.repeats + 1):
        for name, way in ways.items():
            passed = way()
            if turn:  # The first one traces.
                seconds[name].append(passed)
        say(f"{turn}/{arguments.repeats}")
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    plain = medians["plain"]
    return {
        name: {"seconds": round(value, 3), "ratio to plain": round(value / plain, 2)}
        for name, value in medians.items()
    }


def callbacks() -> dict[str, kf.callbacks.OSSACallback | None]:
    robust, penalty = kf.callbacks.OSSACallback, kf.losses.FisherRegularizer
    return {
        "plain": None,
        "OSSA, half": robust(EPSILON),
        "OSSA, all": robust(EPSILON, 1.0),
        "FGM, half": robust(EPSILON, attack=kf.attacks.FGM()),
        "FGM, all": robust(EPSILON, 1.0, kf.attacks.FGM()),
        "PGD of 7 steps, half": robust(EPSILON, attack=kf.attacks.PGD(steps=7)),
        "spectral norm": robust(fraction=0.0, regularizer=penalty(0.1, "spectral_norm")),
        "trace": robust(fraction=0.0, regularizer=penalty(0.1, "trace")),
        "KL along OSSA": robust(fraction=0.0, regularizer=penalty(0.1, "kl")),
    }


def fit(
    build: Callable[[], keras.Model],
    callback: kf.callbacks.OSSACallback | None,
    images: np.ndarray,
    labels: np.ndarray,
) -> Callable[[], float]:
    """Returns what trains for one epoch and returns its seconds."""
    keras.utils.set_random_seed(SEED)
    model = build()
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    clock = Clock()
    listeners = [clock] if callback is None else [clock, callback]

    def epoch() -> float:
        model.fit(images, labels, batch_size=BATCH_SIZE, verbose=0, callbacks=listeners)
        return clock.seconds

    return epoch


def with_passes(model: Any) -> keras.Model:
    """Returns the model, whose training step first makes OSSA's passes over half of the batch.

    One forward pass, a gradient, a derivative along it (a double backward pass) and a gradient again.
    """
    plain = model.train_step

    def train_step(data: Any) -> Any:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        half = images[::2]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(half)
            logits = model(half, training=False)
        cotangents = tf.nn.softmax(logits)
        first = tape.gradient(logits, half, cotangents)
        with tf.GradientTape() as outer:
            outer.watch(cotangents)
            product = tape.gradient(logits, half, cotangents)
        along = outer.gradient(product, cotangents, first)
        second = tape.gradient(logits, half, along)
        # Next to nothing, but no pass may be left out.
        images = tf.concat([half + 1e-20 * tf.stop_gradient(second), images[1::2]], axis=0)
        labels = tf.concat([labels[::2], labels[1::2]], axis=0)
        return plain(keras.utils.pack_x_y_sample_weight(images, labels, weights))

    model.train_step = train_step
    return model


class Clock(keras.callbacks.Callback):
    """Times an epoch from its first step to its logs.

    Not the call of `fit`: at its end tf.data waits for a thread of its own, whose sleep doubles from 10 ms,
    so that whole calls take 2.6, 5.1 or 10.2 seconds, whatever they do.
    """

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds = time.perf_counter() - self._start


def art(build: Callable[[], keras.Model], images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """Returns what trains ART's way for one epoch and returns its seconds."""
    model = build()
    optimizer = keras.optimizers.Adam(1e-3)
    estimator = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=optimizer,
        clip_values=(0.0, 1.0),
    )
    attack = FastGradientMethod(estimator, norm=2, eps=EPSILON, batch_size=BATCH_SIZE)
    trainer = AdversarialTrainer(estimator, attack, ratio=0.5)

    def epoch() -> float:
        start = time.perf_counter()
        trainer.fit(images, labels, batch_size=BATCH_SIZE, nb_epochs=1)
        return time.perf_counter() - start

    return epoch


if __name__ == "__main__":
    main()
