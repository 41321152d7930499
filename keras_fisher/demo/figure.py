"""The figure of the demo."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_fisher.artefacts import write_atomically
from keras_fisher.demo.run import DemoReport, Detection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

DPI = 100
SIZE = (16.0, 11.0)  # inches
CLEAN, NOISY, ATTACKED = "#2f6db3", "#8c8c8c", "#c8442b"


def write_figure(report: DemoReport, path: str | os.PathLike) -> pathlib.Path:
    """Returns `path` once the figure is there whole, in the format of its ending; a PNG is 1600 × 1100."""
    figure = draw_figure(report)
    return write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=DPI))


def draw_figure(report: DemoReport) -> Figure:
    """Returns the figure: digits before and after the attack above, histograms of log₁₀ λ₁ below."""
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.7, 1))
    _draw_examples(above, report)
    _draw_histograms(below, report.detections)
    return figure


def _draw_examples(figure: SubFigure, report: DemoReport) -> None:
    """Draws one column a digit: the original, the perturbation and the attacked image."""
    figure.suptitle(
        "One step along the most fragile direction of a digit", y=0.972, fontsize=21, weight="bold"
    )
    figure.text(
        0.5,
        0.885,
        "OSSA: along the top eigenvector of the Fisher information, as far as it takes to change the answer "
        "of the net, which stands above each digit.",
        ha="center",
        fontsize=13,
        color="#444444",
    )
    perturbations = [example.adversarial - example.original for example in report.examples]
    largest = max(float(np.abs(perturbation).max()) for perturbation in perturbations)
    # Three rows with gaps for what is written between them. Ten columns, however many digits there are, and a
    # narrow one for the colour bar.
    grid = figure.add_gridspec(
        5,
        11,
        height_ratios=(1, 0.25, 1, 0.5, 1),
        width_ratios=[1] * 10 + [0.09],
        left=0.1,
        right=0.955,
        top=0.82,
        bottom=0.06,
        wspace=0.1,
        hspace=0.0,
    )
    for column, (example, perturbation) in enumerate(zip(report.examples, perturbations, strict=True)):
        original, difference, attacked = (figure.add_subplot(grid[row, column]) for row in (0, 2, 4))
        original.imshow(example.original, cmap="gray_r", vmin=0, vmax=1)
        original.set_title(f"{example.prediction}", color=CLEAN, fontsize=17, weight="bold", pad=5)
        original.set_xlabel(_eigenvalue(example.log_eigenvalue), fontsize=11)
        colours = difference.imshow(perturbation, cmap="RdBu_r", vmin=-largest, vmax=largest)
        difference.set_xlabel(f"norm {example.norm:.2f}", fontsize=11)
        attacked.imshow(example.adversarial, cmap="gray_r", vmin=0, vmax=1)
        title = f"{example.prediction} → {example.adversarial_prediction}"
        attacked.set_title(title, color=ATTACKED, fontsize=17, weight="bold", pad=5)
        attacked.set_xlabel(_eigenvalue(example.adversarial_log_eigenvalue), fontsize=11)
        for axes in (original, difference, attacked):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#bbbbbb")
        if column == 0:
            _name_row(original, "original")
            _name_row(difference, "perturbation")
            _name_row(attacked, "attacked")
            bar = figure.colorbar(colours, cax=figure.add_subplot(grid[2, 10]))
            bar.ax.tick_params(labelsize=10)


def _name_row(axes: Axes, name: str) -> None:
    axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=10, fontsize=14)


def _eigenvalue(log_eigenvalue: float) -> str:
    """Returns λ₁ in short scientific notation, from its logarithm: λ₁ itself may be no float."""
    exponent = int(np.floor(log_eigenvalue))
    mantissa = f"{10 ** (log_eigenvalue - exponent):.1f}"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    return rf"$\lambda_1 = {mantissa} \cdot 10^{{{exponent}}}$"


def _draw_histograms(figure: SubFigure, detections: tuple[Detection, ...]) -> None:
    """Draws for each setting log₁₀ λ₁ of the clean, noisy and attacked images, on one scale."""
    everything = np.concatenate(
        [part for each in detections for part in (each.clean, each.noisy, each.adversarial)]
    )
    bins = np.linspace(np.floor(everything.min()), np.ceil(everything.max()), 51)
    panels = np.atleast_1d(figure.subplots(1, len(detections), gridspec_kw={"wspace": 0.13}))
    figure.subplots_adjust(left=0.1, right=0.955, top=0.86, bottom=0.17)
    for axes, detection in zip(panels, detections, strict=True):
        groups = (
            ("clean", detection.clean, CLEAN),
            ("noise of the same norm", detection.noisy, NOISY),
            ("attacked", detection.adversarial, ATTACKED),
        )
        for name, values, colour in groups:
            axes.hist(values, bins, color=colour, alpha=0.25)
            axes.hist(values, bins, color=colour, histtype="step", linewidth=1.6, label=name)
        auc = f"held-out AUC of the eigenvalues {100 * detection.scores[0].auc:.1f} %"
        axes.set_title(f"{detection.setting}: {len(detection.clean)} images; {auc}", fontsize=13, loc="left")
        axes.set_xlabel(r"$\log_{10}\ \lambda_1$, in nats per squared unit of pixels", fontsize=13)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", frameon=False, fontsize=12)
    panels[0].set_ylabel("images", fontsize=13)
