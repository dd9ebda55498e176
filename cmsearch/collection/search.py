"""Searching a collection of notes: by words, by a code's own forms, by another note."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmsearch.collection.book import Book, PassageRow
from cmsearch.collection.folder import State, check_encoder
from cmsearch.collection.passages import passages
from cmsearch.collection.speaking import phrase_of, said_of
from cmsearch.encoder import open_encoder
from cmsearch.errors import IndexFolderError
from cmsearch.growing import GrowingVectors
from cmsearch.search import Index
from cmsearch.types import Assertion, Encoder, Vectors
from cmsearch.wording import STOPWORDS, tokens

_PASSAGES = 200  # so many by meaning and by words are looked at
_LIKE_PASSAGES = 48  # of a note that others shall be like, so many are asked for
_FORMS = 32  # of a code
_JUDGED = 4  # times as many as are wanted are looked at for denials
_RANK_OFFSET = 60  # reciprocal rank fusion, Cormack et al. 2009


@dataclass(frozen=True, slots=True)
class FoundNote:
    """A note that was found, and the passage that speaks for it.

    Attributes:
        rank: 1 for the best.
        note: its id.
        source: the file it came from.
        score: larger is better; comparable within one search, between 0 and 1.
        cosine: likeness of meaning of the passage, -1 to 1; of all passages for ``like``.
        passage: the words of its best passage.
        begin, end: where the passage stands in the note, in code points.
        section: the section it stands in, empty for none.
        assertion: what the passage says of what was asked (present, negated, family, ...);
            empty where it has words of its own for it, and for ``like``.
    """

    rank: int
    note: str
    source: str
    score: float
    cosine: float
    passage: str
    begin: int
    end: int
    section: str
    assertion: str


class NoteIndex:
    """A collection of notes, open for searching.

    Args:
        folder: where it lies.
        state: what it says of itself.
        book: its notes and passages.
        vectors: the vectors of the passages.
        encoder: the encoder that made them.
    """

    def __init__(
        self, folder: Path, state: State, book: Book, vectors: GrowingVectors, encoder: Encoder
    ) -> None:
        self.folder = folder
        self.state = state
        self.book = book
        self.vectors = vectors
        self.encoder = encoder

    @classmethod
    def open(cls, folder: Path, *, encoder: Encoder | None = None) -> NoteIndex:
        """Return the collection of a folder.

        Raises:
            IndexFolderError: there is none, or it is damaged.
            IndexMismatch: another encoder made it.
        """
        for attempt in (1, 2, 3):
            book = Book.open(folder)
            state = State.from_json(book.state(), folder)
            try:
                vectors = GrowingVectors.open(folder, state.extent)
            except IndexFolderError:
                book.close()
                if attempt == 3:
                    raise
                continue  # notes were added in this very moment
            break
        encoder = encoder or open_encoder(state.encoder_source)
        check_encoder(state, encoder, folder)
        return cls(folder, state, book, vectors, encoder)

    def search(self, queries: Sequence[str], *, k: int = 10) -> list[list[FoundNote]]:
        """Return the best notes for each query, by meaning and by words.

        Args:
            queries: words or phrases; a blank one finds nothing.
            k: how many notes at most.
        """
        return [self._by_forms([query], k) if query.strip() else [] for query in queries]

    def about(self, code: str, *, index: Index, k: int = 10) -> list[FoundNote]:
        """Return the notes that speak best of a code, in whatever words its forms have.

        A passage that denies it, or says it of a relative, counts half.

        Args:
            code: a code of the index, however it is typed.
            index: the index of codes.
            k: how many notes at most.

        Raises:
            CodeError: the index does not hold the code.
        """
        lexicon = index.files.lexicon
        concept = index.concept(code)
        concepts = [concept, *lexicon.children(concept.id)]
        if not lexicon.forms_of_concept(concept.id) and concept.parent is not None:
            # Codes made by a 7th character have the forms of their parent.
            concepts += lexicon.concepts([concept.parent]).values()
        texts = [form.text for row in concepts for form in lexicon.forms_of_concept(row.id)]
        return self._by_forms(list(dict.fromkeys([concept.title, *texts]))[:_FORMS], k)

    def like(self, text: str, *, k: int = 10) -> list[FoundNote]:
        """Return the notes most like a whole note: passage by passage, the best of each.

        Args:
            text: a note of any length; of a long one 48 passages stand for all.
            k: how many notes at most.
        """
        parts = [text[part.begin : part.end] for part in passages(text)]
        if not parts or not len(self.vectors):
            return []
        chosen = np.unique(np.linspace(0, len(parts) - 1, _LIKE_PASSAGES).astype(int))
        vectors = self.encoder.encode([parts[number] for number in chosen])
        scores, rows = self.vectors.search(vectors, k=_PASSAGES)
        held = self.book.passages(sorted({int(row) for row in rows.ravel() if row >= 0}))
        sums: dict[int, float] = defaultdict(float)
        best: dict[int, tuple[float, int]] = {}
        for line, line_scores in zip(rows, scores, strict=True):
            # A note that is not among the found is at most as like as the last of them.
            floor = float(line_scores[line >= 0].min())
            seen: set[int] = set()
            for row, score in zip(line.tolist(), line_scores.tolist(), strict=True):
                if row not in held:
                    continue
                note = held[row].note
                best[note] = max(best.get(note, (-2.0, 0)), (score, -row))
                if note not in seen:
                    seen.add(note)
                    sums[note] += score - floor
        floors = float(sum(line[at >= 0].min() for line, at in zip(scores, rows, strict=True)))
        ranked = sorted(sums, key=lambda note: (-round(sums[note], 5), note))[:k]
        found = [
            (held[-best[note][1]], (sums[note] + floors) / len(chosen), best[note][0])
            for note in ranked
        ]
        return [_found(rank, row, mean, mean) for rank, (row, mean, _) in enumerate(found, 1)]

    def _by_forms(self, texts: Sequence[str], k: int) -> list[FoundNote]:
        """Return the notes whose passages come first by meaning and by words."""
        if not len(self.vectors):
            return []
        # Each text is encoded on its own: in int8 its neighbours in a batch would show.
        vectors = np.vstack([self.encoder.encode([text]) for text in texts])
        for wider in (1, 4):
            dense = self._by_meaning(vectors, _PASSAGES * wider)
            lexical = self.book.find(self._clauses(texts), limit=_PASSAGES * wider)
            held = self.book.passages(sorted({*dense, *lexical}))
            found = _fused(dense, lexical, held)
            if len(found) >= k:
                break
        return [
            _found(rank, row, score, dense.get(row.id, self._cosine(vectors, row.id)), said)
            for rank, (row, score, said) in enumerate(_asserted(found, texts, k), 1)
        ]

    def _by_meaning(self, vectors: Vectors, count: int) -> dict[int, float]:
        """Return the best cosine of each of the nearest passages, the best first."""
        scores, rows = self.vectors.search(vectors, k=count)
        best: dict[int, float] = {}
        for row, score in zip(rows.ravel().tolist(), scores.ravel().tolist(), strict=True):
            if row >= 0:
                best[row] = max(score, best.get(row, -2.0))
        ordered = sorted(best.items(), key=lambda pair: (-round(pair[1], 5), pair[0]))
        return dict(ordered[:count])

    def _cosine(self, vectors: Vectors, row: int) -> float:
        return float((vectors @ self.vectors.vectors(np.array([row]))[0]).max())

    @staticmethod
    def _clauses(texts: Sequence[str]) -> list[list[str]]:
        """Return the words to look for: any of one phrase; of several, all words of one."""
        phrases = [[word for word in tokens(text) if word not in STOPWORDS] for text in texts]
        if len(phrases) == 1:
            return [[word] for word in dict.fromkeys(phrases[0][:24])]
        return [phrase[:12] for phrase in phrases if phrase]


def _fused(
    dense: Mapping[int, float], lexical: Sequence[int], held: Mapping[int, PassageRow]
) -> list[tuple[PassageRow, float]]:
    """Return the best passage of each note with its score, by reciprocal ranks of both halves."""
    scores: dict[int, float] = defaultdict(float)
    for half in (list(dense), lexical):
        for rank, row in enumerate((row for row in half if row in held), start=1):
            scores[row] += (_RANK_OFFSET + 1) / (_RANK_OFFSET + rank) / 2
    best: dict[int, tuple[PassageRow, float]] = {}
    for row, score in sorted(scores.items(), key=lambda pair: (-round(pair[1], 6), pair[0])):
        best.setdefault(held[row].note, (held[row], score))
    return list(best.values())


def _asserted(
    found: Sequence[tuple[PassageRow, float]], texts: Sequence[str], k: int
) -> list[tuple[PassageRow, float, str]]:
    """Return the first k with what their passages say; half the score for a denial.

    Another's condition (a father's stroke) counts as denied: a search is for who has it,
    unless it says itself that it is for the other ("family history of stroke").
    """
    phrases = [phrase_of(text) for text in texts]
    asked = {said_of([phrase], text, "") for phrase, text in zip(phrases, texts, strict=True)}
    judged = []
    for row, score in found[: k * _JUDGED]:
        said = said_of(phrases, row.text, row.section)
        against = said in (Assertion.NEGATED, Assertion.FAMILY) and said not in asked
        judged.append((row, score / 2 if against else score, said.value if said else ""))
    judged.sort(key=lambda item: -round(item[1], 6))
    return judged[:k]


def _found(
    rank: int, row: PassageRow, score: float, cosine: float, assertion: str = ""
) -> FoundNote:
    return FoundNote(
        rank=rank,
        note=row.name,
        source=row.source,
        score=round(score, 4),
        cosine=round(cosine, 4),
        passage=row.text,
        begin=row.begin,
        end=row.end,
        section=row.section,
        assertion=assertion,
    )
