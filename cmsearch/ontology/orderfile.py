"""Order files, code lists and ICD-9 descriptions: the text files that CDC and CMS publish.

Order file (icd10cm-order-2026.txt, icd10pcs_order_2026.txt), in columns: 1-5 order number,
7-13 code, 15 a 0 for a header or a 1 for a valid code, 17-76 short title, 78 on long title.
Code list (icd10cm-codes-2026.txt, icd10pcs_codes_2026.txt) and ICD-9 long descriptions
(CMS32_DESC_LONG_DX.txt, ..._SG.txt): a code, blanks, its long title. Codes have no dots.
Source: the "ICD10OrderFiles" guide in the archives of CMS.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from cmsearch.codes import Code, System, candidates
from cmsearch.errors import CodeError, OntologyError

_ORDER = re.compile(r"(\d{5}) ([0-9A-Z ]{7}) ([01]) (.{60}) (\S.*)")
_LISTED = re.compile(r"([0-9A-Z]{2,7})\s+(\S.*)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_SAMPLE = 2_000
_ENOUGH = 0.9


@dataclass(frozen=True, slots=True)
class Row:
    """One line: an undotted code, its full title, and whether a claim may carry it."""

    code: str
    title: str
    billable: bool = True


def decoded(data: bytes, name: str) -> str:
    """Return the text of a release file: UTF-8, or else the Latin-1 of older releases.

    Raises:
        OntologyError: the bytes are UTF-16 or hold control characters.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise OntologyError(
            f"{name}: the text is UTF-16, the official files are ASCII, UTF-8 or Latin-1; "
            "download it again, or save it as UTF-8"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = text.rstrip("\x1a\r\n ")
    wrong = _CONTROL.search(text)
    if wrong:
        line = text.count("\n", 0, wrong.start()) + 1
        raise OntologyError(
            f"{name}, line {line}: a control character ({wrong[0]!r}), so the file is damaged or "
            "in another encoding than ASCII, UTF-8 or Latin-1; download it again"
        )
    return text


def is_order(text: str) -> bool:
    """Whether most lines are written like those of an order file."""
    lines = _sample(text)
    return sum(bool(_ORDER.fullmatch(line)) for line in lines) > len(lines) / 2


def is_code_list(text: str) -> bool:
    """Whether most lines are a code and a title in words; those of a GEM file are not."""
    lines = _sample(text)
    fitting = 0
    for line in lines:
        match = _LISTED.fullmatch(line)
        fitting += bool(match and candidates(match[1]) and re.search("[a-z]", match[2]))
    return fitting > len(lines) / 2


def system_of(text: str) -> System | None:
    """Return the system that nearly all codes of an order file or code list fit, if one does.

    All ICD-9 procedure codes look like diagnosis codes too, and some ICD-10-CM codes like
    ICD-10-PCS ones: the narrowest system wins.
    """
    read = 0
    fits: Counter[System] = Counter()
    for line in _sample(text):
        match = _ORDER.fullmatch(line) or _LISTED.fullmatch(line)
        if match is None:
            continue
        code = match[2].strip() if match.re is _ORDER else match[1]
        if match.re is _ORDER and match[3] == "0" and len(code) == 3:
            continue
        read += 1
        fits.update(reading.system for reading in candidates(code))
    narrow_first = (System.ICD10PCS, System.ICD9PROC, System.ICD9CM, System.ICD10CM)
    return next((s for s in narrow_first if read and fits[s] > _ENOUGH * read), None)


def read_order(text: str, *, system: System, name: str) -> list[Row]:
    """Return the rows of an order file, headers among them, in the order of the file.

    The 3-character headers of ICD-10-PCS stand for tables and are left out.

    Raises:
        OntologyError: a line does not have the columns, its code is none of the system, or
            a code stands there twice; the message names the line.
    """

    def row(line: str) -> Row | None:
        match = _ORDER.fullmatch(line)
        if match is None:
            return None
        return Row(match[2].rstrip(), " ".join(match[5].split()), match[3] == "1")

    columns = "order number, code, 0 or 1, short title and long title in their columns"
    rows = _rows(text, row, columns, system, name)
    return [r for r in rows if not _is_table(r, system)]


def read_codes(text: str, *, system: System, name: str) -> list[Row]:
    """Return the rows of a code list or of ICD-9 long descriptions, in the file's order.

    Raises:
        OntologyError: a line is not a code and its title, its code is none of the system,
            or a code stands there twice; the message names the line.
    """

    def row(line: str) -> Row | None:
        match = _LISTED.fullmatch(line)
        return Row(match[1], " ".join(match[2].split())) if match else None

    return _rows(text, row, "a code and its title", system, name)


def _rows(
    text: str, read: Callable[[str], Row | None], layout: str, system: System, name: str
) -> list[Row]:
    rows: dict[str, tuple[int, Row]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip()
        if not line:
            continue
        row = read(line)
        if row is None:
            raise OntologyError(
                f"{name}, line {number}: not {layout}: {_shown(line)}; download the file again"
            )
        if not _is_table(row, system):
            _check_code(row.code, system, f"{name}, line {number}")
        if row.code in rows:
            raise OntologyError(
                f"{name}, line {number}: the code {row.code} stands in line "
                f"{rows[row.code][0]} already; download the file again"
            )
        rows[row.code] = (number, row)
    if not rows:
        raise OntologyError(f"{name}: there is no code in it; download the file again")
    return [row for _, row in rows.values()]


def _is_table(row: Row, system: System) -> bool:
    return system is System.ICD10PCS and not row.billable and len(row.code) == 3


def _check_code(code: str, system: System, where: str) -> None:
    try:
        valid = Code.of(system, code).undotted == code
        valid = valid and not (system is System.ICD10PCS and len(code) != 7)
    except CodeError:
        valid = False
    if not valid:
        raise OntologyError(
            f"{where}: {code!r} is not written like an {system.label} code; download the file "
            "again, and check that its name says what it holds"
        )


def _sample(text: str) -> list[str]:
    lines = (line.rstrip() for line in text.split("\n", _SAMPLE)[:_SAMPLE])
    return [line for line in lines if line]


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:59] + "…")
