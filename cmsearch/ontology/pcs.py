"""ICD-10-PCS: its sections, and the place of a code in them."""

from __future__ import annotations

from collections.abc import Mapping

from cmsearch.codes import Code, System
from cmsearch.errors import OntologyError
from cmsearch.ontology.concept import Concept, Level

# The first character of a code and what it stands for. Source: ICD-10-PCS Official
# Guidelines for Coding and Reporting, section A1 and the tables.
SECTIONS = {
    "0": "Medical and Surgical",
    "1": "Obstetrics",
    "2": "Placement",
    "3": "Administration",
    "4": "Measurement and Monitoring",
    "5": "Extracorporeal or Systemic Assistance and Performance",
    "6": "Extracorporeal or Systemic Therapies",
    "7": "Osteopathic",
    "8": "Other Procedures",
    "9": "Chiropractic",
    "B": "Imaging",
    "C": "Nuclear Medicine",
    "D": "Radiation Therapy",
    "F": "Physical Rehabilitation and Diagnostic Audiology",
    "G": "Mental Health",
    "H": "Substance Abuse Treatment",
    "X": "New Technology",
}


def pcs_concepts(titles: Mapping[str, str]) -> tuple[Concept, ...]:
    """Return the sections as chapters, named by their character, then every code.

    Args:
        titles: title of each 7-character code.

    Raises:
        OntologyError: a code belongs to no section.
    """
    sections = [
        Concept(Code(character, System.ICD10PCS), title, Level.CHAPTER)
        for character, title in SECTIONS.items()
    ]
    return (*sections, *(_placed(code, title) for code, title in titles.items()))


def _placed(undotted: str, title: str) -> Concept:
    if undotted[:1] not in SECTIONS:
        raise OntologyError(
            f"ICD-10-PCS has no section {undotted[:1]!r} for a code {undotted[:10]!r}; "
            f"its sections are {' '.join(SECTIONS)}"
        )
    section = Code(undotted[0], System.ICD10PCS)
    return Concept(Code.of(System.ICD10PCS, undotted), title, parent=section, billable=True)
