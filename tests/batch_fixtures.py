"""A quick task for batch jobs, and jobs in processes of their own that can be killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmsearch.batch.answering import answered
from cmsearch.batch.job import Summary, run
from cmsearch.batch.local import LocalEngine
from cmsearch.batch.output import Output
from cmsearch.batch.schema import ROW, Column, Kind
from cmsearch.batch.source import Source
from cmsearch.errors import BatchError

TESTS = Path(__file__).parent
WORD = (Column("rank", Kind.WHOLE), Column("word"))


@dataclass(frozen=True, slots=True)
class WordsTask:
    """The three longest words of each note; certain words have it fail or its worker die.

    Attributes:
        pause: seconds that each note takes.
        pids: a folder in which each worker leaves a file named after itself.
        tag: an option like any other.
    """

    pause: float = 0.0
    pids: str = ""
    tag: str = ""
    name: str = "words"
    columns: tuple[Column, ...] = (
        *ROW,
        Column("length", Kind.WHOLE),
        Column("words", Kind.LIST, WORD),
    )

    def settings(self) -> dict[str, Any]:
        return {"tag": self.tag}

    def open(self, *, threads: int) -> Any:
        assert threads == 1
        if self.pids:
            (Path(self.pids) / str(os.getpid())).touch()

        def answer(texts: Sequence[str]) -> list[dict[str, Any]]:
            time.sleep(self.pause * len(texts))
            return [self._words(text) for text in texts]

        return answer

    def _words(self, text: str) -> dict[str, Any]:
        words = text.split()
        if "divide" in words:
            raise ZeroDivisionError(f"a message that repeats the note: {text}")
        if "poison" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        best = sorted(words, key=lambda word: (-len(word), word))[:3]
        ranked = [{"rank": rank, "word": word} for rank, word in enumerate(best, 1)]
        return {"length": len(text), "words": ranked if len(words) > 1 else []}


def notes(path: Path, count: int) -> Path:
    """Write a JSONL file of notes, every 97th of them empty; return its path."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = "" if number % 97 == 96 else f"note {number} says {'café ' * (number % 7)}enough"
            file.write(json.dumps({"id": f"n{number:05}", "text": text}) + "\n")
    return path


@dataclass(frozen=True, slots=True)
class InlineEngine:
    """Answers in this very process: quick, and no engine to rely on."""

    name: str = "inline"
    width: int = 1

    def answers(self, source: Source, task: Any, *, skip: int = 0, digest: str = "") -> Any:
        found = task.open(threads=1)
        for chunk in source.chunks(skip=skip, digest=digest):
            yield answered(chunk, found)


def answer(source: Path, out: Path, *, task: Any = None, workers: int = 0, **more: Any) -> Summary:
    """Run a job with so many worker processes; with none, in this process."""
    return run(
        Source.of(str(source)),
        Output.of(out),
        task or WordsTask(),
        engine=LocalEngine(workers) if workers else InlineEngine(),
        every=0.0,
        **more,
    )


def start(source: Path, out: Path, *, limit: int = 0, **task: Any) -> subprocess.Popen[str]:
    """Start a job in a process group of its own; it prints a line when it begins to answer.

    Args:
        source: the notes.
        out: the output.
        limit: bytes that no file of the job may exceed.
        task: options of the task.
    """
    arguments = json.dumps([str(source), str(out), limit, task])
    return subprocess.Popen(
        [sys.executable, "-c", "from batch_fixtures import main; main()", arguments],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main() -> None:
    """What ``start`` runs."""
    source, out, limit, task = json.loads(sys.argv[1])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    begun = False

    def watch(answered: int, set_aside: int, read: float | None) -> None:
        nonlocal begun
        if not begun and answered:
            begun = True
            print("begun", flush=True)

    try:
        answer(Path(source), Path(out), task=WordsTask(**task), workers=2, watch=watch)
    except BatchError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def files(out: Path) -> dict[str, bytes]:
    """Return the contents of the files of a finished job, that of the job file left out."""
    return {
        path.name.removeprefix(out.name): path.read_bytes()
        for path in sorted(out.parent.iterdir())
        if path.name.startswith(out.name) and path.is_file() and path.suffix != ".json"
    }
