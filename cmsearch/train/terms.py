"""From terminology tables to pairs of texts that mean the same.

The tables are those of a folder ``terms/`` (tab-separated, gzip, one header line). A
source that is missing is skipped with a word in the report, never silently.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cmsearch.errors import TrainingError
from cmsearch.ontology.packaged import packaged_file
from cmsearch.train.tables import TABLES, Row, inclusion_triples, vocabulary_triples


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts for one concept.

    Attributes:
        query: the looser wording.
        target: the wording to be found (mostly a title).
        concept: what both mean: an ICD code such as ``icd10cm:I21.9``, or another id.
            Pairs of one concept, or of a code and its ancestor, are never negatives.
        source: where the pair comes from.
    """

    query: str
    target: str
    concept: str
    source: str


@dataclass(frozen=True, slots=True)
class Terms:
    """All pairs by source, those held out, and what was skipped.

    One wording in 33 is held out from every source: the encoder never sees it (official
    titles excepted, which are what is to be found), so that the fusion of search can be
    fitted on queries that are as new as a user's.
    """

    pairs: dict[str, list[Pair]]
    held_out: list[Pair]
    skipped: list[str] = field(default_factory=list)


def read_terms(folder: Path, *, tabular: Path | None = None) -> Terms:
    """Return the pairs of every known table in the folder.

    Args:
        folder: the folder with the gzip tables.
        tabular: the ICD-10-CM tabular XML, for titles and inclusion terms.

    Raises:
        TrainingError: the folder holds none of the known tables, or one of them is
            damaged or lacks a column.
    """
    titles = _titles(folder)
    same = _same_concepts(folder)
    pairs: dict[str, list[Pair]] = {}
    skipped: list[str] = []
    for source, (table, make) in TABLES.items():
        path = folder / f"{table}.tsv.gz"
        if not path.is_file():
            skipped.append(f"{source}: no {path.name}")
            continue
        with _readable(path):
            pairs[source] = _unique(make(_rows(path), titles), source, same)
    if not pairs:
        raise TrainingError(f"{folder}: none of the terminology tables is here")
    pairs["vocabulary"] = _unique(vocabulary_triples(titles), "vocabulary")
    if tabular is not None:
        pairs["inclusion"] = _unique(inclusion_triples(tabular), "inclusion")
    held_out = [
        pair
        for source in ("index", "linked", "vocabulary")
        for pair in pairs.get(source, [])
        if is_held_out(pair.query) and pair.target == titles.get(pair.concept)
    ]
    official = set(titles.values())
    kept = {
        source: [
            pair
            for pair in found
            if not is_held_out(pair.query)
            and (pair.target in official or not is_held_out(pair.target))
        ]
        for source, found in pairs.items()
    }
    return Terms(kept, held_out, skipped)


def is_held_out(text: str) -> bool:
    """Whether a wording, in any order of its words, belongs to the one in 33 held out.

    Words of one or two letters count only where there are no others ("MI", "a&e").
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    telling = {word[:5] for word in words if len(word) > 2} or set(words)
    return bool(telling) and zlib.crc32(" ".join(sorted(telling)).encode()) % 33 == 0


def tabular_file() -> Path:
    """Return the ICD-10-CM tabular XML that simple-icd-10-cm carries."""
    return packaged_file("simple_icd_10_cm", "data/icd10c-tabular-*.xml")


def _rows(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what a damaged table raises while it is read into one line for the user."""
    try:
        yield
    except KeyError as error:
        raise TrainingError(f"{path}: the table has no column {error}") from error
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise TrainingError(f"{path}: not a complete gzip table ({error}); get it again") from error


def _unique(
    pairs: Iterable[tuple[str, str, str]], source: str, same: dict[str, str] | None = None
) -> list[Pair]:
    """Keep pairs of different, useful texts, each once."""
    seen = set()
    kept = []
    for query, target, concept in pairs:
        query, target = _clean(query), _clean(target)
        key = (query.casefold(), target.casefold())
        if key[0] == key[1] or len(query) < 2 or len(target) < 2 or key in seen:
            continue
        seen.add(key)
        kept.append(Pair(query, target, (same or {}).get(concept, concept), source))
    return kept


def _clean(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _titles(folder: Path) -> dict[str, str]:
    """Return titles by concept key for ICD-10-CM and ICD-9-CM."""
    titles = {}
    for system, table in (("icd10cm", "icd10cm_titles_fy2026"), ("icd9cm", "icd9cm_codes_v32")):
        path = folder / f"{table}.tsv.gz"
        if path.is_file():
            with _readable(path):
                for row in _rows(path):
                    titles[f"{system}:{row['code']}"] = row["long_title"]
    return titles


def _same_concepts(folder: Path) -> dict[str, str]:
    """Return, for ids of DO, NCIt and ORDO, the Mondo id of the same disease."""
    path = folder / "mondo_terms.tsv.gz"
    same: dict[str, str] = {}
    if path.is_file():
        with _readable(path):
            for row in _rows(path):
                for prefix, column in (("DOID:", "doid"), ("", "ncit"), ("Orphanet:", "orphanet")):
                    for identifier in filter(None, row[column].split("|")):
                        same.setdefault(prefix + identifier, row["id"])
    return same
