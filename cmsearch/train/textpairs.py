"""Pairs from texts: consumer questions, titles of abstracts, evidence in coded notes.

A recipe asks for them by their weights; without one they are not drawn.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cmsearch.errors import TrainingError
from cmsearch.train.codednotes import coded_lines
from cmsearch.train.documents import Document, corpus_documents
from cmsearch.train.terms import Pair, is_held_out
from cmsearch.wording import terms, tokens

CONSUMER, ABSTRACTS, EVIDENCE = "consumer", "abstracts", "evidence"
TEXT_SOURCES = (CONSUMER, ABSTRACTS, EVIDENCE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_LONGEST_NAME, _LONGEST_SENTENCE = 100, 400  # characters
_FEWEST_WORDS = 4


def text_pairs(
    wanted: Iterable[str],
    known: Mapping[str, Sequence[Pair]],
    *,
    corpus: Path | None,
    coded: Path | None,
) -> dict[str, list[Pair]]:
    """Return the pairs of the sources of texts that are wanted; none is a held-out wording.

    Args:
        wanted: names of sources; those that are none of texts are passed over.
        known: pairs of the terminologies, by source, for the wordings of codes.
        corpus: folder of texts (``*.jsonl``, ``*.jsonl.zst``).
        coded: coded notes, a line each: id, text, codes.

    Raises:
        TrainingError: a source needs a folder or file that was not named or cannot be read.
    """
    found: dict[str, list[Pair]] = {}
    makers: dict[str, Callable[[Iterable[Document]], Iterator[Pair]]] = {
        CONSUMER: consumer_pairs, ABSTRACTS: abstract_pairs,
    }  # fmt: skip
    for source in sorted(set(wanted) & set(TEXT_SOURCES)):
        if source == EVIDENCE:
            if coded is None:
                raise TrainingError("pairs of evidence need coded notes; name them with --coded")
            notes = ((one["text"], one["codes"]) for one in coded_lines(coded))
            pairs = evidence_pairs(notes, known)
        else:
            if corpus is None:
                raise TrainingError(f"pairs of {source} need texts; name them with --corpus")
            pairs = makers[source](corpus_documents(corpus))
        unique = dict.fromkeys(pair for pair in pairs if not is_held_out(pair.query))
        found[source] = list(unique)
    return found


def consumer_pairs(documents: Iterable[Document]) -> Iterator[Pair]:
    """Yield each question of a consumer text, and its first answer, with the condition.

    The first line of such a text names its condition.
    """
    for document in documents:
        if document.part != CONSUMER:
            continue
        condition, *lines = document.text.split("\n")
        if not lines or len(condition) > _LONGEST_NAME:
            continue
        concept = f"{CONSUMER}:{condition.casefold()}"
        question = next((line for line in lines if line.rstrip().endswith("?")), "")
        answer = next((line for line in lines if not line.rstrip().endswith("?")), "")
        for text in (question, _SENTENCE.split(answer)[0]):
            if len(text.split()) >= _FEWEST_WORDS:
                yield Pair(text[:_LONGEST_SENTENCE], condition, concept, CONSUMER)


def abstract_pairs(documents: Iterable[Document]) -> Iterator[Pair]:
    """Yield the last sentence of each abstract, its conclusion, with its title."""
    for document in documents:
        title, _, rest = document.text.partition("\n")
        sentences = [one for one in _SENTENCE.split(rest) if len(one.split()) >= _FEWEST_WORDS]
        if document.part == ABSTRACTS and sentences and len(title) <= _LONGEST_SENTENCE:
            concept = f"{ABSTRACTS}:{document.id}"
            yield Pair(sentences[-1][:_LONGEST_SENTENCE], title, concept, ABSTRACTS)


def evidence_pairs(
    notes: Iterable[tuple[str, Sequence[str]]], known: Mapping[str, Sequence[Pair]]
) -> Iterator[Pair]:
    """Yield sentences of coded notes with the title of a code that the note has.

    A sentence is evidence if all telling words of a wording of the code stand in it.

    Args:
        notes: text and codes of each.
        known: pairs of the terminologies, by source.
    """
    wordings: dict[str, dict[frozenset[str], str]] = defaultdict(dict)
    for source in ("inclusion", "index", "vocabulary"):
        for pair in known.get(source, ()):
            stems = frozenset(terms(tokens(pair.query)))
            if stems:
                wordings[pair.concept].setdefault(stems, pair.target)
    for text, codes in notes:
        sentences = [one for one in _SENTENCE.split(text) if len(one) <= _LONGEST_SENTENCE]
        stems_of = [frozenset(terms(tokens(one))) for one in sentences]
        for code in codes:
            concept = f"icd10cm:{code}"
            for stems, title in wordings.get(concept, {}).items():
                row = next((row for row, one in enumerate(stems_of) if stems <= one), None)
                if row is not None:
                    yield Pair(sentences[row], title, concept, EVIDENCE)
                    break
