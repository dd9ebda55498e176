"""Official release files: what a file is, whether it is whole, and which release it is of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from xml.etree.ElementTree import Element

from cmsearch.codes import System
from cmsearch.errors import OntologyError
from cmsearch.ontology.alphabetic import Line, read_drugs, read_index, read_neoplasms
from cmsearch.ontology.archive import Member, check_content, read_members
from cmsearch.ontology.concept import Concept, Level
from cmsearch.ontology.orderfile import (
    Row,
    decoded,
    is_code_list,
    is_order,
    read_codes,
    read_order,
    system_of,
)
from cmsearch.ontology.releasename import release_name
from cmsearch.ontology.safexml import checked_root, parsed, text_of
from cmsearch.ontology.tabular import read_tabular


class Kind(Enum):
    """What a release file holds."""

    TABULAR = "tabular"
    ORDER = "order"
    CODES = "codes"
    DESCRIPTIONS = "descriptions"
    INDEX = "index"
    EXTERNAL = "external"
    NEOPLASM = "neoplasm"
    DRUGS = "drugs"

    @property
    def label(self) -> str:
        """What people call it: ``tabular list``."""
        return _LABELS[self]

    @property
    def is_index(self) -> bool:
        """Whether it holds ways to codes rather than codes."""
        return self in _INDEX_READERS


_LABELS = {
    Kind.TABULAR: "tabular list",
    Kind.ORDER: "order file",
    Kind.CODES: "code list",
    Kind.DESCRIPTIONS: "long descriptions",
    Kind.INDEX: "alphabetic index",
    Kind.EXTERNAL: "external cause index",
    Kind.NEOPLASM: "neoplasm table",
    Kind.DRUGS: "table of drugs and chemicals",
}
_INDEX_READERS: dict[Kind, Callable[[Element], list[Line]]] = {
    Kind.INDEX: read_index,
    Kind.EXTERNAL: read_index,
    Kind.NEOPLASM: read_neoplasms,
    Kind.DRUGS: read_drugs,
}
# Text files of official archives that look like code lists but hold only a part of one.
_PARTIAL = re.compile(r"(?i)addend|poa|exempt|short|gem|conversion|revis|delet|invalid|_new")
_LISTS = re.compile(r"(?i)order|codes|desc_?long|long_?desc")


@dataclass(frozen=True)
class FoundFile:
    """One release file that was read to its end and found whole.

    Attributes:
        name: what to call it: its file name, and the archive that it came in.
        kind: what it holds.
        system: whose codes.
        release: name of the release: ``April 2026``, ``2026``, ``v32 (2015)``.
        rows: codes in it; of an index or table, lines that lead to a code.
        data: the file itself.
    """

    name: str
    kind: Kind
    system: System
    release: str
    rows: int
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the file."""
        return sha256(self.data).hexdigest()


def read_release(path: Path) -> list[FoundFile]:
    """Return the release files that a path names, each checked from beginning to end.

    A ZIP archive gives every release file in it; its other files (guides, addenda, short
    descriptions) are passed over.

    Raises:
        OntologyError: the path names no release file, or one that is damaged.
    """
    members = read_members(path)
    found = [file for file in map(_found, members) if file is not None]
    if found:
        return found
    if members[0].archive:
        names = ", ".join(member.file for member in members[:3])
        raise OntologyError(
            f"{path}: no release file in this archive ({names}); it should hold a tabular list, "
            "an index, a table, an order file, a code list or ICD-9 long descriptions"
        )
    raise _unknown(members[0])


def tabular_nodes(file: FoundFile) -> list[Concept]:
    """Return the chapters, blocks and codes of a tabular list.

    Raises:
        OntologyError: it cannot be read.
    """
    return list(read_tabular(BytesIO(file.data), name=file.name))


def listed_rows(file: FoundFile) -> list[Row]:
    """Return the rows of an order file, a code list or long descriptions.

    Raises:
        OntologyError: it cannot be read.
    """
    read = read_order if file.kind is Kind.ORDER else read_codes
    return read(decoded(file.data, file.name), system=file.system, name=file.name)


def index_lines(file: FoundFile) -> list[Line]:
    """Return the lines of an index or table.

    Raises:
        OntologyError: it cannot be read.
    """
    return _INDEX_READERS[file.kind](parsed(file.data, file.name))


def _found(member: Member) -> FoundFile | None:
    """Return what a file is; None if it is whole but nothing that is used."""
    if member.archive and not member.data.strip() and not _is_named_official(member):
        return None
    check_content(member.name, member.data)
    if member.data.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<"):
        return _found_xml(member)
    if member.file.lower().endswith(".xml"):
        raise OntologyError(
            f"{member.name}: not an XML file, although its name says so; download it again"
        )
    return _found_text(member)


def _is_named_official(member: Member) -> bool:
    return member.file.lower().endswith(".xml") or (
        bool(_LISTS.search(member.file)) and not _PARTIAL.search(member.file)
    )


def _found_xml(member: Member) -> FoundFile | None:
    root_tag = checked_root(member.data, member.name)
    if root_tag.lower() == "html":
        raise OntologyError(
            f"{member.name}: this is an HTML page, probably the error page of a failed download, "
            "not a release file; download it again"
        )
    if root_tag not in ("ICD10CM.tabular", "ICD10CM.index"):
        return None
    root = parsed(member.data, member.name)
    title = f"{text_of(root.find('title'))} {member.file}".upper()
    kind = Kind.TABULAR if root_tag == "ICD10CM.tabular" else _index_kind(title)
    version = text_of(root.find("version"))
    try:
        if kind is Kind.TABULAR:
            nodes = read_tabular(BytesIO(member.data), name=member.name)
            rows = sum(node.level is Level.CODE for node in nodes)
        else:
            rows = len(_INDEX_READERS[kind](root))
    except RecursionError as error:
        raise OntologyError(
            f"{member.name}: elements nested deeper than in any release; download it again"
        ) from error
    if not rows:
        raise OntologyError(f"{member.name}: there is no code in it; download it again")
    return _file(member, kind, System.ICD10CM, rows, version)


def _index_kind(title: str) -> Kind:
    if "NEOPLASM" in title:
        return Kind.NEOPLASM
    if "DRUG" in title:
        return Kind.DRUGS
    return Kind.EXTERNAL if "EXTERNAL" in title or "EINDEX" in title else Kind.INDEX


def _found_text(member: Member) -> FoundFile | None:
    named = _is_named_official(member)
    if _PARTIAL.search(member.file) or (member.archive and not named):
        return None
    text = decoded(member.data, member.name)
    system = _named_system(member.file) or system_of(text)
    layout = Kind.ORDER if is_order(text) else Kind.CODES if is_code_list(text) else None
    if system is None or layout is None:
        if member.archive and named:
            raise _unknown(member)
        return None
    read = read_order if layout is Kind.ORDER else read_codes
    rows = len(read(text, system=system, name=member.name))
    is_icd9 = system in (System.ICD9CM, System.ICD9PROC)
    return _file(member, Kind.DESCRIPTIONS if is_icd9 else layout, system, rows, "")


def _named_system(name: str) -> System | None:
    patterns = {
        r"(?i)10[-_ ]?pcs": System.ICD10PCS,
        r"(?i)10[-_ ]?cm": System.ICD10CM,
        r"(?i)long[-_ ]?dx": System.ICD9CM,
        r"(?i)long[-_ ]?sg": System.ICD9PROC,
    }
    return next((system for pattern, system in patterns.items() if re.search(pattern, name)), None)


def _file(member: Member, kind: Kind, system: System, rows: int, version: str) -> FoundFile:
    release = release_name(system, (member.file, member.archive), version=version)
    if not release:
        example = {
            System.ICD10CM: "icd10cm-order-2026.txt",
            System.ICD10PCS: "icd10pcs-order-2026.txt",
            System.ICD9CM: "CMS32_DESC_LONG_DX.txt",
            System.ICD9PROC: "CMS32_DESC_LONG_SG.txt",
        }[system]
        raise OntologyError(
            f"{member.name}: nothing says of which release it is; give the file its official "
            f"name, such as {example}, and add it again"
        )
    name = f"{member.archive}, {member.file}" if member.archive else member.file
    return FoundFile(name, kind, system, release, rows, member.data)


def _unknown(member: Member) -> OntologyError:
    if _PARTIAL.search(member.file):
        return OntologyError(
            f"{member.name}: by its name an addendum, short descriptions or another part of a "
            "release; add the full file (order, codes or long descriptions) instead"
        )
    return OntologyError(
        f"{member.name}: not a release file that cmsearch knows: neither an ICD-10-CM tabular "
        "list, index or table (XML), nor an order file, a code list or ICD-9 long descriptions "
        "(text); check that it is the file you mean"
    )
