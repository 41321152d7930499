"""What `kf.detectors.evaluate` returns."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

from keras_fisher.artefacts import write_atomically
from keras_fisher.checks import KnowsKeywords, check_flag, check_option, message, suggests_keywords
from keras_fisher.detectors.evaluation.cell import SUBSETS, Cell
from keras_fisher.detectors.evaluation.roc_figure import write_roc_figure
from keras_fisher.detectors.evaluation.tables import cell_table, cross_table
from keras_fisher.detectors.reading import reading

#: Stands in each file; another number, another layout.
_FORMAT = "keras_fisher.Evaluation/1"


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(KnowsKeywords):
    """Every detector, fitted to each training attack, on every attack: numbers, and how they came about."""

    #: one for each detector, training attack, attack and subset.
    cells: tuple[Cell, ...]
    #: name to class and settings.
    detectors: dict[str, str]
    #: name to class and settings, the adaptive ones too.
    attacks: dict[str, str]
    #: "given", "misclassified" (these are left out), "fit", "calibration", "test".
    num_sources: dict[str, int]
    #: asked, ascending.
    false_positive_rates: tuple[float, ...]
    #: "successful" or "all": which images of the training attacks the detectors were fitted to.
    fit_to: str
    num_resamples: int
    seed: int
    versions: dict[str, str]

    def __repr__(self) -> str:
        return (
            f"Evaluation(num_cells={len(self.cells)}, detectors={list(self.detectors)}, "
            f"attacks={list(self.attacks)}, num_sources={self.num_sources})"
        )

    @suggests_keywords
    def cell(
        self,
        *,
        detector: str,
        trained_on: str | tuple[str, ...],
        attack: str | None = None,
        subset: str = "successful",
    ) -> Cell:
        """Returns one cell.

        Args:
            detector: its name.
            trained_on: the name of an attack, or a tuple of names for a mixture.
            attack: its name; None with the subset "worst_case".
            subset: "successful", "all", "worst_case" or "adaptive".

        Raises:
            ValueError: there is no such cell.
        """
        check_option("subset", subset, SUBSETS)
        cells = [cell for cell in self.cells if cell.subset == subset]
        asked = {"detector": detector, "trained_on": mixture_name(trained_on), "attack": attack}
        for name, value in asked.items():
            options = dict.fromkeys(getattr(cell, name) for cell in cells)
            check_option(name, value, options, f"Of the subset {subset!r}.")
            cells = [cell for cell in cells if getattr(cell, name) == value]
        return cells[0]

    @suggests_keywords
    def table(
        self,
        *,
        detector: str | None = None,
        trained_on: str | tuple[str, ...] | None = None,
        attack: str | None = None,
        subset: str | None = "successful",
        evasion: bool = False,
    ) -> str:
        """Returns a Markdown table, one row a cell, of all cells that agree with what is given; None is any.

        Args:
            detector: its name.
            trained_on: the name of an attack, or a tuple of names for a mixture.
            attack: its name.
            subset: "successful", "all", "worst_case" or "adaptive".
            evasion: add columns for `Cell.evasion`.

        Raises:
            TypeError, ValueError: there is no such cell.
        """
        cells = self._select(detector=detector, trained_on=trained_on, attack=attack, subset=subset)
        return cell_table(cells, self.false_positive_rates, evasion=check_flag("evasion", evasion))

    @suggests_keywords
    def cross_table(self, detector: str, subset: str = "successful") -> str:
        """Returns a Markdown table of the AUC in percent: training attacks down, attacks across.

        Raises:
            ValueError: there is no such detector or subset.
        """
        return cross_table(self._select(detector=detector, subset=subset))

    @suggests_keywords
    def draw_roc(
        self,
        path: str | os.PathLike,
        *,
        trained_on: str | tuple[str, ...],
        attack: str | None = None,
        subset: str = "successful",
    ) -> pathlib.Path:
        """Returns `path` once it has the ROC curves of all detectors, in the format of its ending.

        Args:
            path: such as "roc.png" or "roc.pdf".
            trained_on: the name of an attack, or a tuple of names for a mixture.
            attack: its name; None with the subset "worst_case".
            subset: "successful", "all", "worst_case" or "adaptive".

        Raises:
            ValueError: there is no such cell.
        """
        trained_on = mixture_name(trained_on)
        cells = [
            self.cell(detector=name, trained_on=trained_on, attack=attack, subset=subset)
            for name in self.detectors
        ]
        title = f"{attack or 'worst of all attacks'} ({subset.replace('_', ' ')}), fitted to {trained_on}"
        return write_roc_figure(cells, title, path)

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Returns `path` once the evaluation is there whole, as JSON; NaN is null."""
        header = {"format": _FORMAT} | {name: getattr(self, name) for name in _header_names()}
        # One line for each cell: to be read and compared line by line.
        lines = ",\n".join(json.dumps(cell.to_json(), allow_nan=False) for cell in self.cells)
        top = json.dumps(header, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
        text = f'{top},\n  "cells": [\n{lines}\n]}}\n'
        return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike) -> Evaluation:
        """Returns the evaluation that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no evaluation, or of another version of the format.
        """
        read = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        found = read.get("format") if isinstance(read, dict) else type(read).__name__
        if found != _FORMAT:
            raise ValueError(message("path", f"be a JSON file with format {_FORMAT!r}", repr(found)))
        with reading(pathlib.Path(path).name, "Run the evaluation again."):
            fields: dict[str, Any] = {name: read[name] for name in _header_names()}
            fields["false_positive_rates"] = tuple(fields["false_positive_rates"])
            return cls(cells=tuple(Cell.from_json(cell) for cell in read["cells"]), **fields)

    def _select(self, **asked: Any) -> list[Cell]:
        """Returns the cells that agree with what is not None."""
        asked = {name: value for name, value in asked.items() if value is not None}
        if "trained_on" in asked:
            asked["trained_on"] = mixture_name(asked["trained_on"])
        cells = list(self.cells)
        for name, value in asked.items():
            check_option(name, value, dict.fromkeys(getattr(cell, name) for cell in cells))
            cells = [cell for cell in cells if getattr(cell, name) == value]
        return cells


def mixture_name(trained_on: str | tuple[str, ...]) -> str:
    """Returns the one name of a training attack, or of several."""
    return trained_on if isinstance(trained_on, str) else " + ".join(trained_on)


def _header_names() -> list[str]:
    return [field.name for field in dataclasses.fields(Evaluation) if field.name != "cells"]
