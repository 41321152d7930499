"""Draws how much each choice that the paper leaves open moves the AUC of the eigenvalues."""

from __future__ import annotations

import pathlib
from typing import Any

import _drawing as drawing


def section(output: pathlib.Path) -> str:
    parts = [
        "## What the paper leaves open\n",
        "The least norm or a fixed one, successes only or all images, how much noise: the paper says none of "
        'it, nor how sure its nets are. Of clipping it says that "the pixel values in the images are '
        'constrained in the interval [0.0, 1.0]", but not whether adversarial images are meant. AUC % of the '
        "eigenvalues by each choice, varied from Table 4's least norm (the first row) and from its one norm. "
        "Half of the sources are fitted to here and half are tested, there 50 and 40 %: hence slightly other "
        "numbers. For clipping and the search in Table 2 see there.\n",
    ]
    for data, result in drawing.found(output, "protocols").items():
        rows = result["results"]["rows"]
        header = [
            "net",
            "attack",
            "norm",
            "clipped",
            "images",
            "noise / perturbation",
            "AUC % (95 %)",
            "n tested",
            "fooled %",
        ]
        parts += [
            drawing.origin(result),
            drawing.table(header, [cells(row, next(iter(result["weights"]))) for row in rows], num_names=6),
        ]
        parts.append(drawing.verdict(result, sentence, data, rows))
    return "\n".join(parts)


def cells(row: dict[str, Any], standard: str) -> list[str]:
    """Returns the cells of a row; `standard` is the net of the data set."""
    norm = "least" if row["epsilon"] is None else f"ε = {row['epsilon']:g}"
    images = "successes" if row["only_successful"] else "all"
    if row["least_top_probability"]:
        images += f", p ≥ {row['least_top_probability']:g}"
    return [
        (row["net"] or standard).partition(", CIFAR")[0],
        row["attack"],
        f"{norm} (mean {row['norm']['value']:.2f})",
        "yes" if row["clip"] else "no",
        images,
        f"{row['noise']:g}",
        drawing.number(row["auc"]),
        str(row["auc"]["n"]),
        drawing.number(row["fooled"], interval=False),
    ]


def sentence(data: str, rows: list[dict[str, Any]]) -> str:
    """Returns how far each choice by itself moves the AUC, from the least norm and from the fixed one."""
    least = rows[0]
    fixed = next(
        row for row in rows if row["epsilon"] == middle(rows) and is_like(row, least, "epsilon", "images")
        and not row["only_successful"]
    )  # fmt: skip
    parts, bases = [], {}
    for name, base in (("at the least norm", least), (f"at ε = {fixed['epsilon']:g}, all images", fixed)):
        moves = []
        for choice, title in CHOICES.items():
            others = [row for row in rows if row is not base and is_like(row, base, choice)]
            if others:
                moved = max(abs(drawing.value(row["auc"]) - drawing.value(base["auc"])) for row in others)
                moves.append(f"{title} {moved:.1f}")
        parts.append(f"{name} {', '.join(moves)}")
        bases[name] = base
    return (
        f"{drawing.TITLES[data]}, the most that each choice by itself moves the AUC, in percentage points: "
        f"{'; '.join(parts)}; and from the one to the other "
        f"{abs(drawing.value(fixed['auc']) - drawing.value(least['auc'])):.1f}. {sureness(rows, bases)}\n"
    )


def sureness(rows: list[dict[str, Any]], bases: dict[str, dict[str, Any]]) -> str:
    """Returns what it does to the AUC that the net is sure of the clean images."""
    words, are_more, limit = [], True, 0.0
    for name, base in bases.items():
        (sure,) = [row for row in rows if row is not base and is_like(row, base, "sure")]
        limit = sure["least_top_probability"]
        words.append(f"{name} {drawing.number(sure['auc'])} % (of all {drawing.number(base['auc'])} %)")
        are_more &= sure["auc"]["low"] > base["auc"]["high"]
    return (
        f"Of the sources that the net is sure of (top probability ≥ {limit:g}) the eigenvalues have "
        f"{', '.join(words)}{': how sure a net is decides how well they tell' if are_more else ''}."
    )


#: Fields of a row that a choice changes.
CHOICES = {
    "attack": "FGM for OSSA",
    "clip": "clipping",
    "noise": "noise",
    "images": "successes only",
    "epsilon": "the norm",
    "sure": "images that the net is sure of only",
    "net": "another net",
}
FIELDS = {"images": "only_successful", "sure": "least_top_probability"}


def is_like(row: dict[str, Any], base: dict[str, Any], *choices: str) -> bool:
    """Returns whether two rows agree but in these choices."""
    free = {FIELDS.get(choice, choice) for choice in choices}
    fields = [FIELDS.get(choice, choice) for choice in CHOICES]
    return all(row[field] == base[field] for field in fields if field not in free)


def middle(rows: list[dict[str, Any]]) -> float:
    """Returns the norm that is not varied: the one of the unclipped row."""
    return next(row["epsilon"] for row in rows if row["epsilon"] is not None and not row["clip"])


if __name__ == "__main__":
    drawing.run(__doc__, section)
