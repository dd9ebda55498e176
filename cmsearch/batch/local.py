"""The local engine: worker processes that each hold the index, answers in order."""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any

from cmsearch.batch.answering import answered, opened
from cmsearch.batch.rows import Answered, Chunk
from cmsearch.batch.source import Source
from cmsearch.batch.task import Task
from cmsearch.errors import BatchError, CmsearchError

# A chunk that ends this many workers ends the job.
_DEATHS = 3
# How many chunks an answer may be ahead of the one that is written next, for each worker.
_AHEAD = 8
# A worker whose memory has grown by so many MiB since its first chunk makes room for a new one:
# what it remembers of the notes it read would grow with the input.
_GROWTH = 128
# One thread each: a sum made by two threads differs in its last digit from that of one, and
# the output must not depend on the number of workers.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
               "TOKENIZERS_PARALLELISM", "RAYON_NUM_THREADS")  # fmt: skip


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Answers on this machine, in processes of their own.

    Attributes:
        workers: how many; one for each core if 0.
        growth: MiB by which a worker may grow before another takes its place.
    """

    workers: int = 0
    growth: int = _GROWTH
    name: str = "local"

    @property
    def width(self) -> int:
        """How many workers there are."""
        return self.workers or cores()

    def answers(
        self, source: Source, task: Task, *, skip: int = 0, digest: str = ""
    ) -> Generator[Answered]:
        """Yield the answers of the chunks from number ``skip`` on, in order.

        No more chunks are read than the workers need soon. A worker that dies is replaced
        and its chunk given to another.

        Raises:
            BatchError: the input cannot be read; a chunk ended three workers; the task
                cannot be opened.
        """
        with _Crew(task, self.width, self.growth) as crew:
            yield from crew.answers(source.chunks(skip=skip, digest=digest), first=skip)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a worker sends instead of answers when the index fails."""

    message: str


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    line: Connection
    ready: bool = False
    chunk: Chunk | None = None


def work(line: Connection, task: Task, settings: Mapping[str, Any], growth: int) -> None:
    """Answer the chunks that come down the line, until it is closed or too much is held."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and closes the line
    try:
        answer = opened(task, settings)
        line.send(None)
        most = 0
        while not most or own_memory() <= most:
            chunk = line.recv()
            line.send(answered(chunk, answer))
            most = most or own_memory() + growth
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has ended
    except CmsearchError as error:
        line.send(_Refusal(str(error)))


class _Crew:
    """Worker processes, each on a line of its own."""

    def __init__(self, task: Task, width: int, growth: int) -> None:
        self._growth = growth
        self._task = task
        self._settings = task.settings()
        self._width = width
        self._workers: list[_Worker] = []
        self._lost: deque[Chunk] = deque()
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> _Crew:
        for _ in range(self._width):
            self._hire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.line.close()
            if kind is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(10)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def answers(self, supply: Iterator[Chunk], *, first: int) -> Iterator[Answered]:
        """Yield the answers to the chunks in their order."""
        early: dict[int, Answered] = {}
        turn, ended = first, False
        while True:
            bound = turn + _AHEAD * self._width
            for worker in self._workers:
                if not worker.ready or worker.chunk is not None:
                    continue
                chunk = self._lost.popleft() if self._lost else None
                if chunk is None and not ended and self._reach(early, turn) < bound:
                    chunk = next(supply, None)
                    ended = chunk is None
                if chunk is not None:
                    self._give(worker, chunk)
            busy = any(worker.chunk is not None for worker in self._workers)
            if ended and not busy and not self._lost:
                return
            for found in self._heard():
                early[found.number] = found
            while turn in early:
                yield early.pop(turn)
                turn += 1

    def _reach(self, early: dict[int, Answered], turn: int) -> int:
        """Return the number of the chunk that is read next."""
        out = [worker.chunk.number for worker in self._workers if worker.chunk is not None]
        return max([turn - 1, *early, *out]) + 1

    def _hire(self) -> None:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self._task, self._settings, self._growth), daemon=True
        )
        with _single_threaded():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _give(self, worker: _Worker, chunk: Chunk) -> None:
        worker.chunk = chunk
        try:
            worker.line.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            self._replace(worker)

    def _heard(self) -> Iterator[Answered]:
        """Yield what the workers send next; waits until one does."""
        talking = wait([worker.line for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.line in talking]:
            try:
                said = worker.line.recv()
            except (EOFError, ConnectionResetError):
                self._replace(worker)
                continue
            if isinstance(said, _Refusal):
                raise BatchError(said.message)
            worker.ready = True
            if isinstance(said, Answered):
                worker.chunk = None
                yield said

    def _replace(self, worker: _Worker) -> None:
        """Put another in the place of a worker that died or retired; take its chunk back."""
        worker.process.join()
        worker.line.close()
        self._workers.remove(worker)
        lost = -1 if worker.chunk is None else worker.chunk.number
        if worker.process.exitcode != 0:
            self._deaths[lost] += 1
            if self._deaths[lost] == _DEATHS:
                raise BatchError(_epitaph(worker))
        if worker.chunk is not None:
            self._lost.append(worker.chunk)
        self._hire()


def _epitaph(worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    end = f"signal {-code}" if code < 0 else f"exit code {code}"
    memory = "; often this means too little memory: use fewer --workers" if code == -9 else ""
    if worker.chunk is None:
        return f"workers end as soon as they start ({end}){memory}"
    rows = [item.row for item in worker.chunk.items]
    return (
        f"rows {rows[0]} to {rows[-1]} ended {_DEATHS} workers ({end}){memory}; what is done is "
        "kept, and the same command goes on from there"
    )


def own_memory() -> int:
    """Return the MiB of this process's own memory, mapped files left out; 0 if unknown."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon")), 0)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Have processes that start now use one thread."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
