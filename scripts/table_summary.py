"""Draws the summary: the paper's claims, each with its number and ours, in a line."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import _drawing as drawing
import figure_2
import table_2
import table_4
import table_imagenet

Row = tuple[str, str, str, str]


def section(output: pathlib.Path) -> str:
    found = {
        (name, data): drawing.read(output, f"{name}_{data}")
        for name in ("table1", "table2", "table3", "table4", "figure2", "figure3", "geometry", "imagenet")
        for data in drawing.TITLES
        if (output / f"{name}_{data}.json").is_file()
    }
    if not found or any(result["is_quick"] for result in found.values()):
        return ""
    header = ["claim", "paper", "ours (95 % interval, where it has one)", "remark"]
    return "\n".join(["## In short\n", drawing.table(header, rows(found), num_names=4)])


def rows(found: dict[tuple[str, str], dict[str, Any]]) -> Iterator[Row]:
    """Yields a line a claim, in the order of the report, of what there is."""
    drawers = {
        "table1": times,
        "table2": norms,
        "figure2": ninety_percent,
        "table3": transfer,
        "figure3": correlations,
        "geometry": lengths,
        "table4": detection,
        "imagenet": thousand_classes,
    }
    for name, drawer in drawers.items():
        for data in drawing.TITLES:
            if (name, data) in found:
                for claim, paper, ours, remark in drawer(data, found[name, data]):
                    yield f"{drawing.TITLES[data]}, {claim}", paper, ours, remark


def times(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    methods = numbers["methods"]
    quick, slow = (drawing.number(methods[name]["seconds"], 3) for name in ("ours, Golub–Kahan", "power"))
    yield (
        "Table 1: one top eigenvector",
        "power iteration 0.28 s",
        f"power iteration {slow} s, Golub–Kahan {quick} s",
        f"alias sampling misses λ₁ by {methods['alias + power']['median_relative_error']:.0%} in the median",
    )


def norms(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    name, net = next(iter(numbers.items()))
    paper, paper_rate = table_2.PAPER[data]["OSSA"]
    norm, fooled = (net["attacks"]["OSSA"][key] for key in ("norm", "fooled"))
    yield (
        "Table 2: OSSA's mean least norm",
        f"{paper:.2f}",
        drawing.number(norm, 3),
        f"{name}'s {drawing.agrees(norm, paper)}; {others(numbers)}",
    )
    yield (
        "Table 2: OSSA's fooling rate, %",
        f"{paper_rate:.2f}",
        drawing.number(fooled),
        f"{name}'s {drawing.agrees(fooled, paper_rate)}",
    )
    gap = net["FGM_less_OSSA"]
    yield (
        "Table 2: what FGM's mean is above OSSA's",
        f"{table_2.PAPER[data]['FGM'][0] - paper:+.2f}",
        f"{table_2.gaps(numbers, 'norm', 'FGM, float32 loss', 'OSSA')} in float32, "
        f"{table_2.gaps(numbers, 'norm', 'FGM', 'OSSA')} with stable arithmetic",
        f"range over nets; image by image, where both fool, on {name} "
        f"{drawing.number(gap['equations in float32'], 3)} and {drawing.number(gap['stable'], 3)}",
    )


def others(nets: dict[str, Any]) -> str:
    """Returns OSSA's norms of the nets after the first."""
    found = [
        f"{name} {drawing.number(net['attacks']['OSSA']['norm'], 2, interval=False)}"
        for name, net in nets.items()
    ]
    return ", ".join(found[1:]) or "no other net"


def ninety_percent(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    ours, paper = numbers["one_step"]["OSSA"]["at_90_percent"], figure_2.PAPER_AT_90[data]
    yield (
        "Figure 2a: l2 norm at which OSSA fools 90 %",
        f"{paper:g}",
        drawing.number(ours, 2),
        f"ours {drawing.agrees(ours, paper)} (n = {result['num_used']:,})",
    )


def transfer(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    names = ("robust_from_normal", "normal_from_robust")
    low, high = (numbers["unclipped"]["blocks"][name] for name in names)
    few, many = (numbers["unclipped"]["blocks_of_successful"][name] for name in names)
    yield (
        "Table 3: mean error of robust nets from normal ones, and the reverse, %",
        "22.51, 80.52",
        f"{drawing.number(low)}, {drawing.number(high)}",
        f"unclipped; the order {'agrees' if low['high'] < high['low'] else 'is not seen'}; "
        f"of images that fool their own net {drawing.number(few)}, {drawing.number(many)}",
    )


def correlations(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    for kind, title in (("one_step", "one step"), ("iterative", "many steps")):
        values = {name: net[kind]["spearman"] for name, net in numbers.items()}
        first, *others = values
        others = [f"{name} {drawing.number(values[name], 3, interval=False)}" for name in others]
        yield (
            f"Figure 3: Spearman of λ₁ and the least norm of {title}",
            "falls along a line",
            drawing.number(values[first], 3),
            "; ".join([first, ", ".join(others)] if others else [first]),
        )


def lengths(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    name = next(name for name in numbers if "ties broken" in name)
    first, second = (numbers[name]["directions"][f"eigenvector {k}"]["to_most"][0][1] for k in (1, 2))
    yield (
        "Section 3.3: length of the image of a step over the longest there is",
        "1 for the top eigenvector",
        f"{first:.4f}, second eigenvector {second:.3f}",
        f"{name}, medians of n = {numbers[name]['n']}, ‖η‖ = {result['config']['epsilons'][0]:g}",
    )


def detection(data: str, result: dict[str, Any]) -> Iterator[Row]:
    for protocol, title in (("least_norm", "least norm"), ("fixed_norm", "one norm")):
        ours = [
            f"{drawing.value(table_4.auc(result, protocol, 'eigenvalues', name, name)):.1f}"
            for name in table_4.ATTACKS
        ]
        short = table_4.below(result, protocol, table_4.diagonal_of_paper(data))
        yield (
            f"Table 4: AUC % of the eigenvalues, {title}",
            ", ".join(f"{x:.1f}" for x in table_4.PAPER[data]["eigenvalues"]),
            ", ".join(ours),
            f"{', '.join(table_4.ATTACKS)}; {len(ours) - len(short)} of {len(ours)} at or above the paper's",
        )


def thousand_classes(data: str, result: dict[str, Any]) -> Iterator[Row]:
    numbers = result["results"]
    methods, table2 = numbers["table1"]["methods"], numbers["table2"]
    remark = f"{table2['config']['model']}, not ResNet-152"
    names = ("power", "alias + power")
    yield (
        "Table 1: one top eigenvector by power iteration, and by alias sampling",
        ", ".join(f"{table_imagenet.PAPER_TABLE1[name]:.2f} s" for name in names),
        ", ".join(f"{methods[name]['seconds']:.2f} s" for name in names),
        f"{remark}; n = {numbers['table1']['n']}",
    )
    for name, (norm, rate) in table_imagenet.PAPER_TABLE2.items():
        one = table2[name]
        yield (
            f"Table 2: {name}'s mean least norm and fooling rate, %",
            f"{norm:.2f}, {rate}",
            f"{table_imagenet.mean(one['norm'])}, {one['rate_percent']:.1f}",
            f"{remark}; n = {table2['num_right']}",
        )


if __name__ == "__main__":
    drawing.run(__doc__, section)
