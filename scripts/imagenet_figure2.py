"""Figure 2 on ImageNet: the share of photos answered wrong, against the norm of a step and iterations.

(a) FGM, OTCM and OSSA; (b) BIM, IterativeOTCM and IterativeOSSA by steps of 0.0125, their sum unbounded. A
photo that the net errs on unattacked counts, as in the paper; one without a label is taken at the net's word.
OTCM's class is random, drawn for each photo by its name and the seed. A run that was stopped goes on where it
was. Results go to `--output`: rows.jsonl, a line a photo; rates.json and figure2.png.

    python scripts/imagenet_figure2.py                                     # ResNet-152, 20 photos of Foolbox
    python scripts/imagenet_figure2.py --images imagenet_v2 --limit 1000 --max-norm 2 --iterations 100
    python scripts/imagenet_figure2.py --draw-only                         # of the rows that are there

Source: Zhao et al. 2019, Figure 2.
"""

from __future__ import annotations

import argparse
import zlib
from typing import Any

import _imagenet
import numpy as np
from matplotlib.figure import Figure

import keras_fisher as kf

# The attacks of both panels, by the names and the colours of the lines.
ONE_STEP = {"FGM": kf.attacks.FGM, "OTCM": kf.attacks.OTCM, "OSSA": kf.attacks.OSSA}
ITERATIVE = {
    "BIM": kf.attacks.BIM,
    "IterativeOTCM": kf.attacks.IterativeOTCM,
    "IterativeOSSA": kf.attacks.IterativeOSSA,
}
COLOURS = ("#2f6db3", "#8c8c8c", "#c8442b")
# Lines that coincide are both seen.
STYLES = ("-", "-", "--")
# Greater than the sum of all steps: nothing is projected.
NO_BOUND = 1e6


def main() -> None:
    arguments = parse_arguments()
    if arguments.draw_only:
        config, rows = _imagenet.stored_rows(arguments.output)
        rows = rows[: arguments.limit]
    else:
        norms = np.linspace(0.0, arguments.max_norm, arguments.num_norms).tolist()
        settings = {
            "norms": norms,
            "iterations": arguments.iterations,
            "step_size": arguments.step_size,
            "clip": arguments.clip,
        }

        def measure_photo(classifier: kf.Classifier, photo: kf.datasets.Photo) -> dict[str, Any]:
            return fooled(settings, arguments.seed, classifier, photo)

        config, rows = _imagenet.measure(arguments, settings, measure_photo)
    rates = {name: np.mean([row[name] for row in rows], axis=0).tolist() for name in (*ONE_STEP, *ITERATIVE)}
    counts = {"num_photos": len(rows), "num_right": sum(row["is_right"] for row in rows)}
    _imagenet.write_json(arguments.output / "rates.json", {"config": config, **counts, "rates": rates})
    _imagenet.write_figure(arguments.output / "figure2.png", draw(config, counts, rates))


def parse_arguments() -> argparse.Namespace:
    parser = _imagenet.argument_parser(__doc__, "imagenet_figure2")
    _imagenet.add_clip(parser)
    positive, count = _imagenet.number(float, 1e-6, 1e3), _imagenet.number(int, 1)
    parser.add_argument("--max-norm", type=positive, default=3.0, help="of (a) (default: %(default)s)")
    parser.add_argument("--num-norms", type=count, default=31, help="from 0 on (default: %(default)s)")
    parser.add_argument("--iterations", type=count, default=80, help="of (b) (default: %(default)s)")
    parser.add_argument("--step-size", type=positive, default=0.0125, help="of (b) (default: %(default)s)")
    parser.add_argument("--draw-only", action="store_true", help="draw the rows that are in --output")
    return parser.parse_args()


def fooled(
    settings: dict[str, Any], seed: int, classifier: kf.Classifier, photo: kf.datasets.Photo
) -> dict[str, Any]:
    """Returns for each attack 0 or 1 at each norm, or after each number of iterations from 0 on."""
    label, answer = _imagenet.label_and_answer(classifier, photo)
    # The library draws by the position of an image in a batch, and here every photo is the first.
    target = kf.attacks.random_targets(
        [label], classifier.num_classes, zlib.crc32(f"{seed} {photo.name}".encode())
    )
    row: dict[str, Any] = {"answer": answer, "is_right": answer == label, "target": int(target[0])}
    iterative = {"steps": settings["iterations"], "step_size": settings["step_size"]}
    over_norms: dict[str, Any] = {"epsilons": settings["norms"]}
    over_iterations: dict[str, Any] = {"iterations": range(settings["iterations"] + 1)}
    attacks = {name: (kind(clip=settings["clip"]), over_norms) for name, kind in ONE_STEP.items()} | {
        name: (kind(NO_BOUND, clip=settings["clip"], **iterative), over_iterations)
        for name, kind in ITERATIVE.items()
    }
    for name, (attack, values) in attacks.items():
        targets = target if attack.chooses_targets else None
        curve = kf.attacks.fooling_curve(
            attack, classifier, photo.image[None], [label], targets=targets, **values
        )
        row[name] = curve.success[:, 0].astype(int).tolist()
    return row


def draw(config: dict[str, Any], counts: dict[str, int], rates: dict[str, list[float]]) -> Figure:
    """Returns both panels."""
    figure = Figure(figsize=(11, 4.8), facecolor="white", layout="constrained")
    clipping = "clipped" if config["clip"] else "unclipped"
    figure.suptitle(
        f"{config['model']} (weights: {config['weights']}): {counts['num_photos']} photos "
        f"({config['images']}), {counts['num_right']} answered right, {clipping}",
        fontsize=11,
    )
    left, right = figure.subplots(1, 2, sharey=True)
    panels = (
        (left, ONE_STEP, config["norms"], "(a) One step", "l2 norm of the step"),
        (
            right,
            ITERATIVE,
            range(config["iterations"] + 1),
            "(b) Iterative",
            f"iterations, each of l2 norm {config['step_size']:g}",
        ),
    )
    for axes, names, values, title, abscissa in panels:
        for name, colour, style in zip(names, COLOURS, STYLES, strict=True):
            axes.plot(values, 100 * np.asarray(rates[name]), color=colour, linestyle=style, label=name)
        axes.set(title=title, xlabel=abscissa, ylim=(-3, 103))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    left.set_ylabel("answered wrong, %")
    return figure


if __name__ == "__main__":
    main()
