"""The tables of an evaluation, in Markdown: to print, and to quote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from keras_fisher.detectors.evaluation.cell import Cell

#: What a cell names that is not one attack.
_WORST = "worst of all"
_MISSING = "–"


def cell_table(cells: Iterable[Cell], rates: Sequence[float], *, evasion: bool) -> str:
    """Returns one row for each cell, rates and areas in percent.

    Args:
        cells: of any kind.
        rates: the asked false positive rates, one column each for TPR, with the realised FPR behind it.
        evasion: add a column each for the share of test sources on which the attack got through.
    """
    header = ["detector", "trained on", "attack", "images", "AUC %", "95 %"]
    header += [f"TPR % (FPR %) at {100 * rate:g} %" for rate in rates]
    rows = []
    for cell in cells:
        low, high = cell.interval
        interval = _MISSING if math.isnan(low) else f"{percent(low)}–{percent(high)}"
        names = [cell.detector, cell.trained_on, cell.attack or _WORST, cell.subset.replace("_", " ")]
        flagged = [f"{percent(cell.tpr[rate])} ({percent(cell.fpr[rate])})" for rate in rates]
        evaded = [percent(cell.evasion[rate]) for rate in rates if evasion]
        rows.append([*names, percent(cell.auc), interval, *flagged, *evaded, str(cell.num_sources)])
    header += [f"evades % at {100 * rate:g} %" for rate in rates if evasion] + ["n"]
    return markdown(header, rows, num_names=4)


def cross_table(cells: Sequence[Cell]) -> str:
    """Returns AUC in percent, training attacks down, attacks across, of one detector."""
    across = list(dict.fromkeys(cell.attack or _WORST for cell in cells))
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell.trained_on, {})[cell.attack or _WORST] = percent(cell.auc)
    table = [[down, *(row.get(attack, _MISSING) for attack in across)] for down, row in rows.items()]
    return markdown(["trained on", *across], table, num_names=1)


def percent(share: float) -> str:
    """Returns a share in percent with one decimal, or a dash for NaN."""
    return _MISSING if math.isnan(share) else f"{100 * share:.1f}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], num_names: int) -> str:
    """Returns a Markdown table whose first columns are left-aligned names, and whose others are numbers."""
    cells = [[text.replace("|", "\\|") for text in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = [
        "-" * width if index < num_names else "-" * (width - 1) + ":" for index, width in enumerate(widths)
    ]
    lines = []
    for row in (cells[0], rule, *cells[1:]):
        padded = (
            text.ljust(width) if index < num_names else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"| {' | '.join(padded)} |")
    return "\n".join(lines)
