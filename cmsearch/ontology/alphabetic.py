"""The Alphabetic Index of ICD-10-CM and its tables: what people say, and where it leads.

CDC publishes four XML files under one root <ICD10CM.index>: the Index to Diseases and
Injuries, the External Cause of Injuries Index, the Neoplasm Table and the Table of Drugs
and Chemicals. A <mainTerm> has a <title>, may have a <code> or a <see>, and holds nested
<term> elements; in the tables it has <cell col="2"> to <cell col="7"> for a code. A
<nemod> in a title is a nonessential modifier: a word that may be there or not without any
change of the code (ICD-10-CM Official Guidelines, section I.A.7).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError
from cmsearch.ontology.safexml import text_of

SEPARATOR = " > "
Line = tuple[str, str]

# A word of the column's heading, and how a line of that column is said; {} is the site or
# substance. "Unintentional" holds "intentional": the first word that fits counts.
_NEOPLASM = {
    "primary": "Neoplasm > primary malignant > of {}",
    "secondary": "Neoplasm > secondary malignant > of {}",
    "situ": "Carcinoma in situ > of {}",
    "benign": "Neoplasm > benign > of {}",
    "uncertain": "Neoplasm > of uncertain behavior > of {}",
    "unspecified": "Neoplasm > of unspecified behavior > of {}",
}
_DRUGS = {
    "accidental": "Poisoning > accidental > by {}",
    "self-harm": "Poisoning > intentional self-harm > by {}",
    "assault": "Poisoning > assault > by {}",
    "undetermined": "Poisoning > undetermined > by {}",
    "adverse": "Adverse effect > of {}",
    "underdosing": "Underdosing > of {}",
}
_CODE = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?")
_RELATION = re.compile(
    r"(?i)(with|without|in|of|by|from|to|for|on|at|due|see|as|following|during|care)\b"
)
_MAX_REFERENCES = 3


@dataclass(frozen=True, slots=True)
class IndexTerms:
    """Lines of an index with the codes they lead to in one code set.

    Attributes:
        terms: a code and the path to it (``Anemia > iron deficiency``), each pair once.
        nearest: how many lines name a code that the code set does not hold, and lead to
            the longest code of it that theirs begins with.
        skipped: how many lines lead to no code of the code set.
    """

    terms: tuple[tuple[Code, str], ...]
    nearest: int
    skipped: int


@dataclass(slots=True)
class _Entry:
    """A term with all above it; ``extras`` are its own nonessential modifiers."""

    levels: tuple[str, ...]
    extras: tuple[str, ...]
    code: str
    see: str
    cells: dict[str, str]
    children: list[_Entry] = field(default_factory=list)
    names: dict[str, _Entry] = field(default_factory=dict)


def read_index(root: Element) -> list[Line]:
    """Return the lines of the index or external cause index: (code as printed, path).

    A term that has no code but a reference (Abandonment: see Maltreatment) gets the code of
    the term it refers to, where the same file holds that term. A nonessential modifier makes
    one more line of its own term (``Diabetes, diabetic > sugar``).
    """
    top = [_entry(element, ()) for element in root.iter("mainTerm")]
    names = _named(top)
    lines: list[Line] = []
    for entry in _walk(top):
        code = _reached(entry, names, 0)
        if code:
            path = SEPARATOR.join(entry.levels)
            lines.append((code, path))
            lines += [(code, path + SEPARATOR + extra) for extra in entry.extras]
    return list(dict.fromkeys(lines))


def read_neoplasms(root: Element) -> list[Line]:
    """Return the lines of the neoplasm table: (code as printed, path).

    A path is said as ``Neoplasm > primary malignant > of upper lobe lung``.
    """
    return _table(root, _NEOPLASM, skip=1)


def read_drugs(root: Element) -> list[Line]:
    """Return the lines of the table of drugs and chemicals: (code as printed, path).

    A path is said as ``Poisoning > accidental > by hydrochloric acid``.
    """
    return _table(root, _DRUGS, skip=0)


def placed(lines: Sequence[Line], known: Collection[Code]) -> IndexTerms:
    """Return the lines whose codes a code set knows, or knows the beginning of.

    Codes printed with a dash (``C50.-``) are incomplete: they lead to the header.

    Args:
        lines: lines as read, each with its code as printed.
        known: the codes of the ICD-10-CM code set in use.
    """
    places: dict[str, Code | None] = {}
    terms: dict[tuple[Code, str], None] = {}
    nearest = skipped = 0
    for printed, path in lines:
        if printed not in places:
            places[printed] = _nearest(printed, known)
        code = places[printed]
        if code is None:
            skipped += 1
            continue
        nearest += code.undotted != _bare(printed)
        terms[code, path] = None
    return IndexTerms(tuple(terms), nearest, skipped)


def _bare(printed: str) -> str:
    return printed.rstrip("-.").replace(".", "")


def _nearest(printed: str, known: Collection[Code]) -> Code | None:
    bare = _bare(printed)
    for end in range(len(bare), 2, -1):
        try:
            code = Code.of(System.ICD10CM, bare[:end])
        except CodeError:
            continue
        if code in known:
            return code
    return None


def _entry(element: Element, above: tuple[str, ...]) -> _Entry:
    title, extras = _title(element)
    levels = (*above, title) if title else above
    return _Entry(
        levels=levels,
        extras=extras,
        code=_printed_code(text_of(element.find("code"))),
        see=text_of(element.find("see")),
        cells={c.get("col", ""): _printed_code(text_of(c)) for c in element.iterfind("cell")},
        children=[_entry(child, levels) for child in element.iterfind("term")],
    )


def _title(element: Element) -> tuple[str, tuple[str, ...]]:
    """Return the title of a term without its nonessential modifiers, and these."""
    title = element.find("title")
    if title is None:
        return "", ()
    words = [title.text or ""]
    optional = []
    for child in title:
        if child.tag == "nemod":
            optional.append(text_of(child))
        else:
            words.append(text_of(child))
        words.append(child.tail or "")
    inside = (part for text in optional for part in re.findall(r"\(([^()]+)\)", text) or [text])
    extras = (" ".join(part.split()) for part in inside)
    plain = re.sub(r"\s+,", ",", " ".join(" ".join(words).split())).strip(" ,*#")
    return plain, tuple(e for e in extras if _says_something(e))


def _says_something(extra: str) -> bool:
    """Whether a modifier is words of its own: not ``s``, ``-astasia`` or ``due to``."""
    return len(extra) > 2 and extra[0].isalnum() and not _RELATION.match(extra)


def _printed_code(text: str) -> str:
    match = _CODE.match(text)
    return match[0] if match else ""


def _walk(entries: Sequence[_Entry]) -> Iterator[_Entry]:
    for entry in entries:
        yield entry
        yield from _walk(entry.children)


def _named(entries: Sequence[_Entry]) -> dict[str, _Entry]:
    """Return the entries by what a reference may call them: the title, or a word of it."""
    names: dict[str, _Entry] = {}
    for entry in entries:
        entry.names = _named(entry.children)
        if entry.levels:
            names.setdefault(entry.levels[-1].casefold(), entry)
    for entry in entries:
        for name in re.split(r",\s*", entry.levels[-1].casefold()) if entry.levels else ():
            names.setdefault(name, entry)
            names.setdefault(re.sub(r" n(ec|os)$", "", name), entry)
    return names


def _reached(entry: _Entry, names: Mapping[str, _Entry], followed: int) -> str:
    """Return the code of an entry, or of the one that it refers to; empty if neither has one."""
    if entry.code or not entry.see or followed == _MAX_REFERENCES:
        return entry.code
    target = _find(re.split(r",\s*", entry.see.casefold()), names)
    return _reached(target, names, followed + 1) if target else ""


def _find(parts: Sequence[str], names: Mapping[str, _Entry]) -> _Entry | None:
    """Return the entry that a reference names level by level; a title may hold commas."""
    for end in range(len(parts), 0, -1):
        entry = names.get(", ".join(parts[:end]))
        if entry is not None and end < len(parts):
            entry = _find(parts[end:], entry.names)
        if entry is not None:
            return entry
    return None


def _table(root: Element, templates: Mapping[str, str], *, skip: int) -> list[Line]:
    """Return a line for each cell with a code; the first ``skip`` levels are not said."""
    columns = _columns(root, templates)
    lines = []
    for entry in _walk([_entry(element, ()) for element in root.iter("mainTerm")]):
        subject = _said(entry.levels[skip:])
        for column, code in entry.cells.items():
            template = columns.get(column)
            if code and template:
                path = template.format(subject) if subject else template.rpartition(SEPARATOR)[0]
                lines.append((code, path))
    return list(dict.fromkeys(lines))


def _columns(root: Element, templates: Mapping[str, str]) -> dict[str, str]:
    """Return the template of each column, from the headings, or else in the official order."""
    columns = {}
    for head in root.iterfind("indexHeading/head"):
        heading = text_of(head).lower()
        for word, template in templates.items():
            if word in heading:
                columns[head.get("col", "")] = template
                break
    return columns or {str(col): text for col, text in enumerate(templates.values(), start=2)}


def _said(levels: Sequence[str]) -> str:
    """Return levels in the order in which they are said: ``hydrochloric acid``."""
    plain = [_first_form(level) for level in levels]
    turn = next((i for i, level in enumerate(plain) if i and _RELATION.match(level)), len(plain))
    return " ".join([*reversed(plain[:turn]), *plain[turn:]])


def _first_form(level: str) -> str:
    """Return a title without inflected variants: of ``spine, spinal`` the first."""
    first, *others = re.split(r",\s+", level)
    return ", ".join([first, *(o for o in others if o[:3].casefold() != first[:3].casefold())])
