"""OUT.parts: what a job has answered so far, safe against a crash at any moment.

Answers are appended to one file and faults to another; then ``progress.json`` is replaced,
which says how many bytes of each count. What lies beyond is cut off when the job goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO

from filelock import FileLock, Timeout

from cmsearch.batch.rows import Answered
from cmsearch.errors import BatchError

ANSWERS, ERRORS, PROGRESS = "answers.jsonl", "errors.jsonl", "progress.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Attributes:
        chunks: how many chunks are answered and kept.
        digest: the digest of the input up to there.
        answered, set_aside: how many rows.
        answer_bytes, error_bytes: how much of the two files counts.
        ended: whether the whole input has been answered.
        seconds: how long it has taken, all runs together.
    """

    chunks: int = 0
    digest: str = ""
    answered: int = 0
    set_aside: int = 0
    answer_bytes: int = 0
    error_bytes: int = 0
    ended: bool = False
    seconds: float = 0.0


class Spool:
    """The folder OUT.parts, held by one job at a time.

    Args:
        folder: where it lies.
        every: seconds between two checkpoints.
        anew: forget what an earlier run has left in it.
    """

    def __init__(self, folder: Path, *, every: float = 1.0, anew: bool = False) -> None:
        self.folder = folder
        self.done = Progress()
        self._anew = anew
        self._every = every
        self._pending = self.done
        self._lock = FileLock(folder / ".lock")
        self._answers: IO[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._began = self._committed = time.monotonic()

    def __enter__(self) -> Spool:
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BatchError(f"{self.folder}: another process runs this very job") from error
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            self._resume()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def answers(self) -> Path:
        """The file of answers, one line of JSON for each row."""
        return self.folder / ANSWERS

    @property
    def errors(self) -> Path:
        """The file of rows that were set aside."""
        return self.folder / ERRORS

    def append(self, found: Answered) -> None:
        """Take the answers of the next chunk; they are safe from the next checkpoint on.

        Raises:
            BatchError: the disk is full, or the folder is gone.
        """
        assert self._answers is not None and self._errors is not None
        now = self._pending
        if found.number != now.chunks:
            raise BatchError(f"chunk {found.number} came where chunk {now.chunks} was due")
        try:
            self._answers.write(found.lines)
            self._errors.write(found.errors)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self._pending = replace(
            now,
            chunks=now.chunks + 1,
            digest=found.digest,
            answered=now.answered + found.answered,
            set_aside=now.set_aside + found.set_aside,
            answer_bytes=now.answer_bytes + len(found.lines),
            error_bytes=now.error_bytes + len(found.errors),
        )
        if time.monotonic() - self._committed >= self._every:
            self.commit()

    def commit(self, *, ended: bool = False) -> None:
        """Make a checkpoint: from here the job goes on after a crash.

        Raises:
            BatchError: the disk is full, or the folder is gone.
        """
        assert self._answers is not None and self._errors is not None
        now = time.monotonic()
        seconds = round(self._pending.seconds + now - self._began, 3)
        self._began = self._committed = now
        self._pending = replace(self._pending, ended=ended, seconds=seconds)
        try:
            for file in (self._answers, self._errors):
                file.flush()
                os.fsync(file.fileno())
            write_whole(self.folder / PROGRESS, json.dumps(asdict(self._pending)))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self.done = self._pending

    def remove(self) -> None:
        """Remove the folder: the output is in its place."""
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _resume(self) -> None:
        path = self.folder / PROGRESS
        if self._anew:
            for name in (PROGRESS, ANSWERS, ERRORS):
                (self.folder / name).unlink(missing_ok=True)
        if path.is_file():
            try:
                self.done = self._pending = Progress(**json.loads(path.read_text("utf-8")))
            except (ValueError, TypeError) as error:
                raise BatchError(f"{path}: damaged; start anew with --overwrite") from error
        try:
            for file, size in (
                (self.answers, self.done.answer_bytes),
                (self.errors, self.done.error_bytes),
            ):
                self._check(file, size)
            if not self.done.ended:
                self._answers = _appended(self.answers, self.done.answer_bytes)
                self._errors = _appended(self.errors, self.done.error_bytes)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def _check(self, path: Path, size: int) -> None:
        """Raise BatchError if a file is shorter than what was written to it."""
        if self.done.ended and not path.exists():
            return  # it has been moved to its place already
        held = path.stat().st_size if path.exists() else 0
        if held < size:
            raise BatchError(
                f"{path}: has {held:,} bytes, not the {size:,} that were written; "
                "start anew with --overwrite"
            )

    def _close(self) -> None:
        for file in (self._answers, self._errors):
            if file is not None and not file.closed:
                try:
                    file.close()
                except OSError:  # what could not be written was not promised either
                    continue
        self._lock.release()


def _appended(path: Path, size: int) -> IO[bytes]:
    """Open a file for appending after its first ``size`` bytes; what lies beyond is cut off."""
    file = path.open("ab")
    file.truncate(size)
    return file


def write_whole(path: Path, text: str) -> None:
    """Put a file in place at once: readers see the old one or this one."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def unwritable(path: Path, error: OSError) -> BatchError:
    """Return what to say when nothing can be written."""
    return BatchError(
        f"{path}: cannot be written ({error.strerror or type(error).__name__}); free space or "
        "give rights, then run the same command again: it goes on where it stopped"
    )
