"""What the run_ scripts have in common: options, images, and how results are stored.

A run_ script computes and stores one JSON file (and an npz where a figure needs points) in `--output`; the
table_ and figure_ scripts draw from these files and compute nothing.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import _nets as nets
import _parts as parts
import keras
import numpy as np
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts

#: Fixed l2 norm of the comparisons that have one: the paper's 2.0 for MNIST; CIFAR-10 nets give way at half.
EPSILON = {"mnist": 2.0, "cifar10": 1.0}
#: l2 norm of one step of the iterative attacks (paper, Figure 2).
STEP_SIZE = {"mnist": 0.05, "cifar10": 0.025}
#: Their epsilon where they are to be held by no ball: further than all of their steps together.
NO_BALL = 1e3


def add_options(
    description: str | None,
    num_images: dict[str, int],
    quick: dict[str, int],
    data: Sequence[str] = ("mnist", "cifar10"),
) -> argparse.ArgumentParser:
    """Returns a parser of the data set, the number of images, the seed and the folder of the results.

    Args:
        description: of the script.
        num_images: by data set, how many images by default.
        quick: the same with --quick.
        data: the sets that the experiment knows.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # Results are told by their command.
        allow_abbrev=False,
    )
    parser.add_argument("--data", choices=data, default=data[0], help="default: %(default)s")
    sizes = ", ".join(f"{num_images[name]} for {name}, {quick[name]} with --quick" for name in data)
    parser.add_argument("--num-images", type=at_least(2), help=f"default: {sizes}")
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--seed", type=at_least(0), default=0, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="folder of the results (default: docs/results; with --quick runs/reproduction_quick; with "
        "--num-images runs/reproduction_some)",
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    parser.set_defaults(sizes=num_images, quick_sizes=quick)
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Returns the type of an option whose value is an integer from `least` on."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value < 2**31:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    parse.__name__ = "int"
    return parse


def complete(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Returns the arguments with what depends on others filled in; `command` repeats the run."""
    words = sys.argv[1:] if words is None else words
    arguments = parser.parse_args(words)
    sizes = arguments.quick_sizes if arguments.quick else arguments.sizes
    if arguments.num_images is not None:
        folder = "runs/reproduction_some"
    else:
        folder = "runs/reproduction_quick" if arguments.quick else "docs/results"
    arguments.num_images = arguments.num_images or sizes[arguments.data]
    arguments.output = arguments.output or nets.REPOSITORY / folder
    options = [word for word in words if not word.startswith(("--data-dir=", "--output="))]
    for name in ("--output", "--data-dir"):
        if name in options:
            del options[options.index(name) : options.index(name) + 2]
    arguments.command = " ".join(["python", f"scripts/{parser.prog}", *map(shlex.quote, options)])
    # Now: a file may be edited while an experiment runs.
    arguments.code = parts.code_digest(pathlib.Path(parser.prog).stem)
    arguments.points = []
    # Two runs give the same numbers.
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    return arguments


@functools.cache
def load_data(data: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels."""
    return kf.datasets.load(data, split, data_dir=data_dir)


def right_images(
    arguments: argparse.Namespace, classifiers: Sequence[kf.Classifier]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns test images, drawn by the seed, that all of the classifiers answer right, and their labels."""
    images, labels = load_data(arguments.data, "test", arguments.data_dir)
    order = np.random.default_rng(arguments.seed).permutation(len(images))
    chosen = np.empty(0, np.int64)
    # Not the whole set where a part will do: a big net takes a while to answer.
    for candidates in np.array_split(order, max(1, len(order) // 500)):
        if len(chosen) >= arguments.num_images:
            break
        is_right = np.ones(len(candidates), bool)
        for classifier in classifiers:
            is_right &= classifier.predict(images[candidates]) == labels[candidates]
        chosen = np.concatenate([chosen, candidates[is_right]])
    chosen = chosen[: arguments.num_images]
    arguments.num_used = max(getattr(arguments, "num_used", 0), len(chosen))
    return images[chosen], labels[chosen]


def write(
    arguments: argparse.Namespace,
    name: str,
    started: float,
    numbers: dict[str, Any],
    used_nets: Iterable[str],
    **config: Any,
) -> pathlib.Path:
    """Returns the JSON file of an experiment, once it is there whole.

    Args:
        arguments: of `complete`.
        name: of the file.
        started: `time.perf_counter()` at the start; what was kept from an earlier run took no time.
        numbers: the results.
        used_nets: names of the stored nets that they are of.
        **config: settings beyond the arguments.
    """
    content = {
        "name": name,
        "command": arguments.command,
        "seed": arguments.seed,
        "num_images": arguments.num_images,
        "num_used": getattr(arguments, "num_used", arguments.num_images),
        "data": arguments.data,
        "is_quick": arguments.quick,
        "weights": {name: nets.stored_weights(name) for name in used_nets},
        "config": config,
        "versions": artefacts.versions(),
        "code": arguments.code,
        "points": arguments.points,
        "seconds": round(time.perf_counter() - started, 1),
        "results": numbers,
    }
    text = json.dumps(content, indent=1, default=_to_json, allow_nan=False)
    # Numbers of one list on one line: to be read and compared.
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"
    path = arguments.output / f"{name}.json"
    artefacts.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    print(f"{path.name}: written after {content['seconds']:.0f} s")
    return path


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _without_infinities(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON.")


def _without_infinities(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_infinities(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_arrays(arguments: argparse.Namespace, name: str, **arrays: np.ndarray) -> None:
    """Writes the points of a figure."""
    path = arguments.output / f"{name}.npz"
    arguments.points.append(path.name)
    artefacts.write_atomically(path, functools.partial(np.savez_compressed, **arrays))
