"""A needle in a note: is one sentence found, wherever it stands and however long the note?

    python -m benchmarks.long_context [--encoder FOLDER] [--lengths 500,1000,2000,4000,6000]

The note is made of sentences that name nothing codable, written for this benchmark; one
sentence among them names a disease, at ten depths. Found means: a code of the disease is
among the ten nearest titles of ICD-10-CM, (a) to the vector of the whole note, (b) to the
best of its passages of three sentences, all passages ranked together, (c) to one of its
sentences, each ranked on its own, as the search of a note does. Then time and memory of one
text by length.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.growth import grow
from cmsearch.atlas import places
from cmsearch.codes import Code, System
from cmsearch.encoder.onnx import OnnxEncoder
from cmsearch.ontology.ontology import Ontology
from cmsearch.types import Vectors

DEPTHS = 10
NEAREST = 10
PASSAGE = 3
NEEDLES = (
    ("She was diagnosed with multiple sclerosis four years ago.", "G35"),
    ("He has sarcoidosis of the lung.", "D86"),
    ("The biopsy showed celiac disease.", "K90.0"),
    ("He suffers from chronic gout of the big toe.", "M1A"),
    ("The scan confirmed an abdominal aortic aneurysm.", "I71"),
    ("She is treated for bulimia nervosa.", "F50"),
    ("Cultures grew out and he was found to have leprosy.", "A30"),
    ("She carries a diagnosis of myasthenia gravis.", "G70"),
)
HAY = (
    "The patient arrived on time and was seen in room four.",
    "She lives with her husband and two dogs in a house with a garden.",
    "He walks to work and cycles at weekends.",
    "The daughter was present throughout the visit and took notes.",
    "All questions were answered and the plan was agreed.",
    "The next appointment is in six weeks, in the morning.",
    "Blood pressure was 118 over 72 and the pulse 68 and regular.",
    "Temperature was 36.7 degrees and oxygen saturation 98 percent on room air.",
    "Heart sounds are normal and there are no added sounds.",
    "The lungs are clear on both sides.",
    "The abdomen is soft and not tender.",
    "Gait and balance are normal, and reflexes are equal.",
    "The skin is warm and dry.",
    "Pupils are equal and react to light.",
    "He works as a teacher and enjoys reading.",
    "She does not smoke and drinks a glass of wine on Sundays.",
    "The form for the employer was filled in and signed.",
    "A letter was sent to the family physician.",
    "Height and weight were measured, and both are unchanged.",
    "The results were reviewed with the patient and are within normal limits.",
    "An interpreter was not needed.",
    "He asked about travel and was given a leaflet.",
    "The insurance details were checked at the desk.",
    "She slept well and ate breakfast.",
)


@dataclass(frozen=True, slots=True)
class Found:
    """How often the disease was found at one length.

    Attributes:
        tokens: length of the notes.
        notes: how many, over all depths and diseases.
        whole, passages, sentences: share found by the one vector, by the best passage, and
            by a sentence on its own.
        by_depth: share found by the one vector at each depth, from the top.
    """

    tokens: int
    notes: int
    whole: float
    passages: float
    sentences: float
    by_depth: tuple[float, ...]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, help="an exported encoder; the shipped one")
    parser.add_argument("--lengths", default="500,1000,2000,4000,6000")
    parser.add_argument("--growth", default="512,1024,2048,4096,8192")
    parser.add_argument("--diseases", type=int, default=len(NEEDLES), help="how many needles")
    options = parser.parse_args()
    needles = NEEDLES[: options.diseases]
    encoder = OnnxEncoder.load(options.encoder)
    loaded = places(Ontology.load((System.ICD10CM,)), System.ICD10CM)
    titles = encoder.encode([place.title for place in loaded])
    codes = [place.code for place in loaded]
    for length in map(int, options.lengths.split(",")):
        print(json.dumps(asdict(search(encoder, titles, codes, length, needles))), flush=True)
    lengths = [int(part) for part in options.growth.split(",") if part]
    for row in grow(encoder.folder, lengths, name=encoder.identity.name):
        print(json.dumps(asdict(row)), flush=True)


def search(
    encoder: OnnxEncoder,
    titles: Vectors,
    codes: Sequence[Code],
    tokens: int,
    needles: Sequence[tuple[str, str]] = NEEDLES,
) -> Found:
    """Return how often the diseases are found in notes of a length."""
    whole, parts, single = [], [], []
    for needle, gold in needles:
        for depth in range(DEPTHS):
            sentences = note(encoder, needle, tokens=tokens, depth=depth, seed=depth)
            whole.append(hit(encoder.encode([" ".join(sentences)]), titles, codes, gold))
            parts.append(hit(encoder.encode(passages(sentences)), titles, codes, gold))
            alone = encoder.encode(sorted(set(sentences)))
            single.append(any(hit(row[None], titles, codes, gold) for row in alone))
    table = np.array(whole).reshape(len(needles), DEPTHS)
    return Found(
        tokens=tokens,
        notes=len(whole),
        whole=round(float(np.mean(whole)), 3),
        passages=round(float(np.mean(parts)), 3),
        sentences=round(float(np.mean(single)), 3),
        by_depth=tuple(round(float(share), 3) for share in table.mean(axis=0)),
    )


def note(encoder: OnnxEncoder, needle: str, *, tokens: int, depth: int, seed: int) -> list[str]:
    """Return the sentences of a note of about so many tokens, the needle at a depth of ten."""
    draw = random.Random(seed)
    sizes = dict(zip(HAY, map(len, encoder.tokenize(HAY)), strict=True))
    sentences: list[str] = []
    held = 0
    while held < tokens:
        sentences.append(draw.choice(HAY))
        held += sizes[sentences[-1]]
    sentences.insert(round(depth / (DEPTHS - 1) * len(sentences)), needle)
    return sentences


def passages(sentences: Sequence[str]) -> list[str]:
    """Return the passages of three sentences, each one begun a sentence later."""
    last = max(1, len(sentences) - PASSAGE + 1)
    return sorted({" ".join(sentences[at : at + PASSAGE]) for at in range(last)})


def hit(found: Vectors, titles: Vectors, codes: Sequence[Code], gold: str) -> bool:
    """Return whether a code of the disease is among the ten nearest to any of the vectors."""
    best = (found @ titles.T).max(axis=0)
    nearest = np.argpartition(-best, NEAREST)[:NEAREST]
    above = Code(gold, codes[0].system)
    return any(codes[row].is_under(above) for row in nearest)


if __name__ == "__main__":
    main()
