"""Progress bars for whatever takes longer than a few seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None, enabled: bool) -> Iterator[Item]:
    """Yields the items, with a bar on the terminal if `enabled`.

    Args:
        items: what is worked on.
        description: stands before the bar.
        total: the number of items, None if unknown.
        enabled: False is silence.
    """
    if not enabled:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)
