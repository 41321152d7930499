"""Figure 1c on ImageNet: photos, the least OSSA perturbations that change the net's answer, and the results.

Above each photo stand the net's answer (a class index) and its probability. The perturbation is enlarged,
around grey, by the factor that is written above it. A run that was stopped goes on where it was. Results go
to `--output`: rows.jsonl, a line a photo; an .npz of each photo and its attacked image; figure1c.png.

    python scripts/imagenet_figure1c.py                                    # ResNet-152, 5 photos of Foolbox
    python scripts/imagenet_figure1c.py --model lite0.keras --limit 8 --clip
    python scripts/imagenet_figure1c.py --draw-only                        # of the rows that are there

Source: Zhao et al. 2019, Figure 1c. Theirs shows no perturbation; ours adds that row.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import _imagenet
import numpy as np
import scipy.special
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import keras_fisher as kf
from keras_fisher import artefacts


def main() -> None:
    arguments = parse_arguments()
    if arguments.draw_only:
        config, rows = _imagenet.stored_rows(arguments.output)
    else:
        attack = kf.attacks.OSSA(clip=arguments.clip, seed=arguments.seed)

        def measure_photo(classifier: kf.Classifier, photo: kf.datasets.Photo) -> dict[str, Any]:
            return attacked(attack, arguments.output, classifier, photo)

        config, rows = _imagenet.measure(
            arguments, {"clip": arguments.clip, **_imagenet.least_norm_settings()}, measure_photo
        )
    _imagenet.write_figure(
        arguments.output / "figure1c.png", draw(config, rows[: arguments.limit], arguments.output)
    )


def parse_arguments() -> argparse.Namespace:
    parser = _imagenet.argument_parser(__doc__, "imagenet_figure1c")
    _imagenet.add_clip(parser)
    parser.set_defaults(limit=5)
    parser.add_argument("--draw-only", action="store_true", help="draw the rows that are in --output")
    return parser.parse_args()


def attacked(
    attack: kf.attacks.OSSA, folder: pathlib.Path, classifier: kf.Classifier, photo: kf.datasets.Photo
) -> dict[str, Any]:
    """Returns answers and their probabilities before and after; writes both images into the folder."""
    _, answer = _imagenet.label_and_answer(classifier, photo)
    found = kf.attacks.least_perturbation(
        attack, classifier, photo.image[None], [answer], **_imagenet.least_norm_settings()
    )
    images = np.stack([photo.image, found.images[0]])
    # Not `classifier.log_probabilities`, which refuses an unclipped image.
    logits = classifier.target.logits(tf.constant(images)).numpy().astype(np.float64)
    before, after = scipy.special.softmax(logits, axis=-1)
    changed = int(found.predictions[0])
    row = {
        "success": bool(found.success[0]),
        "norm": float(found.norms[0]),
        "before": {"answer": answer, "probability": float(before[answer])},
        "after": {"answer": changed, "probability": float(after[changed])},
    }
    artefacts.write_atomically(
        images_path(folder, _imagenet.fingerprint(photo)),
        lambda path: np.savez_compressed(path, original=images[0], adversarial=images[1]),
    )
    return row


def images_path(folder: pathlib.Path, pixels: str) -> pathlib.Path:
    """Returns where the images of a row are, by its `pixels`."""
    return folder / f"{pixels}.npz"


def draw(config: dict[str, Any], rows: list[dict[str, Any]], folder: pathlib.Path) -> Figure:
    """Returns a column a photo: the photo, the perturbation, the attacked photo."""
    figure = Figure(figsize=(2.3 * max(len(rows), 3), 8.2), facecolor="white", layout="constrained")
    figure.suptitle(
        f"{config['model']} (weights: {config['weights']})\n"
        f"least OSSA step that changes the answer, {'clipped' if config['clip'] else 'unclipped'}",
        fontsize=11,
    )
    grid = figure.subplots(3, len(rows), squeeze=False)
    for (above, middle, below), row in zip(grid.T, rows, strict=True):
        path = images_path(folder, row["pixels"])
        if not path.is_file():
            raise SystemExit(f"{path}, of {row['name']}, is missing. Remove {folder} and run anew.")
        with np.load(path) as images:
            original, adversarial = images["original"], images["adversarial"]
        perturbation = adversarial.astype(np.float64) - original
        factor = visible_factor(perturbation)
        label = "" if row["label"] in (None, row["before"]["answer"]) else f" (label {row['label']})"
        show(above, original, in_words(row["before"]) + label)
        show(middle, 0.5 + factor * perturbation, f"× {factor:g}, norm {row['norm']:.3f}")
        show(below, adversarial, in_words(row["after"]) + ("" if row["success"] else ", not fooled"))
    return figure


def visible_factor(perturbation: np.ndarray) -> float:
    """Returns a factor of two digits with which 99.9 % of the values fit between grey and the bounds."""
    reach = float(np.quantile(np.abs(perturbation), 0.999))
    return float(f"{0.5 / reach:.1e}") if reach > 0 else 1.0


def in_words(answer: dict[str, Any]) -> str:
    return f"{answer['answer']}: {100 * answer['probability']:.1f} %"


def show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(np.clip(image, 0.0, 1.0))
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


if __name__ == "__main__":
    main()
