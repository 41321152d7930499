"""The tables of the demo."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keras_fisher.demo.run import DemoReport
from keras_fisher.typing import Array


def print_report(report: DemoReport, console: Console) -> None:
    """Prints the tables on `console`."""
    for table in (
        accuracy_table(report),
        fooling_table(report),
        least_norm_table(report),
        detection_table(report),
        eigenvalue_table(report),
    ):
        console.print(table)


def accuracy_table(report: DemoReport) -> RenderableType:
    """Returns how many images the net classifies correctly: where all attacks start."""
    table = _table("net")
    _add_numbers(table, "MNIST test images", "correct", "accuracy %")
    accuracy = _percent(report.num_correct, report.num_images)
    table.add_row(report.net, str(report.num_images), str(report.num_correct), accuracy)
    note = "The attacks start from the images classified correctly."
    return _titled("The net, and the images that it is attacked at", table, note)


def fooling_table(report: DemoReport) -> RenderableType:
    """Returns the fooling rates in percent: attacks down, epsilon across."""
    table = _table("attack")
    _add_numbers(table, *(f"ε = {epsilon:g}" for epsilon in report.epsilons))
    for fooling in report.fooling:
        table.add_row(fooling.attack, *(_percent(count, report.num_correct) for count in fooling.num_fooled))
    note = f"Of {report.num_correct} images, pixels in [0, 1]; attacked images are clipped to that."
    return _titled("Fooling rate % after one step of l2 norm ε", table, note)


def least_norm_table(report: DemoReport) -> RenderableType:
    """Returns the mean least norms, with how many images they are of."""
    table = _table("attack")
    _add_numbers(table, "mean least norm", "fooled", "fooled %")
    for least in report.least_norms:
        mean_norm = f"{least.mean_norm:.2f}" if least.num_fooled else "–"
        rate = _percent(least.num_fooled, report.num_correct)
        table.add_row(least.attack, mean_norm, str(least.num_fooled), rate)
    lower, upper = report.bracket
    note = (
        f"The l2 norm of the step, mean over the images fooled, of {report.num_correct}. As in the paper not "
        "clipped to [0, 1]. Noise fools but a few images, and its mean is of those."
    )
    return _titled(f"Least norm that fools the net, searched in [{lower:g}, {upper:g}]", table, note)


def detection_table(report: DemoReport) -> RenderableType:
    """Returns the AUC of every detector on images that it was not fitted on."""
    table = _table("attack", "detector")
    _add_numbers(table, "AUC %", "95 % interval", "n")
    for detection in report.detections:
        for row, score in enumerate(detection.scores):
            low, high = score.interval
            table.add_row(
                detection.setting if row == 0 else "",
                score.detector,
                f"{100 * score.auc:.1f}",
                f"{100 * low:.1f} – {100 * high:.1f}",
                str(score.num_test),
                end_section=row == len(detection.scores) - 1,
            )
    note = (
        "Of the images that the attack, clipped to [0, 1], fools: one half to fit, the other, n, to measure "
        "on, each clean, with noise of the attack's norm, and attacked. Bootstrap over images.\n"
        "A forest on softmax probabilities does about as well on this problem: λ₁ is nearly the confidence."
    )
    return _titled("Detection: AUC % of attacked images against clean and noisy ones", table, note)


def eigenvalue_table(report: DemoReport) -> RenderableType:
    """Returns the median λ₁ of the images that an attack fools, before and after."""
    table = _table("attack")
    _add_numbers(table, "clean", "noisy", "attacked", "n")
    for detection in report.detections:
        groups = (detection.clean, detection.noisy, detection.adversarial)
        table.add_row(detection.setting, *map(_median, groups), str(len(detection.clean)))
    note = "In nats per squared unit of pixels, of all images that the attack fools."
    return _titled("Median λ₁, the largest eigenvalue of the Fisher information", table, note)


def _table(*headers: str) -> Table:
    return Table(*headers, box=box.SIMPLE_HEAD)


def _add_numbers(table: Table, *headers: str) -> None:
    for header in headers:
        table.add_column(header, justify="right")


def _titled(title: str, table: Table, note: str) -> RenderableType:
    """Returns the table between its title and a note, with an empty line below."""
    return Group(Text(title, style="bold"), table, Padding(Text(note, style="dim"), (0, 0, 1, 2)))


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f}"


def _median(log_eigenvalues: Array) -> str:
    return f"{10 ** np.median(log_eigenvalues):.1e}"
