"""What long commands say while they work: a progress bar, and sentences beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def progress_bar(console: Console | None = None, transient: bool = False) -> Progress:
    """A bar with description, count, elapsed and remaining time; ``transient`` ones vanish at their end."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=transient)


def say(sentence: str) -> None:
    """A sentence on stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(sentence, soft_wrap=True, markup=False)
