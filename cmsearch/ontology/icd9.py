"""ICD-9-CM: its chapters and sections, and the place of a code in them.

The description files hold nothing but billable codes; categories such as 250 have no
title there and are not made up here. So a code stands below the longest code that it
extends, or else below its section, or else below its chapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cmsearch.codes import Code, System, dot
from cmsearch.errors import OntologyError
from cmsearch.ontology.concept import Concept, Level

# Source of the names: ICD-9-CM, 6th edition (2015), tabular lists of volumes 1 and 3.
# Sections of a single category (042, 209, V85, E849) are left to their chapter.
DIAGNOSES: dict[str, tuple[str, ...]] = {
    "001-139 Infectious and parasitic diseases": (
        "001-009 Intestinal infectious diseases",
        "010-018 Tuberculosis",
        "020-027 Zoonotic bacterial diseases",
        "030-041 Other bacterial diseases",
        "045-049 Poliomyelitis and other non-arthropod-borne viral diseases and prion diseases "
        "of central nervous system",
        "050-059 Viral diseases generally accompanied by exanthem",
        "060-066 Arthropod-borne viral diseases",
        "070-079 Other diseases due to viruses and chlamydiae",
        "080-088 Rickettsioses and other arthropod-borne diseases",
        "090-099 Syphilis and other venereal diseases",
        "100-104 Other spirochetal diseases",
        "110-118 Mycoses",
        "120-129 Helminthiases",
        "130-136 Other infectious and parasitic diseases",
        "137-139 Late effects of infectious and parasitic diseases",
    ),
    "140-239 Neoplasms": (
        "140-149 Malignant neoplasm of lip, oral cavity, and pharynx",
        "150-159 Malignant neoplasm of digestive organs and peritoneum",
        "160-165 Malignant neoplasm of respiratory and intrathoracic organs",
        "170-176 Malignant neoplasm of bone, connective tissue, skin, and breast",
        "179-189 Malignant neoplasm of genitourinary organs",
        "190-199 Malignant neoplasm of other and unspecified sites",
        "200-208 Malignant neoplasm of lymphatic and hematopoietic tissue",
        "210-229 Benign neoplasms",
        "230-234 Carcinoma in situ",
        "235-238 Neoplasms of uncertain behavior",
    ),
    "240-279 Endocrine, nutritional and metabolic diseases, and immunity disorders": (
        "240-246 Disorders of thyroid gland",
        "249-259 Diseases of other endocrine glands",
        "260-269 Nutritional deficiencies",
        "270-279 Other metabolic and immunity disorders",
    ),
    "280-289 Diseases of the blood and blood-forming organs": (),
    "290-319 Mental, behavioral and neurodevelopmental disorders": (
        "290-294 Organic psychotic conditions",
        "295-299 Other psychoses",
        "300-316 Neurotic disorders, personality disorders, and other nonpsychotic mental "
        "disorders",
        "317-319 Intellectual disabilities",
    ),
    "320-389 Diseases of the nervous system and sense organs": (
        "320-326 Inflammatory diseases of the central nervous system",
        "330-337 Hereditary and degenerative diseases of the central nervous system",
        "340-349 Other disorders of the central nervous system",
        "350-359 Disorders of the peripheral nervous system",
        "360-379 Disorders of the eye and adnexa",
        "380-389 Diseases of the ear and mastoid process",
    ),
    "390-459 Diseases of the circulatory system": (
        "390-392 Acute rheumatic fever",
        "393-398 Chronic rheumatic heart disease",
        "401-405 Hypertensive disease",
        "410-414 Ischemic heart disease",
        "415-417 Diseases of pulmonary circulation",
        "420-429 Other forms of heart disease",
        "430-438 Cerebrovascular disease",
        "440-449 Diseases of arteries, arterioles, and capillaries",
        "451-459 Diseases of veins and lymphatics, and other diseases of circulatory system",
    ),
    "460-519 Diseases of the respiratory system": (
        "460-466 Acute respiratory infections",
        "470-478 Other diseases of upper respiratory tract",
        "480-488 Pneumonia and influenza",
        "490-496 Chronic obstructive pulmonary disease and allied conditions",
        "500-508 Pneumoconioses and other lung diseases due to external agents",
        "510-519 Other diseases of respiratory system",
    ),
    "520-579 Diseases of the digestive system": (
        "520-529 Diseases of oral cavity, salivary glands, and jaws",
        "530-539 Diseases of esophagus, stomach, and duodenum",
        "540-543 Appendicitis",
        "550-553 Hernia of abdominal cavity",
        "555-558 Noninfectious enteritis and colitis",
        "560-569 Other diseases of intestines and peritoneum",
        "570-579 Other diseases of digestive system",
    ),
    "580-629 Diseases of the genitourinary system": (
        "580-589 Nephritis, nephrotic syndrome, and nephrosis",
        "590-599 Other diseases of urinary system",
        "600-608 Diseases of male genital organs",
        "610-612 Disorders of breast",
        "614-616 Inflammatory disease of female pelvic organs",
        "617-629 Other disorders of female genital tract",
    ),
    "630-679 Complications of pregnancy, childbirth, and the puerperium": (
        "630-633 Ectopic and molar pregnancy",
        "634-639 Other pregnancy with abortive outcome",
        "640-649 Complications mainly related to pregnancy",
        "650-659 Normal delivery, and other indications for care in pregnancy, labor, and delivery",
        "660-669 Complications occurring mainly in the course of labor and delivery",
        "670-677 Complications of the puerperium",
        "678-679 Other maternal and fetal complications",
    ),
    "680-709 Diseases of the skin and subcutaneous tissue": (
        "680-686 Infections of skin and subcutaneous tissue",
        "690-698 Other inflammatory conditions of skin and subcutaneous tissue",
        "700-709 Other diseases of skin and subcutaneous tissue",
    ),
    "710-739 Diseases of the musculoskeletal system and connective tissue": (
        "710-719 Arthropathies and related disorders",
        "720-724 Dorsopathies",
        "725-729 Rheumatism, excluding the back",
        "730-739 Osteopathies, chondropathies, and acquired musculoskeletal deformities",
    ),
    "740-759 Congenital anomalies": (),
    "760-779 Certain conditions originating in the perinatal period": (
        "760-763 Maternal causes of perinatal morbidity and mortality",
        "764-779 Other conditions originating in the perinatal period",
    ),
    "780-799 Symptoms, signs, and ill-defined conditions": (
        "780-789 Symptoms",
        "790-796 Nonspecific abnormal findings",
        "797-799 Ill-defined and unknown causes of morbidity and mortality",
    ),
    "800-999 Injury and poisoning": (
        "800-804 Fracture of skull",
        "805-809 Fracture of neck and trunk",
        "810-819 Fracture of upper limb",
        "820-829 Fracture of lower limb",
        "830-839 Dislocation",
        "840-848 Sprains and strains of joints and adjacent muscles",
        "850-854 Intracranial injury, excluding those with skull fracture",
        "860-869 Internal injury of thorax, abdomen, and pelvis",
        "870-879 Open wound of head, neck, and trunk",
        "880-887 Open wound of upper limb",
        "890-897 Open wound of lower limb",
        "900-904 Injury to blood vessels",
        "905-909 Late effects of injuries, poisonings, toxic effects, and other external causes",
        "910-919 Superficial injury",
        "920-924 Contusion with intact skin surface",
        "925-929 Crushing injury",
        "930-939 Effects of foreign body entering through body orifice",
        "940-949 Burns",
        "950-957 Injury to nerves and spinal cord",
        "958-959 Certain traumatic complications and unspecified injuries",
        "960-979 Poisoning by drugs, medicinal and biological substances",
        "980-989 Toxic effects of substances chiefly nonmedicinal as to source",
        "990-995 Other and unspecified effects of external causes",
        "996-999 Complications of surgical and medical care, not elsewhere classified",
    ),
    "V01-V91 Supplementary classification of factors influencing health status and contact "
    "with health services": (
        "V01-V06 Persons with potential health hazards related to communicable diseases",
        "V07-V09 Persons with need for isolation, other potential health hazards and "
        "prophylactic measures",
        "V10-V19 Persons with potential health hazards related to personal and family history",
        "V20-V29 Persons encountering health services in circumstances related to reproduction "
        "and development",
        "V30-V39 Liveborn infants according to type of birth",
        "V40-V49 Persons with a condition influencing their health status",
        "V50-V59 Persons encountering health services for specific procedures and aftercare",
        "V60-V69 Persons encountering health services in other circumstances",
        "V70-V82 Persons without reported diagnosis encountered during examination and "
        "investigation of individuals and populations",
        "V83-V84 Genetics",
    ),
    "E000-E999 Supplementary classification of external causes of injury and poisoning": (
        "E001-E030 Activity",
        "E800-E807 Railway accidents",
        "E810-E819 Motor vehicle traffic accidents",
        "E820-E825 Motor vehicle nontraffic accidents",
        "E826-E829 Other road vehicle accidents",
        "E830-E838 Water transport accidents",
        "E840-E845 Air and space transport accidents",
        "E846-E848 Vehicle accidents, not elsewhere classifiable",
        "E850-E858 Accidental poisoning by drugs, medicinal substances, and biologicals",
        "E860-E869 Accidental poisoning by other solid and liquid substances, gases, and vapors",
        "E870-E876 Misadventures to patients during surgical and medical care",
        "E878-E879 Surgical and medical procedures as the cause of abnormal reaction of patient "
        "or later complication, without mention of misadventure at the time of procedure",
        "E880-E888 Accidental falls",
        "E890-E899 Accidents caused by fire and flames",
        "E900-E909 Accidents due to natural and environmental factors",
        "E910-E915 Accidents caused by submersion, suffocation, and foreign bodies",
        "E916-E928 Other accidents",
        "E930-E949 Drugs, medicinal and biological substances causing adverse effects in "
        "therapeutic use",
        "E950-E959 Suicide and self-inflicted injury",
        "E960-E969 Homicide and injury purposely inflicted by other persons",
        "E970-E978 Legal intervention",
        "E980-E989 Injury undetermined whether accidentally or purposely inflicted",
        "E990-E999 Injury resulting from operations of war",
    ),
}

PROCEDURES: dict[str, tuple[str, ...]] = {
    "00 Procedures and interventions, not elsewhere classified": (),
    "01-05 Operations on the nervous system": (),
    "06-07 Operations on the endocrine system": (),
    "08-16 Operations on the eye": (),
    "17 Other miscellaneous diagnostic and therapeutic procedures": (),
    "18-20 Operations on the ear": (),
    "21-29 Operations on the nose, mouth, and pharynx": (),
    "30-34 Operations on the respiratory system": (),
    "35-39 Operations on the cardiovascular system": (),
    "40-41 Operations on the hemic and lymphatic system": (),
    "42-54 Operations on the digestive system": (),
    "55-59 Operations on the urinary system": (),
    "60-64 Operations on the male genital organs": (),
    "65-71 Operations on the female genital organs": (),
    "72-75 Obstetrical procedures": (),
    "76-84 Operations on the musculoskeletal system": (),
    "85-86 Operations on the integumentary system": (),
    "87-99 Miscellaneous diagnostic and therapeutic procedures": (),
}


def icd9_concepts(system: System, titles: Mapping[str, str]) -> tuple[Concept, ...]:
    """Return chapters, sections and then every code, each with its place.

    Args:
        system: ``ICD9CM`` or ``ICD9PROC``.
        titles: title of each undotted code.

    Raises:
        OntologyError: a code is in no chapter.
        CodeError: a text among the codes is none.
    """
    headers = list(_headers(system))
    places = _places(headers)
    extended = {code[:end] for code in titles for end in range(2, len(code))}
    codes = []
    for undotted, title in titles.items():
        code = Code.of(system, undotted)
        parent = _extended(code, titles) or places.get(code.category)
        if parent is None:
            raise OntologyError(f"{system.label} has no chapter for a code {undotted!r}")
        codes.append(Concept(code, title, parent=parent, billable=undotted not in extended))
    return (*headers, *codes)


def _headers(system: System) -> Iterator[Concept]:
    chapters = DIAGNOSES if system is System.ICD9CM else PROCEDURES
    for line, sections in chapters.items():
        span, _, title = line.partition(" ")
        chapter = Code(span, system)
        yield Concept(chapter, title, Level.CHAPTER)
        for section in sections:
            span, _, title = section.partition(" ")
            yield Concept(Code(span, system), title, Level.BLOCK, parent=chapter)


def _places(headers: list[Concept]) -> dict[str, Code]:
    """Return the narrowest header of each category."""
    places = {}
    for header in headers:
        low, _, high = header.code.value.partition("-")
        letter = low[0] if low[0].isalpha() else ""
        first, last = int(low.removeprefix(letter)), int((high or low).removeprefix(letter))
        width = len(low) - len(letter)
        for number in range(first, last + 1):
            places[f"{letter}{number:0{width}}"] = header.code
    return places


def _extended(code: Code, titles: Mapping[str, str]) -> Code | None:
    """Return the longest other code that this one begins with."""
    for end in range(len(code.undotted) - 1, 1, -1):
        if code.undotted[:end] in titles:
            return Code(dot(code.system, code.undotted[:end]), code.system)
    return None
