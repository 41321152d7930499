"""What the ImageNet scripts have in common: the net, the photos, and results that survive a kill."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf
import tensorflow_datasets as tfds
from matplotlib.figure import Figure
from PIL import Image

import keras_fisher as kf
from keras_fisher import artefacts

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DATA_SETS = {"imagenet_v2": ("imagenet_v2", "test"), "imagenet2012": ("imagenet2012", "validation")}


def least_norm_settings(most: float = 6.0) -> dict[str, Any]:
    """Returns Table 2's "binary search in [0.0, 6.0]", or further: to 1 / 8 / 2⁸ = 0.0005."""
    return {"bracket": (0.0, most), "num_scanned": max(1, math.ceil(8 * most)), "num_refined": 8}


def argument_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Returns a parser of the net, the photos, the seed and the folder of the results."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        default="ResNet152",
        help="a net of keras.applications, or a .keras file of RGB images in [0, 1] (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", default="imagenet", help='"imagenet", a file, or "random" (default: %(default)s)'
    )
    parser.add_argument(
        "--images",
        default="foolbox",
        help='a folder, "imagenet_v2" or "imagenet2012" of TensorFlow Datasets, or "foolbox", the 20 photos '
        "in its package (default: %(default)s)",
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets (default: its own)")
    parser.add_argument("--limit", type=number(int, 1), help="the first photos only")
    parser.add_argument("--seed", type=number(int, 0, 2**31 - 1), default=0, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=REPOSITORY / "runs" / name,
        help=f"folder of the results, one line a photo (default: runs/{name})",
    )
    return parser


def add_clip(parser: argparse.ArgumentParser) -> None:
    """Adds the option of attacks within the bounds."""
    parser.add_argument(
        "--clip", action="store_true", help="keep attacked images in [0, 1] (the paper names no clipping)"
    )


def number(kind: type, least: float, most: float = float("inf")) -> Callable[[str], Any]:
    """Returns the type of an option whose value is a number from `least` to `most`."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be in [{least}, {most}], got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


def load_model(arguments: argparse.Namespace) -> tuple[keras.Model, str]:
    """Returns the net and what its weights are, for the results."""
    if arguments.model.endswith(".keras"):
        path = pathlib.Path(arguments.model)
        if arguments.weights != "imagenet":
            raise SystemExit(f"--weights {arguments.weights}: {path} brings its own. Leave out --weights.")
        if not path.is_file():
            raise SystemExit(
                f"--model {path}: there is no such file. scripts/build_efficientnet_lite0.py writes one."
            )
        return keras.models.load_model(path), f"{path.name}, sha256 {artefacts.sha256(path)[:12]}"
    weights = None if arguments.weights == "random" else arguments.weights
    keras.utils.set_random_seed(arguments.seed)
    model = kf.models.from_keras_applications(arguments.model, weights)
    if weights is None:
        spread_logits(model, arguments.seed)
    if weights in (None, "imagenet"):
        return model, arguments.weights
    path = pathlib.Path(weights)
    return model, f"{path.name}, sha256 {artefacts.sha256(path)[:12]}"


def spread_logits(model: keras.Model, seed: int, probability: float = 0.8) -> None:
    """Scales the last layer of a random net so that its top class has this probability on an image of noise.

    A random ResNet-152 puts out logits in the hundreds: its softmax is one, λ₁ is zero, and nothing is to do.
    How many passes an image takes depends on how sure the net is; trained ones are, mostly.
    """
    images = np.random.default_rng(seed).uniform(size=(1, *model.input_shape[1:])).astype(np.float32)
    logits = model(images, training=False).numpy()[0].astype(np.float64)
    logits -= logits.max()
    factor = scipy.optimize.brentq(
        lambda scale: probability - 1.0 / np.exp(scale * logits).sum(), 0.0, 1e6 / np.abs(logits).max()
    )
    kernel, *bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * factor, *(part * factor for part in bias)])


def check_photos(arguments: argparse.Namespace) -> None:
    """Exits with what to do if the photos are not there."""
    try:
        _builder(arguments) if arguments.images in DATA_SETS else kf.datasets.photos(_folder(arguments))
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"--images {arguments.images}: {error}") from error


def load_photos(arguments: argparse.Namespace, size: int) -> Iterator[kf.datasets.Photo]:
    """Yields the photos that the arguments name."""
    photos = _from_tfds(arguments, size) if arguments.images in DATA_SETS else _from_folder(arguments, size)
    for index, photo in enumerate(photos):
        if arguments.limit is not None and index >= arguments.limit:
            return
        yield photo


def _from_folder(arguments: argparse.Namespace, size: int) -> Iterator[kf.datasets.Photo]:
    for photo in kf.datasets.photos(_folder(arguments), size=size):
        if arguments.images != "foolbox" or photo.name.startswith("imagenet_"):
            yield photo


def _folder(arguments: argparse.Namespace) -> pathlib.Path:
    if arguments.images != "foolbox":
        return pathlib.Path(arguments.images)
    package = importlib.util.find_spec("foolbox")
    if package is None or package.origin is None:
        raise SystemExit("--images foolbox: Foolbox is not installed. Run scripts/setup compare.")
    return pathlib.Path(package.origin).parent / "data"


def _from_tfds(arguments: argparse.Namespace, size: int) -> Iterator[kf.datasets.Photo]:
    name, split = DATA_SETS[arguments.images]
    dataset = _builder(arguments).as_dataset(split=split, shuffle_files=False, as_supervised=True)
    for index, (pixels, label) in enumerate(tfds.as_numpy(dataset)):
        image = kf.datasets.central_square(Image.fromarray(pixels), size, 0.875)
        yield kf.datasets.Photo(f"{name}/{index:05d}", image, int(label))


def _builder(arguments: argparse.Namespace) -> tfds.core.DatasetBuilder:
    name, _ = DATA_SETS[arguments.images]
    builder = tfds.builder(name, data_dir=arguments.data_dir)
    if not builder.is_prepared():
        raise SystemExit(
            f"--images {name}: not prepared in {builder.data_dir}. Run "
            f"python -m tensorflow_datasets.scripts.cli.main build {name} where there is a network."
        )
    return builder


class Rows:
    """Results in a file, one line of JSON a photo, written as they come; what is there is not done again.

    The first line holds what the results depend on: a file of other settings is refused, not mixed.
    """

    def __init__(self, folder: pathlib.Path, config: dict[str, Any]) -> None:
        self.path = folder / "rows.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self._read(config)
        else:
            line = json.dumps({"config": config}) + "\n"
            artefacts.write_atomically(self.path, lambda path: pathlib.Path(path).write_text(line))

    def _read(self, config: dict[str, Any]) -> None:
        whole = _whole_lines(self.path)
        first, *rest = [json.loads(line) for line in whole.splitlines()] or [{}]
        if first.get("config") != json.loads(json.dumps(config)):
            raise SystemExit(
                f"{self.path} is of other settings: {first.get('config')}. Pass another --output."
            )
        # A line that was cut off by a kill is dropped, and its photo done again.
        if whole != self.path.read_text():
            artefacts.write_atomically(self.path, lambda path: pathlib.Path(path).write_text(whole))
        self.rows = {row["name"]: row for row in rest}

    def add(self, row: dict[str, Any]) -> None:
        """Appends a row, flushed to the disk before this returns."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[row["name"]] = row


def _whole_lines(path: pathlib.Path) -> str:
    text = path.read_text()
    return text[: text.rfind("\n") + 1]


def stored_rows(folder: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the settings and the rows that a run has left in the folder; it may still be running."""
    path = folder / "rows.jsonl"
    if not path.is_file():
        raise SystemExit(f"--output {folder}: there are no rows to draw. Run without --draw-only.")
    first, *rows = [json.loads(line) for line in _whole_lines(path).splitlines()]
    if not rows:
        raise SystemExit(f"--output {folder}: no photo is finished yet.")
    return first["config"], rows


def measure(
    arguments: argparse.Namespace,
    more_config: dict[str, Any],
    measure_photo: Callable[[kf.Classifier, kf.datasets.Photo], dict[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the settings and a row for each photo, made by `measure_photo` unless it is in the file."""
    check_photos(arguments)
    model, weights = load_model(arguments)
    classifier = kf.Classifier(model)
    config = {
        "command": pathlib.Path(sys.argv[0]).name,
        "model": arguments.model if not arguments.model.endswith(".keras") else model.name,
        "weights": weights,
        "images": arguments.images if arguments.images in (*DATA_SETS, "foolbox") else "folder",
        "seed": arguments.seed,
        "versions": artefacts.versions(),
        "code": code_digest(),
        **more_config,
    }
    rows = Rows(arguments.output, config)
    found = []
    for index, photo in enumerate(load_photos(arguments, classifier.image_shape[0] or 224)):
        if photo.name not in rows.rows:
            head = {"name": photo.name, "label": photo.label, "pixels": fingerprint(photo)}
            rows.add({**head, **measure_photo(classifier, photo)})
        elif rows.rows[photo.name].get("pixels") != fingerprint(photo):
            raise SystemExit(f"{rows.path} is of another photo {photo.name}. Pass another --output.")
        elif (label := rows.rows[photo.name]["label"]) != photo.label:
            raise SystemExit(
                f"{rows.path}: {photo.name} had the label {label}, and has {photo.label} now. "
                "Pass another --output."
            )
        found.append(rows.rows[photo.name])
        print(f"\r{index + 1} photos", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return config, found


def code_digest() -> str:
    """Returns what tells this code from any other: results of two are not mixed."""
    folders = (pathlib.Path(kf.__file__).parent, pathlib.Path(__file__).parent)
    state = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:16]


def fingerprint(photo: kf.datasets.Photo) -> str:
    """Returns what tells a photo from another of the same name."""
    return hashlib.sha256(photo.image.tobytes()).hexdigest()[:16]


def label_and_answer(classifier: kf.Classifier, photo: kf.datasets.Photo) -> tuple[int, int]:
    """Returns the class of a photo and the net's answer; without a label the answer is both."""
    if photo.label is not None and photo.label >= classifier.num_classes:
        count = classifier.num_classes
        raise SystemExit(f"--images: {photo.name} has the label {photo.label}; the net has {count} classes.")
    answer = int(classifier.predict(photo.image[None])[0])
    return answer if photo.label is None else photo.label, answer


def write_json(path: pathlib.Path, content: dict[str, Any]) -> None:
    """Writes the content to a file, whole or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    artefacts.write_atomically(path, lambda temporary: temporary.write_text(text))


def write_figure(path: pathlib.Path, figure: Figure) -> None:
    """Writes a figure to a PNG, whole or not at all."""
    artefacts.write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=100))
    print(path)


def gradient_pass(classifier: kf.Classifier) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns the unit of cost, compiled: the gradient of the loss of (images, labels)."""

    @tf.function(autograph=False, reduce_retracing=True)
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, classifier.target.logits(images))
        return tape.gradient(loss, images)

    return lambda images, labels: gradient(tf.constant(images), tf.constant(labels)).numpy()
