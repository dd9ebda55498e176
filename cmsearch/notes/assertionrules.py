"""Rules about what a note says of a condition: negated, uncertain, of the family, past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cmsearch.codes import Code
from cmsearch.notes.codebook import Codebook
from cmsearch.notes.ruletables import history
from cmsearch.notes.scene import Item, Rule, Scene, items_of
from cmsearch.types import Assertion, Suggestion

_HISTORICAL = (Assertion.HISTORICAL, Assertion.FAMILY)


def history_code(code: Code, assertion: Assertion) -> Code | None:
    """Return the code of the history of a condition (C50.911, family: Z80.3).

    None where the classification has none, where a past condition is coded as one that is
    still there (diabetes), and for any other assertion.
    """
    if assertion not in _HISTORICAL or code.value.startswith("Z"):
        return None
    found = history(code.undotted, family=assertion is Assertion.FAMILY)
    return found if found != code else None


def with_histories(suggestions: Sequence[Suggestion], codebook: Codebook) -> list[Suggestion]:
    """Return suggestions with those added that family and past conditions are coded as.

    A condition that the note ascribes to the family alone, or to the past alone, brings
    its history code with its own probability and mentions, unless that is there already.
    """
    found = list(suggestions)
    places = {suggestion.code: place for place, suggestion in enumerate(found)}
    for item in items_of(suggestions, codebook):
        code = history_code(item.suggestion.code, item.standing) if item.clinical else None
        node = codebook.node(code) if code is not None else None
        if code is None or node is None:
            continue
        given = item.suggestion
        if code not in places:
            places[code] = len(found)
            why = f"{item.standing.value} mention of {given.code} {given.title}"
            added = replace(given, code=code, title=node.row.title, why=why, warnings=())
            found.append(added)
        elif places[code] >= len(suggestions):
            old = found[places[code]]
            mentions = dict.fromkeys((*old.evidence, *given.evidence))
            evidence = tuple(sorted(mentions, key=lambda mention: (mention.begin, mention.end)))
            most = max(old.probability, given.probability)
            found[places[code]] = replace(old, evidence=evidence, probability=most)
    return found


def _negated(item: Item, scene: Scene) -> Iterator[str]:
    if item.standing is Assertion.NEGATED:
        yield "the note says that it is not there"


def _hypothetical(item: Item, scene: Scene) -> Iterator[str]:
    if item.standing is Assertion.HYPOTHETICAL:
        yield "the note says what may come, not what is there"


def _family(item: Item, scene: Scene) -> Iterator[str]:
    if item.standing is Assertion.FAMILY and not item.under("Z"):
        yield _as_history(item, "a condition of the family")


def _personal(item: Item, scene: Scene) -> Iterator[str]:
    if item.standing is Assertion.HISTORICAL and history_code(item.suggestion.code, item.standing):
        yield _as_history(item, "a condition of the past")


def _as_history(item: Item, what: str) -> str:
    code = history_code(item.suggestion.code, item.standing)
    return f"{what}, coded as {code}" if code else f"{what}, not coded"


def _uncertain(item: Item, scene: Scene) -> Iterator[str]:
    if item.standing is Assertion.POSSIBLE and not item.under("R", "Z"):
        yield (
            "the note is not certain; outpatient records code the symptoms instead, "
            "inpatient records at discharge code it as if it were established"
        )


HOLDING = (
    Rule("negated", "Official Guidelines IV.J", _negated),
    Rule("hypothetical", "Official Guidelines IV.J", _hypothetical),
    Rule("family-history", "Official Guidelines I.C.21.c.4", _family),
    Rule("personal-history", "Official Guidelines I.C.21.c.4", _personal),
)
UNCERTAIN = Rule("uncertain", "Official Guidelines IV.H and II.H", _uncertain)
