"""A batch job from beginning to end: resumed where it stopped, or begun, then finished."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cmsearch.batch.output import Output
from cmsearch.batch.record import DONE, JobRecord
from cmsearch.batch.rows import Answered
from cmsearch.batch.source import Source
from cmsearch.batch.spool import Progress, Spool, unwritable
from cmsearch.batch.task import Task
from cmsearch.errors import BatchError


class Engine(Protocol):
    """What has chunks answered: processes of this machine, or a cluster."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def width(self) -> int:
        """How many workers there are; 0 for as many as the cluster has room for."""
        ...

    def answers(
        self, source: Source, task: Task, *, skip: int = 0, digest: str = ""
    ) -> Generator[Answered]:
        """Yield the answers of the chunks from number ``skip`` on, in order."""
        ...


# Called with the rows done, those set aside, and the share of the input that was read.
Watch = Callable[[int, int, float | None], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a job.

    Attributes:
        answered, set_aside: how many rows.
        resumed: how many rows of them an earlier run had done.
        seconds: how long it took, all runs together.
        output: the file of answers.
        errors: the file of rows that were set aside; None where there are none.
    """

    answered: int
    set_aside: int
    resumed: int
    seconds: float
    output: Path
    errors: Path | None


def run(
    source: Source,
    output: Output,
    task: Task,
    *,
    engine: Engine,
    overwrite: bool = False,
    every: float = 1.0,
    watch: Watch | None = None,
) -> Summary:
    """Answer every row of a source into an output; return what came of it.

    What is answered lies in OUT.parts; after a crash the same call goes on from there. The
    output appears when it is complete, beside it OUT.job.json and, where rows were set
    aside, OUT.errors.jsonl.

    Args:
        source: the notes.
        output: where the answers go.
        task: what is asked of each note.
        engine: what answers.
        overwrite: start anew, whatever is there.
        every: seconds between two checkpoints.
        watch: called after each chunk.

    Raises:
        BatchError: the output is there already; another job has begun it; it cannot be
            written; the input cannot be read or has changed.
    """
    record = JobRecord.of(source, task, output, engine=engine.name, workers=engine.width)
    earlier = None if overwrite else JobRecord.read(output.record)
    if not overwrite:
        _refuse_finished(output, earlier)
    with Spool(output.parts, every=every, anew=overwrite) as spool:
        if earlier is not None:
            record = record.goes_on(earlier, output.parts)
        elif spool.done.chunks:
            raise BatchError(
                f"{output.parts}: holds a job without {output.record.name}; "
                "start anew with --overwrite"
            )
        try:
            if overwrite:
                for path in (output.path, output.errors, output.record):
                    path.unlink(missing_ok=True)
            record.write(output.record)
        except OSError as error:
            raise unwritable(output.record, error) from error
        resumed = spool.done.answered + spool.done.set_aside
        if not spool.done.ended:
            _answer(source, task, engine, spool, watch or _nobody)
        return _finish(spool, output, task, record, resumed)


def _refuse_finished(output: Output, earlier: JobRecord | None) -> None:
    """Raise BatchError if the output is there, of a finished job or of somebody else."""
    finished = earlier is not None and earlier.state == DONE
    if finished or (earlier is None and output.path.exists()):
        raise BatchError(
            f"{output.path}: is there already; name another output or start anew with --overwrite"
        )


def _answer(source: Source, task: Task, engine: Engine, spool: Spool, watch: Watch) -> None:
    done = spool.done
    answered, set_aside = done.answered, done.set_aside
    watch(answered, set_aside, 0.0)
    with closing(engine.answers(source, task, skip=done.chunks, digest=done.digest)) as found:
        for chunk in found:
            spool.append(chunk)
            answered, set_aside = answered + chunk.answered, set_aside + chunk.set_aside
            watch(answered, set_aside, chunk.read)
    spool.commit(ended=True)


def _finish(spool: Spool, output: Output, task: Task, record: JobRecord, resumed: int) -> Summary:
    output.place(spool, task.columns)
    done = spool.done
    try:
        record.ended(done).write(output.record)
    except OSError as error:
        raise unwritable(output.record, error) from error
    spool.remove()
    return Summary(
        answered=done.answered,
        set_aside=done.set_aside,
        resumed=resumed,
        seconds=done.seconds,
        output=output.path,
        errors=output.errors if done.set_aside else None,
    )


def stream(
    source: Source, task: Task, *, engine: Engine, write: Callable[[Answered], None]
) -> Progress:
    """Answer every row, each chunk written at once; nothing is kept to go on from.

    Args:
        source: the notes.
        task: what is asked of each note.
        engine: what answers.
        write: takes the answers of each chunk, in order.
    """
    answered = set_aside = 0
    with closing(engine.answers(source, task)) as found:
        for chunk in found:
            write(chunk)
            answered, set_aside = answered + chunk.answered, set_aside + chunk.set_aside
    return Progress(answered=answered, set_aside=set_aside, ended=True)


def _nobody(answered: int, set_aside: int, read: float | None) -> None:
    """Progress that nobody watches."""
