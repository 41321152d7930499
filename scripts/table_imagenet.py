"""Draws the ImageNet columns of Tables 1 and 2, and Figures 1c and 2."""

from __future__ import annotations

import itertools
import pathlib
from typing import Any

import _drawing as drawing
import _estimates as estimates
import numpy as np
import table_1

#: Seconds for ILSVRC-2012; mean least norm and % fooled.
PAPER_TABLE1 = {"Lanczos": 58.63, "alias + Lanczos": 7.23, "power": 47.79, "alias + power": 3.15}
PAPER_TABLE2 = {"FGM": (0.48, 100), "OSSA": (0.47, 100)}


def section(output: pathlib.Path) -> str:
    result = drawing.read(output, "imagenet_ilsvrc")
    numbers = result["results"]
    config = numbers["table2"]["config"]
    table2 = numbers["table2"]
    source = "in Foolbox's wheel" if config["images"] == "foolbox" else f"of {config['images']}"
    note = f"{config['model']}, weights {config['weights']}, {table2['num_photos']} photos {source}, "
    note += f"{table2['num_right']} answered right, central squares of 7/8 of the shorter side, unclipped"
    return "\n".join([
        "## ImageNet: Tables 1 and 2, Figures 1c and 2\n",
        drawing.origin(result, note),
        f"Table 1, n = {numbers['table1']['n']} photos, one at a time (README's \"A thousand classes\" has "
        "another run, of all 20, without oneDNN, which is on here):\n",
        times(numbers["table1"]["methods"]),
        "Table 2, in [0, 6]:\n",
        norms(table2),
        f"![figure2]({output.name}/imagenet_figure2.png)\n",
        f"![figure1c]({output.name}/imagenet_figure1c.png)\n",
        sentence(numbers),
    ])  # fmt: skip


def sentence(numbers: dict[str, Any]) -> str:
    """Returns what the numbers say of the paper's."""
    table2 = numbers["table2"]
    gap, right = table2["OSSA_less_FGM"], table2["num_right"]
    paper_gap = PAPER_TABLE2["OSSA"][0] - PAPER_TABLE2["FGM"][0]
    is_within = gap["plus_minus"] is not None and abs(gap["mean"] - paper_gap) <= gap["plus_minus"]
    failed = " and ".join(f"{name} on {right - table2[name]['num_fooled']}" for name in PAPER_TABLE2)
    return (
        "The paper's is ResNet-152, whose weights could not be had where this was measured (`--model "
        "ResNet152` loads them), and validation images of ILSVRC-2012: levels are of another net and of a "
        f"handful of photos. {order(numbers['table1']['methods'])} Image by image OSSA's least norm less "
        f"FGM's is {mean(gap)} (n = {gap['n']}); the paper's difference of means, {paper_gap:+.2f}, is "
        f"{'within' if is_within else 'not within'} that. Of the {right} photos that the net answers right "
        f"{failed} find no step of at most 6 that fools, the paper's on none: along one straight line the "
        'loss does not rise far enough. See README, "A thousand classes", for the search beyond 6 and with '
        "further eigenvectors.\n"
    )


def order(methods: dict[str, Any]) -> str:
    """Returns whether the methods' mean seconds have the order of the paper's."""
    names = sorted(PAPER_TABLE1, key=lambda name: PAPER_TABLE1[name], reverse=True)
    turned = [
        f"{slower} and {quicker}"
        for slower, quicker in itertools.combinations(names, 2)
        if methods[slower]["seconds"] < methods[quicker]["seconds"]
    ]
    if not turned:
        return f"Table 1 has the paper's order: {', '.join(names)}."
    return f"Table 1 has not the paper's order: turned round are {'; '.join(turned)}."


def times(methods: dict[str, Any]) -> str:
    """Returns Table 1."""
    header = ["", "paper, s", "s, mean", "in gradients, median", "passes", "median error of λ₁", "worst"]
    rows = [["eigen-decomposition", "intractable", *[drawing.MISSING] * 5]]
    for name, one in methods.items():
        rows.append([
            name,
            f"{PAPER_TABLE1[name]:.2f}" if name in PAPER_TABLE1 else "",
            f"{one['seconds']:.2f}",
            f"{one['in_gradients']:.1f}",
            f"{one['passes']:.1f}",
            # It is what the errors of ours are against.
            *(
                drawing.MISSING if name == table_1.EXACT else f"{one[error]:.0e}"
                for error in ("median_relative_error", "worst_relative_error")
            ),
        ])  # fmt: skip
    return drawing.table(header, rows)


def norms(table2: dict[str, Any]) -> str:
    """Returns Table 2."""
    rows = []
    for name, (norm, rate) in PAPER_TABLE2.items():
        one = table2[name]
        share = estimates.share(np.arange(table2["num_right"]) < one["num_fooled"])
        fooled = f"{one['num_fooled']} of {table2['num_right']}: {drawing.number(share)} %"
        rows.append([name, f"{norm:.2f}, {rate} %", mean(one["norm"]), fooled])
    return drawing.table(["", "paper", "mean least norm (95 %)", "fooled (95 %)"], rows)


def mean(sample: dict[str, Any]) -> str:
    """Returns "mean ± half the interval"."""
    if sample["mean"] is None:
        return drawing.MISSING
    half = sample["plus_minus"]
    return f"{sample['mean']:.3f}" + ("" if half is None else f" ± {half:.3f}")


if __name__ == "__main__":
    drawing.run(__doc__, section)
