"""Progress bars for whatever takes longer than a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


#: What `note` tells of the item at hand, if a bar listens. A context variable: the loops that note lie deep
#: beneath the one that shows, in a method that users override.
_listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


def track(
    items: Iterable[Item], description: str, total: int | None, enabled: bool, *, listen: bool = False
) -> Iterator[Item]:
    """Yields the items, with a bar on the terminal if `enabled`.

    Args:
        items: what is worked on.
        description: stands before the bar.
        total: the number of items, None if unknown.
        enabled: False is silence.
        listen: move the bar within an item too, as `note` says.
    """
    if not enabled:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(description, total=total)
        for index, item in enumerate(items):
            token = _listener.set(_mover(bar, task, index) if listen else None)
            try:
                yield item
            finally:
                _listener.reset(token)
            bar.update(task, completed=index + 1)


def note(share: float) -> None:
    """Tells the bar, if one listens, what share of the item at hand is done."""
    listener = _listener.get()
    if listener is not None:
        listener(share)


def _mover(bar: Progress, task: TaskID, index: int) -> Callable[[float], None]:
    return lambda share: bar.update(task, completed=index + min(share, 1.0))
