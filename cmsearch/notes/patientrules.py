"""Rules about the patient: codes for one sex or age in a note that states another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cmsearch.notes.ruletables import patient_facts
from cmsearch.notes.scene import Item, Rule, Scene

# Ages of the Medicare Code Editor's age conflict edit, in completed years.
_AGES = {
    "newborn": (0, 0, "the newborn period; later only for a condition that persists"),
    "child": (0, 17, "patients of 0 to 17 years"),
    "maternity": (9, 64, "patients of 9 to 64 years"),
    "adult": (15, 124, "patients of 15 years and older"),
}


_SEX = re.compile(r"\b(female|male)\b")


def _sex(item: Item, scene: Scene) -> Iterator[str]:
    if scene.patient.sex is None or not item.clinical:
        return
    stated = scene.patient.sex.value
    for fact, source in patient_facts(item.node.undotted):
        if fact in ("female", "male") and fact != stated:
            yield f"for {fact} patients; the note says {stated} [{source}]"
            return
    titled = set(_SEX.findall(item.node.row.title.casefold()))
    if titled and stated not in titled:
        yield f"its title is for {titled.pop()} patients; the note says {stated}"


def _age(item: Item, scene: Scene) -> Iterator[str]:
    age = scene.patient.age_years
    if age is None or not item.clinical:
        return
    for fact, source in patient_facts(item.node.undotted):
        if fact in _AGES:
            low, high, whom = _AGES[fact]
            if not low <= age <= high:
                yield f"for {whom}; the note says {age} years [{source}]"


PATIENT = (
    Rule("sex", "Medicare Code Editor, sex conflict", _sex),
    Rule("age", "Medicare Code Editor, age conflict", _age),
)
