"""Search through torch on a device beside FAISS on the CPU: same vectors, same queries, one run.

    python -m benchmarks.device_search [--device cuda] [--counts 100000,1000000,10000000]

Unit vectors in groups of about fifty, as text forms of one category are. Flat answers of the
device must be those of FAISS, to the row and the score; for IVF-PQ the recall of the exact
ten is told, of FAISS's cells and of those found on the device. Queries a second in batches of
1,024, and milliseconds of one alone. Ten million vectors need 30 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from cmsearch.ondevice import DeviceVectors
from cmsearch.types import Vectors
from cmsearch.vectors import FaissVectors, Kind, Rows, VectorIndex

K = 10
_GROUP = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one index.

    Attributes:
        count: vectors.
        index: its kind, and where it was built and searched.
        build: seconds; 0 where it is another's copy.
        qps: queries a second, all asked at once.
        alone: milliseconds of one query.
        recall: share of the exact ten that were found.
        same: share of queries with exactly the rows of FAISS flat.
        apart: largest difference of a score from FAISS flat, where rows are the same.
    """

    count: int
    index: str
    build: float
    qps: float
    alone: float
    recall: float
    same: float
    apart: float


def main() -> None:
    """Measure and print a table, then the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--counts", default="100000,1000000,10000000")
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=160)
    parser.add_argument(
        "--train-up-to", type=int, default=1_000_000, help="the CPU finds cells of so many"
    )
    options = parser.parse_args()
    card = torch.cuda.get_device_name() if options.device.startswith("cuda") else "no card"
    print(
        f"{card}, torch {torch.__version__}, {options.queries} queries, {options.dim} dimensions\n"
    )
    print("| vectors | index | build, s | queries/s | one query, ms | recall@10 | same rows |")
    print("|---|---|---|---|---|---|---|", flush=True)
    every: list[Figures] = []
    for count in map(int, options.counts.split(",")):
        every += measure(count, options.dim, options.queries, options.device, options.train_up_to)
        for line in (one for one in every if one.count == count):
            print(
                f"| {line.count:,} | {line.index} | {line.build:.2f} | {line.qps:,.0f} | "
                f"{line.alone:.2f} | {line.recall:.3f} | {line.same:.3f} |",
                flush=True,
            )
    print(json.dumps([asdict(line) for line in every]))


def measure(count: int, dim: int, queries: int, device: str, train_up_to: int) -> Sequence[Figures]:
    """Return the figures of all indexes over so many vectors."""
    rows, asked = grouped(count, dim, queries)
    found = []
    build, flat = timed(lambda: FaissVectors.build(rows))
    exact = flat.search(asked, k=K)

    def told(name: str, index: VectorIndex, build: float) -> None:
        found.append(figures(count, name, index, build, asked, exact))

    told("flat, FAISS on the CPU", flat, build)
    build, placed = timed(lambda: DeviceVectors(flat, device))
    told(f"flat, torch on {device}", placed, build)
    del placed
    if count <= train_up_to:
        build, cells = timed(lambda: FaissVectors.build(rows, kind=Kind.IVFPQ))
        told("IVF-PQ, FAISS on the CPU", cells, build)
        told(f"the same cells, torch on {device}", DeviceVectors(cells, device), 0.0)
        del cells
    # "cpu" alone would have FAISS find the cells.
    place = "cpu:0" if device == "cpu" else device
    build, cells = timed(lambda: FaissVectors.build(rows, kind=Kind.IVFPQ, device=place))
    told(f"IVF-PQ, torch on {device}", DeviceVectors(cells, device), build)
    told("the same cells, FAISS on the CPU", cells, 0.0)
    return found


def figures(
    count: int,
    name: str,
    index: VectorIndex,
    build: float,
    asked: Vectors,
    exact: tuple[Vectors, Rows],
) -> Figures:
    """Return what is measured of one index; a first search warms it up."""
    index.search(asked, k=K)
    seconds, (scores, rows) = timed(lambda: index.search(asked, k=K))
    alone = min(timed(lambda: index.search(asked[:1], k=K))[0] for _ in range(20))
    both = [len(set(a) & set(b)) / K for a, b in zip(rows.tolist(), exact[1].tolist(), strict=True)]
    equal = rows == exact[1]
    apart = np.abs(scores - exact[0])[equal].max(initial=0.0)
    return Figures(
        count, name, build, len(asked) / seconds, 1000 * alone, float(np.mean(both)),
        float(equal.all(axis=1).mean()), float(apart),
    )  # fmt: skip


def grouped(count: int, dim: int, queries: int) -> tuple[Vectors, Vectors]:
    """Return unit vectors in groups, (count, dim), and queries near some of them."""
    chance = np.random.default_rng(1)
    centres = _unit(chance.standard_normal((count // _GROUP + 1, dim), dtype=np.float32))
    rows = np.empty((count, dim), np.float32)
    for first in range(0, count, 2**18):
        numbers = np.arange(first, min(first + 2**18, count)) // _GROUP
        noise = _unit(chance.standard_normal((len(numbers), dim), dtype=np.float32))
        rows[first : first + len(numbers)] = _unit(centres[numbers] + 1.2 * noise)
    near = rows[chance.integers(count, size=queries)]
    noise = _unit(chance.standard_normal((queries, dim), dtype=np.float32))
    return rows, _unit(near + 0.7 * noise)


def _unit(rows: Vectors) -> Vectors:
    found: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def timed(work):  # type: ignore[no-untyped-def]
    """Return the seconds that some work takes, and what it returns (copied off the card)."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
