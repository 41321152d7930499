"""Draws Table 3, how OSSA's images of one net fool others."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing

PAPER = (
    (100.0, 62.02, 88.49, 82.20),
    (53.64, 100.0, 76.93, 74.45),
    (27.92, 17.83, 100.0, 90.04),
    (15.06, 29.24, 94.15, 100.0),
)
PAPER_MEANS = {"robust_from_normal": 22.51, "normal_from_robust": 80.52}


def section(output: pathlib.Path) -> str:
    result = drawing.read(output, "table3_mnist")
    numbers = result["results"]
    names = numbers["names"]
    parts = ["## Table 3: transfer of OSSA on MNIST, ε = 2\n", drawing.origin(result)]
    header = ["tested on, crafted from →", *names]
    for protocol in ("unclipped", "clipped"):
        for kind, title in (
            ("fooled", "all images"),
            ("fooled_of_successful", "images that fool their own net"),
        ):
            rows = [
                [
                    name,
                    *(
                        f"{drawing.number(numbers[protocol][kind][i][j])} [{PAPER[i][j]:.2f}]"
                        for j in range(4)
                    ),
                ]
                for i, name in enumerate(names)
            ]
            parts += [f"{protocol.capitalize()}, % fooled of {title} [paper]:\n", drawing.table(header, rows)]
        low, high = (numbers[protocol][key] for key in PAPER_MEANS)
        parts.append(
            f"{protocol.capitalize()}, means of all images: normal nets' images fool robust nets in "
            f"{drawing.number(low)} % (paper 22.51), robust nets' images normal nets in "
            f"{drawing.number(high)} % (paper 80.52).\n"
        )
    parts.append(drawing.verdict(result, sentence(numbers["unclipped"])))
    return "\n".join(parts)


def sentence(unclipped: dict[str, Any]) -> str:
    """Returns what the unclipped matrix says of the paper's."""
    low, high = (unclipped[key] for key in PAPER_MEANS)
    is_shaped = low["high"] < high["low"]
    shape = (
        "The shape is the paper's: adversarial training lowers what comes over from normal nets, by a "
        f"factor of {drawing.value(high) / max(drawing.value(low), 1e-9):.1f} against the reverse (the "
        f"paper's {PAPER_MEANS['normal_from_robust'] / PAPER_MEANS['robust_from_normal']:.1f})."
        if is_shaped
        else "That adversarial training lowers what comes over from normal nets is not seen."
    )
    own = [drawing.value(unclipped["fooled"][index][index]) for index in range(4)]
    low, high = means_of_successful(unclipped)
    return (
        f"{shape} The paper's diagonal of 100 % is not: ours is {min(own):.1f} to {max(own):.1f}, and "
        "its own Figure 2a has a norm of 2.1 for 90 %. It is a matter of definition, if only images "
        f"count that fool their own net: so counted the means are {low:.1f} and {high:.1f} %, the latter "
        f"{'nearer' if is_nearer(high, unclipped) else 'no nearer'} to the paper's 80.52.\n"
    )


def means_of_successful(protocol: dict[str, Any]) -> tuple[float, float]:
    """Returns the means over cells of robust nets from normal ones, and of the reverse, of successes."""
    cells = [[drawing.value(cell) for cell in row] for row in protocol["fooled_of_successful"]]
    low = [cells[i][j] for i in (2, 3) for j in (0, 1)]
    high = [cells[i][j] for i in (0, 1) for j in (2, 3)]
    return sum(low) / len(low), sum(high) / len(high)


def is_nearer(mean: float, protocol: dict[str, Any]) -> bool:
    """Returns whether a mean of normal nets from robust ones is nearer to the paper's than that of all."""
    paper = PAPER_MEANS["normal_from_robust"]
    return abs(mean - paper) < abs(drawing.value(protocol["normal_from_robust"]) - paper)


if __name__ == "__main__":
    drawing.run(__doc__, section)
