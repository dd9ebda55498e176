"""A small world for tests: 40 concepts by hand, and an encoder that a person can check.

Imported by conftest.py and by the child processes that some tests start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import numpy as np

from cmsearch.codes import Code, System
from cmsearch.contents import BuildOptions
from cmsearch.index import build_index
from cmsearch.manifest import Manifest
from cmsearch.ontology.concept import CodeSet, Concept, Level, Notes
from cmsearch.ontology.crosswalk import GemEntry
from cmsearch.ontology.ontology import Ontology
from cmsearch.types import EncoderIdentity, Vectors

# Code, title, parent, what it is: chapter, block, header, billable code, or 7th-character code.
ICD10 = """
E00-E89  | Endocrine, nutritional and metabolic diseases                        |         | chapter
E08-E13  | Diabetes mellitus                                                    | E00-E89 | block
E10      | Type 1 diabetes mellitus                                             | E08-E13 | header
E10.9    | Type 1 diabetes mellitus without complications                       | E10     | code
E11      | Type 2 diabetes mellitus                                             | E08-E13 | header
E11.2    | Type 2 diabetes mellitus with kidney complications                   | E11     | header
E11.21   | Type 2 diabetes mellitus with diabetic nephropathy                   | E11.2   | code
E11.9    | Type 2 diabetes mellitus without complications                       | E11     | code
I00-I99  | Diseases of the circulatory system                                   |         | chapter
I20-I25  | Ischemic heart diseases                                              | I00-I99 | block
I20      | Angina pectoris                                                      | I20-I25 | header
I20.0    | Unstable angina                                                      | I20     | code
I20.9    | Angina pectoris, unspecified                                         | I20     | code
I21      | Acute myocardial infarction                                          | I20-I25 | header
I21.4    | Non-ST elevation (NSTEMI) myocardial infarction                      | I21     | code
I21.9    | Acute myocardial infarction, unspecified                             | I21     | code
I10      | Essential (primary) hypertension                                     | I00-I99 | code
J00-J99  | Diseases of the respiratory system                                   |         | chapter
J18      | Pneumonia, unspecified organism                                      | J00-J99 | header
J18.1    | Lobar pneumonia, unspecified organism                                | J18     | code
J18.9    | Pneumonia, unspecified organism                                      | J18     | code
J45      | Asthma                                                               | J00-J99 | header
J45.909  | Unspecified asthma, uncomplicated                                    | J45     | code
S00-T88  | Injury, poisoning and certain other consequences of external causes  |         | chapter
S52      | Fracture of forearm                                                  | S00-T88 | header
S52.5    | Fracture of lower end of radius                                      | S52     | header
S52.501  | Unspecified fracture of the lower end of right radius                | S52.5   | header
S52.501A | Unspecified fracture of the lower end of right radius, initial       | S52.501 | seventh
S52.501D | Unspecified fracture of the lower end of right radius, subsequent    | S52.501 | seventh
S52.501S | Unspecified fracture of the lower end of right radius, sequela       | S52.501 | seventh
"""
ICD9 = """
250-259  | Diseases of other endocrine glands                                   |         | chapter
250      | Diabetes mellitus                                                    | 250-259 | header
250.00   | Diabetes mellitus without mention of complication, type II           | 250     | code
250.01   | Diabetes mellitus without mention of complication, type I            | 250     | code
390-459  | Diseases of the circulatory system                                   |         | chapter
410      | Acute myocardial infarction                                          | 390-459 | header
410.90   | Acute myocardial infarction of unspecified site                      | 410     | code
413.9    | Other and unspecified angina pectoris                                | 390-459 | code
486      | Pneumonia, organism unspecified                                      |         | code
493.90   | Asthma, unspecified type                                             |         | code
"""
INCLUSION_TERMS = {
    "E10": ("Juvenile onset diabetes", "Brittle diabetes"),
    "I20.0": ("Crescendo angina", "Preinfarction syndrome"),
    "I20.9": ("Cardiac angina", "Stenocardia"),
    "I21.9": ("Myocardial infarction (acute) NOS", "Heart attack"),
    "I10": ("High blood pressure",),
    "J45.909": ("Bronchial asthma",),
}
INDEX_TERMS = (("I21.9", "Infarct, infarction > heart"), ("J18.9", "Pneumonia > double"))
SEVENTH = (
    ("A", "initial encounter"),
    ("D", "subsequent encounter"),
    ("S", "sequela"),
)
CONCEPTS = 40
SYSTEMS = (System.ICD10CM, System.ICD9CM)
OPTIONS = BuildOptions(systems=SYSTEMS, vocabulary=False)


def code10(value: str) -> Code:
    """Return an ICD-10-CM code."""
    return Code(value, System.ICD10CM)


def code9(value: str) -> Code:
    """Return an ICD-9-CM code."""
    return Code(value, System.ICD9CM)


def _concept(system: System, line: str) -> Concept:
    value, title, parent, kind = (part.strip() for part in line.split("|"))
    levels = {"chapter": Level.CHAPTER, "block": Level.BLOCK}
    return Concept(
        code=Code(value, system),
        title=title,
        level=levels.get(kind, Level.CODE),
        parent=Code(parent, system) if parent else None,
        billable=kind in ("code", "seventh"),
        inclusion_terms=INCLUSION_TERMS.get(value, ()),
        notes=Notes(excludes1=("angina pectoris (I20.-)",)) if value == "I21" else Notes(),
        seventh=SEVENTH if value == "S52" else (),
        expansion=kind == "seventh",
    )


def code_set(system: System, table: str, *, release: str = "one") -> CodeSet:
    """Return the code set of a table of lines."""
    concepts = tuple(_concept(system, line) for line in table.strip().splitlines())
    terms = INDEX_TERMS if system is System.ICD10CM else ()
    return CodeSet(
        system=system,
        release=release,
        origin="by hand",
        sha256=f"{crc32(table.encode()):064x}",
        concepts=concepts,
        index_terms=tuple((Code(value, system), path) for value, path in terms),
    )


def tiny_ontology(*, icd9: str = ICD9, release: str = "one") -> Ontology:
    """Return the 40 concepts: 30 of ICD-10-CM and, if not changed, 10 of ICD-9-CM."""
    first = code_set(System.ICD10CM, ICD10)
    return Ontology([first, code_set(System.ICD9CM, icd9, release=release)])


def retitled(titles: dict[str, str]) -> str:
    """Return the ICD-9 table with other titles for some codes."""
    lines = []
    for line in ICD9.strip().splitlines():
        value, _, parent, kind = (part.strip() for part in line.split("|"))
        title = titles.get(value, line.split("|")[1].strip())
        lines.append(f"{value}|{title}|{parent}|{kind}")
    return "\n".join(lines)


def gem(source: System, target: System) -> list[GemEntry]:
    """Return a crosswalk of five rows, one without target, one to a code that is not there."""
    plain = GemEntry(code9("250.00"), code10("E11.9"), True, False, False, 0, 0)
    rows = [
        plain,
        replace(plain, source=code9("410.90"), target=code10("I21.9")),
        replace(plain, source=code9("486"), target=code10("J18.9"), approximate=False),
        replace(plain, source=code9("250.01"), target=None, no_map=True),
        replace(plain, source=code9("413.9"), target=code10("Z99.9")),
    ]
    if source is System.ICD9CM:
        return rows
    back = [row for row in rows[:3] if row.target is not None]
    return [replace(row, source=row.target, target=row.source) for row in back if row.target]


def groups(system: System) -> dict[Code, str]:
    """Return the groups of two codes."""
    return {code10("I21.9"): "CCSR CIR009"} if system is System.ICD10CM else {}


def words(text: str) -> list[str]:
    """Return the words that the fake encoder sees."""
    kept = (letter if letter.isalnum() else " " for letter in text.casefold())
    return "".join(kept).split()


class FakeEncoder:
    """A hashed bag of words: a word counts 1 in the dimension crc32(word) % dim.

    Two texts with the same words have cosine 1; without a common word 0, but for words
    that share a dimension. A text without words is the first axis. What was encoded is
    remembered, call by call.
    """

    def __init__(self, name: str = "fake", dim: int = 512) -> None:
        self.name = name
        self.dim = dim
        self.calls: list[list[str]] = []

    @property
    def identity(self) -> EncoderIdentity:
        digest = f"{crc32(self.name.encode()):064x}"
        return EncoderIdentity(self.name, digest, "sum", self.dim, 10_000)

    @property
    def encoded(self) -> list[str]:
        """Every text encoded so far."""
        return [text for call in self.calls for text in call]

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in words(text):
                vectors[row, crc32(word.encode("utf-8", "replace")) % self.dim] += 1
            if not vectors[row].any():
                vectors[row, 0] = 1
        lengths: Vectors = np.linalg.norm(vectors, axis=1, keepdims=True)
        found: Vectors = (vectors / lengths).astype(np.float32)
        return found


def build(
    folder: Path,
    *,
    encoder: FakeEncoder | None = None,
    ontology: Ontology | None = None,
    options: BuildOptions = OPTIONS,
    **more: object,
) -> Manifest:
    """Build the small index with its own crosswalk and groups; no package data are read."""
    with patch.multiple("cmsearch.contents", read_gem=gem, read_groups=groups):
        return build_index(
            folder,
            ontology or tiny_ontology(),
            options=options,
            encoder=encoder or FakeEncoder(),
            **more,  # type: ignore[arg-type]
        )


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder, the lock of the build left out."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".build.lock")


def one_line(error: BaseException | str) -> bool:
    """Whether a message is one line with something in it."""
    text = str(error).strip()
    return bool(text) and "\n" not in text


def unit(count: int, dim: int = 16, seed: int = 0) -> Vectors:
    """Return unit vectors in directions of chance, (count, dim)."""
    values = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    found: Vectors = values / np.linalg.norm(values, axis=1, keepdims=True)
    return found
