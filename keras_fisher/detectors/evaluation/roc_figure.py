"""The figure of ROC curves."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_fisher.artefacts import write_atomically
from keras_fisher.detectors.evaluation.cell import Cell
from keras_fisher.detectors.evaluation.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 100
SIZE = (13.0, 6.2)  # inches
CHANCE = "#8c8c8c"


def write_roc_figure(cells: Sequence[Cell], title: str, path: str | os.PathLike) -> pathlib.Path:
    """Returns `path` once the figure is there whole, in the format of its ending.

    Args:
        cells: one for each curve.
        title: stands above both panels.
        path: the file to write or to replace.
    """
    figure = draw_roc_figure(cells, title)
    return write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=DPI))


def draw_roc_figure(cells: Sequence[Cell], title: str) -> Figure:
    """Returns the figure: the curves on linear axes, and with a logarithmic one for low false positive rates.

    Dots are the calibrated thresholds, where they came out on the test side.
    """
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    linear, logarithmic = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.9, bottom=0.11, wspace=0.16)
    figure.suptitle(title, fontsize=15, x=0.07, ha="left")
    # Below one negative the curve is not known.
    lowest = min((0.5 / cell.num_sources for cell in cells if cell.num_sources), default=1e-3)
    for axes in (linear, logarithmic):
        _draw_curves(axes, cells, lowest if axes is logarithmic else 0.0)
    logarithmic.set(xscale="log", xlim=(lowest, 1.0))
    linear.set(xlim=(0.0, 1.0), ylabel="true positive rate")
    linear.legend(loc="lower right", frameon=False, fontsize=11)
    return figure


def _draw_curves(axes: Axes, cells: Sequence[Cell], lowest: float) -> None:
    """Draws the curves and chance, from a false positive rate of `lowest` on."""
    diagonal = [lowest + (1 - lowest) * step / 200 for step in range(201)]
    axes.plot(diagonal, diagonal, color=CHANCE, linestyle="--", linewidth=1.2, label="chance")
    for index, cell in enumerate(cells):
        colour = f"C{index % 10}"
        false_positives, true_positives = cell.roc
        low, high = cell.interval
        if false_positives:
            area = f"AUC {percent(cell.auc)} % ({percent(low)}–{percent(high)})"
        else:
            area = "not available"
        # On a logarithmic axis a rate of 0 stands at its left end.
        start = [max(rate, lowest) for rate in false_positives]
        axes.plot(start, true_positives, color=colour, linewidth=1.8, label=f"{cell.detector}: {area}")
        dots = [
            (max(cell.fpr[rate], lowest), share) for rate, share in cell.tpr.items() if not math.isnan(share)
        ]
        axes.plot([rate for rate, _ in dots], [share for _, share in dots], "o", color=colour, markersize=5)
    axes.set(ylim=(0.0, 1.01), xlabel="false positive rate, on clean images and noise as long")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
