"""Progress of a build and of a pretraining run, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from cmsearch.train.journal import Moment


class BuildProgress:
    """Shows the stages of an index build; call it as ``build_index`` calls ``progress``."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> BuildProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` is done in a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)  # type: ignore[arg-type]


class PretrainProgress:
    """Shows how a pretraining run goes; call it with each line of its log.

    Where there is no terminal, only validations are shown, a line each.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=console,
        )  # fmt: skip
        self._task = self._progress.add_task("steps", total=None)
        self._valid: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> PretrainProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, moment: Moment) -> None:
        """Show a moment of the run."""
        self._valid = moment.valid or self._valid
        self._progress.update(self._task, completed=moment.step, total=moment.steps)
        table = Table(box=None)
        for name in (
            "phase",
            "loss",
            "rate",
            "tokens",
            "tokens/s",
            "of peak",
            "memory",
            *self._valid,
        ):
            table.add_column(name, justify="right")
        table.add_row(
            f"{moment.phase} {moment.curve}", f"{moment.loss:.3f}", f"{moment.rate:.2e}",
            f"{moment.tokens / 1e6:.2f} M", f"{moment.tokens_per_second:,.0f}",
            f"{moment.utilisation:.0%}", f"{moment.memory_mb:,.0f} MB",
            *(f"{value:.3f}" for value in self._valid.values()),
        )  # fmt: skip
        if self._console.is_terminal:
            self._live.update(Group(self._progress, table))
        elif moment.valid:
            words = "  ".join(f"{name} {value:.3f}" for name, value in moment.valid.items())
            self._console.print(
                f"step {moment.step}/{moment.steps}  loss {moment.loss:.3f}  {words}"
            )
