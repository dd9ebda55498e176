"""Notes search by kind of index: recall against exact, milliseconds, memory, build, growth.

    python -m benchmarks.notes_search NOTES [--sizes 100000 1000000] [--base 100000]
    python -m benchmarks.notes_search NOTES --judge CODED_NOTES.jsonl

NOTES are real documents, as ``cmsearch batch`` reads them. Up to ``--base`` of their
passages are encoded; larger sizes are filled with blends of two passages of the same
document (0.6 and 0.4, made unit length again), which lie where passages lie. Queries are
titles of codes. Each kind is measured in a process of its own.

``--judge`` takes notes with codes ({"id", "text", "codes"}) and tells for how many of the
codes that a coder gave to a note a search by that code finds such a note.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch import Index, growing
from cmsearch.approximate import HalfVectors
from cmsearch.batch.rows import Note
from cmsearch.batch.source import Source
from cmsearch.collection.folder import Entry, add_notes
from cmsearch.collection.passages import passages
from cmsearch.collection.search import NoteIndex
from cmsearch.errors import CodeError
from cmsearch.growing import Appender, Extent, GrowingVectors
from cmsearch.types import Vectors
from cmsearch.vectors import Kind

QUERIES = 200


def main() -> None:
    """Measure and print, one JSON line for each size and kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("documents", help="real documents, as cmsearch batch reads them")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--base", type=int, default=100_000, help="passages that are encoded")
    parser.add_argument("--kinds", nargs="*", default=[kind.value for kind in Kind])
    parser.add_argument("--judge", type=Path, help="notes with codes, to judge search by code")
    options = parser.parse_args()
    index = Index.open()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.judge is not None:
            print(json.dumps(judge(index, options.judge, folder)))
            return
        started = time.perf_counter()
        base, notes = encoded(index, options.documents, options.text_column, options.base)
        rate = len(base) / (time.perf_counter() - started)
        print(json.dumps({"passages_encoded": len(base), "per_second": round(rate, 1)}), flush=True)
        np.save(folder / "queries.npy", queries(index))
        for size in options.sizes:
            # A tenth more, for what is added afterwards.
            np.save(folder / "rows.npy", filled(base, notes, size + size // 10))
            for kind in options.kinds:
                context = get_context("spawn")
                with context.Pool(1) as pool:
                    figures = pool.apply(measure, (str(folder), size, kind))
                print(json.dumps(figures), flush=True)


def encoded(index: Index, documents: str, column: str, most: int) -> tuple[Vectors, np.ndarray]:
    """Return vectors of passages, and the number of the document of each."""
    vectors, notes = [], []
    held = 0
    for number, (item, _) in enumerate(Source.of(documents, text_column=column).rows()):
        if not isinstance(item, Note):
            continue
        parts = [item.text[part.begin : part.end] for part in passages(item.text)]
        if parts:
            vectors.append(index.encoder.encode(parts))
            notes += [number] * len(parts)
            held += len(parts)
        if held >= most:
            break
    return np.vstack(vectors)[:most], np.array(notes[:most])


def queries(index: Index) -> Vectors:
    """Return the vectors of titles of codes, spread over the code set."""
    titles = [row.title for row in index.files.lexicon.concepts_of("icd10cm")]
    chosen = titles[:: max(1, len(titles) // QUERIES)][:QUERIES]
    return np.vstack([index.encoder.encode([title]) for title in chosen])


def filled(base: Vectors, notes: np.ndarray, count: int) -> Vectors:
    """Return so many rows: the base, and blends of two passages of one document."""
    if count <= len(base):
        return base[:count]
    chance = np.random.default_rng(1)
    first = chance.integers(len(base), size=count - len(base))
    reach = chance.integers(1, 12, size=len(first))
    second = np.minimum(first + reach, len(base) - 1)
    second = np.where(notes[first] == notes[second], second, np.maximum(first - 1, 0))
    blended = 0.6 * base[first] + 0.4 * base[second]
    blended += chance.normal(0, 0.01, blended.shape)
    blended /= np.linalg.norm(blended, axis=1, keepdims=True)
    return np.vstack([base, blended]).astype(np.float32)


def measure(scratch: str, size: int, kind: str) -> dict[str, Any]:
    """Return the figures of one size and kind; runs in a process of its own."""
    folder = Path(scratch)
    growing.EXACT_UP_TO = sys.maxsize if kind == "flat" else 0
    growing.GRAPH_UP_TO = sys.maxsize if kind == "hnsw" else 0
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    asked = np.load(folder / "queries.npy")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        place = Path(made)
        extent, build = appended(place, Extent(rows.shape[1]), rows[:size])
        grown, growth = appended(place, extent, rows[size:])
        before = memory()
        opened = GrowingVectors.open(place, grown)
        times, found = [], []
        for query in asked:
            started = time.perf_counter()
            found.append(opened.search(query[None], k=10)[1][0])
            times.append(1000 * (time.perf_counter() - started))
        held = memory() - before
        stored = growing.stored_vectors(place, grown)
        true = HalfVectors(stored).search(asked, k=10)[1]
        right = sum(len(set(a) & set(b)) for a, b in zip(np.array(found).tolist(), true.tolist(),
                                                         strict=True))  # fmt: skip
        disk = sum(path.stat().st_size for path in place.iterdir())
    return {
        "passages": size,
        "kind": kind,
        "recall_at_10": round(right / true.size, 4),
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(sorted(times)[int(0.95 * len(times))], 2),
        "open_mb": held,
        "disk_mb": disk >> 20,
        "build_seconds": round(build, 1),
        "add_a_tenth_seconds": round(growth, 1),
        "add_over_build": round(growth / build, 3),
    }


def appended(place: Path, extent: Extent, rows: Vectors) -> tuple[Extent, float]:
    """Append rows and bring graph or cells up to date; return the seconds it took."""
    started = time.perf_counter()
    appender = Appender(place, extent)
    for start in range(0, len(rows), 16_384):
        appender.append(np.asarray(rows[start : start + 16_384]))
    grown = appender.finish()
    appender.close()
    return grown, time.perf_counter() - started


def memory() -> int:
    """Return the megabytes of this process's own memory, mapped files left out."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def judge(index: Index, path: Path, folder: Path) -> dict[str, float]:
    """Return how well notes are found by the codes that coders gave them."""
    with_codes: dict[str, set[str]] = {}
    entries = []
    for line in path.read_text("utf-8").splitlines():
        note = json.loads(line)
        entries.append(Entry(str(note["id"]), "judged", note["text"]))
        for code in note["codes"]:
            with_codes.setdefault(code, set()).add(str(note["id"]))
    add_notes(folder / "judged", entries, encoder=index.encoder)
    opened = NoteIndex.open(folder / "judged", encoder=index.encoder)
    first = ten = asked = 0
    reciprocal = 0.0
    for code, right in sorted(with_codes.items()):
        try:
            found = [note.note for note in opened.about(code, index=index, k=10)]
        except CodeError:
            continue
        asked += 1
        ranks = [rank for rank, note in enumerate(found, 1) if note in right]
        first += ranks[:1] == [1]
        ten += bool(ranks)
        reciprocal += 1 / ranks[0] if ranks else 0
    return {"codes": asked, "notes": len(entries), "first": round(first / asked, 3),
            "among_ten": round(ten / asked, 3), "mrr": round(reciprocal / asked, 3)}  # fmt: skip


if __name__ == "__main__":
    main()
