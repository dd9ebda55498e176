"""The atlas: all codes of a system as points, near where they mean the same, per encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from cmsearch import separation
from cmsearch.codes import Code, System
from cmsearch.encoder import open_encoder
from cmsearch.errors import CodeError, need
from cmsearch.ontology.concept import Level
from cmsearch.ontology.ontology import Ontology
from cmsearch.projection import EXTRA, LIBRARY, Points, tsne
from cmsearch.serialise import published
from cmsearch.types import Encoder, Vectors

NEIGHBOURS = 10
PERPLEXITY = 30
_LEAST = 12
Progress = Callable[[str, int, int], None]


class Text(Enum):
    """What of a code its point is made from.

    ``template`` is the published form with the code's characters put out of sight. With
    them (``numbered``) any encoder that can read digits tells chapters apart, because a
    chapter is a range of numbers: that measures spelling, and is here to show how much.
    """

    TITLE = "title"
    TEMPLATE = "template"
    NUMBERED = "numbered"


@dataclass(frozen=True, slots=True)
class Place:
    """One code of the atlas, with its title and the title of its chapter."""

    code: Code
    title: str
    chapter: str


@dataclass(frozen=True, slots=True)
class ChapterFigures:
    """How one chapter lies apart from the others.

    Attributes:
        chapter: its title.
        codes: how many codes it has.
        silhouette: mean silhouette of its codes.
        purity: mean share of their nearest neighbours that are of the chapter too.
    """

    chapter: str
    codes: int
    silhouette: float
    purity: float


@dataclass(frozen=True, slots=True)
class Panel:
    """What one encoder makes of the codes.

    Attributes:
        encoder: its name.
        dim: width of its vectors, in which everything is measured.
        points: where the codes lie in the picture (t-SNE), (n, 2).
        silhouette: mean silhouette by chapter, cosine distance.
        chapter_purity: mean share of the 10 nearest codes that are of the same chapter.
        category_purity: the same by category; codes alone in theirs are left out.
        chapters: the figures of each chapter, in the order of the book.
    """

    encoder: str
    dim: int
    points: Points
    silhouette: float
    chapter_purity: float
    category_purity: float
    chapters: tuple[ChapterFigures, ...]


@dataclass(frozen=True, slots=True)
class Atlas:
    """All codes of a code system as one or more encoders see them.

    Attributes:
        system: the code system.
        release: its release.
        text: what the vectors were made from.
        seed: start of the random numbers.
        places: the codes, in the order of the book.
        chance_chapter, chance_category: purity of neighbours drawn at random.
        panels: one for each encoder.
    """

    system: System
    release: str
    text: Text
    seed: int
    places: tuple[Place, ...]
    chance_chapter: float
    chance_category: float
    panels: tuple[Panel, ...]

    def figures(self) -> dict[str, Any]:
        """Return everything but the points as plain values, the JSON interface."""
        return {
            "system": self.system.value,
            "release": self.release,
            "codes": len(self.places),
            "text": self.text.value,
            "neighbours": NEIGHBOURS,
            "seed": self.seed,
            "chance": {
                "chapter_purity": _rounded(self.chance_chapter),
                "category_purity": _rounded(self.chance_category),
            },
            "encoders": [
                {
                    "encoder": panel.encoder,
                    "dim": panel.dim,
                    "silhouette": _rounded(panel.silhouette),
                    "chapter_purity": _rounded(panel.chapter_purity),
                    "category_purity": _rounded(panel.category_purity),
                    "chapters": [
                        {
                            "chapter": row.chapter,
                            "codes": row.codes,
                            "silhouette": _rounded(row.silhouette),
                            "chapter_purity": _rounded(row.purity),
                        }
                        for row in panel.chapters
                    ],
                }
                for panel in self.panels
            ],
        }


def draw(
    ontology: Ontology,
    system: System,
    encoders: Sequence[str],
    *,
    text: Text = Text.TITLE,
    seed: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Atlas:
    """Return the atlas of a code system, one panel for each encoder.

    The figures are measured in the full space; the picture is t-SNE over the same exact
    neighbours (openTSNE). The same vectors and seed give the same picture.

    Args:
        ontology: the code sets in use, the system among them.
        system: which code system.
        encoders: paths or names, as ``open_encoder`` takes them; empty for the shipped one.
        text: what the vectors are made from.
        seed: start of the random numbers.
        device: ``cpu`` or ``cuda``.
        progress: called with a stage's name, how much is done, how much there is.

    Raises:
        CodeError: the system is not loaded, or has too few codes or chapters for a picture.
        EncoderError: an encoder cannot be opened.
        MissingDependency: openTSNE is not installed.
    """
    need(LIBRARY, extra=EXTRA)
    found = places(ontology, system)
    texts = [text_of(place, text) for place in found]
    opened = [open_encoder(name, device=device) for name in encoders]
    return Atlas(
        system=system,
        release=ontology.code_set(system).release,
        text=text,
        seed=seed,
        places=tuple(found),
        chance_chapter=separation.chance([place.chapter for place in found]),
        chance_category=separation.chance([category(place.code) for place in found]),
        panels=tuple(_panel(found, texts, encoder, seed, progress) for encoder in opened),
    )


def places(ontology: Ontology, system: System) -> list[Place]:
    """Return the codes with no further code below them, in the order of the book.

    Headers are left out, whose titles stand in those of their children; so are codes
    made by a 7th character, whose words are those of their parent.

    Raises:
        CodeError: the system is not loaded, or has too few codes or chapters for a picture.
    """
    own = [
        concept
        for concept in ontology.concepts(system)
        if concept.level is Level.CODE and not concept.expansion
    ]
    above = {concept.parent for concept in own}
    found = []
    for concept in own:
        chapter = ontology.chapter(concept.code)
        if concept.code not in above and chapter is not None:
            found.append(Place(concept.code, concept.title, chapter.title))
    chapters = {place.chapter for place in found}
    if len(found) < _LEAST or len(chapters) < 2:
        raise CodeError(
            f"{system.label} has {len(found)} codes in {len(chapters)} chapters here; an atlas "
            f"needs {_LEAST} codes and 2 chapters: add a fuller release with cmsearch ontology add"
        )
    return found


def text_of(place: Place, text: Text) -> str:
    """Return the text that stands for a code."""
    if text is Text.TITLE:
        return place.title
    written = published(place.code, place.title)
    if text is Text.NUMBERED:
        return written
    head, _, tail = written.partition(place.code.value)
    return f"{head.rstrip().removesuffix(' for')}{tail}"


def category(code: Code) -> str:
    """Return the category of a code; of ICD-10-PCS, which has none, its table."""
    return code.value[:3] if code.system is System.ICD10PCS else code.category


def measure(
    found: Sequence[Place], vectors: Vectors, near: separation.Rows
) -> tuple[float, float, float, tuple[ChapterFigures, ...]]:
    """Return silhouette, chapter purity, category purity, and the figures by chapter.

    Args:
        found: the codes, n.
        vectors: of their texts, rows of length 1, (n, dim).
        near: their nearest neighbours, (n, at most 10).
    """
    labels = [place.chapter for place in found]
    apart = separation.silhouette(vectors, labels)
    pure = separation.purity(near, labels)
    kin = separation.purity(near, [category(place.code) for place in found])
    rows = []
    for chapter, count in Counter(labels).items():
        own = np.array([label == chapter for label in labels])
        rows.append(ChapterFigures(chapter, count, _mean(apart[own]), _mean(pure[own])))
    return _mean(apart), _mean(pure), _mean(kin), tuple(rows)


def _panel(
    found: Sequence[Place],
    texts: Sequence[str],
    encoder: Encoder,
    seed: int,
    progress: Progress | None,
) -> Panel:
    report = progress or (lambda stage, done, total: None)
    name = encoder.identity.name
    report(f"{name}: encode", 0, 1)
    vectors = encoder.encode(texts)
    report(f"{name}: encode", 1, 1)
    perplexity = min(PERPLEXITY, (len(found) - 1) // 3)
    near, distances = separation.neighbours(vectors, k=3 * perplexity)
    figures = measure(found, vectors, near[:, :NEIGHBOURS])
    report(f"{name}: picture", 0, 1)
    points = tsne(vectors, near, distances, perplexity=perplexity, seed=seed)
    report(f"{name}: picture", 1, 1)
    return Panel(name, vectors.shape[1], points, *figures)


def _mean(values: separation.Values) -> float:
    """Return the mean of what is a number, NaN where nothing is."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
