"""Trains LeNet-5 against OSSA with several workers on this machine, and compares them with one.

    python scripts/train_workers.py                                           two workers, all of MNIST
    python scripts/train_workers.py --data sample --compare                   the packaged digits, no download
    python scripts/train_workers.py --data sample --compare --dtype float64   the same weights to 1e-14

Each worker is a process on 127.0.0.1 that works on its share of every batch, by `model.fit` within
`tf.distribute.MultiWorkerMirroredStrategy`; `kf.callbacks.OSSACallback` attacks part of the batch. With
--compare one worker is then trained with the same global batch. The gradients of the shares are added up:
what differs is the order of that sum, 1e-7 in float32. From there it grows with the number of steps (a ReLU
switches, Adam divides by a gradient near zero), as it does between two runs of one worker whose weights
differ in their last bits. In float64 it does not come that far.

To be equal, the workers train LeNet-5 without its dropout, of which each would draw masks of its own
(--dropout keeps it), and a batch divides by their number. An epoch leaves out what is beyond its last whole
batch. The attacked rows are those of one worker if --fraction of a worker's share of the batch is whole.

When a worker dies, the others are stopped. The same command goes on after the last whole epoch. As the order
of the images follows from the seed and the number of the epoch, it ends with the weights of an unbroken run,
to the last bit (with --dropout, masks start anew). What was trained before is not trained again.

Limits: one machine, Linux or macOS, its processors and not its GPUs, which the workers share: this shows that
distributed training is right, not that it is fast.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_fisher as kf

SCRIPTS = pathlib.Path(__file__).resolve().parent
#: How many images there are to train on.
NUM_IMAGES = {"mnist": 60_000, "sample": 800}
#: Options that the weights do not depend on.
NO_SETTINGS = {"compare", "data_dir", "output"}
#: Between looks at the workers, in seconds.
INTERVAL = 0.1


def main() -> None:
    arguments = parse_arguments()
    several = train(arguments, arguments.workers)
    if arguments.compare:
        one = train(arguments, 1)
        compare(several, one, arguments.output / "comparison.json")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workers", type=int, default=2, help="processes (default: %(default)s)")
    add("--data", choices=list(NUM_IMAGES), default="mnist", help="default: %(default)s")
    add("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    add("--images", type=int, help="how many of the training images, from the first (default: all)")
    add("--epochs", type=int, default=5, help="passes over the images (default: %(default)s)")
    add("--global-batch", type=int, default=128, help="images a step, of all workers (default: %(default)s)")
    add("--epsilon", type=float, default=1.5, help="l2 norm of the attack (default: %(default)s)")
    add(
        "--fraction", type=float, default=0.5, help="share of a batch that is attacked (default: %(default)s)"
    )
    add("--learning-rate", type=float, default=1e-3, help="of Adam (default: %(default)s)")
    add(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="of weights and images (default: %(default)s)",
    )
    add("--dropout", action="store_true", help="keep LeNet-5's dropout, which workers draw each by itself")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--compare", action="store_true", help="train one worker too, and compare the weights")
    add(
        "--output",
        type=pathlib.Path,
        default=SCRIPTS.parent / "runs" / "train_workers",
        help="folder to write to (default: runs/train_workers)",
    )
    arguments = parser.parse_args()
    arguments.output = arguments.output.absolute()
    if arguments.images is None:
        arguments.images = NUM_IMAGES[arguments.data]
    for argument, rule, value, holds in rules(arguments):
        if not holds:
            parser.error(f"`{argument}` must {rule}, got {value}.")
    return arguments


def rules(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Any, bool]]:
    """Yields argument, rule, value, and whether it holds; a rule may rely on those before it."""
    workers, batch = arguments.workers, arguments.global_batch
    available = NUM_IMAGES[arguments.data]
    yield "--workers", "be at least 1", workers, workers >= 1
    yield "--epochs", "be at least 1", arguments.epochs, arguments.epochs >= 1
    yield "--seed", "be at least 0", arguments.seed, arguments.seed >= 0
    limits = f"be in [1, {available}] (the training images of {arguments.data})"
    yield "--images", limits, arguments.images, 1 <= arguments.images <= available
    limits = f"be in [1, {arguments.images}] (--images)"
    yield "--global-batch", limits, batch, 1 <= batch <= arguments.images
    yield "--global-batch", f"be a multiple of the {workers} workers", batch, batch % workers == 0
    yield "--epsilon", "be above 0", arguments.epsilon, 0 < arguments.epsilon < float("inf")
    yield "--fraction", "be in (0, 1]", arguments.fraction, 0 < arguments.fraction <= 1
    yield "--learning-rate", "be above 0", arguments.learning_rate, 0 < arguments.learning_rate < float("inf")
    without = "be left out with --compare (each worker draws masks of its own)"
    yield "--dropout", without, "both", not (arguments.dropout and arguments.compare)
    several = "be at least 2 with --compare, which trains one worker by itself"
    yield "--workers", several, workers, not arguments.compare or workers > 1


def train(arguments: argparse.Namespace, num_workers: int) -> pathlib.Path:
    """Returns the .keras file that `num_workers` have trained, now or in an earlier call."""
    folder = arguments.output / f"workers_{num_workers}"
    given = {name: value for name, value in vars(arguments).items() if name not in NO_SETTINGS}
    settings = given | {"workers": num_workers}
    claim(folder, settings)
    if (folder / "manifest.json").exists():
        kf.artefacts.check_manifest(folder / "manifest.json")
        print(f"{count(num_workers)}: trained before, {folder}", flush=True)
        forget(folder)
        return folder / "model.keras"

    done = restore(folder, num_workers)
    begin = f"goes on after epoch {done}" if done else "starts"
    print(f"{count(num_workers)}: {begin}, {arguments.epochs} epochs, {folder}", flush=True)
    command = shlex.join(["python", "scripts/train_workers.py", *sys.argv[1:]])
    run_workers(folder, settings | {"data_dir": arguments.data_dir, "command": command}, num_workers)
    forget(folder)
    return folder / "model.keras"


def claim(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """Writes the settings into a new folder; refuses one of a run with other settings."""
    path = folder / "settings.json"
    text = json.dumps(settings, indent=2) + "\n"
    if not path.exists():
        kf.artefacts.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before != settings:
        others = [name for name in settings if before.get(name) != settings[name]]
        was = ", ".join(f"{name} {before.get(name)}" for name in others)
        now = ", ".join(f"{name} {settings[name]}" for name in others)
        raise SystemExit(
            f"`--output` must be a new folder, or that of a run with the same settings, got {folder} "
            f"(there: {was}; now: {now}). Name another --output, or delete the folder."
        )


def restore(folder: pathlib.Path, num_workers: int) -> int:
    """Returns the last whole epoch, 0 if none, after laying its backup where each worker looks for its own.

    `keras.callbacks.BackupAndRestore` writes weights and the number of the epoch one after the other, and a
    worker may be an epoch ahead of another. So the first one copies each of its backups to epochs/, under a
    name that the copy has only once it is whole: these are what all go on from.
    """
    for leftover in (folder / "epochs").glob(".*"):
        shutil.rmtree(leftover)
    shutil.rmtree(folder / "backups", ignore_errors=True)
    done = last_epoch(folder)
    for index in range(num_workers if done else 0):
        shutil.copytree(folder / "epochs" / f"{done:05}", folder / "backups" / str(index))
    return done


def last_epoch(folder: pathlib.Path) -> int:
    """Returns how many epochs are done and stored, 0 if none."""
    return max((int(path.name) for path in (folder / "epochs").glob("[0-9]*")), default=0)


def forget(folder: pathlib.Path) -> None:
    """Removes the backups."""
    for name in ("backups", "epochs"):
        shutil.rmtree(folder / name, ignore_errors=True)


def run_workers(folder: pathlib.Path, settings: dict[str, Any], num_workers: int) -> None:
    """Starts the workers and waits for all of them; stops the others when one fails."""
    logs = [folder / f"worker_{index}.log" for index in range(num_workers)]
    with contextlib.ExitStack() as stack:
        addresses = [f"127.0.0.1:{port}" for port in free_ports(num_workers)]
        workers: list[subprocess.Popen] = []
        stack.callback(stop, workers)
        for index, log in enumerate(logs):
            file = stack.enter_context(log.open("w", encoding="utf-8"))
            workers.append(start(index, addresses, folder, settings, file))
            print(f"worker {index}: process {workers[index].pid}, log {log}", flush=True)
        statuses = wait(workers)
    if statuses[0] == 0:  # The others had done their part before it wrote the results.
        return
    failed = {index: status for index, status in enumerate(statuses) if status}
    if not failed:
        raise SystemExit(f"interrupted. The same command {continuation(folder)}.")
    # A worker that a signal ended comes first: the others then fail for want of it.
    index = min(failed, key=lambda index: (failed[index] > 0, index))
    raise SystemExit(
        f"worker {index} {ending(failed[index])}; the others were stopped. See {logs[index]}\n"
        f"{last_line(logs[index])}The same command {continuation(folder)}."
    )


def start(
    index: int, addresses: list[str], folder: pathlib.Path, settings: dict[str, Any], log: Any
) -> subprocess.Popen:
    """Returns a worker's process. The first one's output goes to the terminal, the rest to the logs."""
    place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    environment = os.environ | {
        "TF_CONFIG": json.dumps(place),
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "no_grpc_proxy": "127.0.0.1",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / "_worker.py"), str(folder), json.dumps(settings)],
        env=environment,
        # Never written to: its end tells a worker that this process is gone.
        stdin=subprocess.PIPE,
        stdout=None if index == 0 else log,
        stderr=log,
        # Ctrl-C comes to this process alone, which then stops the workers.
        start_new_session=True,
    )


def wait(workers: list[subprocess.Popen]) -> list[int | None]:
    """Returns the exit statuses once the first worker has ended, another one has failed, or at Ctrl-C."""
    while True:
        statuses = [worker.poll() for worker in workers]
        if statuses[0] is not None or any(statuses):
            return statuses
        try:
            time.sleep(INTERVAL)
        except KeyboardInterrupt:
            return statuses


def stop(workers: list[subprocess.Popen]) -> None:
    """Ends the workers that still run.

    By force, for TensorFlow keeps SIGTERM to itself and goes on. What they write is whole at any time.
    """
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def free_ports(number: int) -> list[int]:
    """Returns ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def compare(several: pathlib.Path, one: pathlib.Path, path: pathlib.Path) -> None:
    """Prints how far the weights of two .keras files lie apart, and writes it as JSON."""
    import keras  # noqa: PLC0415  # TensorFlow takes seconds, and an argument may be wrong.
    import numpy as np  # noqa: PLC0415

    models = [keras.models.load_model(file, compile=False) for file in (several, one)]
    absolute, relative = {}, {}
    for first, second in zip(*(model.weights for model in models), strict=True):
        a, b = first.numpy(), second.numpy()
        absolute[first.path] = float(np.abs(a - b).max())
        relative[first.path] = absolute[first.path] / float(np.abs(b).max())
    name = max(relative, key=relative.__getitem__)
    report = {
        "files": {file.parent.name: kf.artefacts.sha256(file) for file in (several, one)},
        "largest_absolute_difference": max(absolute.values()),
        "largest_relative_difference": relative[name],
    }
    text = json.dumps(report, indent=2) + "\n"
    kf.artefacts.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    print(
        f"{several.parent.name} and {one.parent.name}: weights at most {max(absolute.values()):.2g} apart, "
        f"at most {relative[name]:.2g} of the largest of their layer ({name})"
    )


def count(num_workers: int) -> str:
    return f"{num_workers} worker{'s' if num_workers > 1 else ''}"


def continuation(folder: pathlib.Path) -> str:
    done = last_epoch(folder)
    return f"goes on after epoch {done}" if done else "starts anew"


def ending(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by signal {-returncode} ({signal.Signals(-returncode).name})"
    return f"failed with status {returncode}"


def last_line(log: pathlib.Path) -> str:
    """Returns what a traceback ends with, or nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("Traceback (most recent call last)")
    text = [line for line in lines[-1].splitlines() if line and not line.startswith(" ")]
    return f"{text[-1]}\n" if len(lines) > 1 and text else ""


if __name__ == "__main__":
    main()
