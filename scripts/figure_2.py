"""Draws Figure 2: images misclassified against the l2 norm of one step, and against iterations."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing

#: l2 norm at which OSSA fools 90 %.
PAPER_AT_90 = {"mnist": 2.1, "cifar10": 1.4}
ONE_STEP = ("FGM", "OTCM", "OSSA", "FGM, float32 loss")
ITERATIVE = ("BIM", "iterative OTCM", "iterative OSSA")


def section(output: pathlib.Path) -> str:
    parts = ["## Figure 2: images misclassified, against norm and iterations\n"]
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
        ours = one_step["OSSA"]["at_90_percent"]
        reach = "is not reached" if ours["value"] is None else drawing.agrees(ours, PAPER_AT_90[data])
        parts += [
            drawing.origin(result),
            drawing.save(output, f"figure2_{data}", drawn),
            drawing.table(header, rows),
            f"{drawing.TITLES[data]}: the norm at which OSSA fools 90 % {reach} ({drawing.number(ours, 2)} "
            f"against the paper's {PAPER_AT_90[data]}). {CAUSES[data]}\n",
        ]
    return "\n".join(parts)


#: What the curves show beside their level.
CAUSES = {
    "mnist": "With a mean least norm of 1.80 (Table 2), 90 % at 2.1 needs a far narrower spread over images "
    "than ours have, whose mean is the same: the tail decides where 90 % are. OSSA and FGM with exact "
    "arithmetic are one curve; FGM with the ordinary float32 loss stays below, as the paper's FGM does. "
    "OTCM with random targets needs more. Of the iterative ones OSSA and BIM are the same again.",
    "cifar10": "OSSA and FGM are close, OTCM with random targets needs more, as in the paper.",
}


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
