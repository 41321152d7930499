"""Draws Table 1, what the top eigenvector of an image of CIFAR-10 costs."""

from __future__ import annotations

import itertools
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
            # It is what the errors of ours are against.
            drawing.MISSING if name == EXACT else f"{one['median_relative_error']:.0e}",
            drawing.MISSING if name == EXACT else f"{one['worst_relative_error']:.0e}",
        ])  # fmt: skip
    header = ["", "paper, s", "s, median", "in gradients, median", "passes", "median error of λ₁", "worst"]
    ours, power = methods[OURS]["in_gradients"]["value"], methods["power"]["in_gradients"]["value"]
    alias = methods["alias + power"]
    gradient = 1000 * result["results"]["gradient_seconds"]["value"]
    return "\n".join([
        "## Table 1: time of one top eigenvector, CIFAR-10\n",
        drawing.origin(result, f"one image at a time; a gradient of the loss takes {gradient:.0f} ms"),
        drawing.table(header, rows),
        drawing.verdict(
            result,
            lambda: f"{order(methods)} With ten classes ours takes {ours:.1f} gradients and power iteration, "
            f"its class gradients taken once and kept, {power:.1f}. Alias sampling is quick because it "
            "draws two classes of ten, and pays for it: its λ₁ is off by "
            f"{alias['median_relative_error']:.0%} on the median image. Seconds are of two cores "
            "without a GPU and compare with each other, not with the authors' machine. Golub–Kahan is "
            "the median of three calls an image, the others are timed once. Errors of the paper's "
            "methods are against the spectrum of the same class gradients, that of Golub–Kahan against "
            "\"ours, exact\".\n",
        ),
    ])  # fmt: skip


def order(methods: dict[str, Any]) -> str:
    """Returns whether the methods have the order that they have in the paper."""
    names = sorted(PAPER, key=lambda name: PAPER[name], reverse=True)
    turned = [
        f"{slower} and {quicker}"
        for slower, quicker in itertools.combinations(names, 2)
        if methods[slower]["seconds"]["high"] < methods[quicker]["seconds"]["low"]
    ]
    names_in_order = f"The paper's order is {', '.join(names)}"
    if turned:
        return f"{names_in_order}; these are the other way round: {', '.join(turned)}."
    by_points = [
        f"{slower} and {quicker}"
        for slower, quicker in itertools.combinations(names, 2)
        if methods[slower]["seconds"]["value"] < methods[quicker]["seconds"]["value"]
    ]
    words = f" (by point estimates {', '.join(by_points)})" if by_points else ""
    return f"{names_in_order}; no two are the other way round beyond their intervals{words}."


if __name__ == "__main__":
    drawing.run(__doc__, section)
