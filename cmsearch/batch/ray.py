"""The Ray engine: the same chunks, answered by actors of a Ray cluster through Ray Data.

One task on the driver's node reads the input; actors anywhere hold the index and answer;
the driver takes the answers in order. Ray Data holds the reader back when the actors are
busy, restarts actors, and does again what was lost with a node.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from cmsearch.batch.answering import answered, opened
from cmsearch.batch.rows import Answered, Chunk, Fault, Note
from cmsearch.batch.source import Source
from cmsearch.batch.streams import STDIN
from cmsearch.batch.task import Answer, Task
from cmsearch.errors import BatchError, CmsearchError, need

EXTRA = "ray"
# A block is what an actor gets at a time: about one chunk of ordinary notes.
_BLOCK_BYTES = 1 << 16
# Ray tells its makers what clusters do unless this is set before it is loaded.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Answers on a Ray cluster; every node needs cmsearch and the index at the same place.

    Attributes:
        workers: how many actors; as many as the cluster has room for if 0.
        address: of the cluster; ``auto`` finds a running one; empty starts one here.
        gpu: whether each actor gets a GPU of its own.
        scratch: where a cluster that is started here puts rows when memory is short.
    """

    workers: int = 0
    address: str = ""
    gpu: bool = False
    scratch: str = ""
    name: str = "ray"

    @property
    def width(self) -> int:
        """How many actors there are; 0 for as many as there is room for."""
        return self.workers

    def answers(
        self, source: Source, task: Task, *, skip: int = 0, digest: str = ""
    ) -> Generator[Answered]:
        """Yield the answers of the chunks from number ``skip`` on, in order.

        Raises:
            BatchError: the input cannot be read, or the cluster cannot be reached.
            MissingDependency: Ray is not installed.
        """
        if source.path == STDIN:
            raise BatchError("the Ray engine reads the input again when a node is lost; "
                             "it cannot read stdin: name a file")  # fmt: skip
        with _connected(self.address, self.scratch) as ray:
            room = ray.cluster_resources()
            size = self.workers or max(1, int(room.get("GPU" if self.gpu else "CPU", 1)))
            rows = self._rows(ray, source, task, size, skip, digest)
            for batch in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in batch.to_pylist():
                    if row["refusal"]:
                        raise BatchError(row["refusal"])
                    del row["refusal"]
                    yield Answered(**row)

    def _rows(self, ray: Any, source: Source, task: Task, size: int, skip: int, digest: str) -> Any:
        """Return the dataset of answered chunks."""
        data = need("ray.data", extra=EXTRA)
        context = data.DataContext.get_current()
        context.target_max_block_size = _BLOCK_BYTES
        context.target_min_block_size = 1
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        here = ray.get_runtime_context().get_node_id()
        reader = data.from_items([{"skip": skip, "digest": digest}]).map_batches(
            _read,
            fn_kwargs={"source": source},
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0,
            label_selector={"ray.io/node-id": here},
        )
        least = size if self.workers else 1
        return reader.map_batches(
            _Actor,
            fn_constructor_kwargs={"task": task, "settings": task.settings()},
            compute=data.ActorPoolStrategy(min_size=least, max_size=size),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            num_gpus=1 if self.gpu else 0,
        )


@contextmanager
def _connected(address: str, scratch: str) -> Iterator[Any]:
    """Yield Ray, connected; a connection that was there already stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = need("ray", extra=EXTRA)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **({} if address else {"include_dashboard": False}),
            **({} if address or not scratch else {"object_spilling_directory": scratch}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BatchError(
            f"{address or 'local'}: no Ray cluster can be reached there "
            f"({type(error).__name__}); start one with: ray start --head"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _read(begin: Any, source: Source) -> Iterator[Any]:
    """Yield each chunk as a table of one row; on the driver's node."""
    first = begin.to_pylist()[0]
    number = first["skip"]
    try:
        for chunk in source.chunks(skip=first["skip"], digest=first["digest"]):
            number = chunk.number
            yield _table({**_packed(chunk), "refusal": ""})
    except CmsearchError as error:
        nothing = Chunk(number + 1, (), "")
        yield _table({**_packed(nothing), "refusal": str(error)})


class _Actor:
    """Holds the index of a node and answers chunks.

    An error of ours travels as a row: Ray would bury it under its own and try again.
    """

    def __init__(self, task: Task, settings: Mapping[str, Any]) -> None:
        self._refusal = ""
        self._answer: Answer | None = None
        try:
            self._answer = opened(task, settings)
        except CmsearchError as error:
            self._refusal = str(error)

    def __call__(self, table: Any) -> Iterator[Any]:
        for row in table.to_pylist():
            chunk = _unpacked(row)
            refusal = row["refusal"] or self._refusal
            found = Answered(chunk.number, chunk.digest, chunk.read, b"", b"", 0, 0)
            if not refusal and self._answer is not None:
                try:
                    found = answered(chunk, self._answer)
                except CmsearchError as error:
                    refusal = str(error)
            yield _table({**asdict(found), "refusal": refusal})


def _table(row: dict[str, Any]) -> Any:
    arrow = need("pyarrow", extra=EXTRA)
    kinds = {int: arrow.int64(), bytes: arrow.large_binary(), str: arrow.large_string()}
    schema = [(name, kinds.get(type(value), arrow.float64())) for name, value in row.items()]
    return arrow.Table.from_pylist([row], schema=arrow.schema(schema))


def _packed(chunk: Chunk) -> dict[str, Any]:
    items = [
        [item.row, item.id, item.text, None]
        if isinstance(item, Note)
        else [item.row, item.id, None, item.reason]
        for item in chunk.items
    ]
    return {"number": chunk.number, "digest": chunk.digest, "read": chunk.read,
            "items": json.dumps(items)}  # fmt: skip


def _unpacked(row: dict[str, Any]) -> Chunk:
    items = tuple(
        Note(number, name, text) if reason is None else Fault(number, name, reason)
        for number, name, text, reason in json.loads(row["items"])
    )
    return Chunk(row["number"], items, row["digest"], row["read"])
