"""The tasks there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmsearch import paths
from cmsearch.batch.schema import HIT, MENTION, ROW, SUGGESTION, Column, Kind
from cmsearch.batch.task import Answer, Row
from cmsearch.codes import System
from cmsearch.encoder import open_encoder
from cmsearch.filters import Filters
from cmsearch.manifest import Manifest
from cmsearch.notes.answer import as_json, mentions_json
from cmsearch.notes.index import Index
from cmsearch.values import hit_values

DEFAULT_SYSTEMS = (System.ICD10CM,)  # of suggestions and mentions


@dataclass(frozen=True, slots=True)
class QueryTask:
    """The best codes for each row, taken as one query.

    Attributes:
        index: the index folder; the default one if left out.
        k: how many hits at most.
        filters: which concepts may be hits.
        device: ``cpu`` or ``cuda``: where texts are encoded.
    """

    index: Path | None = None
    k: int = 10
    filters: Filters = Filters()
    device: str = "cpu"
    name: str = "query"
    columns: tuple[Column, ...] = (*ROW, Column("hits", Kind.LIST, HIT))

    def settings(self) -> dict[str, Any]:
        """Return what the answers depend on."""
        filters = asdict(self.filters)
        filters["systems"] = [system.value for system in self.filters.systems]
        return {"k": self.k, "filters": filters, **index_settings(self.index, self.device)}

    def open(self, *, threads: int) -> Answer:
        """Return the function that answers texts."""
        index = worker_index(self.index, self.device, threads)

        def answer(texts: Sequence[str]) -> list[Row]:
            found = index.search(texts, k=self.k, filters=self.filters)
            return [{"hits": [hit_values(hit) for hit in hits]} for hits in found]

        return answer


@dataclass(frozen=True, slots=True)
class SuggestTask:
    """The codes suggested for each note, with the words that support them.

    Attributes:
        index: the index folder; the default one if left out.
        top: how many codes at most; all likely ones if left out.
        systems: code systems to suggest from; ICD-10-CM if left out.
        min_confidence: the least probability; the balanced one if left out.
        everything: also what is unlikely or held back, with the rule that holds it back.
    """

    index: Path | None = None
    top: int | None = None
    systems: tuple[System, ...] = ()
    min_confidence: float | None = None
    everything: bool = False
    name: str = "suggest"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the output."""
        held_back = (Column("suppressed"),) if self.everything else ()
        found = Column("suggestions", Kind.LIST, (*SUGGESTION, *held_back))
        return (*ROW, Column("release"), found)

    def settings(self) -> dict[str, Any]:
        """Return what the answers depend on."""
        return {
            "top": self.top,
            "systems": [system.value for system in self.systems],
            "min_confidence": self.min_confidence,
            "everything": self.everything,
            **index_settings(self.index, "cpu"),
        }

    def open(self, *, threads: int) -> Answer:
        """Return the function that answers texts."""
        index = worker_index(self.index, "cpu", threads)
        release = index.release(self.systems or DEFAULT_SYSTEMS)

        def answer(texts: Sequence[str]) -> list[Row]:
            found = index.suggest(
                texts,
                top=self.top,
                systems=self.systems,
                min_confidence=self.min_confidence,
                everything=self.everything,
            )
            return [_answer(as_json(None, release, items, everything=self.everything))
                    for items in found]  # fmt: skip

        return answer


@dataclass(frozen=True, slots=True)
class MentionsTask:
    """What in each note is codable, with its best codes.

    Attributes:
        index: the index folder; the default one if left out.
        k: how many codes at most for each mention.
        systems: code systems of the codes; ICD-10-CM if left out.
        device: ``cpu`` or ``cuda``: where texts are encoded.
    """

    index: Path | None = None
    k: int = 3
    systems: tuple[System, ...] = ()
    device: str = "cpu"
    name: str = "mentions"
    columns: tuple[Column, ...] = (
        *ROW,
        Column("release"),
        Column("mentions", Kind.LIST, MENTION),
    )

    def settings(self) -> dict[str, Any]:
        """Return what the answers depend on."""
        systems = [system.value for system in self.systems]
        return {"k": self.k, "systems": systems, **index_settings(self.index, self.device)}

    def open(self, *, threads: int) -> Answer:
        """Return the function that answers texts."""
        index = worker_index(self.index, self.device, threads)
        release = index.release(self.systems or DEFAULT_SYSTEMS)

        def answer(texts: Sequence[str]) -> list[Row]:
            found = index.mentions(texts, k=self.k, systems=self.systems)
            return [_answer(mentions_json(None, release, items)) for items in found]

        return answer


def _answer(values: dict[str, Any]) -> Row:
    """Return what the JSON interface says of a note, but its id: a job names it itself."""
    return {name: value for name, value in values.items() if name != "id"}


def index_settings(folder: Path | None, device: str) -> dict[str, Any]:
    """Return what the answers owe to the index: its code sets, forms and encoder.

    Raises:
        IndexFolderError: there is no index.
    """
    manifest = Manifest.read(paths.index_folder(folder))
    return {
        "device": device,
        "encoder": manifest.encoder.name,
        "encoder_sha256": manifest.encoder.sha256,
        "code_sets": {item.system: [item.release, item.sha256] for item in manifest.code_sets},
        "forms": manifest.forms,
        "vector_index": manifest.kind,
        "templates": list(manifest.templates),
        "vocabulary": manifest.vocabulary,
    }


def worker_index(folder: Path | None, device: str, threads: int) -> Index:
    """Return the index as a worker opens it: memory-mapped, its encoder on few threads."""
    place = paths.index_folder(folder)
    source = Manifest.read(place).encoder_source
    encoder = open_encoder(source, device=device, threads=threads)
    return Index.open(place, encoder=encoder, device=device)
