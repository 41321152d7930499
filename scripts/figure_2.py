"""Draws Figure 2: images misclassified against the l2 norm of one step, and against iterations."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing
import numpy as np
import table_2

#: l2 norm at which OSSA fools 90 %.
PAPER_AT_90 = {"mnist": 2.1, "cifar10": 1.4}
ONE_STEP = ("FGM", "OTCM", "OSSA", "FGM, float32 loss")
ITERATIVE = ("BIM", "iterative OTCM", "iterative OSSA")


def section(output: pathlib.Path) -> str:
    parts = ["## Figure 2: images misclassified, against norm and iterations\n"]
    means = {data: mean_norm(table) for data, table in drawing.stored(output, "table2").items()}
    for data, result in drawing.found(output, "figure2").items():
        one_step, iterative = result["results"]["one_step"], result["results"]["iterative"]
        step = result["config"]["step_size"]
        drawn = drawing.figure()
        left, right = drawn.subplots(1, 2, sharey=True)
        plot(left, one_step, ONE_STEP, "epsilons", "l2 norm of the step, unclipped")
        plot(right, iterative, ITERATIVE, "iterations", f"iterations of l2 norm {step:g}, unclipped")
        left.set_ylabel("misclassified, %")
        left.set_title("(a) one step")
        right.set_title("(b) iterative")
        rows = [
            [
                name,
                drawing.number(one_step[name]["at_90_percent"], 2),
                drawing.number(one_step[f"{name}, clipped"]["at_90_percent"], 2)
                if f"{name}, clipped" in one_step
                else "",
                f"{PAPER_AT_90[data]}" if name == "OSSA" else "",
                also,
                drawing.number(iterative[also]["at_90_percent"], 1) if also else "",
            ]
            for name, also in zip(ONE_STEP, (*ITERATIVE, ""), strict=True)
        ]
        header = ["90 % at", "l2 norm", "ε, clipped", "paper", "90 % after", "iterations"]
        parts += [
            drawing.origin(result),
            drawing.save(output, f"figure2_{data}", drawn),
            drawing.table(header, rows),
            drawing.verdict(result, sentence, data, one_step, iterative, means.get(data)),
        ]
    return "\n".join(parts)


def mean_norm(table: dict[str, Any]) -> float:
    """Returns Table 2's mean of OSSA's least norms on the net that this figure is of."""
    return drawing.value(next(iter(table["results"].values()))["attacks"]["OSSA"]["norm"])


def sentence(data: str, one_step: dict[str, Any], iterative: dict[str, Any], ours_mean: float | None) -> str:
    """Returns what the curves say of the paper's."""
    ours, paper = one_step["OSSA"]["at_90_percent"], PAPER_AT_90[data]
    reach = "is not reached" if ours["value"] is None else drawing.agrees(ours, paper)
    mean = table_2.PAPER[data]["OSSA"][0]
    return (
        f"{drawing.TITLES[data]}: the norm at which OSSA fools 90 % {reach} ({drawing.number(ours, 2)} "
        f"against the paper's {paper:g}). {spread(ours['value'], ours_mean, paper / mean)}OSSA's curve and "
        f"FGM's, with exact arithmetic, are at most {furthest(one_step['OSSA'], one_step['FGM']):.1f} "
        "percentage points apart, FGM's with the float32 loss up to "
        f"{furthest(one_step['OSSA'], one_step['FGM, float32 loss']):.1f} from OSSA's, OTCM's with "
        f"random targets {furthest(one_step['OSSA'], one_step['OTCM']):.1f}. Of the iterative ones OSSA "
        f"and BIM are at most {furthest(iterative['iterative OSSA'], iterative['BIM']):.1f} apart.\n"
    )


def spread(ninety: float | None, mean: float | None, paper: float) -> str:
    """Returns how far the norms of images lie apart: the tail decides where 90 % are."""
    if ninety is None or mean is None:
        return ""
    is_wider = ninety / mean > paper
    return (
        f"That is {ninety / mean:.1f} times the mean of least norms (Table 2), in the paper {paper:.1f} "
        f"times: its images lie {'closer together' if is_wider else 'further apart'}, and why is not found. "
    )


def furthest(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Returns the most that two curves differ, in percentage points."""
    return float(np.abs(np.array(first["percent"]) - np.array(second["percent"])).max())


def plot(axes: Any, curves: dict[str, Any], names: tuple[str, ...], argument: str, label: str) -> None:
    """Draws curves with their bands."""
    for name, colour, style in zip(names, drawing.COLOURS, ("-", "-.", "--", ":"), strict=False):
        curve = curves[name]
        axes.plot(curve[argument], curve["percent"], color=colour, linestyle=style, label=name)
        axes.fill_between(curve[argument], curve["low"], curve["high"], color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=label, ylim=(-3, 103))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


if __name__ == "__main__":
    drawing.run(__doc__, section)
