"""The documents of pretraining: corpus shards, every code as text, the terminologies."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from cmsearch.codes import System
from cmsearch.errors import TrainingError
from cmsearch.ontology.ontology import Ontology
from cmsearch.serialise import Template, forms
from cmsearch.train.terms import is_held_out, read_terms, tabular_file

# The part of the mix that a source of the corpus belongs to; others are parts of their own.
PARTS = {
    "aci_bench_trainvalid": "notes",
    "codiesp_background_en_mt": "notes",
    "e3c_en_case_reports": "notes",
    "mts_dialog_train": "notes",
    "mtsamples": "notes",
    "primock57": "notes",
    "cdc_mmwr_supp_pcd2024": "articles",
    "evidence_inference_pmc_rct": "articles",
    "fda_labels_adr_sections": "articles",
    "ncbi_disease_train": "abstracts",
    "pubmed_abstracts_sysreview": "abstracts",
    "pubmed_abstracts_wallace": "abstracts",
    "medquad_nih": "consumer",
}
CODES, TERMS = "codes", "terms"
_TEMPLATES = (Template.PUBLISHED, Template.ANCESTORS, Template.INCLUSION, Template.INCLUDES)
_OFFICIAL = (Template.PUBLISHED, Template.ANCESTORS)


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the mix; ``part`` is what the weights of a recipe name."""

    part: str
    id: str
    text: str


def corpus_documents(folder: Path) -> Iterator[Document]:
    """Yield the documents of ``*.jsonl`` and ``*.jsonl.zst``, shard by shard.

    Raises:
        TrainingError: there is no shard, or a line is no document; file and line are named.
    """
    shards = sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.zst")])
    if not shards:
        raise TrainingError(f"{folder}: no *.jsonl or *.jsonl.zst here; name a folder of shards")
    for shard in shards:
        for number, line in enumerate(_lines(shard), start=1):
            try:
                row = json.loads(line)
                source, identifier, text = row["source"], row["id"], row["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise TrainingError(
                    f"{shard}, line {number}: no object with source, id and text "
                    f"({type(error).__name__})"
                ) from error
            yield Document(PARTS.get(source, source), f"{source}:{identifier}", text)


def _lines(shard: Path) -> Iterator[str]:
    if shard.suffix != ".zst":
        with shard.open(encoding="utf-8") as plain:
            yield from plain
        return
    try:
        with shard.open("rb") as packed:
            reader = zstandard.ZstdDecompressor().stream_reader(packed)
            yield from io.TextIOWrapper(reader, encoding="utf-8")
    except zstandard.ZstdError as error:
        raise TrainingError(f"{shard}: the archive is damaged ({error})") from error


def code_documents(ontology: Ontology) -> Iterator[Document]:
    """Yield a document for each code of every system: its text forms, a line each.

    The forms are those of ``serialise``. Wordings that are held out to fit the fusion are
    left out; codes made by a 7th character say what their parents say.
    """
    for system in ontology.systems:
        for concept in ontology.concepts(system):
            if concept.expansion:
                continue
            made = forms(concept, templates=_TEMPLATES, ancestors=ontology.ancestors(concept.code))
            kept = [
                form.text
                for form in made
                if form.template in _OFFICIAL or not is_held_out(form.text)
            ]
            yield Document(CODES, f"{system.value}:{concept.code.value}", "\n".join(kept))


def term_documents(folder: Path) -> Iterator[Document]:
    """Yield a document for each concept of the terminologies: all its wordings, a line each.

    Definitions, synonyms, index entries and abbreviations come together by concept, from
    the pairs that tuning uses; what is held out there is held out here.
    """
    wordings: dict[str, dict[str, str]] = defaultdict(dict)
    for found in read_terms(folder, tabular=tabular_file()).pairs.values():
        for pair in found:
            for text in (pair.target, pair.query):
                wordings[pair.concept].setdefault(text.casefold(), text)
    for concept, texts in wordings.items():
        yield Document(TERMS, concept, "\n".join(texts.values()))


def documents(corpus: Path, terms: Path | None) -> Iterator[Document]:
    """Yield everything to pretrain on: corpus, codes, and the terminologies if given."""
    yield from corpus_documents(corpus)
    yield from code_documents(Ontology.load(tuple(System)))
    if terms is not None:
        yield from term_documents(terms)
