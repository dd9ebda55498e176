"""What a job asks of each note: the seam between a job and whatever answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cmsearch.batch.schema import Column

Row = Mapping[str, Any]
Answer = Callable[[Sequence[str]], list[Row]]


class Task(Protocol):
    """What a job asks. It travels to the workers, and each opens it for itself."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the output, row and id first."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return all that the answers depend on: options, index, encoder. Plain values."""
        ...

    def open(self, *, threads: int) -> Answer:
        """Return the function that answers texts, each with the columns but row and id."""
        ...
