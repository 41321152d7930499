"""What the Fisher spectrum of a thousand classes costs and how right it is, as JSON and a plot.

    python scripts/build_efficientnet_lite0.py
    python scripts/benchmark_imagenet.py --model runs/efficientnet_lite0.keras
    python scripts/benchmark_imagenet.py --only resnet152

photos     λ₁ and the top five of each photo against the full answer, their cost in gradients of the loss,
           taken in turn, and the paper's methods in the same process; a killed run goes on where it stopped.
           The full answer is that of the solver "exact"; beside it the class gradients' and float64's.
           Three quarters of an hour on two cores.
resnet152  OSSA of a 224 × 224 photo in a fresh process: first call, cost, memory, batches. Random weights.
precision  λ₁ in mixed precision against float32.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import matplotlib.pyplot as plt
import numpy as np
from _imagenet import argument_parser, gradient_pass, load_model, load_photos, measure
from _paper_methods import drawn_classes
from imagenet_table1 import OURS, Table1, in_turn, summarize

import keras_fisher as kf
from keras_fisher import artefacts

SECTIONS = ("photos", "resnet152", "precision")
TOP = 5
DRAWS = 200
STEPS = (1, 2, 3, 4, 6, 8)
ALIAS_DRAWS = (10, 20, 50, 100, 200, 500, 1000)


def main() -> None:
    parser = argument_parser(__doc__, "benchmark_imagenet")
    parser.add_argument("--only", choices=SECTIONS, help="run one section")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        print(json.dumps(resnet152(arguments)))
        return
    report: dict[str, Any] = {
        "command": " ".join(["python", "scripts/benchmark_imagenet.py", *sys.argv[1:]]),
        "versions": artefacts.versions(),
        "cores": os.cpu_count(),
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }
    for section in [arguments.only] if arguments.only else SECTIONS:
        print(section, file=sys.stderr)
        run = {"photos": photos, "resnet152": resnet152_of_a_fresh_process, "precision": precision}[section]
        report[section] = run(arguments)
    text = json.dumps(report, indent=2)
    print(text)
    path = arguments.output / f"{arguments.only or 'report'}.json"
    artefacts.write_atomically(path, lambda file: pathlib.Path(file).write_text(text + "\n"))


def photos(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what holds for all photos, from a row for each."""
    table = Table1(DRAWS, arguments.seed)
    in_float64: list[kf.Classifier] = []

    def row(classifier: kf.Classifier, photo: kf.datasets.Photo) -> dict[str, Any]:
        if not in_float64:
            in_float64.append(kf.Classifier(kf.testing.float64_copy(classifier.model)))
        found, exact, factor = table.measured(classifier, photo)
        eigenvalues = exact.eigenvalues[0].astype(np.float64)
        found["top"] = top_pairs(classifier, photo, eigenvalues)
        full = {"ours": eigenvalues[0], "theirs": found["class_gradients_eigenvalue"]}
        found["series"] = series(classifier, photo, full, factor, arguments.seed)
        found["float64_eigenvalue"] = float64_eigenvalue(in_float64[0], photo)
        return found

    config, rows = measure(arguments, {"draws": DRAWS, "top": TOP}, row)
    draw(rows, arguments.output / "error_against_passes.png")
    ours = [row["methods"][OURS] for row in rows]
    bounds = [result["relative_error"] <= result["error_bound"] for result in ours]
    top = [row["top"] for row in rows]
    drawn = np.array([row["different_classes"] for row in rows])
    return {
        "model": config["model"],
        "weights": config["weights"],
        "images": config["images"],
        "n": len(rows),
        "seed": arguments.seed,
        "gradient_milliseconds": 1e3 * float(np.median([row["gradient_seconds"] for row in rows])),
        "first": {
            "target": "error <= 1e-3 for <= 2.5 gradients (median photo) and <= 6 (worst); bound holds",
            **over_photos([result["in_gradients"] for result in ours], "in_gradients"),
            **over_photos([result["relative_error"] for result in ours], "relative_error"),
            **over_photos([of_class_gradients(row) for row in rows], "error_of_class_gradients"),
            **over_photos([of_float64(row) for row in rows], "error_of_float64"),
            "passes": np.bincount([result["passes"] for result in ours]).tolist(),
            "bound_holds": int(np.sum(bounds)),
        },
        "top_five": {
            "target": "error <= 5 % for <= 20 gradients",
            **over_photos([result["in_gradients"] for result in top], "in_gradients"),
            **over_photos([result["relative_error"] for result in top], "relative_error"),
            "bound_holds": int(np.sum([result["bound_holds"] for result in top])),
        },
        "against_the_paper": {
            "target": "200 times faster than power, 30 than alias + power; error 50 times smaller",
            "faster_than_power": ratio(rows, "power"),
            # Were each class gradient a gradient pass of its own: by the passes, not timed.
            "faster_than_power_a_gradient_each": in_whole_gradients(rows, "power"),
            "faster_than_alias_power_a_gradient_each": in_whole_gradients(rows, "alias + power"),
            "faster_than_alias_power": ratio(rows, "alias + power"),
            # Were each class that is drawn several times differentiated once: by the passes, not timed.
            "faster_than_alias_power_once_a_class": ratio(rows, "alias + power", drawn / DRAWS),
            "alias_error_over_ours": error_ratio(rows),
        },
        "methods": summarize(rows),
    }


def top_pairs(classifier: kf.Classifier, photo: kf.datasets.Photo, eigenvalues: np.ndarray) -> dict[str, Any]:
    """Returns cost and error of the top five."""
    images = photo.image[None]
    gradient, label = gradient_pass(classifier), classifier.predict(images)

    def top() -> kf.Spectrum:
        return kf.fisher_spectrum(classifier, images, TOP, "golub_kahan")

    one_gradient, seconds = in_turn(lambda: gradient(images, label), top)
    spectrum = top()
    errors = np.abs(spectrum.eigenvalues[0] - eigenvalues[:TOP])
    return {
        "in_gradients": seconds / one_gradient,
        "passes": int(spectrum.num_backward[0]),
        "relative_error": float(np.max(errors / eigenvalues[:TOP])),
        "bound_holds": bool(np.all(errors <= spectrum.residual_norms[0] * spectrum.eigenvalues[0, 0])),
    }


def series(
    classifier: kf.Classifier,
    photo: kf.datasets.Photo,
    full: dict[str, float],
    factor: np.ndarray,
    seed: int,
) -> dict[str, list[tuple[float, float]]]:
    """Returns (passes, relative error of λ₁) of ours, of power iteration and of alias sampling.

    `full` holds the full answers of our program and of theirs.
    """
    images = photo.image[None]
    found: dict[str, list[tuple[float, float]]] = {"Golub–Kahan": [], "power": [], "alias": []}

    def error(value: float, whose: str = "theirs") -> float:
        return abs(value / full[whose] - 1.0)

    for steps in STEPS:
        solver = kf.solvers.FixedGolubKahan(steps)
        spectrum = kf.fisher_spectrum(classifier, images, 1, solver, eigenvectors=False)
        found["Golub–Kahan"].append((2 * steps - 1, error(spectrum.eigenvalues[0, 0], "ours")))
    vector = np.random.default_rng(seed).standard_normal(factor.shape[1]).astype(np.float32)
    for iteration in range(1, 9):
        vector /= np.linalg.norm(vector)
        vector = factor.T @ (factor @ vector)
        found["power"].append((iteration * len(factor), error(float(np.linalg.norm(vector)))))
    # Rows of F are √p_y g_y: of drawn classes, g_y / √S.
    probabilities = np.exp(classifier.log_probabilities(images)[0].astype(np.float64))
    gram = factor @ factor.T
    for draws in ALIAS_DRAWS:
        drawn, counts = np.unique(drawn_classes(probabilities, draws, seed), return_counts=True)
        weights = np.sqrt(counts / draws / probabilities[drawn])
        small = weights[:, None] * gram[np.ix_(drawn, drawn)] * weights
        found["alias"].append((draws, error(np.linalg.eigvalsh(small)[-1])))
    return found


def float64_eigenvalue(classifier: kf.Classifier, photo: kf.datasets.Photo) -> float:
    """Returns λ₁ of the float64 copy of the net, to the last digits."""
    solver = kf.solvers.GolubKahan(tolerance=1e-9, max_dimension=40)
    spectrum = kf.fisher_spectrum(
        classifier, photo.image[None].astype(np.float64), 1, solver, eigenvectors=False
    )
    if not spectrum.converged[0]:
        raise SystemExit(f"{photo.name}: λ₁ of the float64 copy has not settled")
    return float(spectrum.eigenvalues[0, 0])


def of_float64(row: dict[str, Any]) -> float:
    return abs(row["methods"][OURS]["eigenvalue"] / row["float64_eigenvalue"] - 1.0)


def of_class_gradients(row: dict[str, Any]) -> float:
    """Returns the error of ours against the full answer of another program."""
    return abs(row["methods"][OURS]["eigenvalue"] / row["class_gradients_eigenvalue"] - 1.0)


def over_photos(values: list[float], name: str) -> dict[str, float]:
    return {f"median_{name}": float(np.median(values)), f"worst_{name}": float(np.max(values))}


def ratio(rows: list[dict[str, Any]], name: str, share: np.ndarray | float = 1.0) -> dict[str, float]:
    """Returns how many times as long a method of the paper takes, or a share of it, photo by photo."""
    seconds = share * np.array([row["methods"][name]["seconds"] for row in rows])
    ours = np.array([row["methods"][OURS]["seconds"] for row in rows])
    return {
        "median": float(np.median(seconds / ours)),
        "least": float(np.min(seconds / ours)),
        "of_totals": float(seconds.sum() / ours.sum()),
    }


def in_whole_gradients(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Returns how many times as long as ours the passes of a method would take as gradients of the loss."""
    ratios = [row["methods"][name]["passes"] / row["methods"][OURS]["in_gradients"] for row in rows]
    return {"median": float(np.median(ratios)), "least": float(np.min(ratios))}


def error_ratio(rows: list[dict[str, Any]]) -> dict[str, float]:
    alias = np.array([row["methods"]["alias + power"]["relative_error"] for row in rows])
    ours = np.array([row["methods"][OURS]["relative_error"] for row in rows])
    return {
        "median_of_ratios": float(np.median(alias / ours)),
        "least_of_ratios": float(np.min(alias / ours)),
        "of_medians": float(np.median(alias) / np.median(ours)),
        "of_means": float(np.mean(alias) / np.mean(ours)),
    }


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Plots the error of λ₁ against backward passes: the median of photos, and a band of all."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, colour in (("Golub–Kahan", "tab:blue"), ("alias", "tab:orange"), ("power", "tab:green")):
        points = np.array([row["series"][name] for row in rows])  # (photos, settings, 2)
        passes = points[0, :, 0]
        errors = np.maximum(points[:, :, 1], 1e-7)
        label = {"alias": "alias, a pass a draw (exact top)", "power": "power, class gradients anew"}
        axes.plot(passes, np.median(errors, axis=0), "o-", color=colour, label=label.get(name, name))
        axes.fill_between(passes, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.15)
    axes.set(xscale="log", yscale="log", xlabel="backward passes", ylabel="relative error of λ₁")
    axes.set_title(f"{len(rows)} photos: median, and the range of all")
    axes.legend()
    artefacts.write_atomically(path, lambda file: figure.savefig(file, dpi=120))
    plt.close(figure)


def resnet152_of_a_fresh_process(arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--in-process", "--images", arguments.images]
    command += ["--seed", str(arguments.seed)]
    command += ["--data-dir", arguments.data_dir] if arguments.data_dir else []
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def resnet152(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the cost of OSSA on ResNet-152 with random weights, logits scaled to those of a sure net."""
    arguments.model, arguments.weights = "ResNet152", "random"
    arguments.limit = 8
    model, weights = load_model(arguments)
    classifier = kf.Classifier(model)
    images = np.stack([photo.image for photo in load_photos(arguments, 224)])
    attack = kf.attacks.OSSA(0.5, clip=False)
    one, label = images[:1], classifier.predict(images[:1])
    start = time.perf_counter()
    attack(classifier, one, label)
    first_call = time.perf_counter() - start
    gradient = gradient_pass(classifier)
    one_gradient, one_attack, one_spectrum = in_turn(
        lambda: gradient(one, label),
        lambda: attack(classifier, one, label),
        lambda: kf.fisher_spectrum(classifier, one, 1),
    )
    peak_of_one = peak_megabytes()
    labels = classifier.predict(images, batch_size=1)
    eight, singles = in_turn(
        lambda: attack(classifier, images, labels, batch_size=8),
        lambda: attack(classifier, images, labels, batch_size=1),
    )
    spectrum = kf.fisher_spectrum(classifier, images, 1)
    return {
        "target": "OSSA <= 4 gradients, first call <= 30 s, <= 4 GB, 8 photos <= 8 times one",
        "weights": weights,
        "n": len(images),
        "top_probability": np.exp(classifier.log_probabilities(images).max(axis=-1)).tolist(),
        "passes": spectrum.num_backward.tolist(),
        "first_call_seconds": first_call,
        "gradient_seconds": one_gradient,
        "ossa_in_gradients": one_attack / one_gradient,
        "direction_in_gradients": one_spectrum / one_gradient,
        "peak_megabytes_one_photo": peak_of_one,
        "eight_at_once_over_eight_singly": eight / singles,
        "peak_megabytes_eight": peak_megabytes(),
    }


def precision(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns errors and cost of λ₁ under mixed precision, against float32."""
    model, weights = load_model(arguments)
    full = kf.Classifier(model)
    images = np.stack([photo.image for photo in load_photos(arguments, full.image_shape[0] or 224)])
    expected = kf.fisher_spectrum(full, images, 1, eigenvectors=False).eigenvalues[:, 0]
    report: dict[str, Any] = {"weights": weights, "n": len(images)}
    for policy in ("mixed_bfloat16", "mixed_float16"):
        classifier = kf.Classifier(with_policy(model, policy))
        found = kf.fisher_spectrum(classifier, images, 1, eigenvectors=False)
        of_full, of_mixed = in_turn(
            *(
                functools.partial(kf.fisher_spectrum, net, images[:1], 1, eigenvectors=False)
                for net in (full, classifier)
            )
        )
        errors = np.abs(found.eigenvalues[:, 0] / expected - 1.0)
        report[policy] = {
            **over_photos(errors.tolist(), "relative_error"),
            "converged": int(found.converged.sum()),
            "time_over_float32": of_mixed / of_full,
        }
    return report


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """Returns a copy that computes in mixed precision but for its last layer."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        # An operation such as keras.ops.flip has no dtype of its own.
        if isinstance(layer, keras.layers.Layer) and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = "float32" if layer is model.layers[-1] else policy
        return type(layer).from_config(config)

    mixed = keras.models.clone_model(model, clone_function=copy)
    mixed.set_weights(model.get_weights())
    return mixed


def peak_megabytes() -> float:
    """Peak resident memory of this process. Linux counts in kilobytes, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2


if __name__ == "__main__":
    main()
