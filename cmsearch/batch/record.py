"""OUT.job.json: what a job was asked, with what, and what came of it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cmsearch.batch.output import Output, schema_table
from cmsearch.batch.rows import CHUNK_CHARACTERS, CHUNK_ROWS
from cmsearch.batch.source import Source
from cmsearch.batch.spool import Progress, write_whole
from cmsearch.batch.task import Task
from cmsearch.errors import BatchError

FORMAT = 1
RUNNING, DONE = "running", "done"
_LIBRARIES = ("numpy", "onnxruntime", "tokenizers", "faiss-cpu", "pyarrow", "ray")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What stands in OUT.job.json.

    Attributes:
        asked: all that the output depends on but the rows themselves: a job goes on only
            where it is the same.
        told: what is good to know: engine, versions, times, counts.
        state: ``running`` or ``done``.
    """

    asked: Mapping[str, Any]
    told: Mapping[str, Any] = field(default_factory=dict)
    state: str = RUNNING

    @classmethod
    def of(cls, source: Source, task: Task, output: Output, **told: Any) -> JobRecord:
        """Return the record of a job that begins."""
        asked = {
            "format": FORMAT,
            "cmsearch": _version("cmsearch"),
            "task": task.name,
            "settings": task.settings(),
            "input": {
                "format": source.format.value,
                "text_column": source.columns.text,
                "id_column": source.columns.id,
                "longest": source.columns.longest,
                "bytes": source.bytes,
            },
            "chunk": {"rows": CHUNK_ROWS, "characters": CHUNK_CHARACTERS},
            "output": output.layout.value + output.packing,
        }
        known = {
            "input_path": source.path,
            "output_path": str(output.path),
            "schema": dict(schema_table(task.columns)),
            "python": platform.python_version(),
            "libraries": {name: _version(name) for name in _LIBRARIES if _version(name)},
            "began": _now(),
        }
        return cls(json.loads(json.dumps(asked)), {**known, **told})

    @classmethod
    def read(cls, path: Path) -> JobRecord | None:
        """Return the record of a file; None where there is none.

        Raises:
            BatchError: it cannot be read.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(values["asked"], values["told"], values["state"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BatchError(
                f"{path}: no readable job file; start anew with --overwrite"
            ) from error

    def write(self, path: Path) -> None:
        """Put the record in place at once.

        Raises:
            OSError: the disk is full, or the folder is gone.
        """
        values = {"state": self.state, "asked": self.asked, "told": self.told}
        write_whole(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def ended(self, done: Progress) -> JobRecord:
        """Return the record of the job now that it is done."""
        told = {
            **self.told,
            "ended": _now(),
            "seconds": done.seconds,
            "rows": done.answered + done.set_aside,
            "answered": done.answered,
            "set_aside": done.set_aside,
            "input_sha256": done.digest,
        }
        return JobRecord(self.asked, told, DONE)

    def goes_on(self, earlier: JobRecord, path: Path) -> JobRecord:
        """Return the record of this job as the going on of an earlier run.

        Raises:
            BatchError: the earlier run was asked something else; it is named.
        """
        differing = _differences(earlier.asked, self.asked)
        if differing:
            name, then, now = differing[0]
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            raise BatchError(
                f"{path}: the job there began with {name} {then!r}, this one has {now!r}{more}; "
                "give the same options to go on, or --overwrite to start anew"
            )
        began = earlier.told.get("began", self.told["began"])
        return replace(self, told={**self.told, "began": began})


def _differences(
    then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*then, *now}):
        before, after = then.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append((f"{prefix}{name}", before, after))
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
