"""Proposals of one note on their way to suggestions: merged, settled, combined, ordered."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cmsearch.codes import Code, System
from cmsearch.lexicon import Lexicon
from cmsearch.notes.experience import Learned
from cmsearch.notes.linking import Linker, Match
from cmsearch.notes.rules import rows
from cmsearch.notes.visit import Stated
from cmsearch.rows import ConceptRow
from cmsearch.types import Assertion

_NOWHERE = 1 << 40
_LONG_NAME, _EVEN = 4, 0.5
# Below, a longer name stands in the note by chance.
_LEAST_NAME = 0.02


@dataclass(frozen=True, slots=True)
class Proposal:
    """A code that may be suggested.

    Attributes:
        concept: the code.
        chance: how likely a coder gives it.
        matches, learned, stated, related: what speaks for it.
        missing: what the note would have to say to be more specific.
        because: the rule that put it in place of another.
        held_back: the rule that holds it back; empty for none.
    """

    concept: ConceptRow
    chance: float
    matches: tuple[Match, ...] = ()
    learned: tuple[Learned, ...] = ()
    stated: tuple[Stated, ...] = ()
    related: tuple[Match, ...] = ()
    missing: str = ""
    because: str = ""
    held_back: str = ""


def merged(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals with one for each code: the likeliest, with all that speaks for it."""
    found: dict[int, Proposal] = {}
    for item in proposals:
        kept = found.get(item.concept.id)
        if kept is None:
            found[item.concept.id] = item
            continue
        best = max((kept, item), key=lambda one: (not one.held_back, one.chance))
        found[item.concept.id] = replace(
            best,
            matches=tuple(dict.fromkeys((*kept.matches, *item.matches))),
            learned=tuple(dict.fromkeys((*kept.learned, *item.learned))),
            stated=tuple(dict.fromkeys((*kept.stated, *item.stated))),
            related=tuple(dict.fromkeys((*kept.related, *item.related))),
        )
    return list(found.values())


def in_full(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals with those at least even whose long official name stands in the note.

    Coders of training notes hardly ever met such names; who writes "displaced
    intertrochanteric fracture of the right femur" means it.
    """
    return [
        replace(item, chance=max(item.chance, _EVEN))
        if not item.held_back and any(map(_names_in_full, item.matches))
        else item
        for item in proposals
    ]


def _names_in_full(match: Match) -> bool:
    span = match.found.span
    return (
        span.words >= _LONG_NAME
        and span.whole
        and not match.narrowed
        and match.template in ("title", "inclusion")
        and match.found.assertion is Assertion.PRESENT
    )


def outermost(proposals: Sequence[Proposal], text: str) -> list[Proposal]:
    """Return the proposals with those held back whose words are all part of longer names.

    "Acute blood loss anemia" is D62: that "anemia" stands in it does not make D64.9 a code
    of the note. The code of the longer name is at least as likely as what is held back.

    Args:
        proposals: the proposals.
        text: the note.
    """
    names: dict[tuple[int, int], list[int]] = {}
    for number, item in enumerate(proposals):
        for match in item.matches:
            span = match.found.span
            if (
                span.words > 1
                and span.whole
                and not match.narrowed
                and not item.held_back
                and item.chance >= _LEAST_NAME
            ):
                names.setdefault((span.begin, span.end), []).append(number)
    longest: list[tuple[int, int]] = []  # none within another: ends rise with beginnings
    for name in sorted(names, key=lambda name: (name[0], -name[1])):
        if not longest or name[1] > longest[-1][1]:
            longest.append(name)
    found = list(proposals)
    for number, item in enumerate(proposals):
        around = [_around(place, longest) for place in _places(item)]
        if not around or around[0] is None or None in around or item.held_back:
            continue
        begin, end = around[0]
        heir = max(names[begin, end], key=lambda one: (proposals[one].chance, -one))
        if heir == number:
            continue
        coded = f"part of “{text[begin:end]}”, coded as {proposals[heir].concept.code}"
        found[number] = replace(item, held_back=coded)
        found[heir] = replace(found[heir], chance=max(found[heir].chance, item.chance))
    return found


def _around(place: tuple[int, int], longest: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the name that a place is part of, if it is part of one."""
    row = bisect_right(longest, place[0], key=lambda name: name[0]) - 1
    if row < 0 or longest[row][1] < place[1] or longest[row] == place:
        return None
    return longest[row]


def _places(item: Proposal) -> list[tuple[int, int]]:
    """Return where the words stand that speak most directly for a proposal."""
    if item.matches:
        return [(one.found.span.begin, one.found.span.end) for one in item.matches]
    if item.learned:
        return [(one.begin, one.end) for one in item.learned]
    return [(one.found.span.begin, one.found.span.end) for one in item.related]


def settled(
    proposals: Iterable[Proposal], linker: Linker, said: Mapping[int, frozenset[str]]
) -> list[Proposal]:
    """Return the proposals with the codes that a claim may carry in place of headers.

    An unspecified code, too, gives way to a sibling that says what the note says.

    Args:
        proposals: the proposals.
        linker: leads from headers to codes.
        said: by concept, the stems of the words beside its mentions.
    """
    found = []
    for item in proposals:
        concept = item.concept
        silent = "unspecified" in concept.title.casefold() and not item.stated
        settles = silent or not concept.billable
        if concept.system != System.ICD10CM.value or not settles:
            found.append(item)
            continue
        near = said.get(concept.id, frozenset())
        specific = linker.specifier.specific(concept, near)
        missing = item.missing or specific.missing
        found += [replace(item, concept=row, missing=missing) for row in specific.concepts]
    return merged(found)


def combined(proposals: Sequence[Proposal], linker: Linker, least: float) -> list[Proposal]:
    """Return the proposals with combination codes where two conditions go together.

    Args:
        proposals: the proposals.
        linker: gives concepts by code.
        least: the chance from which on a code counts.
    """
    found = list(proposals)
    for given, beside, instead, source in rows("combinations"):
        likely = [item for item in found if item.chance >= least and not item.held_back]
        present = any(item.concept.code.startswith(beside) for item in likely)
        single = next((item for item in likely if item.concept.code == given), None)
        concept = linker.by_code(Code(instead, System.ICD10CM))
        if not present or single is None or concept is None:
            continue
        found.remove(single)
        found.append(replace(single, concept=concept, because=source))
        found.append(replace(single, held_back=f"coded as {instead} ({source})"))
    return merged(found)


def translated(proposals: Iterable[Proposal], lexicon: Lexicon, system: System) -> list[Proposal]:
    """Return proposals of another code system, by the General Equivalence Mappings.

    A code stands for itself by each of its equivalents, the first one alone where the
    mapping is a choice; combinations of several codes are left to the reader.
    """
    found = []
    for item in proposals:
        for line in lexicon.crosswalk(item.concept.id):
            if line.target is None or line.no_map or line.combination:
                continue
            concept = lexicon.concepts([line.target]).get(line.target)
            if concept is None or concept.system != system.value:
                continue
            about = "approximately " if line.approximate else ""
            because = f"{about}equivalent to {item.concept.code} (General Equivalence Mappings)"
            found.append(replace(item, concept=concept, because=because))
            break
    return merged(found)


def ordered(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals, the likeliest first.

    Of listed problems that are as good as equally likely the note's own order decides: it
    names the principal diagnosis first. Other ties go by code.
    """
    return sorted(
        proposals,
        key=lambda item: (
            -round(item.chance, 2),
            min((stated.begin for stated in item.stated), default=_NOWHERE),
            -round(item.chance, 4),
            item.concept.code,
            item.concept.system,
        ),
    )
