"""Parquet in and out, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cmsearch.batch.readers import Columns, Read
from cmsearch.batch.rows import Fault, Item
from cmsearch.batch.schema import Column, Kind
from cmsearch.batch.streams import EXTRA, STDIN
from cmsearch.errors import BatchError, need

_READ_ROWS = 256
_WRITTEN_ROWS = 200
_GROUP_BYTES = 32 << 20


def read_parquet(path: str, columns: Columns) -> Read:
    """Yield the rows of a Parquet file; only two columns are read, a few rows at a time.

    Raises:
        BatchError: the file cannot be read or lacks a column.
    """
    if path == STDIN:
        raise BatchError("Parquet cannot be read from stdin; name the file")
    arrow = need("pyarrow", extra=EXTRA)
    try:
        with need("pyarrow.parquet", extra=EXTRA).ParquetFile(
            path, memory_map=True, buffer_size=1 << 20
        ) as file:
            yield from _rows(file, path, columns)
    except (OSError, arrow.ArrowException) as error:
        raise BatchError(
            f"{path}: not a readable Parquet file ({type(error).__name__}); copy it again"
        ) from error


def _rows(file: Any, path: str, columns: Columns) -> Read:
    names = list(file.schema_arrow.names)
    text_at, id_at = columns.places(names, path)
    wanted = [names[text_at]] + ([] if id_at is None else [names[id_at]])
    total, row = file.metadata.num_rows, 0
    for batch in file.iter_batches(batch_size=_READ_ROWS, columns=wanted, use_threads=False):
        texts = _bytes_of(batch.column(names[text_at]), path, columns.text)
        ids = [None] * len(texts) if id_at is None else batch.column(names[id_at]).to_pylist()
        for identity, text in zip(ids, texts, strict=True):
            row += 1
            yield _item(row, identity, text, columns), row / total


def _item(row: int, identity: object, text: bytes | None, columns: Columns) -> Item:
    if text is not None and len(text) > 4 * columns.longest:
        return Fault(row, str(row), columns.too_long)
    return columns.item(
        row, identity, None if text is None else text.decode("utf-8", "surrogateescape")
    )


def _bytes_of(column: Any, path: str, name: str) -> list[bytes | None]:
    """Return the values of a column of text; nobody has looked whether they are UTF-8."""
    arrow = need("pyarrow", extra=EXTRA)
    kinds = arrow.types
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kinds.is_null(column.type):
        return [None] * len(column)
    if not (
        kinds.is_string(column.type)
        or kinds.is_large_string(column.type)
        or kinds.is_string_view(column.type)
        or kinds.is_binary(column.type)
        or kinds.is_large_binary(column.type)
    ):
        raise BatchError(
            f"{path}: column {name!r} holds {column.type}, no text; say which with --text-column"
        )
    found: list[bytes | None] = column.cast(arrow.large_binary()).to_pylist()
    return found


def write_parquet(path: Path, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a Parquet file, zstd, in row groups of 32 MiB before packing.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    arrow = need("pyarrow", extra=EXTRA)
    schema = arrow.schema([_field(column) for column in columns])
    with need("pyarrow.parquet", extra=EXTRA).ParquetWriter(
        path, schema, compression="zstd"
    ) as writer:
        held: list[Any] = []
        for part in _parts(rows):
            held.append(arrow.Table.from_pylist(part, schema=schema))
            if sum(table.nbytes for table in held) >= _GROUP_BYTES:
                writer.write_table(arrow.concat_tables(held))
                held = []
        if held:
            writer.write_table(arrow.concat_tables(held))


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the rows a few at a time: as Python objects they are many times as large."""
    ahead = iter(rows)
    while part := list(islice(ahead, _WRITTEN_ROWS)):
        yield part


def _field(column: Column) -> Any:
    return need("pyarrow", extra=EXTRA).field(column.name, _type(column))


def _type(column: Column) -> Any:
    arrow = need("pyarrow", extra=EXTRA)
    if column.kind is Kind.LIST:
        if not column.parts:
            return arrow.list_(arrow.string())
        return arrow.list_(arrow.struct([_field(part) for part in column.parts]))
    return {
        Kind.TEXT: arrow.string,
        Kind.WHOLE: arrow.int64,
        Kind.NUMBER: arrow.float64,
        Kind.TRUTH: arrow.bool_,
    }[column.kind]()
