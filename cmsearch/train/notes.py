"""Fitting the choice of codes on coded notes: counts, boosted trees, a calibration.

Whatever is counted is counted across folds: the features of a note come from an experience
of other notes, so that the trees see in training what they will see in a new note. The
probabilities are calibrated on notes that neither counts nor trees have seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.codes import System
from cmsearch.errors import TrainingError
from cmsearch.index import open_index
from cmsearch.notes.choice import FEATURES, Choice
from cmsearch.notes.experience import Experience, phrases, telling
from cmsearch.notes.reading import Reader, Reading
from cmsearch.train.boosting import (
    Judged,
    best_threshold,
    boost,
    calibration,
    nodes,
    out_of_fold,
)
from cmsearch.train.codednotes import coded_lines
from cmsearch.train.documents import corpus_documents
from cmsearch.train.notes_config import NotesConfig
from cmsearch.train.silver import Named, assembled, drawn, new_to_coders, wordings

_SYSTEMS = (System.ICD10CM,)


@dataclass(frozen=True, slots=True)
class CodedNote:
    """A note as it was read, and the codes that its coder gave.

    Attributes:
        mentioned: codes whose words stand in it, each with the keys of the phrases.
    """

    id: str
    reading: Reading
    codes: frozenset[str]
    mentioned: tuple[tuple[str, frozenset[str]], ...]

    @classmethod
    def of(cls, values: dict[str, Any], reader: Reader) -> CodedNote:
        """Return the note of a line ({"id", "text", "codes"})."""
        reading = reader.read(values["text"])
        items = reader.candidates(reading, Experience.none(), _SYSTEMS)
        mentioned = tuple(
            (item.concept.code, frozenset(match.found.span.key for match in item.matches))
            for item in items
        )
        return cls(str(values["id"]), reading, frozenset(values["codes"]), mentioned)


def read_coded(path: Path, reader: Reader) -> list[CodedNote]:
    """Return the coded notes of a JSONL file ({"id", "text", "codes"}), read.

    Raises:
        TrainingError: the file cannot be read, or a line is no coded note.
    """
    return [CodedNote.of(values, reader) for values in coded_lines(path)]


def count(notes: Sequence[CodedNote], config: NotesConfig) -> Experience:
    """Return the experience of having coded the notes."""
    codes: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    mentioned: dict[str, list[int]] = {}
    keys: dict[str, list[int]] = {}
    of_phrase: Counter[str] = Counter()
    both: dict[str, Counter[str]] = {}
    of_category: Counter[str] = Counter()
    beside: dict[str, Counter[str]] = {}
    for note in notes:
        codes.update(note.codes)
        categories.update({code[:3] for code in note.codes})
        for phrase in phrases(note.reading.words):
            of_phrase[phrase] += 1
            both.setdefault(phrase, Counter()).update(note.codes)
        for code, phrases_of_code in note.mentioned:
            given = code in note.codes
            _tally(mentioned, code, given)
            for key in phrases_of_code:
                _tally(keys, f"{code} {key}", given)
        for category in {code[:3] for code, _ in note.mentioned}:
            of_category[category] += 1
            given_codes = [code for code in note.codes if code[:3] == category]
            beside.setdefault(category, Counter()).update(given_codes)
    priors = {code: number / len(notes) for code, number in codes.items()}
    return Experience(
        notes=len(notes),
        codes=codes,
        categories=categories,
        mentioned=_pairs(mentioned),
        related={
            category: (of_category[category], tuple(sorted(codes_of.items())))
            for category, codes_of in beside.items()
            if codes_of
        },
        keys=_pairs(keys),
        phrases=telling(
            ((phrase, of_phrase[phrase], given) for phrase, given in both.items()
             if of_phrase[phrase] > 1),
            priors,
            least_share=config.least_share,
            least_surprise=config.least_surprise,
        ),
    )  # fmt: skip


def _tally(counts: dict[str, list[int]], name: str, given: bool) -> None:
    pair = counts.setdefault(name, [0, 0])
    pair[0] += 1
    pair[1] += given


def _pairs(counts: dict[str, list[int]]) -> dict[str, tuple[int, int]]:
    return {name: (pair[0], pair[1]) for name, pair in counts.items()}


def judge(note: CodedNote, reader: Reader, experience: Experience) -> Judged:
    """Return the candidates of a note, with features from an experience."""
    items = reader.candidates(note.reading, experience, _SYSTEMS)
    codes = tuple(item.concept.code for item in items)
    return Judged(
        codes,
        reader.features(note.reading, items, experience),
        np.array([code in note.codes for code in codes], dtype=np.float32),
    )


def crossed(notes: Sequence[CodedNote], reader: Reader, config: NotesConfig) -> list[Judged]:
    """Return the notes, each judged with the experience of the other folds."""
    found: list[Judged | None] = [None] * len(notes)
    for fold in range(config.folds):
        others = [note for row, note in enumerate(notes) if row % config.folds != fold]
        experience = count(others, config)
        for row in range(fold, len(notes), config.folds):
            found[row] = judge(notes[row], reader, experience)
    return [item for item in found if item is not None]


def fit(
    notes: Sequence[CodedNote],
    reader: Reader,
    config: NotesConfig,
    silver: Sequence[Named] = (),
) -> tuple[str, float]:
    """Return the model of a coder as JSON, and its F1 on notes that it has not seen.

    Args:
        notes: coded notes.
        reader: reads notes.
        config: the recipe.
        silver: texts with a code that each names; calibration and F1 are of coded notes alone.

    Raises:
        TrainingError: there are fewer notes than folds.
    """
    if len(notes) < 2 * config.folds:
        raise TrainingError(
            f"{len(notes)} notes are too few for {config.folds} folds; name a file with more, "
            "or set folds in the recipe"
        )
    judged = crossed(notes, reader, config)
    experience = count(notes, config)
    model, f1 = _fitted(notes, judged, (), experience, config)
    if silver:
        first = Choice.from_json(model)
        given = {code for note in notes for code in note.codes}
        beside = [_silver(text, code, given, reader, first) for text, code in silver]
        model, f1 = _fitted(notes, judged, beside, experience, config)
    return json.dumps(model, separators=(",", ":")) + "\n", f1


def _fitted(
    notes: Sequence[CodedNote],
    judged: Sequence[Judged],
    silver: Sequence[Judged],
    experience: Experience,
    config: NotesConfig,
) -> tuple[dict[str, Any], float]:
    """Return the values of a model, and its F1 on notes that it has not seen."""
    logits = out_of_fold(judged, silver, config)
    corners, heights = calibration(logits, judged)
    calibrated = [np.interp(one, corners, heights).astype(np.float32) for one in logits]
    gold = sum(len(note.codes) for note in notes)
    threshold, f1 = best_threshold(calibrated, judged, gold)
    values = {
        "features": list(FEATURES),
        "threshold": round(threshold, 4),
        "calibration": {
            "logits": [round(value, 4) for value in corners],
            "probabilities": [round(value, 5) for value in heights],
        },
        "trees": nodes(boost([*judged, *silver], config)),
        "experience": experience.to_json(),
    }
    Choice.from_json(values)  # what is written can be read
    return values, f1


def _silver(text: str, code: str, given: Set[str], reader: Reader, first: Choice) -> Judged:
    """Return what a silver note teaches: the code that it names, and what a first model finds."""
    note = CodedNote.of({"id": "", "text": text, "codes": [code]}, reader)
    judged = judge(note, reader, first.experience)
    chances = first.probabilities(judged.features)
    found = {
        one for one, chance in zip(judged.codes, chances, strict=True) if chance >= first.threshold
    }
    return new_to_coders(judged, given, found | {code})


def fit_to_file(
    config: NotesConfig, coded: Path, index: Path, out: Path, *, corpus: Path | None = None
) -> float:
    """Fit the choice on a file of coded notes and write it; return its F1 on unseen notes.

    Raises:
        TrainingError: a file cannot be read, or the recipe asks for silver notes and there
            is no corpus.
    """
    if config.silver and corpus is None:
        raise TrainingError(
            f"the recipe asks for {config.silver} silver notes; name a corpus with --corpus, "
            "or set silver = 0"
        )
    reader = Reader(open_index(index).lexicon)
    notes = read_coded(coded, reader)
    silver: list[Named] = []
    if corpus is not None:
        given = {code for note in notes for code in note.codes}
        texts = drawn(corpus_documents(corpus), config.silver, config.seed)
        silver = assembled(texts, wordings(reader.lexicon, given), config.seed)
    text, f1 = fit(notes, reader, config, silver)
    out.write_text(text, encoding="utf-8")
    return f1
