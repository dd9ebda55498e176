"""Batch jobs beside a minimal MiniLM pipeline, with one and two workers, and their memory.

    python -m benchmarks.batch NOTES [--notes 2000] [--memory 10000 200000]

NOTES is anything that ``cmsearch batch`` reads (CSV, JSONL, Parquet, zstd, ...) with real
documents; the notes of the benchmark are made of their sentences, about 3,000 characters
each, 400 each where only memory is looked at. Nothing else should be running. Times are of
whole commands, from start to exit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.speed import PEER, _packaged
from cmsearch import Index
from cmsearch.batch.rows import Note
from cmsearch.batch.source import Source

CHARACTERS = 3_000
# Memory is a matter of how many notes there are; short ones are answered in minutes.
MEMORY_CHARACTERS = 400
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("documents", help="real documents, as cmsearch batch reads them")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--task", default="suggest", help="suggest, query or mentions")
    parser.add_argument("--notes", type=int, default=2_000, help="notes that both pipelines answer")
    parser.add_argument("--peer-notes", type=int, default=200, help="notes that the peer answers")
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="sizes to show memory at")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    pool = sentences(options.documents, options.text_column)
    with tempfile.TemporaryDirectory() as scratch:
        figures: dict[str, object] = {"task": options.task, "characters_a_note": CHARACTERS}
        source = write_notes(Path(scratch) / "notes.jsonl", pool, options.notes)
        rates = {}
        for workers in options.workers if options.notes else []:
            seconds, peak = timed(source, options.task, workers)
            rates[workers] = options.notes / seconds
            figures[f"notes_per_second_{workers}"] = round(rates[workers], 1)
            figures[f"peak_mb_{workers}"] = peak
        if {1, 2} <= rates.keys():
            figures["two_workers_over_one"] = round(rates[2] / rates[1], 2)
        if options.notes and options.peer_notes:
            peer = peer_rate(source, options.peer_notes)
            figures["peer"] = f"{PEER}, sentence-transformers, fp32, FAISS flat, all cores"
            figures["peer_notes_per_second"] = round(peer, 2)
            figures["ratio"] = round(max(rates.values()) / peer, 1)
        for count in options.memory:
            source = write_notes(
                Path(scratch) / "many.jsonl", pool, count, characters=MEMORY_CHARACTERS
            )
            _, peak = timed(source, options.task, max(options.workers))
            figures[f"peak_mb_at_{count}"] = peak
    print(json.dumps(figures, indent=1))


def sentences(documents: str, column: str, *, most: int = 200_000) -> list[list[str]]:
    """Return the sentences of the documents, document by document."""
    found, held = [], 0
    for item, _ in Source.of(documents, text_column=column).rows():
        if isinstance(item, Note):
            parts = [part for part in _SENTENCE.split(item.text) if part.strip()]
            found.append(parts)
            held += len(parts)
            if held >= most:
                break
    return found


def varied(pool: list[list[str]], *, characters: int, seed: int = 1) -> Iterator[str]:
    """Yield notes without end: sentences of a document, others of another among them."""
    chance = random.Random(seed)
    while True:
        first, second = chance.choice(pool), chance.choice(pool)
        parts: list[str] = []
        while sum(map(len, parts)) < characters:
            of = first if chance.random() < 0.8 else second
            start = chance.randrange(len(of))
            parts += of[start : start + chance.randint(1, 6)]
        yield "\n".join(parts)[: characters + 500]


def write_notes(
    path: Path, pool: list[list[str]], count: int, *, characters: int = CHARACTERS
) -> Path:
    """Write so many notes; return the path."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(islice(varied(pool, characters=characters), count)):
            file.write(json.dumps({"id": f"n{number}", "text": text}) + "\n")
    return path


def timed(source: Path, task: str, workers: int) -> tuple[float, int]:
    """Return seconds and peak megabytes of a job, all its processes together."""
    out = source.with_name("out.jsonl")
    arguments = ["batch", str(source), str(out), "--task", task, "-w", str(workers), "--overwrite"]
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "cmsearch.cli", *arguments]) as job:
        peak = Peak(job.pid)
        job.wait()
        seconds = time.perf_counter() - started
        peak.stop()
    if job.returncode not in (0, 3):
        raise SystemExit(f"the job ended with {job.returncode}")
    return seconds, peak.megabytes


class Peak:
    """Watches the memory of a process and its children: proportional set size, summed."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._ended.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._ended.wait(0.25):
            kilobytes = sum(map(_pss, _family(pid)))
            self.megabytes = max(self.megabytes, kilobytes // 1024)


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:
        return found
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def peer_rate(source: Path, count: int) -> float:
    """Return notes per second of what somebody would write in an afternoon.

    Each sentence is encoded and compared with every title and inclusion term.
    """
    import faiss
    from sentence_transformers import SentenceTransformer

    forms = list(Index.open().files.lexicon.peer_forms("icd10cm"))
    model = SentenceTransformer(_packaged(), device="cpu")
    vectors = model.encode([text for _, text in forms[:2_000]], normalize_embeddings=True)
    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(forms), len(vectors)):  # as large as all forms; speed is the same
        index.add(vectors[: len(forms) - start])
    with source.open(encoding="utf-8") as lines:
        notes = [json.loads(line)["text"] for line in islice(lines, count)]
    started = time.perf_counter()
    for start in range(0, len(notes), 64):
        parts = [
            (note, part)
            for note, text in enumerate(notes[start : start + 64])
            for part in _SENTENCE.split(text)
            if part.strip()
        ]
        asked = model.encode([part for _, part in parts], batch_size=64, normalize_embeddings=True)
        scores, rows = index.search(asked, 5)
        codes: dict[int, dict[str, float]] = {}
        for (note, _), row_scores, row in zip(parts, scores, rows, strict=True):
            for score, form in zip(row_scores.tolist(), row.tolist(), strict=True):
                code = forms[form][0]
                best = codes.setdefault(note, {})
                best[code] = max(score, best.get(code, -1.0))
    return len(notes) / (time.perf_counter() - started)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
