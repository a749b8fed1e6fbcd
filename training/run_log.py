"""What a run reports: TensorBoard scalars and pictures, a log file, and progress on the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes to ``folder``/tensorboard and ``folder``/log.txt; shows a progress bar on a terminal, plain
    lines elsewhere."""

    def __init__(self, folder: Path, first_step: int, steps: int) -> None:
        self._steps = steps
        self._first = first_step
        self._began = time.monotonic()
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._file = (folder / "log.txt").open("a")
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[status]}"),
                console=Console(stderr=True),
            )
            self._bar = self._progress.add_task("training", total=steps, completed=first_step, status="")

    def __enter__(self) -> RunLog:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._writer.close()
        self._file.close()

    def advance(self, step: int) -> None:
        """Tell the progress bar that ``step`` steps are finished."""
        if self._progress is not None:
            self._progress.update(self._bar, completed=step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log the mean values of the last steps, after ``step`` finished steps."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._progress is not None:
            losses = "  ".join(
                f"{name} {value:.4g}" for name, value in values.items() if not name.startswith("train/")
            )
            self._progress.update(self._bar, status=losses)
        self._write(
            f"step {step}/{self._steps}  left {self._time_left(step)}  {shown}", plain=self._progress is None
        )

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Log H×W×3 uint8 RGB pictures."""
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """One line for the user and the log file."""
        self._write(text, plain=self._progress is None)
        if self._progress is not None:
            self._progress.console.print(text, highlight=False)

    def _write(self, line: str, plain: bool) -> None:
        self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        self._file.flush()
        if plain:
            print(line, file=sys.stderr, flush=True)

    def _time_left(self, step: int) -> str:
        per_step = (time.monotonic() - self._began) / max(1, step - self._first)
        seconds = round(per_step * (self._steps - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class NoLog:
    """Stands in for :class:`RunLog` in the processes of a parallel run that report nothing."""

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, step: int) -> None:
        """Says nothing."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Says nothing."""

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Says nothing."""

    def say(self, line: str) -> None:
        """Says nothing."""
