"""The paper's Table 1: what the top eigenvalue of a photo costs, by five methods of the paper and by ours.

    python scripts/build_efficientnet_lite0.py
    python scripts/imagenet_table1.py --model runs/efficientnet_lite0.keras
    python scripts/imagenet_table1.py --images imagenet_v2 --limit 100          (Keras's own ResNet-152)

For each photo: seconds, the same in gradients of the loss (one forward and one backward pass, in turn with
ours), backward passes, λ₁ and its error. The paper's methods, of scripts/_paper_methods.py, and the exact
spectrum are timed once, ours is the median of three.

Errors are against the full answer of a method's own program: solver "exact" for ours, the spectrum of all
class gradients, summed in float64, for the paper's. Two programs of one net round differently, and a photo
puts some unit of nearly every ReLU net so near its kink that it is on in the one and off in the other: by how
much their full answers differ is a figure of its own ("two programs").

A killed run goes on where it stopped. Source: Zhao et al. 2019, Table 1 (seconds on the authors' machine).
"""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rich.console
import rich.table
from _imagenet import argument_parser, gradient_pass, measure
from _paper_methods import METHODS, ClassGradients, different_classes, factor

import keras_fisher as kf
from keras_fisher import artefacts

REPEATS = 3
NUM_KEPT = 20
OURS = "ours, Golub–Kahan"
EXACT = "ours, exact"
#: Seconds for ILSVRC-2012 in the paper.
PAPER = {"Lanczos": 58.63, "alias + Lanczos": 7.23, "power": 47.79, "alias + power": 3.15}


def main() -> None:
    parser = argument_parser(__doc__, "imagenet_table1")
    parser.add_argument("--draws", type=int, default=200, help="of alias sampling (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.draws < 1:
        parser.error("--draws must be at least 1")
    table = Table1(arguments.draws, arguments.seed)
    config, rows = measure(arguments, {"draws": arguments.draws}, table.row)
    summary = summarize(rows)
    text = json.dumps({"config": config, "n": len(rows), "methods": summary}, indent=2)
    path = arguments.output / "summary.json"
    artefacts.write_atomically(path, lambda file: pathlib.Path(file).write_text(text + "\n"))
    show(config, rows, summary)


class Table1:
    """Measures photo after photo, with all programs compiled before the first.

    Args:
        draws: of alias sampling.
        seed: of draws and random starts.
    """

    def __init__(self, draws: int, seed: int) -> None:
        self._draws = draws
        self._seed = seed
        self._classifier: kf.Classifier | None = None

    def row(self, classifier: kf.Classifier, photo: kf.datasets.Photo) -> dict[str, Any]:
        """Returns the row of a photo."""
        return self.measured(classifier, photo)[0]

    def measured(
        self, classifier: kf.Classifier, photo: kf.datasets.Photo
    ) -> tuple[dict[str, Any], kf.Spectrum, np.ndarray]:
        """Returns the row of a photo, its exact spectrum, and the factor F (classes, pixels) of the paper."""
        images = photo.image[None]
        count = min(NUM_KEPT, classifier.num_classes - 1)
        if self._classifier is not classifier:
            self._classifier = classifier
            self._gradients = ClassGradients(classifier)
            self._gradient = gradient_pass(classifier)
            self._gradients(photo.image, np.arange(2))
            kf.fisher_spectrum(classifier, images, count, "exact", eigenvectors=False)
        probabilities = self._gradients.probabilities(photo.image)
        label = np.array([probabilities.argmax()])

        def ours() -> kf.Spectrum:
            return kf.fisher_spectrum(classifier, images, 1, "golub_kahan")

        one_gradient, one_of_ours = in_turn(lambda: self._gradient(images, label), ours)
        spectrum = ours()
        start = time.perf_counter()
        exact = kf.fisher_spectrum(classifier, images, count, "exact", eigenvectors=False)
        seconds_of_exact = time.perf_counter() - start
        found = {
            OURS: result_of(spectrum, one_of_ours),
            EXACT: result_of(exact, seconds_of_exact),
        }
        found[OURS]["error_bound"] = float(spectrum.residual_norms[0, 0])
        rows: dict[bool, tuple[np.ndarray, int, float]] = {}
        for is_drawn in (True, False):
            start = time.perf_counter()
            draws = self._draws if is_drawn else None
            part, passes = factor(self._gradients, probabilities, photo.image, draws, self._seed)
            rows[is_drawn] = (part, passes, time.perf_counter() - start)
        for name, (method, is_drawn) in METHODS.items():
            part, passes, seconds = rows[is_drawn]
            start = time.perf_counter()
            value, _ = method(part, self._seed)
            seconds += time.perf_counter() - start
            found[name] = {"seconds": seconds, "passes": passes, "eigenvalue": value}
        everything = rows[False][0]
        of_gradients = spectrum_of(everything)
        for name, result in found.items():
            full = of_gradients[0] if name in METHODS else exact.eigenvalues[0, 0]
            result["in_gradients"] = result["seconds"] / one_gradient
            result["relative_error"] = abs(result["eigenvalue"] / full - 1.0)
        row = {
            "top_probability": float(probabilities.max()),
            "gradient_seconds": one_gradient,
            "eigenvalues": exact.eigenvalues[0].astype(np.float64).tolist(),
            "class_gradients_eigenvalue": float(of_gradients[0]),
            "class_gradients_seconds": rows[False][2],
            "two_programs": float(abs(exact.eigenvalues[0, 0] / of_gradients[0] - 1.0)),
            "different_classes": different_classes(probabilities, self._draws, self._seed),
            "methods": found,
        }
        return row, exact, everything


def result_of(spectrum: kf.Spectrum, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "passes": int(spectrum.num_backward[0]),
        "eigenvalue": float(spectrum.eigenvalues[0, 0]),
    }


def in_turn(*functions: Callable[[], Any]) -> list[float]:
    """Returns the median seconds of each, called in turn."""
    seconds = np.zeros((REPEATS, len(functions)))
    for turn in range(-1, REPEATS):  # The first turn does not count.
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if turn >= 0:
                seconds[turn, index] = time.perf_counter() - start
    return np.median(seconds, axis=0).tolist()


def spectrum_of(rows: np.ndarray) -> np.ndarray:
    """Returns the eigenvalues of F Fᵀ, descending, summed in float64."""
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], 16384):
        part = rows[:, start : start + 16384].astype(np.float64)
        gram += part @ part.T
    return np.linalg.eigvalsh(gram)[::-1]


def summarize(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns of each method the mean seconds and passes, the median in gradients, and errors."""
    summary = {}
    for name in [*METHODS, EXACT, OURS]:
        results = [row["methods"][name] for row in rows]
        errors = [result["relative_error"] for result in results]
        summary[name] = {
            "seconds": float(np.mean([result["seconds"] for result in results])),
            "in_gradients": float(np.median([result["in_gradients"] for result in results])),
            "passes": float(np.mean([result["passes"] for result in results])),
            "median_relative_error": float(np.median(errors)),
            "worst_relative_error": float(np.max(errors)),
        }
    return summary


def show(config: dict[str, Any], rows: list[dict[str, Any]], summary: dict[str, dict[str, float]]) -> None:
    title = f"Table 1: λ₁ of {len(rows)} photos, {config['model']}, weights: {config['weights']}"
    table = rich.table.Table(title=title)
    columns = ("method", "paper, s", "mean s", "median in gradients", "mean passes", "median error", "worst")
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    table.add_row("eigen-decomposition of G", "intractable", *["–"] * 5)
    for name, result in summary.items():
        table.add_row(
            name,
            f"{PAPER[name]:.2f}" if name in PAPER else "",
            f"{result['seconds']:.2f}",
            f"{result['in_gradients']:.1f}",
            f"{result['passes']:.1f}",
            f"{result['median_relative_error']:.1e}",
            f"{result['worst_relative_error']:.1e}",
        )
    rich.console.Console(width=110).print(table)
    print("G has pixels² numbers (181 GB for 224 × 224 × 3 in float64): it was not formed here either.")
    differences = [row["two_programs"] for row in rows]
    print(
        f"λ₁ of the two programs' full answers differs by {np.median(differences):.1e} on the median photo, "
        f"by {np.max(differences):.1e} on the worst."
    )


if __name__ == "__main__":
    main()
