"""Bytes in: files plain, gzip or zstd, stdin; lines of them that cannot fill the memory."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from cmsearch.errors import BatchError, need

STDIN = "-"
EXTRA = "batch"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PIECE = 1 << 16


class Stream:
    """An open input: the bytes unpacked, and how much of the file has been read.

    Args:
        content: the unpacked bytes.
        raw: the file as it lies there; None for stdin.
        size: its bytes.
    """

    def __init__(self, content: IO[bytes], raw: IO[bytes] | None, size: int) -> None:
        self.content = content
        self._raw = raw
        self._size = size

    @property
    def read(self) -> float | None:
        """Share of the file that has been read, 0 to 1; None for stdin."""
        return None if self._raw is None else self._raw.tell() / max(1, self._size)

    def lines(self, longest: int) -> Iterator[bytes | None]:
        """Yield the lines; None stands for one of more than ``longest`` bytes."""
        while line := self.content.readline(longest + 1):
            if len(line) <= longest:
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = self.content.readline(_PIECE)
            yield None


@contextmanager
def opened(path: str) -> Iterator[Stream]:
    """Open a file, known to be packed by its first bytes, or stdin for ``-``.

    Raises:
        BatchError: it cannot be read, or is damaged; also while it is being read.
    """
    try:
        if path == STDIN:
            yield Stream(_unpacked(sys.stdin.buffer), None, 0)
            return
        with Path(path).open("rb") as raw:
            yield Stream(_unpacked(raw), raw, Path(path).stat().st_size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BatchError(f"{path}: the gzip file is damaged or cut short; copy it again") from error
    except OSError as error:
        raise BatchError(
            f"{path}: cannot be read ({error.strerror or type(error).__name__}); "
            "check the path, or whether the file is whole"
        ) from error


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    ahead = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(Any, raw))
    first = ahead.peek(4)[:4]
    if first.startswith(_GZIP):
        return cast(IO[bytes], gzip.open(ahead))
    if first == _ZSTD:
        arrow = need("pyarrow", extra=EXTRA)
        unpacked = arrow.CompressedInputStream(arrow.PythonFile(ahead, mode="r"), "zstd")
        return cast(IO[bytes], io.BufferedReader(unpacked))
    return ahead


def first_bytes(path: str) -> bytes:
    """Return what a file begins with, unpacked."""
    with opened(path) as stream:
        return stream.content.read(4)


@contextmanager
def packed(path: Path, ending: str) -> Iterator[IO[bytes]]:
    """Open a file for writing, packed as the ending says: .gz, .zst, or not."""
    if ending == ".gz":
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
            yield cast(IO[bytes], stream)
    elif ending == ".zst":
        arrow = need("pyarrow", extra=EXTRA)
        with path.open("wb") as raw, arrow.CompressedOutputStream(raw, "zstd") as stream:
            yield cast(IO[bytes], stream)
    else:
        with path.open("wb") as raw:
            yield raw
