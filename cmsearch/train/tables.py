"""What each terminology table says: triples of two texts and the concept that both mean."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

from cmsearch.ontology.tabular import read_tabular
from cmsearch.ontology.vocabulary import read_vocabulary
from cmsearch.serialise import index_forms

Row = dict[str, str]
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


def vocabulary_triples(titles: dict[str, str]) -> Triples:
    texts: dict[str, list[str]] = defaultdict(list)
    for entry in read_vocabulary():
        concept = f"icd10cm:{entry.code.value}"
        texts[concept].append(entry.term)
        if concept in titles:
            yield entry.term, titles[concept], concept
    for concept, forms in texts.items():
        for one, other in list(combinations(forms, 2))[:12]:
            yield one, other, concept


def inclusion_triples(tabular: Path) -> Triples:
    for concept in read_tabular(tabular, name=tabular.name):
        for term in concept.inclusion_terms:
            yield term, concept.title, f"icd10cm:{concept.code.value}"


TABLES: dict[str, tuple[str, Callable[[Iterator[Row], dict[str, str]], Triples]]] = {
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
SOURCES = (*TABLES, "vocabulary", "inclusion")
