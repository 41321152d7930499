"""The tables of the demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_fisher.demo.run import DemoReport
from keras_fisher.typing import Array

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_report(report: DemoReport, console: Console) -> None:
    """Prints the tables on `console`."""
    for part in (
        accuracy_table(report),
        fooling_table(report),
        least_norm_table(report),
        detection_table(report),
        eigenvalue_table(report),
    ):
        console.print(part)
        console.print()


def accuracy_table(report: DemoReport) -> RenderableType:
    """Returns how many images the net classifies correctly: where all attacks start."""
    table = _table("The net, and the images that it is attacked at")
    for header in ("net", "MNIST test images", "correct", "accuracy %"):
        table.add_column(header, justify="left" if header == "net" else "right")
    accuracy = _percent(report.num_correct, report.num_images)
    table.add_row(report.net, str(report.num_images), str(report.num_correct), accuracy)
    return table


def fooling_table(report: DemoReport) -> RenderableType:
    """Returns the fooling rates in percent: attacks down, epsilon across."""
    table = _table(
        "Fooling rate % by ε, the l2 norm of one step",
        f"Of the {report.num_correct} images classified correctly. Pixels in [0, 1], clipped to it.",
    )
    table.add_column("attack")
    for epsilon in report.epsilons:
        table.add_column(f"ε = {epsilon:g}", justify="right")
    for fooling in report.fooling:
        table.add_row(fooling.attack, *(_percent(count, report.num_correct) for count in fooling.num_fooled))
    return table


def least_norm_table(report: DemoReport) -> RenderableType:
    """Returns the mean least norms, with how many images they are of."""
    lower, upper = report.bracket
    table = _table(
        f"Least norm that fools the net, searched in [{lower:g}, {upper:g}]",
        f"l2, mean over the images fooled, of {report.num_correct}. Not clipped to [0, 1], as in the paper's "
        "Table 2; that of noise is of the few images that it fools.",
    )
    table.add_column("attack")
    for header in ("mean least norm", "fooled", "fooled %"):
        table.add_column(header, justify="right")
    for least in report.least_norms:
        mean_norm = f"{least.mean_norm:.2f}" if least.num_fooled else "–"
        table.add_row(
            least.attack, mean_norm, str(least.num_fooled), _percent(least.num_fooled, report.num_correct)
        )
    return table


def detection_table(report: DemoReport) -> RenderableType:
    """Returns the AUC of every detector on images that it was not fitted on."""
    table = _table(
        "Detection: AUC % of attacked images against clean and noisy ones",
        "Fitted on half of the images that the attack fools, measured on the other half (n: images, each of them "
        "clean, with noise of the attack's norm, and attacked); 95 % bootstrap interval. On this problem a forest "
        "on softmax probabilities does about as well as the Fisher eigenvalues: λ₁ is nearly the confidence.",
    )
    table.add_column("attack, clipped")
    table.add_column("detector")
    for header in ("AUC %", "95 % interval", "n"):
        table.add_column(header, justify="right")
    for detection in report.detections:
        for row, score in enumerate(detection.scores):
            low, high = score.interval
            table.add_row(
                detection.setting if row == 0 else "",
                score.detector,
                f"{100 * score.auc:.1f}",
                f"{100 * low:.1f}–{100 * high:.1f}",
                str(score.num_test),
                end_section=row == len(detection.scores) - 1,
            )
    return table


def eigenvalue_table(report: DemoReport) -> RenderableType:
    """Returns the median λ₁ of the images that an attack fools, before and after."""
    table = _table(
        "Median λ₁, the largest eigenvalue of the Fisher information",
        "In nats per squared unit of pixels, of the images that the attack fools.",
    )
    table.add_column("attack, clipped")
    for header in ("clean", "noisy", "attacked", "n"):
        table.add_column(header, justify="right")
    for detection in report.detections:
        groups = (detection.clean, detection.noisy, detection.adversarial)
        table.add_row(detection.setting, *map(_median, groups), str(len(detection.clean)))
    return table


def _table(title: str, caption: str | None = None) -> Table:
    return Table(title=title, caption=caption, title_justify="left", caption_justify="left", min_width=72)


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f}"


def _median(log_eigenvalues: Array) -> str:
    return f"{10 ** np.median(log_eigenvalues):.1e}"
