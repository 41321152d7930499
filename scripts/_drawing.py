"""What the table_ and figure_ scripts have in common: results, tables in Markdown, figures, sections.

Each of them has a function `section(output)` that returns a part of the report, drawn from the files of a
folder of results and from nothing else, and prints it when run: `python scripts/table_2.py --output FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_fisher import artefacts

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
DATA = ("mnist", "cifar10")
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "ilsvrc": "ImageNet"}
#: One colour an attack or a method, told apart by the colour-blind too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MISSING = "–"


def run(description: str | None, section: Callable[[pathlib.Path], str]) -> None:
    """Prints the section that a script draws."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=REPOSITORY / "docs" / "results",
        help="folder of the results (default: docs/results)",
    )
    output = parser.parse_args().output
    if not output.is_dir():
        raise SystemExit(f"{output}: there is no such folder. Run scripts/reproduce.py first.")
    print(section(output))


def read(output: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns what a run_ script stored."""
    path = output / f"{name}.json"
    if not path.is_file():
        script = name.rpartition("_")[0]
        raise SystemExit(f"{path}: there are no such results. Run scripts/run_{script}.py first.")
    return json.loads(path.read_text(encoding="utf-8"))


def stored(output: pathlib.Path, name: str) -> dict[str, dict[str, Any]]:
    """Returns the results of an experiment by data set, as far as there are some."""
    return {
        data: read(output, f"{name}_{data}") for data in DATA if (output / f"{name}_{data}.json").is_file()
    }


def found(output: pathlib.Path, name: str) -> dict[str, dict[str, Any]]:
    """Returns the results of an experiment by data set, of which there must be one."""
    results = stored(output, name)
    if not results:
        raise SystemExit(f"{output}: there are no results of {name}. Run scripts/run_{name}.py first.")
    return results


def arrays(output: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    """Returns the points of a figure."""
    with np.load(output / f"{name}.npz") as kept:
        return dict(kept)


def origin(result: dict[str, Any], note: str = "") -> str:
    """Returns the line on where the numbers come from."""
    text = f"`{result['command']}`, n = {result['num_used']:,}, seed {result['seed']}"
    return f"{TITLES[result['data']]}: {text}{'; ' + note if note else ''}.\n"


def number(sample: dict[str, Any], digits: int = 1, *, interval: bool = True) -> str:
    """Returns "value (low to high)"."""
    if sample["value"] is None:
        # A quantile beyond what was looked at.
        return MISSING if sample["low"] is None else f"{MISSING} ({sample['low']:.{digits}f} or more)"
    value = f"{sample['value']:.{digits}f}"
    if not interval or sample["low"] is None:
        return value
    if sample["high"] is None:
        return f"{value} ({sample['low']:.{digits}f} or more)"
    return f"{value} ({sample['low']:.{digits}f} to {sample['high']:.{digits}f})"


def value(sample: dict[str, Any]) -> float:
    """Returns the estimate; NaN for none."""
    return math.nan if sample["value"] is None else sample["value"]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], num_names: int = 1) -> str:
    """Returns a Markdown table whose first columns are names, left-aligned."""
    rule = ["---" if index < num_names else "---:" for index in range(len(header))]
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    lines.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join(lines) + "\n"


def figure(*, rows: int = 1, height: float = 4.5) -> Figure:
    """Returns an empty figure, `height` inches for each of its rows."""
    return Figure(figsize=(11, height * rows), facecolor="white", layout="constrained")


def save(output: pathlib.Path, name: str, drawn: Figure) -> str:
    """Returns the line of Markdown that shows the figure, which is then at `output`/`name`.png."""
    path = output / f"{name}.png"
    # Without the date and versions: the same numbers give the same bytes.
    artefacts.write_atomically(
        path, lambda temporary: drawn.savefig(temporary, dpi=80, metadata={"Software": None})
    )
    return f"![{name}]({output.name}/{path.name})\n"


def verdict(result: dict[str, Any], say: Callable[..., str], *arguments: Any) -> str:
    """Returns what `say(*arguments)` says of the numbers; it is only asked where there are enough of them."""
    if result["is_quick"]:
        return "With so few images (`--quick`) nothing is said of agreement.\n"
    return say(*arguments)


def is_apart(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Returns whether the intervals of two numbers have no point in common."""
    return first["low"] > upper(second) or second["low"] > upper(first)


def upper(sample: dict[str, Any]) -> float:
    """Returns the upper end of an interval; of one that has none, infinity."""
    return math.inf if sample["high"] is None else sample["high"]


def agrees(sample: dict[str, Any], paper: float) -> str:
    """Returns how an estimate stands to the paper's number."""
    if sample["value"] is None:
        return "cannot be told"
    if sample["low"] is not None and sample["low"] <= paper <= upper(sample):
        return "agrees within its interval"
    return "is higher" if sample["value"] > paper else "is lower"
