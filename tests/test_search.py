"""Search over the real code sets: what comes first, filters, wording, hostile queries."""

from __future__ import annotations

import sqlite3

import pytest
from real_index import real_home, real_index

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError, IndexFolderError, IndexMismatch
from cmsearch.search import Filters, Index
from cmsearch.types import EncoderIdentity, Hit, Why

ICD10, ICD9, PCS = System.ICD10CM, System.ICD9CM, System.ICD10PCS
PHRASES = [
    "heart attack",
    "broken wrist after a fall on ice",
    "sugar diabetes",
    "water on the lung",
    "crushing chest pain radiating to the left arm",
    "can't sleep",
    "kid swallowed a coin",
    "COPD exacerbation",
    "high blood pressure",
    "pregnant 12 weeks",
]
# The clean phrase, and how else it is written.
SLIPS = [
    ("pneumonia", "pnuemonia"),
    ("diarrhea", "diarhea"),
    ("hypertension", "hypertention"),
    ("appendicitis", "apendicitis"),
    ("epilepsy", "epilepsi"),
    ("rheumatoid arthritis", "rhumatoid artritis"),
    ("cirrhosis of liver", "cirrosis of liver"),
    ("tonsillitis", "tonsilitis"),
]
BRITISH = [
    ("iron deficiency anemia", "iron deficiency anaemia"),
    ("esophageal varices", "oesophageal varices"),
    ("pulmonary edema", "pulmonary oedema"),
    ("leukemia", "leukaemia"),
    ("celiac disease", "coeliac disease"),
    ("hemophilia", "haemophilia"),
    ("brain tumor", "brain tumour"),
    ("diarrhea", "diarrhoea"),
]
PLURALS = [
    ("kidney stone", "kidney stones"),
    ("gallstone", "gallstones"),
    ("cataract", "cataracts"),
]
SHORTHAND = [
    ("hypertension", "htn"),
    ("history of breast cancer", "hx of breast ca"),
    ("fracture of left femur", "fx of lt femur"),
    ("type 2 diabetes mellitus without complications", "t2dm"),
    ("urinary tract infection", "uti"),
    ("chronic obstructive pulmonary disease", "copd"),
    ("congestive heart failure", "chf"),
    ("gastroesophageal reflux disease", "gerd"),
    ("deep vein thrombosis", "dvt"),
    ("shortness of breath", "sob"),
    ("atrial fibrillation", "afib"),
    ("abdominal pain", "abd pain"),
]
HOSTILE = {
    "null": "heart\x00attack",
    "nothing but null": "\x00",
    "controls": "\x01\x02\x1b[31mchest pain\x7f\x9f",
    "emoji": "😀💔🤒",
    "chinese": "胸痛",
    "arabic": "ألم في الصدر",
    "right to left": "\u202echest pain",
    "half a character": "\ud800 chest pain",
    "combining": "e" + "\u0301" * 500,
    "zero width": "\u200b\u200d\ufeff",
    "fts": '"a* OR NEAR(',
    "fts column": 'terms:pain AND "x" NOT (y)',
    "fts operators": "AND OR NOT NEAR/3 ^pain* +x -y",
    "sql": "'; DROP TABLE concept; --",
    "like": "%_%",
    "quote": '"',
    "star": "*",
    "parenthesis": "(",
    "backslash": "\\",
    "format": "{0} %s $HOME `id`",
    "long word": "a" * 100_000,
    "long text": "chest pain " * 9_090,
    "too long": "pain " * 40_000,
    "digits": "9" * 300,
    "dashes": "I20-I25-I30--",
}


@pytest.fixture(scope="module")
def index() -> Index:
    return real_index()


def best(index: Index, query: str, k: int = 10, **filters: object) -> list[Hit]:
    return index.search([query], k=k, filters=Filters(**filters))[0]


def codes(hits: list[Hit]) -> list[str]:
    return [hit.code.value for hit in hits]


# Exact codes and titles


@pytest.mark.parametrize(
    "typed", ["I21.9", "i21.9", "I219", "i219", " i 21.9 ", "I21.9-", "I21.9."]
)
def test_a_code_is_first_whatever_its_spelling(index, typed):
    first, second, *_ = best(index, typed)
    assert (first.rank, first.code, first.score) == (1, Code("I21.9", ICD10), 1.0)
    assert first.why is Why.EXACT
    assert first.title == "Acute myocardial infarction, unspecified"
    assert second.why is not Why.EXACT


@pytest.mark.parametrize(
    ("typed", "code", "billable"),
    [
        ("S52501A", "S52.501A", True),
        ("t36.0x1a", "T36.0X1A", True),
        ("b20", "B20", True),
        ("E11", "E11", False),
        ("c7a", "C7A", False),
        ("I20-I25", "I20-I25", False),
        ("i20 \N{EN DASH} i25", "I20-I25", False),
        ("A00-B99", "A00-B99", False),
    ],
)
def test_codes_of_every_level_are_first(index, typed, code, billable):
    first = best(index, typed)[0]
    assert (first.code.value, first.billable, first.why) == (code, billable, Why.EXACT)


@pytest.mark.parametrize(
    ("typed", "code"),
    [("410.71", "410.71"), ("41071", "410.71"), ("v700", "V70.0"), ("e9500", "E950.0")],
)
def test_old_codes_are_first_where_their_system_is_asked_for(index, typed, code):
    first = best(index, typed, systems=(ICD9,))[0]
    assert (first.code, first.why) == (Code(code, ICD9), Why.EXACT)


def test_a_code_of_two_systems_is_both(index):
    first, second, *_ = best(index, "V70.0", systems=(ICD9, ICD10))
    assert {first.code, second.code} == {Code("V70.0", ICD9), Code("V70.0", ICD10)}
    assert first.why is second.why is Why.EXACT
    assert best(index, "V70.0")[0].code == Code("V70.0", ICD10)
    assert best(index, "V70.0")[1].why is not Why.EXACT


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("Acute myocardial infarction, unspecified", "I21.9"),
        ("TYPE 2 DIABETES MELLITUS WITHOUT COMPLICATIONS", "E11.9"),
        ("essential (primary) hypertension", "I10"),
        ("Pain in right knee", "M25.561"),
        ("Human immunodeficiency virus [HIV] disease", "B20"),
        ("Typhoid fever", "A01.0"),
        ("  Low   back\tpain ", "M54.5"),
        ("Do not resuscitate", "Z66"),
    ],
)
def test_a_title_is_first(index, title, code):
    first = best(index, title)[0]
    assert (first.code.value, first.why) == (code, Why.EXACT)
    assert first.score >= 0.999


@pytest.mark.parametrize(
    ("typed", "wording", "code"),
    [
        ("hypertension", "hypertension", "I10"),
        ("HTN", "htn", "I10"),
        ("hypertention", "hypertension", "I10"),
        ("breast cancer", "breast cancer", "C50.9"),
    ],
)
def test_a_wording_that_is_the_query_is_first(index, typed, wording, code):
    first = best(index, typed)[0]
    assert (first.code.value, first.matched.casefold()) == (code, wording)
    assert first.score >= 0.998


@pytest.mark.parametrize(
    ("words", "code"), [("chest pain", "R07.9"), ("Back pain", "M54.9"), ("edema", "R60.9")]
)
def test_a_condition_that_is_named_and_no_more_is_the_unspecified_one(index, words, code):
    hits = index.search([words], k=3)[0]
    assert code in [str(hit.code) for hit in hits if hit.score >= 0.997]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("BMI 16.2", "Z68.1"),
        ("body mass index of 47", "Z68.42"),
        ("bmi 28,4", "Z68.28"),
        ("blood alcohol 150 mg/100 ml", "Y90.6"),
    ],
)
def test_numbers_are_read_as_numbers(index, words, code):
    assert str(index.search([words], k=1)[0][0].code) == code


def test_a_code_of_another_system_is_looked_for_by_its_title(index):
    assert str(index.search(["401.9"], k=1)[0][0].code) == "I10"
    assert index.search(["401.9"]) == index.search(["Unspecified essential hypertension"])
    first = index.search(["401.9"], filters=Filters(systems=(ICD9,)))[0][0]
    assert (str(first.code), first.why) == ("401.9", Why.EXACT)


def test_every_two_thousandth_title_is_first(index):
    lexicon = index.files.lexicon
    rows = lexicon.concepts(list(range(1, index.manifest.code_sets[0].concepts, 2000))).values()
    wanted = [row for row in rows if lexicon.forms_of_concept(row.id)]
    assert len(wanted) > 20
    for row, hits in zip(wanted, index.search([row.title for row in wanted], k=5), strict=True):
        assert hits[0].why is Why.EXACT, row.title
        assert hits[0].title.casefold() == row.title.casefold()


# What a hit carries


def test_hits_are_whole_ranked_and_sorted(index):
    for query, hits in zip(PHRASES, index.search(PHRASES, k=10), strict=True):
        assert len(hits) == 10, query
        assert [hit.rank for hit in hits] == list(range(1, 11))
        assert len({hit.code for hit in hits}) == 10
        found = [hit for hit in hits if hit.why is not Why.EXACT]
        order = [(-hit.score, hit.code.value) for hit in found]
        assert order == sorted(order), query  # ties by code
        for hit in hits:
            assert 0.0 <= hit.score <= 1.0
            assert hit.release == "April 2026"
            assert hit.title
            assert hit.chapter
            row = index.concept(hit.code)
            assert (row.title, row.billable) == (hit.title, hit.billable)
            texts = [
                (form.text, form.template) for form in index.files.lexicon.forms_of_concept(row.id)
            ]
            assert (hit.matched, hit.template) in texts


def test_what_matched_and_why(index):
    first = best(index, "heart attack")[0]
    assert (first.code.value, first.chapter) == ("I21.9", "Diseases of the circulatory system")
    assert (first.matched, first.template, first.why) == ("heart attack", "vocabulary", Why.BOTH)


def test_ties_stand_by_code(index):
    """Two codes with the very same wording have the same score."""
    seen = 0
    for hits in index.search(PHRASES, k=200):
        for hit, following in zip(hits, hits[1:], strict=False):
            if hit.score == following.score:
                seen += 1
                assert hit.code.value < following.code.value
    assert seen > 20


def test_the_same_query_gives_the_same_hits(index):
    again = Index.open(real_home() / "indexes" / "default")
    assert index.search(PHRASES, k=20) == index.search(PHRASES, k=20) == again.search(PHRASES, k=20)


def test_a_query_alone_finds_what_it_finds_among_others(index):
    queries = [*PHRASES, *(typed for pair in SLIPS + SHORTHAND for typed in pair)]
    for query, together in zip(queries, index.search(queries, k=10), strict=True):
        alone = best(index, query)
        assert codes(alone) == codes(together), query
        assert [hit.score for hit in alone] == pytest.approx(
            [hit.score for hit in together], abs=2e-3
        )


@pytest.mark.parametrize("k", [1, 3, 50])
def test_k_hits_and_no_more(index, k):
    hits = best(index, "chest pain", k=k)
    assert len(hits) == k
    assert codes(hits) == codes(best(index, "chest pain", k=60))[:k]


def test_no_hit_at_all_cannot_be_asked_for(index):
    with pytest.raises(ValueError, match="at least one"):
        index.search(["pain"], k=0)


@pytest.mark.parametrize("blank", ["", " ", "\t\n\r", "\u00a0\u2003"])
def test_a_blank_query_finds_nothing(index, blank):
    found = index.search(["stroke", blank, "stroke"], k=3)
    assert found[1] == []
    assert found[0] == found[2]
    assert len(found[0]) == 3


def test_no_queries_no_answers(index):
    assert index.search([]) == []


# Filters


def test_old_codes_only_when_asked_for(index):
    for hits in index.search(PHRASES, k=30):
        assert {hit.code.system for hit in hits} == {ICD10}
    hits = best(index, "chest pain", k=20, systems=(ICD9,))
    assert {hit.code.system for hit in hits} == {ICD9}
    assert {hit.release for hit in hits} == {"v32 (2015)"}
    assert hits[0].code.value == "786.50"
    both = best(index, "chest pain", k=60, systems=(ICD9, ICD10))
    assert {hit.code.system for hit in both} == {ICD9, ICD10}


def test_a_system_that_the_index_lacks(index):
    with pytest.raises(CodeError, match=r"holds icd10cm, icd9cm, not icd10pcs.*--add icd10pcs"):
        best(index, "appendectomy", systems=(PCS,))


def test_billable_codes_only(index):
    for query, hits in zip(
        PHRASES, index.search(PHRASES, k=10, filters=Filters(billable=True)), strict=True
    ):
        assert hits, query
        assert all(hit.billable for hit in hits)
        assert len({hit.code for hit in hits}) == len(hits)
        assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))


@pytest.mark.parametrize(
    ("query", "header", "code"),
    [
        ("fracture of shaft of right femur", "S72.301", "S72.301A"),
        ("poisoning by penicillin accidental", "T36.0X1", "T36.0X1A"),
    ],
)
def test_billable_puts_the_first_seventh_character_for_a_header(index, query, header, code):
    plain, claim = best(index, query), best(index, query, billable=True)
    assert plain[0].code.value == header
    assert not plain[0].billable
    assert claim[0].code.value == code
    assert claim[0].title.startswith(plain[0].title)
    assert "initial encounter" in claim[0].title
    assert claim[0].score == plain[0].score


def test_billable_leaves_out_headers_of_different_conditions(index):
    assert best(index, "Low back pain")[0].code.value == "M54.5"
    claim = best(index, "Low back pain", billable=True)
    assert claim[0].code.value == "M54.50"
    assert "M54.5" not in codes(claim)


@pytest.mark.parametrize(
    ("under", "inside"),
    [
        ("I21", lambda code: code.startswith("I21")),
        ("i21.0", lambda code: code.startswith("I21.0")),
        ("I210", lambda code: code.startswith("I21.0")),
        ("I20-I25", lambda code: "I20" <= code[:3] <= "I25"),
        (" i20 - i25 ", lambda code: "I20" <= code[:3] <= "I25"),
        ("I20\N{EN DASH}I25", lambda code: "I20" <= code[:3] <= "I25"),
        ("I", lambda code: code.startswith("I")),
        ("I00-I99", lambda code: code.startswith("I")),
    ],
)
def test_only_under_a_code_or_range(index, under, inside):
    hits = best(index, "heart attack", prefix=under)
    assert len(hits) >= 4
    assert all(inside(code) for code in codes(hits)), codes(hits)
    free = [code for code in codes(best(index, "heart attack", k=1000)) if inside(code)]
    assert set(codes(hits)[:1]) <= set(free)


def test_a_range_has_its_edges(index):
    under = {code[:3] for code in codes(best(index, "heart disease", k=1000, prefix="I20-I25"))}
    assert {"I20", "I21", "I24", "I25"} <= under <= {"I20", "I21", "I22", "I23", "I24", "I25"}
    assert "I26" in {code[:3] for code in codes(best(index, "heart disease", k=1000, prefix="I"))}


def test_the_filter_holds_for_exact_hits_too(index):
    assert "I21.9" not in codes(best(index, "I21.9", prefix="E11"))
    title = "Acute myocardial infarction, unspecified"
    assert "I21.9" not in codes(best(index, title, prefix="I25"))


def test_expand_lists_the_billable_codes_below(index):
    hits = best(index, "E11.3", k=80, expand=True)
    below = [hit for hit in hits if hit.code.is_under(Code("E11.3", ICD10))]
    assert below[0].code.value == "E11.3"
    assert not below[0].billable
    assert all(hit.billable for hit in below[1:])
    assert hits[: len(below)] == below
    assert codes(below[1:]) == sorted(codes(below[1:]))
    lexicon = index.files.lexicon
    expected = [row.code for row in lexicon.starting_with("E11.3", limit=500) if row.billable]
    assert codes(below[1:]) == expected
    assert len(expected) > 30
    assert {"E11.311", "E11.3211", "E11.39"} <= set(expected)


def test_expand_and_billable_leave_the_header_out(index):
    hits = best(index, "E11.3", k=5, expand=True, billable=True)
    assert codes(hits) == ["E11.311", "E11.319", "E11.3211", "E11.3212", "E11.3213"]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]


# Nearest concepts


def test_nearest_concepts_leave_out_the_code_and_its_family(index):
    hits = index.nearest("I21", k=10)
    assert len(hits) == 10
    assert [hit.rank for hit in hits] == list(range(1, 11))
    assert not [code for code in codes(hits) if code.startswith("I21")]
    assert {hit.code.system for hit in hits} == {ICD10}
    assert any(code.startswith("I2") for code in codes(hits))


def test_nearest_takes_codes_as_people_type_them(index):
    assert index.nearest("i219", k=5) == index.nearest(Code("I21.9", ICD10), k=5)


def test_nearest_in_another_system(index):
    hits = index.nearest("250.00", k=5, to=ICD10)
    assert {hit.code.system for hit in hits} == {ICD10}
    assert all(hit.billable for hit in hits)  # the source is
    assert codes(hits)[0].startswith("E11")
    back = index.nearest("I21.9", k=10, to=ICD9)
    assert {hit.code.system for hit in back} == {ICD9}
    assert any(code.startswith("410") for code in codes(back))


def test_nearest_may_name_the_same_spelling_of_another_system(index):
    hits = index.nearest(Code("V70.0", ICD9), k=5, to=ICD10)
    assert codes(hits)[0].startswith("Z0")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("E11.99", r"no code of this index; near it are E11\.9 \(Type 2 diabetes"),
        ("V70.0", r"ICD-10-CM V70\.0 \(.*\) and ICD-9-CM V70\.0 \(.*\); say which"),
        ("chest pain", "no code of this index"),
        ("", "no code of this index"),
        ("\x00", "no code of this index"),
    ],
)
def test_nearest_to_no_code(index, code, message):
    with pytest.raises(CodeError, match=message):
        index.nearest(code)


def test_nearest_in_a_system_that_the_index_lacks(index):
    with pytest.raises(CodeError, match="not icd10pcs"):
        index.nearest("I21.9", to=PCS)


# The same words, written differently


@pytest.mark.parametrize(("clean", "written"), SLIPS + BRITISH + PLURALS + SHORTHAND)
def test_wording_that_must_not_matter(index, clean, written):
    wanted = codes(best(index, clean, k=1))[0]
    assert wanted in codes(best(index, written, k=3))


@pytest.mark.parametrize(("american", "british"), BRITISH)
def test_british_words_have_the_same_terms(index, american, british):
    """The lexical half cannot tell them apart, so the best hit is the same."""
    assert codes(best(index, american, k=1)) == codes(best(index, british, k=1))


@pytest.mark.parametrize(
    "written",
    [
        "ATRIAL FIBRILLATION",
        "atrial\n\nfibrillation",
        "atrial-fibrillation",
        "Atrial fibrillation.",
    ],
)
def test_case_blanks_and_punctuation(index, written):
    assert codes(best(index, written, k=1)) == codes(best(index, "atrial fibrillation", k=1))


# Hostile queries


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_query_is_answered(index, query):
    before = best(index, "heart attack")
    hits = best(index, query, k=5)
    assert len(hits) <= 5
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert best(index, query, k=5, systems=(ICD9,), billable=True) is not None
    assert best(index, "heart attack") == before


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (HOSTILE["null"], "I21.9"),
        ('heart attack" OR "x', "I21.9"),
        ("heart attack'); --", "I21.9"),
        ("heart\u200b attack", "I21.9"),
        ("💔 heart attack", "I21.9"),
    ],
)
def test_words_among_noise_are_found(index, query, code):
    assert code in codes(best(index, query, k=3))


def test_hostile_filters(index):
    for prefix in ("'; DROP TABLE concept; --", "%", "\x00", "😀", "I25-I20", "x" * 1000):
        with pytest.raises(CodeError, match="no code of this index lies under"):
            best(index, "heart attack", prefix=prefix)


def test_hostile_queries_change_nothing(index):
    index.search(list(HOSTILE.values()), k=3)
    path = index.files.folder / index.manifest.lexicon_file
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        counted = connection.execute("SELECT count(*) FROM concept").fetchone()[0]
    connection.close()
    assert counted == sum(item.concepts for item in index.manifest.code_sets)


# Opening


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(IndexFolderError, match="no index here; build one with: cmsearch index"):
        Index.open(tmp_path)


def test_another_encoder_is_refused_and_both_are_named():
    class Other:
        identity = EncoderIdentity("other", "ab" * 32, "cls", 384, 512)

        def encode(self, texts):
            raise AssertionError("never asked")

    with pytest.raises(IndexMismatch, match=r"(?s)built with encoder .*this is other \(384"):
        Index.open(real_home() / "indexes" / "default", encoder=Other())


def test_what_a_search_answers_from(index):
    assert index.release() == "ICD-10-CM April 2026"
    assert index.release((ICD9,)) == "ICD-9-CM v32 (2015)"
    assert index.release((ICD10, ICD9)) == "ICD-10-CM April 2026; ICD-9-CM v32 (2015)"


@pytest.mark.parametrize("typed", ["S72001A", "S72.001D", "DM"])
def test_no_code_stands_twice_and_none_behind_its_block(index, typed):
    found = [hit.code.value for hit in index.search([typed], k=10)[0]]
    assert len(set(found)) == len(found)
    assert "-" not in found[0]
