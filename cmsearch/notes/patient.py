"""What a note says of its patient: sex, age, pregnancy. Relatives do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from cmsearch.notes.assertion import contexts
from cmsearch.notes.layout import Segment, segments
from cmsearch.notes.rules import classes
from cmsearch.types import Assertion

_FEMALE = "woman|female|lady|girl|f|wf|bf|hf|primigravida|multigravida|gravida"
_MALE = "man|male|gentleman|boy|m|wm|bm|hm"
_AGE = re.compile(
    r"(?<![\w.])(\d{1,3})[\s-]*(?:(years?|yrs?|y)(?:[\s-]*(?:old|of age)|[\s/.-]*o\b\.?)|yo\b|"
    r"y/o\b|(months?|mos?|mth)[\s-]*(?:old|/?o\b)|(weeks?|wks?|days?)[\s-]*(?:old|/?o\b)|(?=[mMfF]\b))",
    re.IGNORECASE,
)
_STATED_AGE = re.compile(
    r"\bage(?:d)?\s*:?\s*(?:is\s+)?(\d{1,3})\b(?!\s*(?:days|weeks|months))", re.I
)
_STATED_SEX = re.compile(r"\b(?:sex|gender)\s*:?\s*(male|female|m|f)\b", re.IGNORECASE)
_NOUN = re.compile(rf"\b(?:({_FEMALE})|({_MALE}))\b", re.IGNORECASE)
_TITLE = re.compile(r"\b(?:(mrs|ms|miss)|(mr))\.?(?= \*{0,2}[A-Z])", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(?:(she|her|hers|herself)|(he|his|him|himself))\b", re.IGNORECASE)
_PREGNANT = re.compile(
    r"\b(?:pregnant|gravid|gestation|intrauterine pregnancy|iup|"
    r"weeks? pregnant|(?:first|second|third|1st|2nd|3rd) trimester)\b",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[a-z]+")
_OLDEST = 120
_MOST_AGES = 50  # of a note that are looked at


class Sex(Enum):
    """Sex as the edits of the code sets know it."""

    FEMALE = "female"
    MALE = "male"


@dataclass(frozen=True, slots=True)
class Patient:
    """What a note states of its patient.

    Attributes:
        sex: None where the note does not say it.
        age_years: completed years, 0 for an infant; None where the note does not say it.
        pregnant: the note says so of the patient, now.
    """

    sex: Sex | None = None
    age_years: int | None = None
    pregnant: bool = False


def patient(text: str, layout: Sequence[Segment] | None = None) -> Patient:
    """Return what a note states of its patient; ``layout`` is ``segments(text)`` if at hand."""
    parts = segments(text) if layout is None else layout
    age, sex = _introduced(text, parts)
    pregnant = _pregnant(text, parts)
    if sex is None:
        sex = _by_words(text, parts) or (Sex.FEMALE if pregnant else None)
    return Patient(sex, age, pregnant and sex is Sex.FEMALE)


def _introduced(text: str, parts: Sequence[Segment]) -> tuple[int | None, Sex | None]:
    """Return age and sex as a note states them: ``67-year-old woman``, ``Sex: F``."""
    given, stated = _STATED_SEX.search(text), _STATED_AGE.search(text)
    age = int(stated[1]) if stated is not None and int(stated[1]) <= _OLDEST else None
    sex = None if given is None else _sex(given[1].lower().startswith("f"))
    matches = list(islice(_ages(text, parts), _MOST_AGES))
    said = contexts(text, parts, [match.span() for match in matches])
    for match, context in zip(matches, said, strict=True):
        after = text[match.end() : match.end() + 60]
        if context.family or _relative_follows(after):
            continue
        noun = _NOUN.search(after)
        if sex is None and noun is not None:
            sex = _sex(noun[1] is not None)
        if age is None:
            age = _years(match)
        if age is not None and sex is not None:
            break
    return age, sex


def _ages(text: str, parts: Sequence[Segment]) -> Iterator[re.Match[str]]:
    for part in parts:
        if part.section != "family history":
            yield from _AGE.finditer(text, part.begin, part.end)


def _sex(female: bool) -> Sex:
    return Sex.FEMALE if female else Sex.MALE


def _years(match: re.Match[str]) -> int | None:
    number = int(match[1])
    if match[4]:
        return 0
    if match[3]:
        return number // 12
    return number if number <= _OLDEST else None


def _relative_follows(after: str) -> bool:
    """Return whether an age is that of a relative (``his 45-year-old brother``)."""
    return not classes()["relative"].isdisjoint(_LETTERS.findall(after.lower())[:3])


def _by_words(text: str, parts: Sequence[Segment]) -> Sex | None:
    """Return the sex that titles, else pronouns, agree on; None where they do not."""
    for pattern, least in ((_TITLE, 1), (_PRONOUN, 3)):
        female = male = 0
        for part in parts:
            words = text[part.begin : part.end]
            if part.section == "family history":
                continue
            if pattern is _PRONOUN and _names_relative(words):
                continue
            for match in pattern.finditer(words):
                female += match[1] is not None
                male += match[2] is not None
        if female >= least and male * 9 < female:
            return Sex.FEMALE
        if male >= least and female * 9 < male:
            return Sex.MALE
    return None


def _names_relative(words: str) -> bool:
    return not classes()["relative"].isdisjoint(_LETTERS.findall(words.lower()))


def _pregnant(text: str, parts: Sequence[Segment]) -> bool:
    spans = [
        match.span() for part in parts for match in _PREGNANT.finditer(text, part.begin, part.end)
    ]
    said = contexts(text, parts, spans)
    return any(context.assertion is Assertion.PRESENT for context in said)
