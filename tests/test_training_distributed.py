"""Adversarial training in `model.fit` under tf.distribute: replicas and workers do what one device does.

The number of devices is fixed before TensorFlow starts, and each worker is a process: this module is also the
program that the tests start. All trainings that are compared run in float64, where the order in which
gradients are added up stays at the last bits: in float32 a ReLU switches now and then, and it grows.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import zipfile
from typing import Any

import numpy as np
import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent / "scripts"
#: Sums of up to 1e3 terms of rounding 1e-16 each, over a few steps with a learning rate of 0.1.
TOLERANCE = 1e-12
#: What training moves the weights by, and what the attack changes in them, is far above that.
VISIBLE = 1e-4


@pytest.fixture(scope="module")
def replicas(tmp_path_factory) -> dict[str, Any]:
    """What `two_replicas` has measured, in a process of its own."""
    path = tmp_path_factory.mktemp("replicas") / "report.json"
    finish(start("two_replicas", path))
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("way", ["callback", "layer"])
def test_two_replicas_train_as_one_device_does(replicas, way):
    measured = replicas[way]
    assert measured["one and two replicas"] <= TOLERANCE
    assert measured["before and after"] > VISIBLE
    assert measured["attacked and plain"] > VISIBLE


@pytest.mark.slow
def test_an_image_out_of_bounds_is_refused_on_the_second_replica_too(replicas):
    assert "`images` must be within the bounds [0, 1], got [0, 3]" in replicas["refused"]


@pytest.mark.slow
def test_two_workers_train_as_one_does(tmp_path):
    compare(tmp_path, workers=2, images=64, batch=32)


@pytest.mark.slow
def test_three_workers_train_as_one_does_over_epochs(tmp_path):
    # Keras rounds 1/3, by which it multiplies the loss of each replica, to float32.
    compare(tmp_path, workers=3, images=200, batch=48, epochs=3, tolerance=1e-9)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--workers 0", "`--workers` must be at least 1, got 0."),
        ("--workers 1 --compare", "`--workers` must be at least 2 with --compare"),
        (
            "--data sample --images 801",
            "`--images` must be in [1, 800] (the training images of sample), got 801.",
        ),
        ("--images 100 --global-batch 128", "`--global-batch` must be in [1, 100] (--images), got 128."),
        ("--workers 3 --global-batch 128", "`--global-batch` must be a multiple of the 3 workers, got 128."),
        ("--fraction 1.5", "`--fraction` must be in (0, 1], got 1.5."),
        ("--epsilon nan", "`--epsilon` must be above 0, got nan."),
        ("--epochs 0", "`--epochs` must be at least 1, got 0."),
        ("--seed -1", "`--seed` must be at least 0, got -1."),
        ("--dropout --compare", "`--dropout` must be left out with --compare"),
    ],
)
def test_the_script_refuses_a_bad_argument(tmp_path, options, error):
    done = finish(train(tmp_path, *options.split()), status=2)
    assert error in done
    assert list(tmp_path.iterdir()) == []


def test_the_script_refuses_the_folder_of_another_run(tmp_path):
    (tmp_path / "workers_2").mkdir()
    (tmp_path / "workers_2" / "settings.json").write_text('{"epochs": 7}')
    done = finish(train(tmp_path, "--data", "sample", "--images", "128", "--epochs", "1"), status=1)
    assert "`--output` must be a new folder, or that of a run with the same settings" in done
    assert "there: workers None, data None" in done
    assert "Name another --output, or delete the folder." in done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "epoch"),
    [pytest.param(1, 1, id="the other one, midway"), pytest.param(0, 3, id="the first, late")],
)
def test_a_run_whose_worker_was_killed_goes_on_and_loses_nothing(tmp_path, killed, epoch):
    options = ("--data", "sample", "--images", "96", "--global-batch", "32", "--epochs", "3", "--seed", "3")
    process = train(tmp_path / "broken", *options)
    pid = next(int(pid) for index, pid in workers_of(process) if index == killed)
    wait_for(tmp_path / "broken" / "workers_2" / "epochs" / f"{epoch:05}", process)
    os.kill(pid, signal.SIGKILL)
    said = finish(process, status=1)
    assert f"worker {killed} was killed by signal 9 (SIGKILL); the others were stopped" in said
    after = int(re.search(r"The same command goes on after epoch (\d)\.", said)[1])
    assert after >= epoch
    assert not (tmp_path / "broken" / "workers_2" / "model.keras").exists()

    said = finish(train(tmp_path / "broken", *options))
    assert f"2 workers: goes on after epoch {after}, 3 epochs" in said
    assert f"Epoch {after}/3" not in said
    finish(train(tmp_path / "whole", *options))
    resumed, unbroken = (weights(tmp_path / name / "workers_2") for name in ("broken", "whole"))
    assert distance(resumed, unbroken) == 0
    assert sorted(path.name for path in (tmp_path / "broken" / "workers_2").iterdir()) == [
        "manifest.json",
        "model.keras",
        "settings.json",
        "worker_0.log",
        "worker_1.log",
    ]
    assert "trained before" in finish(train(tmp_path / "broken", *options))


@pytest.mark.slow
def test_of_two_workers_the_first_one_keeps_the_best_model(tmp_path):
    finish(start("free_ports", tmp_path / "ports"))
    free = (tmp_path / "ports").read_text().split()
    processes = [
        start(
            "one_of_two_workers",
            tmp_path / str(index),
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": [f"127.0.0.1:{port}" for port in free]},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]
    for process in processes:
        finish(process)
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["best.keras", "history.json"]
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["history.json"]
    first, other = (json.loads((tmp_path / str(index) / "history.json").read_text()) for index in range(2))
    assert first == other
    with zipfile.ZipFile(tmp_path / "0" / "best.keras") as model:
        value = json.loads(model.read("keras_fisher_best.json"))["value"]
    assert value == max(first["val_robust_accuracy"])


def compare(
    folder: pathlib.Path,
    workers: int,
    images: int,
    batch: int,
    epochs: int = 1,
    tolerance: float = TOLERANCE,
) -> None:
    """Trains as many workers and one, and checks that their weights are equal."""
    options = {"--workers": workers, "--images": images, "--global-batch": batch, "--epochs": epochs}
    given = [str(word) for option in options.items() for word in option]
    said = finish(train(folder, "--data", "sample", "--dtype", "float64", "--compare", *given))
    report = json.loads((folder / "comparison.json").read_text())
    assert f"workers_{workers} and workers_1: weights at most" in said
    assert report["largest_absolute_difference"] <= tolerance
    several, one = (weights(folder / f"workers_{number}") for number in (workers, 1))
    assert distance(several, one) == report["largest_absolute_difference"]
    # Biases are zero before training.
    assert all(np.abs(array).max() > VISIBLE for array in several)


def weights(folder: pathlib.Path) -> list[np.ndarray]:
    import keras

    import keras_fisher as kf

    kf.artefacts.check_manifest(folder / "manifest.json")
    return keras.models.load_model(folder / "model.keras", compile=False).get_weights()


def distance(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def train(folder: pathlib.Path, *options: str) -> subprocess.Popen:
    return launch([str(SCRIPTS / "train_workers.py"), "--output", str(folder), *options])


def start(function: str, path: pathlib.Path, **environment: str) -> subprocess.Popen:
    """Starts a function of this module in a process of its own."""
    return launch([__file__, function, str(path)], **environment)


def launch(command: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen, status: int = 0) -> str:
    """Returns what the process says until it ends, which it must with this status."""
    try:
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == status, said
    return said


def workers_of(process: subprocess.Popen) -> list[tuple[int, str]]:
    """Returns index and process of both workers, from what the script says first."""
    lines = [process.stdout.readline() for _ in range(3)]
    return [(int(index), pid) for index, pid in re.findall(r"worker (\d): process (\d+)", "".join(lines))]


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, path
        time.sleep(0.02)


# What follows runs in processes of its own.


def free_ports(path: str) -> None:
    import train_workers

    pathlib.Path(path).write_text(" ".join(map(str, train_workers.free_ports(2))))


def two_replicas(path: str) -> None:
    """Trains on one device and on two replicas, and writes how far the weights lie apart."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    before = weights_after(one, None)
    plain = weights_after(one, "plain")
    report: dict[str, Any] = {}
    for way in ("callback", "layer"):
        attacked = weights_after(one, way)
        report[way] = {
            "one and two replicas": distance(attacked, weights_after(two, way)),
            "before and after": distance(attacked, before),
            "attacked and plain": distance(attacked, plain),
        }
    try:
        weights_after(two, "callback", row_out_of_bounds=5)  # Of a batch of 8, four on each replica.
        report["refused"] = "nothing"
    except ValueError as error:
        report["refused"] = str(error)
    pathlib.Path(path).write_text(json.dumps(report))


def weights_after(strategy: Any, way: str | None, row_out_of_bounds: int | None = None) -> list[np.ndarray]:
    """Returns the weights of a small net after three steps, or before."""
    import keras

    import keras_fisher as kf

    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    images, labels = kf.datasets.mnist_sample()
    images, labels = images[:24].astype("float64"), labels[:24]
    if row_out_of_bounds is not None:
        images[row_out_of_bounds] *= 3
    with strategy.scope():
        net = model = small_net()
        if way == "layer":
            model = keras.Sequential([kf.layers.OSSALayer(net, epsilon=1.5, fraction=0.5), net])
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    callbacks = [kf.callbacks.OSSACallback(epsilon=1.5, fraction=0.5)] if way == "callback" else []
    if way is not None:
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks)
    return net.get_weights()


def small_net() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 5, strides=3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def one_of_two_workers(path: str) -> None:
    """Trains with validation and a checkpoint, as a worker."""
    import _worker
    import keras

    import keras_fisher as kf

    keras.utils.set_random_seed(0)
    strategy = _worker.make_strategy(2)
    images, labels = kf.datasets.mnist_sample()
    with strategy.scope():
        net = small_net()
    model = _worker.WorkerModel(net.inputs[0], net.outputs[0])
    callback = kf.callbacks.OSSACallback(
        0.5, validation_data=(images[-8:], labels[-8:]), checkpoint=pathlib.Path(path) / "best.keras"
    )
    with strategy.scope():
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = model.fit(images[:32], labels[:32], batch_size=16, verbose=0, callbacks=[callback])
    pathlib.Path(path).mkdir(exist_ok=True)
    (pathlib.Path(path) / "history.json").write_text(json.dumps(history.history))


if __name__ == "__main__":
    sys.path.insert(0, str(SCRIPTS))
    globals()[sys.argv[1]](sys.argv[2])
