"""Draws Table 1, what the top eigenvector of an image of CIFAR-10 costs."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing

#: Seconds on the authors' machine, CIFAR-10.
PAPER = {
    "eigen-decomposition": 1.49,
    "Lanczos": 0.30,
    "alias + Lanczos": 0.15,
    "power": 0.28,
    "alias + power": 0.25,
}
OURS = "ours, Golub–Kahan"
EXACT = "ours, exact"


def section(output: pathlib.Path) -> str:
    result = drawing.read(output, "table1_cifar10")
    methods = result["results"]["methods"]
    rows = []
    for name in [*PAPER, EXACT, OURS]:
        one = methods[name]
        rows.append([
            name,
            f"{PAPER[name]:.2f}" if name in PAPER else "",
            drawing.number(one["seconds"], 3),
            drawing.number(one["in_gradients"], 2),
            f"{one['passes']:.1f}",
            f"{one['median_relative_error']:.0e}",
            f"{one['worst_relative_error']:.0e}",
        ])  # fmt: skip
    header = ["", "paper, s", "s, mean", "in gradients, median", "passes", "median error of λ₁", "worst"]
    ours, power = methods[OURS]["in_gradients"]["value"], methods["power"]["in_gradients"]["value"]
    alias = methods["alias + power"]
    gradient = 1000 * result["results"]["gradient_seconds"]["value"]
    return "\n".join([
        "## Table 1: time of one top eigenvector, CIFAR-10\n",
        drawing.origin(result, f"one image at a time; a gradient of the loss takes {gradient:.0f} ms"),
        drawing.table(header, rows),
        f"{order(methods)} With "
        f"ten classes ours takes {ours:.1f} gradients and power iteration, its class gradients taken once "
        f"and kept, {power:.1f}. Alias sampling is quick because it draws two classes of ten, and pays for "
        f"it: its λ₁ is off by {alias['median_relative_error']:.0%} on the median image. Seconds are of two "
        "cores without a GPU and compare with each other, not with the authors' machine.\n",
    ])  # fmt: skip


def order(methods: dict[str, Any]) -> str:
    """Returns whether the methods have the order that they have in the paper."""

    def ranked(seconds: dict[str, float]) -> list[str]:
        return sorted(seconds, key=lambda name: seconds[name], reverse=True)

    ours = ranked({name: methods[name]["seconds"]["value"] for name in PAPER})
    words = (
        "is the paper's" if ours == ranked(PAPER) else f"is not all the paper's ({', '.join(ranked(PAPER))})"
    )
    return f"From the slowest to the quickest: {', '.join(ours)}. That {words}."


if __name__ == "__main__":
    drawing.run(__doc__, section)
