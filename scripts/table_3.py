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
#: Means of its cells by what they are tested on and crafted from, none on itself; the first two in its words.
PAPER_BLOCKS = {
    "robust_from_normal": 22.51,
    "normal_from_robust": 80.52,
    "normal_from_normal": 57.83,
    "robust_from_robust": 92.10,
}
PROTOCOLS = ("unclipped", "clipped")
COUNTS = {"blocks": "all images", "blocks_of_successful": "those that fool their own net"}


def section(output: pathlib.Path) -> str:
    result = drawing.read(output, "table3_mnist")
    numbers = result["results"]
    names = numbers["names"]
    parts = ["## Table 3: transfer of OSSA on MNIST, ε = 2\n", drawing.origin(result)]
    header = ["tested on, crafted from →", *names]
    for protocol in PROTOCOLS:
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
    header = ["mean of the cells, %", "paper"]
    header += [f"{protocol}, {title}" for protocol in PROTOCOLS for title in COUNTS.values()]
    rows = [
        [
            f"{tested} nets from {crafted} ones",
            f"{PAPER_BLOCKS[block]:.2f}",
            *(drawing.number(numbers[protocol][kind][block]) for protocol in PROTOCOLS for kind in COUNTS),
        ]
        for block in PAPER_BLOCKS
        for tested, _, crafted in [block.split("_")]
    ]
    parts += [
        drawing.table(header, rows),
        drawing.verdict(result, sentence, numbers["unclipped"]),
        drawing.verdict(result, control_sentence, numbers["control"], names, numbers["unclipped"]),
    ]
    return "\n".join(parts)


def sentence(unclipped: dict[str, Any]) -> str:
    """Returns what the unclipped matrix says of the paper's."""
    ours = unclipped["blocks"]
    own = [drawing.value(unclipped["fooled"][index][index]) for index in range(4)]
    low, high = ours["robust_from_normal"], ours["normal_from_robust"]
    is_lower = low["high"] < high["low"]
    paper = PAPER_BLOCKS["normal_from_robust"] / PAPER_BLOCKS["robust_from_normal"]
    factor = drawing.value(high) / max(drawing.value(low), 1e-9)
    asymmetry = (
        f"normal nets' images fool robust nets {factor:.1f} times less often than the reverse, as in the "
        f"paper, where it is {paper:.1f} times"
        if is_lower
        else "that normal nets' images fool robust nets less often than the reverse is not seen"
    )
    of_successful = unclipped["blocks_of_successful"]
    return (
        f"Of all images, {asymmetry}. That robust nets' images fool normal nets more than normal nets' do is "
        f"seen {where(is_more(ours), is_more(of_successful))}; that robust nets fool each other most "
        f"{where(is_most(ours), is_most(of_successful))}. The paper's diagonal of "
        f"100 % is not reached: ours is {min(own):.1f} to {max(own):.1f} %, and its own Figure 2a has a norm "
        "of 2.1 for 90 %. It would be so by definition had it counted only images that fool their own net; "
        f"so counted our means are nearer to its own in {num_nearer(unclipped)} of "
        f"{len(PAPER_BLOCKS)} blocks. Our robust nets are hard to fool at this norm, which leaves few "
        "such images. VGG-adv was trained for three epochs, the first two at a lower ε.\n"
    )


def control_sentence(control: dict[str, Any], names: list[str], unclipped: dict[str, Any]) -> str:
    """Returns whether training or ELU keeps normal nets' images from fooling LeNet-adv."""
    row = names.index("LeNet-adv")
    trained = {name: unclipped["fooled"][row][names.index(name)] for name in control["fooled_from"]}
    is_training = all(one["low"] > trained[name]["high"] for name, one in control["fooled_from"].items())

    def each(rates: dict[str, Any]) -> str:
        return " and ".join(drawing.number(one) for one in rates.values())

    cause = "It is the training" if is_training else "Training alone does not explain it"
    return (
        f"{cause}: {control['name']}, which has what LeNet-adv has but an attack in its training, is fooled "
        f"by images of {' and '.join(trained)} in {each(control['fooled_from'])} %, LeNet-adv in "
        f"{each(trained)} %; its own images fool the two in {each(control['fools'])} % (unclipped, all "
        "images).\n"
    )


def is_more(blocks: dict[str, Any]) -> bool:
    """Returns whether normal nets are fooled more by robust nets' images than by each other's."""
    return blocks["normal_from_robust"]["low"] > blocks["normal_from_normal"]["high"]


def is_most(blocks: dict[str, Any]) -> bool:
    """Returns whether robust nets fool each other more than anything else does."""
    others = [one["high"] for name, one in blocks.items() if name != "robust_from_robust"]
    return blocks["robust_from_robust"]["low"] > max(others)


def where(of_all: bool, of_successful: bool) -> str:
    """Returns by which of the two ways to count something is seen."""
    if of_all == of_successful:
        return "by either count" if of_all else "by neither count"
    return "of all images only" if of_all else "of those that fool their own net only"


def num_nearer(protocol: dict[str, Any]) -> int:
    """Returns in how many blocks the means of successful images are nearer to the paper's than of all."""
    off = {
        kind: {name: abs(drawing.value(protocol[kind][name]) - paper) for name, paper in PAPER_BLOCKS.items()}
        for kind in COUNTS
    }
    return sum(off["blocks_of_successful"][name] < off["blocks"][name] for name in PAPER_BLOCKS)


if __name__ == "__main__":
    drawing.run(__doc__, section)
