"""Lines of coded notes: text and codes, as people gave them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmsearch.errors import TrainingError


def coded_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the values (id, text, codes) of each line of a JSONL file, which may be gzip.

    Raises:
        TrainingError: the file cannot be read, or a line is no coded note; its words are
            not repeated.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    values = json.loads(line)
                    found = {name: values[name] for name in ("id", "text", "codes")}
                    if not isinstance(found["text"], str) or not isinstance(found["codes"], list):
                        raise TypeError("text or codes of another kind")
                except (ValueError, KeyError, TypeError) as error:
                    raise TrainingError(
                        f"{path}, line {number}: no coded note; it must hold id, text and codes"
                    ) from error
                yield found
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
