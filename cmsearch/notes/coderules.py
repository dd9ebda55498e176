"""Coding rules over the suggestions of a note: what they warn of, what they hold back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from cmsearch.notes import assertionrules, comparerules
from cmsearch.notes.assertionrules import with_histories
from cmsearch.notes.codebook import Codebook
from cmsearch.notes.patient import Patient
from cmsearch.notes.patientrules import PATIENT
from cmsearch.notes.scene import Item, Rule, Scene, items_of
from cmsearch.notes.tabular import TABULAR
from cmsearch.types import Suggestion

# Rules that hold a code back: by what the note says of it, then by what else is suggested.
HOLDING = (*assertionrules.HOLDING, *comparerules.HOLDING)
# Rules that warn, in the order of their warnings.
WARNING = (
    *TABULAR,
    *PATIENT,
    assertionrules.UNCERTAIN,
    comparerules.COMBINATION,
    *comparerules.SIDES,
    comparerules.SEQUENCE,
)
RULES = (*HOLDING, *WARNING)
ORDER = "order"
HISTORIES = "histories"
# What decides which codes are given, and in which order; the others only warn.
CHOOSING = frozenset(rule.id for rule in HOLDING) | {ORDER, HISTORIES}


def apply_rules(
    suggestions: Sequence[Suggestion],
    *,
    codebook: Codebook,
    patient: Patient | None = None,
    without: Collection[str] = (),
) -> list[Suggestion]:
    """Return suggestions with what the coding rules say of them; none is dropped.

    Those that stand come first, ranked in the order in which they are coded (a cause before
    its manifestation); those that a rule holds back follow, with the rule in ``suppressed``.
    A condition of the family or the past alone brings its history code (Z80 to Z87). A
    warning reads ``id: sentence [source]``.

    Args:
        suggestions: those of one note, the likeliest first.
        codebook: the code sets of the index that they come from.
        patient: what the note states of its patient.
        without: rules to leave out, by id; ``order`` leaves the order as it is,
            ``histories`` adds no history codes.

    Raises:
        ValueError: no rule has an id of ``without``.
    """
    known = {rule.id for rule in RULES} | {ORDER, HISTORIES}
    if not known.issuperset(without):
        names = ", ".join(sorted(set(without) - known))
        raise ValueError(f"no coding rule is called {names}; the rules are {sorted(known)}")
    given = list(suggestions)
    if HISTORIES not in without:
        given = with_histories(given, codebook)
    patient = patient or Patient()
    held = [item for item in given if item.suppressed]
    foreign = [item for item in given if not item.suppressed and codebook.node(item.code) is None]
    stands = [item for item in given if not item.suppressed and codebook.node(item.code)]
    for rules in (assertionrules.HOLDING, comparerules.HOLDING):
        scene = Scene(items_of(stands, codebook), codebook, patient)
        stands, more = _held_back(scene, _used(rules, without))
        held += more
    scene = Scene(items_of(stands, codebook), codebook, patient)
    order = scene.items if ORDER in without else comparerules.in_sequence(scene.items, scene)
    scene = Scene(items_of([item.suggestion for item in order], codebook), codebook, patient)
    warned = [_warned(item, scene, _used(WARNING, without)) for item in scene.items]
    return [
        replace(item, rank=rank) for rank, item in enumerate((*warned, *foreign, *held), start=1)
    ]


def _used(rules: Iterable[Rule], without: Collection[str]) -> list[Rule]:
    return [rule for rule in rules if rule.id not in without]


def _held_back(scene: Scene, rules: Sequence[Rule]) -> tuple[list[Suggestion], list[Suggestion]]:
    """Return what stands, and what a rule holds back; the first rule that does is named."""
    stands: list[Suggestion] = []
    held: list[Suggestion] = []
    for item in scene.items:
        reason = next((said for rule in rules for said in rule(item, scene)), "")
        if reason:
            held.append(replace(item.suggestion, suppressed=reason))
        else:
            stands.append(item.suggestion)
    return stands, held


def _warned(item: Item, scene: Scene, rules: Sequence[Rule]) -> Suggestion:
    said = [warning for rule in rules for warning in rule(item, scene)]
    given = item.suggestion
    return replace(given, warnings=tuple(dict.fromkeys((*given.warnings, *said))))
