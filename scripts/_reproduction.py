"""What the run_ scripts have in common: nets, images, parts that survive a kill, intervals, results.

A run_ script computes and stores one JSON file (and an npz where a figure needs points) in `--output`; the
table_ and figure_ scripts draw from these files and compute nothing. What costs time is kept in
runs/reproduction by all that it depends on (net, images, attack, code, versions), a few hundred images a
file: a run that was stopped goes on where it was, and two experiments share what they have in common.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import inspect
import json
import os
import pathlib
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

# Read when TensorFlow is imported. Without it, VGG's convolutions take about twice as long on a CPU.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import rich.progress
import scipy.stats
import tensorflow as tf

import keras_fisher as kf
from keras_fisher import artefacts

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PARTS = REPOSITORY / "runs" / "reproduction"
#: Packages of the library that results depend on; nets are told by their weights.
COMPUTING = ("attacks", "classifiers", "detectors", "fisher", "linalg")
#: Images a part: what a kill can lose.
PART_SIZE = 250
#: Table 2's "binary search in [0.0, 6.0]" to 6 / 96 / 2⁶ = 0.001; scanned first: fooling is not monotone.
LEAST_NORM = {"bracket": (0.0, 6.0), "num_scanned": 96, "num_refined": 6}
#: Fixed l2 norm of the comparisons that have one: the paper's 2.0 for MNIST; CIFAR-10 nets give way at half.
EPSILON = {"mnist": 2.0, "cifar10": 1.0}
#: l2 norm of one step of the iterative attacks (paper, Figure 2).
STEP_SIZE = {"mnist": 0.05, "cifar10": 0.025}

Arrays = dict[str, np.ndarray]


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
        names = ("width", "activation", "image_shape")
        settings = {name: manifest[name] for name in names if name in manifest}
        return self.build(path, **settings)


NETS = {
    net.name: net
    for net in (
        Net("LeNet", "mnist", kf.models.lenet5, "lenet5_mnist"),
        Net("LeNet, seed 1", "mnist", kf.models.lenet5, "lenet5_mnist_seed1"),
        Net("LeNet, seed 2", "mnist", kf.models.lenet5, "lenet5_mnist_seed2"),
        Net("LeNet, ELU", "mnist", kf.models.lenet5, "lenet5_mnist_elu"),
        Net("LeNet-adv", "mnist", kf.models.lenet5, "lenet5_mnist_fgm"),
        Net("VGG", "mnist", kf.models.vgg, "vgg_mnist"),
        Net("VGG-adv", "mnist", kf.models.vgg, "vgg_mnist_fgm"),
        Net("VGG, CIFAR-10", "cifar10", kf.models.vgg, "vgg_cifar10"),
    )
}
#: The net of each data set that the paper's experiments are about.
NET_OF = {"mnist": "LeNet", "cifar10": "VGG, CIFAR-10"}


@functools.cache
def load_net(name: str) -> keras.Model:
    """Returns a net of the experiments, the same object each time: what was traced for it is kept."""
    return NETS[name].load()


@functools.cache
def load_classifier(name: str, *, bounded: bool = True) -> kf.Classifier:
    """Returns the same as a classifier; one that is not bounded takes images beyond [0, 1]."""
    return kf.Classifier(load_net(name), bounds=(0.0, 1.0) if bounded else None)


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
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=data, default=data[0], help="default: %(default)s")
    sizes = ", ".join(f"{num_images[name]} for {name}, {quick[name]} with --quick" for name in data)
    parser.add_argument("--num-images", type=at_least(2), help=f"default: {sizes}")
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--seed", type=at_least(0), default=0, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="folder of the results (default: docs/results, with --quick runs/reproduction_quick)",
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
    arguments.num_images = arguments.num_images or sizes[arguments.data]
    arguments.output = arguments.output or default_output(is_quick=arguments.quick)
    options = [word for word in words if not word.startswith(("--data-dir=", "--output="))]
    for name in ("--output", "--data-dir"):
        if name in options:
            del options[options.index(name) : options.index(name) + 2]
    arguments.command = " ".join(["python", f"scripts/{parser.prog}", *map(shlex.quote, options)])
    # Two runs give the same numbers.
    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    return arguments


def default_output(*, is_quick: bool) -> pathlib.Path:
    """Returns the folder of the results."""
    return REPOSITORY / ("runs/reproduction_quick" if is_quick else "docs/results")


@functools.cache
def load_data(data: str, split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels."""
    return kf.datasets.load(data, split, data_dir=data_dir)


def right_images(
    arguments: argparse.Namespace, classifiers: Sequence[kf.Classifier], num_images: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns test images, drawn by the seed, that all of the classifiers answer right, and their labels."""
    images, labels = load_data(arguments.data, "test", arguments.data_dir)
    order = np.random.default_rng(arguments.seed).permutation(len(images))
    chosen = np.empty(0, np.int64)
    wanted = num_images or arguments.num_images
    # Not the whole set where a part will do: a big net takes a while to answer.
    for candidates in np.array_split(order, max(1, len(order) // 500)):
        if len(chosen) >= wanted:
            break
        is_right = np.ones(len(candidates), bool)
        for classifier in classifiers:
            is_right &= classifier.predict(images[candidates]) == labels[candidates]
        chosen = np.concatenate([chosen, candidates[is_right]])
    chosen = chosen[:wanted]
    arguments.num_used = max(getattr(arguments, "num_used", 0), len(chosen))
    return images[chosen], labels[chosen]


def in_parts(
    name: str,
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    compute: Callable[[np.ndarray, np.ndarray], Arrays],
    settings: Any,
    size: int = PART_SIZE,
) -> Arrays:
    """Returns `compute(images, labels)`, arrays with one row an image, computed in parts that are kept.

    Args:
        name: stands before the bar, and is a part of the key.
        classifier: what it is computed of.
        images: (n, h, w, c).
        labels: (n,).
        compute: gives arrays of which row i belongs to image i of its argument.
        settings: all else that the result depends on, as JSON or an object whose repr tells its settings.
        size: images a part.
    """
    # The library, and the file that `compute` is written in.
    code = f"{code_digest()} {_file_digest(inspect.getfile(compute))}"
    key = hashlib.sha256(f"{name} {_plain(settings)} {code} {weights_digest(classifier)}".encode())
    starts = range(0, len(images), size)
    found = []
    for start in rich.progress.track(starts, name):
        part = slice(start, start + size)
        digest = key.copy()
        digest.update(images[part].tobytes() + labels[part].tobytes())
        file = PARTS / f"{digest.hexdigest()[:32]}.npz"
        if not file.exists():
            arrays = compute(images[part], labels[part])
            artefacts.write_atomically(file, functools.partial(np.savez_compressed, **arrays))
        with np.load(file) as kept:
            found.append(dict(kept))
    return {field: np.concatenate([arrays[field] for arrays in found]) for field in found[0]}


@functools.cache
def _file_digest(path: str) -> str:
    return artefacts.sha256(pathlib.Path(path))[:16]


def _plain(settings: Any) -> str:
    """Returns the settings as text, without the addresses of functions and objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(settings))


@functools.cache
def code_digest(script: str | None = None) -> str:
    """Returns what tells this library, its versions and a script from others: parts of two are not mixed."""
    state = hashlib.sha256(json.dumps(artefacts.versions(), sort_keys=True).encode())
    if script is not None:
        state.update((REPOSITORY / "scripts" / f"{script}.py").read_bytes())
    package = pathlib.Path(kf.__file__).parent
    for path in sorted(path for folder in COMPUTING for path in (package / folder).rglob("*.py")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:16]


def digest(array: np.ndarray) -> str:
    """Returns what tells an array from others."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@functools.cache
def weights_digest(classifier: kf.Classifier) -> str:
    """Returns what tells the net and its bounds from others."""
    layers = [
        (type(layer).__name__, layer.get_config().get("activation")) for layer in classifier.model.layers
    ]
    state = hashlib.sha256(f"{classifier.bounds} {classifier.image_dtype} {layers}".encode())
    for array in classifier.model.get_weights():
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class LeastNorm:
    """An attack at the least norm with which it fools the net."""

    attack: kf.attacks.FixedEpsilonAttack

    def __call__(
        self, classifier: kf.Classifier, images: np.ndarray, labels: np.ndarray
    ) -> kf.attacks.AttackResult:
        return kf.attacks.least_perturbation(self.attack, classifier, images, labels, **LEAST_NORM)


def attacked(
    attack: Callable[..., kf.attacks.AttackResult],
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
) -> kf.attacks.AttackResult:
    """Returns the result of an attack whose repr tells its settings, by parts."""
    names = [field.name for field in dataclasses.fields(kf.attacks.AttackResult)]

    def compute(images: np.ndarray, labels: np.ndarray) -> Arrays:
        found = attack(classifier, images, labels)
        return {name: getattr(found, name) for name in names}

    name = type(attack).__name__
    if isinstance(attack, LeastNorm):
        name = f"least norm of {type(attack.attack).__name__}"
    settings = (attack, LEAST_NORM) if isinstance(attack, LeastNorm) else attack
    arrays = in_parts(name, classifier, images, labels, compute, settings, 125)
    return kf.attacks.AttackResult(**arrays)


def auc(cell: kf.detectors.Cell) -> dict[str, Any]:
    """Returns the AUC of a cell in percent, n its number of sources."""
    low, high = cell.interval
    return Sample(100 * cell.auc, 100 * low, 100 * high, cell.num_sources).to_json()


def least_norms(
    attack: kf.attacks.FixedEpsilonAttack,
    classifier: kf.Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    search: dict[str, Any] | None = None,
) -> Arrays:
    """Returns `norms`, `epsilons`, `success` of the least perturbation of each image, by parts."""
    search = search or LEAST_NORM

    def compute(images: np.ndarray, labels: np.ndarray) -> Arrays:
        found = kf.attacks.least_perturbation(attack, classifier, images, labels, **search)
        return {"norms": found.norms, "epsilons": found.epsilons, "success": found.success}

    name = f"least norm of {type(attack).__name__}"
    return in_parts(name, classifier, images, labels, compute, (attack, search))


@dataclasses.dataclass(frozen=True)
class Sample:
    """A number estimated from a sample, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int | None]:
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()} | {
            "n": int(self.n)
        }


def mean(values: np.ndarray) -> dict[str, Any]:
    """Returns the mean with its interval by Student's t."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return Sample(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, len(values)).to_json()
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return Sample(values.mean(), values.mean() - half, values.mean() + half, len(values)).to_json()


def share(is_counted: np.ndarray) -> dict[str, Any]:
    """Returns the share of True with its interval by Wilson, in percent."""
    count, n = int(np.sum(is_counted)), len(is_counted)
    if not n:
        return Sample(np.nan, np.nan, np.nan, 0).to_json()
    interval = scipy.stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    return Sample(100 * count / n, 100 * interval.low, 100 * interval.high, n).to_json()


def bootstrap(
    statistic: Callable[..., float], *samples: np.ndarray, seed: int = 0, num_resamples: int = 1000
) -> dict[str, Any]:
    """Returns a statistic of paired samples with its percentile interval over images drawn anew."""
    generator = np.random.default_rng(seed)
    n = len(samples[0])
    drawn = [
        statistic(*(sample[rows] for sample in samples))
        for rows in generator.integers(n, size=(num_resamples, n))
    ]
    # "nearest": a number between a finite and an infinite one is none.
    low, high = np.percentile(drawn, [2.5, 97.5], method="nearest")
    return Sample(statistic(*samples), float(low), float(high), n).to_json()


def spearman(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Returns the rank correlation with its bootstrap interval."""
    return bootstrap(lambda a, b: float(scipy.stats.spearmanr(a, b).statistic), first, second)


def write(
    arguments: argparse.Namespace, name: str, started: float, numbers: dict[str, Any], **config: Any
) -> pathlib.Path:
    """Returns the JSON file of an experiment, once it is there whole.

    Args:
        arguments: of `complete`.
        name: of the file.
        started: `time.perf_counter()` at the start; what was kept from an earlier run took no time.
        numbers: the results.
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
        "weights": weights_of(arguments.data),
        "config": config,
        "versions": artefacts.versions(),
        "code": code_digest(f"run_{name.rpartition('_')[0]}"),
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


def weights_of(data: str) -> dict[str, str]:
    """Returns the hashes of the nets of a data set, as far as they are trained: results are of these."""
    found = {}
    for net in NETS.values():
        manifest = REPOSITORY / "saved_models" / net.folder / "manifest.json"
        if net.data == data and manifest.is_file():
            files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            found[net.name] = files["model.keras"]["sha256"][:16]
    return found


def write_arrays(arguments: argparse.Namespace, name: str, **arrays: np.ndarray) -> None:
    """Writes the points of a figure."""
    path = arguments.output / f"{name}.npz"
    artefacts.write_atomically(path, functools.partial(np.savez_compressed, **arrays))
