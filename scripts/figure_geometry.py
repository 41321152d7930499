"""Draws section 3.3: the Fisher–Rao length of the image of a step."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing
import numpy as np

KINDS = {"to_metric": "length / √(ηᵀ G η)", "to_most": "length / (√λ₁ ‖η‖)"}


def section(output: pathlib.Path) -> str:
    parts = ["## Section 3.3: is a step along the top eigenvector compressed?\n"]
    rows, smallest = [], 0.0
    found = drawing.found(output, "geometry")
    for data, result in found.items():
        nets, epsilons = result["results"], np.array(result["config"]["epsilons"])
        smallest = epsilons[0]
        shown = {name: net for name, net in nets.items() if "ties broken" in name}
        drawn = drawing.figure(rows=len(shown))
        grid = drawn.subplots(len(shown), 2, squeeze=False, sharex=True)
        for axes_row, (name, net) in zip(grid, shown.items(), strict=True):
            for axes, (kind, label) in zip(axes_row, KINDS.items(), strict=True):
                for (direction, ratios), colour in zip(
                    net["directions"].items(), drawing.COLOURS, strict=True
                ):
                    quartiles = np.array(ratios[kind])
                    axes.plot(epsilons, quartiles[:, 1], color=colour, label=direction)
                    axes.fill_between(epsilons, quartiles[:, 0], quartiles[:, 2], color=colour, alpha=0.12)
                axes.set(xscale="log", yscale="log", xlabel="‖η‖", ylabel=label)
                axes.set_title(f"{name}: {label}", fontsize=10)
                axes.grid(alpha=0.3)
            axes_row[1].legend(fontsize=8)
        for name, net in nets.items():
            for direction, ratios in net["directions"].items():
                medians = [np.array(ratios[kind])[0] for kind in KINDS]
                rows.append([name, direction, *(f"{m[1]:.4g} ({m[0]:.4g} to {m[2]:.4g})" for m in medians)])
        parts += [
            drawing.origin(result, f"n = {next(iter(nets.values()))['n']} images, float64"),
            drawing.save(output, f"geometry_{data}", drawn),
        ]
    header = ["net", "direction", *(f"{label}, median (quartiles)" for label in KINDS.values())]
    return "\n".join([
        *parts,
        f"At ‖η‖ = {smallest:g}:\n",
        drawing.table(header, rows, num_names=2),
        sentence(found),
    ])  # fmt: skip


def sentence(found: dict[str, dict[str, Any]]) -> str:
    """Returns what the ratios of the shortest step say of Theorem 1."""
    results = found.values()
    if any(result["is_quick"] for result in results):
        return drawing.verdict({"is_quick": True}, str)

    def furthest(is_dithered: bool) -> float:
        """How far a median of length / √(ηᵀ G η) is from 1."""
        return max(
            abs(np.array(ratios["to_metric"])[0][1] - 1)
            for result in results
            for name, net in result["results"].items()
            if ("ties broken" in name) is is_dithered
            for ratios in net["directions"].values()
        )

    return (
        "Where the ties of max-pooling are broken the length of the image of the shortest step is √(ηᵀ "
        f"G η) to {furthest(True):.0e} in the median, and in *every* direction: Theorem 1 holds where "
        "the net is differentiable, and says less than it seems to, since G is the metric pulled back. "
        "What tells the top eigenvector from others is the second ratio, to the most that a step of "
        "that length can make of itself: 1 for it, √(λ_k / λ₁) for the k-th, little for noise. Images "
        f"as they are may not do (off by up to {furthest(False):.1g}): where neighbouring pixels are "
        "equal, as in MNIST's background, the net has a kink at the very image, with ELU too, and the "
        "tangent is that of one side; which of the two hangs on the sign of the direction, which for an "
        "eigenvector is arbitrary: for −η the quotient is another. Noise of 1e-4 a pixel breaks the ties. "
        "Long steps leave the tangent: λ₁ changes along the step (Figure 4), and the length with it.\n"
    )


if __name__ == "__main__":
    drawing.run(__doc__, section)
