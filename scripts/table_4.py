"""Draws Tables 4 and 5, the AUC of the detectors."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing

ATTACKS = ("FGM", "OTCM", "Opt", "BIM", "OSSA")
PAPER = {
    "mnist": {
        "KD": (78.12, 95.46, 95.15, 98.61, 84.24),
        "BU": (32.37, 91.55, 71.30, 25.46, 74.21),
        "KD+BU": (82.43, 95.78, 95.35, 98.81, 85.97),
        "eigenvalues": (96.11, 98.47, 95.67, 99.10, 93.13),
    },
    "cifar10": {
        "KD": (64.92, 92.13, 91.35, 98.70, 88.89),
        "BU": (70.40, 91.93, 91.39, 97.32, 87.44),
        "KD+BU": (76.40, 94.45, 93.77, 98.90, 93.54),
        "eigenvalues": (80.18, 93.68, 99.45, 99.43, 98.01),
    },
}
#: Table 5, MNIST: fitted to (down), tested on (across).
PAPER_CROSS = (
    (94.31, 91.92, 90.78, 91.87, 92.13),
    (98.55, 98.96, 98.26, 97.78, 98.57),
    (95.18, 95.30, 96.90, 97.15, 96.11),
    (98.10, 96.00, 97.09, 98.57, 96.35),
    (91.17, 91.47, 89.77, 89.47, 89.67),
)
#: Columns beside the paper's, of attacks that go on where the net is fooled, with the paper's own.
DEEP = {"BIM, all steps": "BIM", "C&W, with a margin": "Opt", "OSSA, all steps": "OSSA"}
PROTOCOLS = {
    "least_norm": "the least norm that fools the net, successes only",
    "fixed_norm": "one norm before clipping for all, successful or not; on the right attacks that go on "
    "where the net is fooled",
}


def section(output: pathlib.Path) -> str:
    found = drawing.found(output, "table4")
    parts = ["## Table 4: AUC % of the detectors, each fitted to the attack it is tested on\n"]
    for data, result in found.items():
        config = result["config"]
        note = (
            f"ε = {config['epsilon']:g} where it is fixed, a margin of {config['confidence']:g} in logits; "
            f"{config['bu_passes']} passes with dropout for BU"
        )
        parts.append(drawing.origin(result, note))
        for protocol, title in PROTOCOLS.items():
            parts += [
                f"{drawing.TITLES[data]}, {title}; ours (95 %) [paper]:\n",
                diagonal(data, result, protocol),
            ]
        parts.append(drawing.verdict(result, sentence, data, result))
    parts.append(
        "## Table 5: AUC % of the eigenvalues, fitted to one attack (down), tested on another (across)\n"
    )
    for data, result in found.items():
        parts.append(drawing.origin(result))
        for protocol, title in PROTOCOLS.items():
            parts += [f"{drawing.TITLES[data]}, {title}:\n", cross(data, result, protocol)]
    if "mnist" in found:
        parts.append(drawing.verdict(found["mnist"], cross_sentence, found["mnist"]))
    return "\n".join(parts)


def diagonal(data: str, result: dict[str, Any], protocol: str) -> str:
    """Returns Table 4 by one protocol."""
    attacks = (*ATTACKS, *DEEP) if protocol == "fixed_norm" else ATTACKS
    rows = []
    for name in ("KD", "BU", "KD+BU", "eigenvalues", "softmax"):
        row = [name]
        for attack in attacks:
            shown = drawing.number(auc(result, protocol, name, attack, attack))
            paper = paper_of(data, name, attack)
            row.append(shown if paper is None else f"{shown} [{paper:.2f}]")
        rows.append(row)
    counts = [str(auc(result, protocol, "eigenvalues", attack, attack)["n"]) for attack in attacks]
    return drawing.table(["", *attacks], [*rows, ["n, sources", *counts]])


def paper_of(data: str, detector: str, attack: str) -> float | None:
    """Returns the paper's AUC; None for a detector that it has not."""
    row = PAPER[data].get(detector)
    return None if row is None else row[ATTACKS.index(DEEP.get(attack, attack))]


def cross(data: str, result: dict[str, Any], protocol: str) -> str:
    """Returns Table 5 by one protocol."""
    rows = []
    for index, fitted in enumerate(ATTACKS):
        cells = [drawing.number(auc(result, protocol, "eigenvalues", fitted, tested)) for tested in ATTACKS]
        if data == "mnist":
            cells = [f"{cell} [{paper:.2f}]" for cell, paper in zip(cells, PAPER_CROSS[index], strict=True)]
        rows.append([fitted, *cells])
    return drawing.table(["fitted to", *ATTACKS], rows)


def auc(result: dict[str, Any], protocol: str, detector: str, fitted: str, tested: str) -> dict[str, Any]:
    """Returns one cell's AUC."""
    report = result["results"][protocol]
    asked = {"detector": detector, "trained_on": fitted, "attack": tested, "subset": report["subset"]}
    (cell,) = [
        cell for cell in report["cells"] if all(cell[name] == wanted for name, wanted in asked.items())
    ]
    return cell["auc"]


def diagonal_of_paper(data: str) -> dict[tuple[str, str], float]:
    """Returns the paper's AUC of the eigenvalues by pairs of the attacks fitted to and tested on."""
    return {(name, name): wanted for name, wanted in zip(ATTACKS, PAPER[data]["eigenvalues"], strict=True)}


def below(result: dict[str, Any], protocol: str, paper: dict[tuple[str, str], float]) -> list[str]:
    """Returns the pairs of attacks whose AUC of the eigenvalues is below the paper's."""
    short = []
    for (fitted, tested), wanted in paper.items():
        ours = drawing.value(auc(result, protocol, "eigenvalues", fitted, tested))
        if not ours >= wanted:
            name = tested if fitted == tested else f"{fitted} → {tested}"
            short.append(f"{name} ({ours:.2f} against {wanted:.2f})")
    return short


def in_words(short: list[str], total: int) -> str:
    if not short:
        return f"all {total} cells are at or above the paper's"
    return f"{total - len(short)} of {total} cells are at or above the paper's, below are {', '.join(short)}"


def sentence(data: str, result: dict[str, Any]) -> str:
    """Returns what the eigenvalue rows of one data set say of the paper's, and of the other rows."""
    paper = diagonal_of_paper(data)
    words = {protocol: in_words(below(result, protocol, paper), len(ATTACKS)) for protocol in PROTOCOLS}
    beside = {
        protocol: ", ".join(compared(result, protocol, name) for name in ("softmax", "KD", "BU", "KD+BU"))
        for protocol in PROTOCOLS
    }
    return (
        f"Eigenvalues on {drawing.TITLES[data]}, by point estimates: at the least norm "
        f"{words['least_norm']}; at one norm {words['fixed_norm']}. Beside the other rows, the "
        "eigenvalues are above (in brackets: with intervals that do not meet), at the least norm: "
        f"{beside['least_norm']}; at one norm: {beside['fixed_norm']}. {outperform(data, result)} An image "
        "at its least norm lies on the boundary, where the softmax alone tells it: this protocol is no "
        "headline. BIM that stops where the net is fooled ends there too, whatever its norm, and stands for "
        "its least norm. Opt at one norm is its least perturbation made longer.\n\n"
        f"{beyond(data, result)} The furthest from the "
        f"paper, by the nearer protocol, are: {others(data, result)}."
        + (
            " How the paper's BU comes below 50 % under a forest, which takes a feature whichever way it "
            "points, is not found.\n"
            if data == "mnist"
            else ' What it does to these numbers how sure the net is of the clean images is under "What the '
            'paper leaves open", at the end.\n'
        )
    )


def outperform(data: str, result: dict[str, Any]) -> str:
    """Returns whether the eigenvalues are ahead of KD and BU, as the paper says."""
    attack = "OSSA"
    paper = PAPER[data]["eigenvalues"][ATTACKS.index(attack)] - PAPER[data]["KD+BU"][ATTACKS.index(attack)]
    words = []
    for protocol, title in (("least_norm", "at the least norm"), ("fixed_norm", "at one norm")):
        pairs = [
            [drawing.value(auc(result, protocol, name, column, column)) for name in ("eigenvalues", other)]
            for other in ("KD", "BU", "KD+BU")
            for column in ATTACKS
        ]
        ahead = sum(ours > theirs for ours, theirs in pairs)
        ours, theirs = (
            drawing.value(auc(result, protocol, name, attack, attack)) for name in ("eigenvalues", "KD+BU")
        )
        words.append(
            f"in {ahead} of {len(pairs)} cells {title}, on {attack} by {ours - theirs:+.1f} points over KD+BU"
        )
    return (
        'The paper says that they "outperform KD and BU", and on OSSA have '
        f"{paper:.2f} more than KD+BU; ours are ahead {'; '.join(words)}."
    )


def beyond(data: str, result: dict[str, Any]) -> str:
    """Returns which of the three ways to run an attack is nearest to the paper, over all four of its rows."""
    words = []
    for attack, ours in ((paper, ours) for ours, paper in DEEP.items()):
        ways = {
            "at the least norm": ("least_norm", attack),
            "at one norm": ("fixed_norm", attack),
            f"as {ours!r}": ("fixed_norm", ours),
        }
        off = {way: distance(data, result, protocol, name) for way, (protocol, name) in ways.items()}
        nearest = min(off, key=off.__getitem__)
        distances = ", ".join(f"{way} {value:.1f}" for way, value in off.items())
        words.append(f"{attack} {nearest} ({distances})")
    return (
        "How the paper ran its attacks can be asked of all four of its rows, KD, BU, KD+BU and "
        "eigenvalues: the mean distance of ours from them, in percentage points, is least for "
        f"{'; '.join(words)}."
    )


def distance(data: str, result: dict[str, Any], protocol: str, attack: str) -> float:
    """Returns the mean distance of a column from the paper's."""
    off = [
        abs(
            drawing.value(auc(result, protocol, name, attack, attack)) - (paper_of(data, name, attack) or 0.0)
        )
        for name in PAPER[data]
    ]
    return sum(off) / len(off)


def compared(result: dict[str, Any], protocol: str, other: str) -> str:
    """Returns in how many columns the eigenvalues have more than another row."""
    pairs = [
        [auc(result, protocol, name, attack, attack) for name in ("eigenvalues", other)] for attack in ATTACKS
    ]
    ahead = [(ours, theirs) for ours, theirs in pairs if drawing.value(ours) > drawing.value(theirs)]
    apart = sum(drawing.is_apart(*pair) for pair in ahead)
    return f"{other} in {len(ahead)} [{apart}] of {len(ATTACKS)}"


def cross_sentence(result: dict[str, Any]) -> str:
    """Returns what our Table 5 says of the paper's."""
    paper = {
        (fitted, tested): PAPER_CROSS[i][j]
        for i, fitted in enumerate(ATTACKS)
        for j, tested in enumerate(ATTACKS)
    }
    words = {protocol: in_words(below(result, protocol, paper), len(paper)) for protocol in PROTOCOLS}
    return (
        f"Table 5 on MNIST: at the least norm {words['least_norm']}; at one norm {words['fixed_norm']}. "
        f"Fitted to another attack the eigenvalues lose at most {loss(result, 'least_norm'):.1f} "
        "percentage points against those fitted to the same one at the least norm, "
        f"{loss(result, 'fixed_norm'):.1f} at one norm. Least of all serves, in the mean over attacks, "
        f"what is fitted to {worst(result, 'least_norm')} at the least norm and to "
        f"{worst(result, 'fixed_norm')} at one norm, in the paper OSSA.\n"
    )


def loss(result: dict[str, Any], protocol: str) -> float:
    """Returns the most that is lost by fitting to another attack than the one tested on."""
    return max(
        drawing.value(auc(result, protocol, "eigenvalues", tested, tested))
        - drawing.value(auc(result, protocol, "eigenvalues", fitted, tested))
        for fitted in ATTACKS
        for tested in ATTACKS
    )


def worst(result: dict[str, Any], protocol: str) -> str:
    """Returns the attack that teaches the least, by the mean AUC over the attacks tested on."""
    return min(
        ATTACKS,
        key=lambda fitted: sum(
            drawing.value(auc(result, protocol, "eigenvalues", fitted, tested)) for tested in ATTACKS
        ),
    )


def others(data: str, result: dict[str, Any]) -> str:
    """Returns where the rows beside the eigenvalues are furthest from the paper's, by the nearer protocol."""
    found = []
    for name in ("KD", "BU", "KD+BU"):
        for attack, wanted in zip(ATTACKS, PAPER[data][name], strict=True):
            ways = [(protocol, attack) for protocol in PROTOCOLS]
            ways += [("fixed_norm", ours) for ours, paper in DEEP.items() if paper == attack]
            found_ours = [drawing.value(auc(result, way, name, column, column)) for way, column in ways]
            ours = min(found_ours, key=lambda value: abs(value - wanted))
            found.append((abs(ours - wanted), f"{name} on {attack} {ours:.1f} against {wanted:.1f}"))
    return "; ".join(words for _, words in sorted(found, reverse=True)[:3])


if __name__ == "__main__":
    drawing.run(__doc__, section)
