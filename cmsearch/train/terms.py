"""From terminology tables to pairs of texts that mean the same.

The tables are those of a folder ``terms/`` (tab-separated, gzip, one header line). A
source that is missing is skipped with a word in the report, never silently.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from cmsearch.errors import TrainingError
from cmsearch.ontology.packaged import packaged_file
from cmsearch.ontology.tabular import read_tabular
from cmsearch.ontology.vocabulary import read_vocabulary
from cmsearch.serialise import index_forms

Row = dict[str, str]


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
    for source, (table, make) in _SOURCES.items():
        path = folder / f"{table}.tsv.gz"
        if not path.is_file():
            skipped.append(f"{source}: no {path.name}")
            continue
        with _readable(path):
            pairs[source] = _unique(make(_rows(path), titles), source, same)
    if not pairs:
        raise TrainingError(f"{folder}: none of the terminology tables is here")
    pairs["vocabulary"] = _unique(_vocabulary(titles), "vocabulary")
    if tabular is not None:
        pairs["inclusion"] = _unique(_inclusion(tabular), "inclusion")
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


Triples = Iterator[tuple[str, str, str]]


def _index10(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Index entries with the title of their code; both word orders."""
    yield from _index(rows, titles, "icd10cm")


def _index9(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    yield from _index(rows, titles, "icd9cm")


def _index(rows: Iterator[Row], titles: dict[str, str], system: str) -> Triples:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        code = row["code"].rstrip("-").rstrip(".")
        path = re.sub(r"\s*\([^()]*\)", "", row["path"])
        concept = f"{system}:{code}"
        if concept not in titles or "Note:" in path or (path, code) in seen:
            continue
        seen.add((path, code))
        for text in index_forms(path):
            yield text, titles[concept], concept


_TABLE_WORDS = {
    "Malignant Primary": "malignant neoplasm of {}",
    "Malignant Secondary": "metastasis to {}",
    "Ca in situ": "carcinoma in situ of {}",
    "Benign": "benign neoplasm of {}",
    "Uncertain Behavior": "neoplasm of uncertain behavior of {}",
    "Unspecified Behavior": "neoplasm of {}",
    "Poisoning Accidental (unintentional)": "accidental poisoning by {}",
    "Poisoning Intentional self-harm": "suicide attempt with {}",
    "Poisoning Assault": "poisoning by {}, assault",
    "Poisoning Undetermined": "poisoning by {}, undetermined intent",
    "Adverse effect": "adverse effect of {}",
    "Underdosing": "underdosing of {}",
}


def _tables(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Cells of the neoplasm and drug tables, spelled out."""
    for row in rows:
        concept = f"icd10cm:{row['code'].rstrip('-').rstrip('.')}"
        words = _TABLE_WORDS.get(row["column"])
        parts = row["path"].split(" > ")
        if row["table"] == "neoplasm":
            parts = parts[1:]
        if concept in titles and words and parts:
            yield words.format(" ".join(reversed(parts))), titles[concept], concept


def _short_titles(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Official 60-character titles with the full ones; 7th characters left out."""
    for row in rows:
        if len(row["code"]) <= 7:
            yield row["short_title"], row["long_title"], f"icd10cm:{row['code']}"


def _short_titles9(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    for row in rows:
        yield row["short_title"], row["long_title"], f"icd9cm:{row['code']}"


def _tabular9(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    for row in rows:
        concept = f"icd9cm:{row['code']}"
        if row["kind"] == "inclusion" and concept in titles:
            yield row["text"], titles[concept], concept


def _synonyms(identifier: str) -> Callable[[Iterator[Row], dict[str, str]], Triples]:
    """Terms of an open terminology: each with its label, and two of them with each other."""

    def make(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
        texts: dict[str, list[str]] = defaultdict(list)
        labels: dict[str, str] = {}
        for row in rows:
            if row.get("status", "in_mondo") != "in_mondo":
                continue
            labels[row[identifier]] = row["label"]
            if row["scope"] in ("EXACT", "SYNONYM", "LABEL", "NARROW", "RELATED"):
                texts[row[identifier]].append(row["text"])
        for concept, forms in texts.items():
            for text in forms:
                yield text, labels[concept], concept
            for one, other in list(combinations(forms, 2))[:4]:
                yield one, other, concept

    return make


def _definitions(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    for row in rows:
        yield row["definition"].replace("_", " "), row["label"], row["id"]


def _linked(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Terms of DO and Mondo with the title of their ICD-10-CM code, where it is close."""
    for row in rows:
        concept = f"icd10cm:{row['icd10cm']}"
        close = row["relation"] == "exact" or int(row["doid_terms_on_code"] or 99) <= 2
        if concept in titles and close:
            yield row["text"], titles[concept], concept


_CLINICAL = ("Berman", "Vanderbilt", "Wikipedia", "Stetson", "Columbia")


def _abbreviations(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Clinical abbreviations, and those of the literature that are common and clear."""
    for row in rows:
        short, long = row["short_form"], row["long_form"]
        clinical = row["source"].startswith(_CLINICAL)
        try:
            common = float(row["surface_forms_or_count"] or 0) >= 40
            clear = float(row["sense_frequency_or_score"] or 0) >= 0.4
        except ValueError:
            common = clear = False
        if clinical or (common and clear):
            yield short, long, f"abbreviation:{long.casefold()}"


def _mentions(rows: Iterator[Row], titles: dict[str, str]) -> Triples:
    """Mentions of one disease in the training abstracts of the NCBI Disease corpus."""
    texts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["split"] == "train" and row["mesh_or_omim"]:
            texts[row["mesh_or_omim"]].append(row["mention"])
    for concept, forms in texts.items():
        for one, other in list(combinations(forms, 2))[:10]:
            yield one, other, concept


def _vocabulary(titles: dict[str, str]) -> Triples:
    texts: dict[str, list[str]] = defaultdict(list)
    for entry in read_vocabulary():
        concept = f"icd10cm:{entry.code.value}"
        texts[concept].append(entry.term)
        if concept in titles:
            yield entry.term, titles[concept], concept
    for concept, forms in texts.items():
        for one, other in list(combinations(forms, 2))[:12]:
            yield one, other, concept


def _inclusion(tabular: Path) -> Triples:
    for concept in read_tabular(tabular, name=tabular.name):
        for term in concept.inclusion_terms:
            yield term, concept.title, f"icd10cm:{concept.code.value}"


_SOURCES: dict[str, tuple[str, Callable[[Iterator[Row], dict[str, str]], Triples]]] = {
    "index": ("icd10cm_index", _index10),
    "tables": ("icd10cm_tables", _tables),
    "short_titles": ("icd10cm_titles_fy2026", _short_titles),
    "short_titles9": ("icd9cm_codes_v32", _short_titles9),
    "index9": ("icd9cm_index_fy2012", _index9),
    "tabular9": ("icd9cm_tabular_fy2012", _tabular9),
    "doid": ("doid_terms", _synonyms("id")),
    "definitions": ("doid_definitions", _definitions),
    "mondo": ("mondo_terms", _synonyms("id")),
    "ordo": ("ordo_terms", _synonyms("id")),
    "ncit": ("ncit_terms_linked", _synonyms("ncit")),
    "symptoms": ("symp_terms", _synonyms("id")),
    "linked": ("onto_icd10cm_pairs", _linked),
    "abbreviations": ("abbreviations", _abbreviations),
    "mentions": ("ncbi_disease_mentions", _mentions),
}
SOURCES = (*_SOURCES, "vocabulary", "inclusion")
