"""Compares the results of two runs of reproduce.py: with one seed they are the same numbers.

    python scripts/reproduce.py --quick
    mv runs/reproduction runs/reproduction_kept        # or the second run takes the parts of the first
    python scripts/reproduce.py --quick --output runs/again
    python scripts/compare_results.py runs/reproduction_quick runs/again

Prints of each experiment how many numbers there are, in its JSON file and among the points of its figure,
how many differ, and by how much at most, relative to the larger of the two. Times are left out. Ends with
status 1 if a number differs by more than --tolerance, or if one run has results that the other has not.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.table

#: Of a measurement: another in each run.
TIMES = ("seconds", "gradient_seconds", "in_gradients")


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(words)
    folders = (arguments.first, arguments.second)
    first, second = ({path.stem for path in folder.glob("*.json")} for folder in folders)
    for folder, found in zip(folders, (first, second), strict=True):
        if not found:
            raise SystemExit(f"{folder}: there are no results. scripts/reproduce.py writes some.")
    table = rich.table.Table(title=f"{arguments.first} and {arguments.second}")
    for column in ("experiment", "numbers", "that differ", "at most by"):
        table.add_column(column, justify="left" if column == "experiment" else "right")
    most, lacking = 0.0, []
    for name in sorted(first | second):
        if name not in first & second:
            table.add_row(name, "in one of them only", "", "")
            lacking.append(name)
            continue
        found = differences(*(read(folder, name) for folder in folders))
        most = max([most, *found])
        table.add_row(name, f"{len(found)}", f"{sum(d > 0 for d in found)}", f"{max(found, default=0.0):.1e}")
    rich.console.Console(width=110).print(table)
    if most > arguments.tolerance:
        raise SystemExit(f"They differ by more than {arguments.tolerance:g}.")
    if lacking:
        raise SystemExit(f"What both have agrees. Only one of them has: {', '.join(lacking)}.")


def parse_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=pathlib.Path, help="folder of results")
    parser.add_argument("second", type=pathlib.Path, help="another")
    parser.add_argument("--tolerance", type=float, default=0.0, help="default: %(default)s, the same bits")
    return parser.parse_args(words)


def read(folder: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns the numbers of an experiment and the points of its figure."""
    numbers = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"]
    path = folder / f"{name}.npz"
    if not path.is_file():
        return {"numbers": numbers}
    with np.load(path) as kept:
        return {
            "numbers": numbers,
            "points": {field: array.ravel().tolist() for field, array in kept.items()},
        }


def differences(first: Any, second: Any) -> list[float]:
    """Returns the relative difference of each number to the other run's; ∞ where one has none."""
    ours, theirs = dict(leaves(first)), dict(leaves(second))
    return [
        difference(ours[key], theirs[key]) if key in ours and key in theirs else math.inf
        for key in sorted(ours.keys() | theirs.keys())
    ]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yields what stands in a nest of lists and dictionaries, with the way to it, without times."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in TIMES:
                yield from leaves(item, f"{key}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{key}/{index:06}")
    else:
        yield key, value


def difference(first: Any, second: Any) -> float:
    """Returns the difference of two leaves relative to the larger; words are equal or not."""
    # NaN stands for an image that was not fooled.
    if first == second or (first != first and second != second):  # noqa: PLR0124
        return 0.0
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (first, second)):
        return math.inf
    return abs(first - second) / max(abs(first), abs(second))


if __name__ == "__main__":
    main()
