"""Progress of a batch job and of indexing notes, on stderr."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class JobProgress:
    """Shows how far a batch job is: rows, rate, time left; a line a minute in a log."""

    def __init__(self, console: Console, *, every: float = 60.0) -> None:
        self._console = console
        self._every = every
        self._began = self._told = monotonic()
        self._at_start: tuple[int, float] | None = None
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, said="")

    def __enter__(self) -> JobProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, answered: int, set_aside: int, read: float | None) -> None:
        """Show what is answered and set aside, and the share of the input that was read."""
        now = monotonic()
        rows = answered + set_aside
        if self._at_start is None:  # what an earlier run did says nothing about the rate
            self._at_start = (rows, 0.0)
            self._began = now
            return
        if self._at_start[1] == 0.0 and read:
            self._at_start = (self._at_start[0], read)
        said = job_said(rows - self._at_start[0], now - self._began, read, self._at_start[1])
        said += f", {set_aside:,} set aside" if set_aside else ""
        self._progress.update(
            self._task, description=f"{rows:,} rows", said=said,
            total=None if read is None else 1.0, completed=read or 0.0,
        )  # fmt: skip
        if not self._console.is_terminal and now - self._told >= self._every:
            self._told = now
            self._console.print(f"{rows:,} rows, {said}")


def job_said(rows: int, seconds: float, read: float | None, began_at: float) -> str:
    """Return rate and time left: "45 a second, 0:02:10 left".

    Args:
        rows: rows done in this run.
        seconds: how long it has taken.
        read: share of the input read so far; None if unknown.
        began_at: the share that had been read when this run answered its first rows.
    """
    rate = rows / max(seconds, 1e-6)
    said = f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second"
    if read is None or read <= began_at:
        return said
    left = seconds * (1 - read) / (read - began_at)
    return f"{said}, {timedelta(seconds=round(left))} left"


class CountProgress:
    """Shows two counts that grow, and their rate; nothing in a log."""

    def __init__(self, console: Console, first: str, second: str) -> None:
        self._names = first, second
        self._began = monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> CountProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, first: int, second: int) -> None:
        """Show both counts."""
        rate = second / max(1e-6, monotonic() - self._began)
        said = f"{first:,} {self._names[0]}, {second:,} {self._names[1]}, {rate:,.0f} a second"
        self._progress.update(self._task, description=said)
