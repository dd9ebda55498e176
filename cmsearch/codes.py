"""The identity of a concept: a code system and a code written in its official form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache, total_ordering

from cmsearch.errors import CodeError


class System(Enum):
    """A code system. The value is its name on the command line and in JSON."""

    ICD10CM = "icd10cm"
    ICD10PCS = "icd10pcs"
    ICD9CM = "icd9cm"
    ICD9PROC = "icd9proc"

    @property
    def label(self) -> str:
        """The name that people use, such as ``ICD-10-CM``."""
        return _LABELS[self]

    @property
    def version(self) -> int:
        """The revision of the ICD that the published template names: 9 or 10."""
        return 9 if self in (System.ICD9CM, System.ICD9PROC) else 10

    @classmethod
    def parse(cls, name: str) -> System:
        """Return the system with this name; ``ICD-10-CM`` and ``icd10`` will do.

        Raises:
            CodeError: no system has the name; the message lists the known ones.
        """
        key = re.sub(r"[^a-z0-9]", "", name.lower())
        for system in cls:
            if key in (system.value, re.sub(r"[^a-z0-9]", "", system.label.lower())):
                return system
        if key in _ALIASES:
            return _ALIASES[key]
        known = ", ".join(system.value for system in cls)
        raise CodeError(f"no code system is called {name!r}; the known ones are {known}")


_LABELS = {
    System.ICD10CM: "ICD-10-CM",
    System.ICD10PCS: "ICD-10-PCS",
    System.ICD9CM: "ICD-9-CM",
    System.ICD9PROC: "ICD-9-CM procedures",
}
_ALIASES = {
    "icd10": System.ICD10CM,
    "cm": System.ICD10CM,
    "pcs": System.ICD10PCS,
    "icd9": System.ICD9CM,
    "icd9dx": System.ICD9CM,
    "icd9pcs": System.ICD9PROC,
    "icd9sg": System.ICD9PROC,
    "icd9cmprocedures": System.ICD9PROC,
}

# How an undotted code of each system looks. ICD-10-CM: a letter, a digit, a digit or
# letter, then up to four more (QA0 and C7A are categories). ICD-10-PCS: seven
# characters without I and O, or the one of a section. ICD-9-CM: 3 digits + 2,
# V + 2 digits + 2, E + 3 digits + 1; its procedures: 2 digits + 2.
_SHAPES = {
    System.ICD10CM: re.compile(r"[A-TV-Z][0-9A][0-9A-Z][0-9A-Z]{0,4}|U[0-9]{2}[0-9A-Z]{0,4}"),
    System.ICD10PCS: re.compile(r"[0-9A-HJ-NP-Z]{7}|[0-9BCDFGHX]"),
    System.ICD9CM: re.compile(r"[0-9]{3}[0-9]{0,2}|V[0-9]{2}[0-9]{0,2}|E[0-9]{3}[0-9]?"),
    System.ICD9PROC: re.compile(r"[0-9]{2}[0-9]{0,2}"),
}
# How the name of a block or chapter of each system looks; ICD-10-PCS has no ranges.
_THREE = "[A-Z][0-9A][0-9A-Z]"
_RANGES = {
    System.ICD10CM: re.compile(f"{_THREE}-{_THREE}"),
    System.ICD9CM: re.compile(r"[0-9]{3}-[0-9]{3}|V[0-9]{2}-V[0-9]{2}|E[0-9]{3}-E[0-9]{3}"),
    System.ICD9PROC: re.compile(r"[0-9]{2}-[0-9]{2}"),
}


def dot(system: System, undotted: str) -> str:
    """Return the official, dotted spelling of an undotted, upper-case code."""
    if system is System.ICD10PCS:
        return undotted
    stem = 3
    if system is System.ICD9PROC:
        stem = 2
    elif system is System.ICD9CM and undotted.startswith("E"):
        stem = 4
    return undotted if len(undotted) <= stem else f"{undotted[:stem]}.{undotted[stem:]}"


def undot(text: str) -> str:
    """Return a code without dot, blanks and a trailing dash, in upper case."""
    return re.sub(r"[\s.]", "", text).upper().rstrip("-")


@total_ordering
@dataclass(frozen=True, slots=True)
class Code:
    """A code of one system in its official spelling (``E11.9``, ``V70.0``, ``0016070``).

    Blocks and chapters are named by their range (``I20-I25``). ICD-9 and ICD-10 share
    spellings (E codes, V codes), so the system is part of the identity.
    """

    value: str
    system: System

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: Code) -> bool:
        return (self.value, self.system.value) < (other.value, other.system.value)

    def __str__(self) -> str:
        return self.value

    @property
    def undotted(self) -> str:
        """The code as it stands in data files: ``E119``."""
        return self.value.replace(".", "")

    @property
    def category(self) -> str:
        """The category that the code belongs to: its part before the dot."""
        return self.value.partition(".")[0]

    @property
    def is_range(self) -> bool:
        """Whether this names a block or chapter such as ``I20-I25``."""
        return "-" in self.value

    def is_under(self, ancestor: Code) -> bool:
        """Whether this code is the ancestor or is spelled as one of its descendants."""
        return self.system is ancestor.system and self.undotted.startswith(ancestor.undotted)

    @classmethod
    def of(cls, system: System, text: str) -> Code:
        """Return the code of a known system, whatever its dots, blanks and case.

        Raises:
            CodeError: the text does not have the shape of a code of the system.
        """
        code = _reading(system, _compact(text))
        if code is None:
            raise CodeError(f"{text.strip()[:40]!r} is not written like an {system.label} code")
        return code


def candidates(text: str) -> list[Code]:
    """Return every reading of a text as a code, by shape alone; empty when none fits.

    ``E119`` reads as ICD-10-CM E11.9 and as ICD-9-CM E119, ``V01-V09`` as a block of
    both. A dot decides where it can: ``E11.9`` is no ICD-9 code. Whether a code exists
    is for the ontology to say.
    """
    compact = _compact(text)
    if len(compact) > 12:
        return []
    readings = (_reading(system, compact) for system in System)
    return [code for code in readings if code is not None]


def _compact(text: str) -> str:
    """Return a text in upper case, without blanks, with plain dashes."""
    return "".join(text.split()).upper().replace("\N{EN DASH}", "-")


@lru_cache(maxsize=250_000)
def _reading(system: System, compact: str) -> Code | None:
    """Return the code of the system that the text is written like, if it is."""
    if "-" in compact and system in _RANGES and _RANGES[system].fullmatch(compact):
        return Code(compact, system)
    typed = compact.rstrip("-.")
    bare = typed.replace(".", "")
    if not _SHAPES[system].fullmatch(bare):
        return None
    dotted = dot(system, bare)
    return Code(dotted, system) if typed in (bare, dotted) else None


_DOTTED = re.compile(r"[A-Z][0-9][0-9A-Z]\.[0-9A-Z]{1,4}|[0-9]{3}\.[0-9]{1,2}", re.IGNORECASE)


def is_dotted(text: str) -> bool:
    """Whether a text has the shape of a code with its dot, which no words have."""
    return _DOTTED.fullmatch(text.strip()) is not None
