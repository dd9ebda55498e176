"""Shorthand, spelling and stems: what is written differently and means the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.wording import SHORTHAND, STOPWORDS, american, plain, stem, terms, tokens

BRITISH = {
    "anaemia": "anemia",
    "ischaemia": "ischemia",
    "haemorrhage": "hemorrhage",
    "oedema": "edema",
    "oesophagitis": "esophagitis",
    "oestrogen": "estrogen",
    "diarrhoea": "diarrhea",
    "gonorrhoea": "gonorrhea",
    "foetus": "fetus",
    "faeces": "feces",
    "paediatric": "pediatric",
    "gynaecology": "gynecology",
    "caecum": "cecum",
    "coeliac": "celiac",
    "dyspnoea": "dyspnea",
    "apnoea": "apnea",
    "leukaemia": "leukemia",
    "tumour": "tumor",
    "colour": "color",
    "behaviour": "behavior",
    "labour": "labor",
    "fibre": "fiber",
    "centre": "center",
    "anaesthesia": "anesthesia",
    "orthopaedic": "orthopedic",
    "sulphur": "sulfur",
    "hospitalisation": "hospitalization",
    "generalised": "generalized",
    "paralysed": "paralyzed",
    "mould": "mold",
    "grey": "gray",
}


@pytest.mark.parametrize(("british", "american_word"), BRITISH.items())
def test_british_spellings(british, american_word):
    assert american(british) == american_word
    assert tokens(british.upper()) == [american_word]


@pytest.mark.parametrize(
    "word",
    ["raised", "advised", "exercise", "disease", "poised", "aerobic", "shoe", "toes", "phoebe"],
)
def test_american_words_stay(word):
    assert american(word) == word


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fx of lt wrist s/p fall", "fracture of left wrist status post fall"),
        ("T2DM w/o complications", "type 2 diabetes mellitus without complications"),
        ("HTN w/ CKD", "hypertension with ckd"),
        ("anemia 2/2 blood loss", "anemia secondary to blood loss"),
        ("h/o CA", "history of cancer"),
        ("pain d/t injury, b/l", "pain due to injury bilateral"),
        ("pt's hx", "patient history"),
        ("2/28/2024", "2 28 2024"),
        ("COPD/asthma", "copd asthma"),
    ],
)
def test_shorthand_is_spelled_out(text, expected):
    assert tokens(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Crohn's disease", "crohn disease"),
        ("Crohn\N{RIGHT SINGLE QUOTATION MARK}s disease", "crohn disease"),
        ("O'Sullivan", "osullivan"),
        ("Sjögren", "sjogren"),
        ("Ménière’s", "meniere"),
        ("Guillain\N{EN DASH}Barré", "guillain barre"),
        ("chest pain\N{EM DASH}left arm", "chest pain left arm"),
        ("non\N{NON-BREAKING HYPHEN}ST", "non st"),
        ("left\N{NO-BREAK SPACE}arm", "left arm"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER H}\N{FULLWIDTH LATIN CAPITAL LETTER I}", "hi"),
        ("STRASSE straße", "strasse strasse"),
        ("soft\N{SOFT HYPHEN}ware", "software"),
        ("", ""),
        (" \t\n", ""),
        ("?!-/'", ""),
        ("心臓発作", ""),
        ("😀", ""),
        ("\ud800", ""),
    ],
)
def test_signs_accents_and_alphabets(text, expected):
    assert tokens(text) == expected.split()


def test_shorthand_has_one_step():
    for short, long in SHORTHAND.items():
        assert not any(word in SHORTHAND for word in long.split()), short
        assert tokens(short) == long.split(), short
        assert tokens(f"({short.upper()})") == long.split(), short


def test_stems_join_the_inflections_of_a_word():
    for forms in ("fracture fractures fractured", "diabetic diabetics", "infection infections"):
        assert len({stem(word) for word in forms.split()}) == 1
    assert stem("2024") == "2024"


def test_telling_words_only_but_never_none():
    assert terms(["fracture", "of", "the", "wrists"]) == ["fractur", "wrist"]
    assert terms(["not", "otherwise", "specified"]) == [
        stem(w) for w in ("not", "otherwise", "specified")
    ]
    assert terms([]) == []
    assert "left" not in STOPWORDS
    assert "no" not in STOPWORDS


# Words as notes have them: shorthand, British spellings, plain words and numbers.
note_words = st.one_of(
    st.sampled_from(sorted(SHORTHAND)),
    st.sampled_from(sorted(BRITISH)),
    st.sampled_from(["Crohn's", "O'Neill", "pain", "chest", "x-ray", "12", "E11.9", "COVID-19"]),
)


@given(st.lists(note_words, max_size=12).map(" ".join))
def test_what_is_plain_stays_plain(text):
    once = tokens(text)
    assert tokens(" ".join(once)) == once
    assert plain(plain(text)) == plain(text)
    assert american(american(text.casefold())) == american(text.casefold())
    assert terms(once) == terms(list(once))


@given(st.text(max_size=200))
def test_any_text_becomes_lower_case_ascii_words(text):
    found = tokens(text)
    assert all(re.fullmatch("[a-z0-9]+", word) for word in found)
    assert plain(text).isascii()
    assert plain(text) == plain(text).lower()
    assert len(terms(found)) <= len(found)
    assert bool(terms(found)) == bool(found)


@given(st.text(max_size=80))
def test_case_and_outer_blanks_do_not_matter(text):
    ascii_text = text.encode("ascii", "ignore").decode()
    assert tokens(f"  {ascii_text.upper()}\n") == tokens(ascii_text.lower())


def test_a_very_long_text_is_no_trouble():
    assert tokens("haemorrhage w/ " * 10_000) == ["hemorrhage", "with"] * 10_000
    assert tokens("a" * 100_000) == ["a" * 100_000]
