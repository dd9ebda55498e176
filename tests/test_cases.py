"""Cases, runs and judgements: round trips, and faults named by file, line and field."""

from __future__ import annotations

import gzip
import json
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.casefiles import (
    read_beir_corpus,
    read_cases,
    read_qrels,
    write_beir,
    write_cases,
    write_qrels,
)
from cmsearch.cases import Case, Run
from cmsearch.codes import Code, System
from cmsearch.errors import CasesError
from cmsearch.runfiles import read_run, write_run, write_trec_run

GOOD = '{"query": "heart attack", "codes": ["I21.9"], "system": "icd10cm", "kind": "lay"}'


def code(value, system=System.ICD10CM):
    return Code(value, system)


MI = Case("a", "heart attack", (code("I21.9"),), "lay")
SUGAR = Case("b", "sugar diabetes", (code("E11.9"), code("E10")), "lay")
OLD = Case("c", "screening", (code("V70.0", System.ICD9CM),))


@pytest.fixture
def file(tmp_path):
    def made(content, name="cases.jsonl"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return made


def test_a_case_line_is_read_in_full(file):
    [case] = read_cases(file(GOOD))
    assert case == Case("1", "heart attack", (code("I21.9"),), "lay")
    assert case.system is System.ICD10CM


def test_lines_may_name_little_and_codes_may_be_typed_as_people_do(file):
    lines = '\ufeff{"query": "a", "codes": ["e119", "E11.9"]}\r\n\n{"query":"b","codes":["A000"]}'
    first, second = read_cases(file(lines))
    assert first.codes == (code("E11.9"),) and first.kind == ""
    assert (first.id, second.id) == ("1", "3")
    [old] = read_cases(file('{"query":"b","codes":["25000"]}'), system=System.ICD9CM)
    assert old.codes == (code("250.00", System.ICD9CM),)


def test_compressed_cases_are_known_by_content(file):
    assert read_cases(file(gzip.compress(GOOD.encode()), "x.gz")) == read_cases(file(GOOD))
    assert read_cases(file(gzip.compress(GOOD.encode()), "x.jsonl")) == read_cases(file(GOOD))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ("[" * 100_000, "line 2: not JSON"),
        ('{"n": ' + "9" * 5000 + "}", "line 2: not JSON"),
        ('{"text": "note", "codes": ["I21"]}', "field 'query' is missing.*'text', 'codes'"),
        ('{"query": "  ", "codes": ["I21"]}', "line 2: field 'query'"),
        ('{"query": "\\ud83d", "codes": ["I21"]}', "line 2: field 'query' holds half a character"),
        ('{"query": "q"}', "line 2: field 'codes' is no list"),
        ('{"query": "q", "codes": "I21"}', "line 2: field 'codes' is no list"),
        ('{"query": "q", "codes": []}', "line 2: field 'codes' is no list"),
        ('{"query": "q", "codes": ["nonsense"]}', "line 2: field 'codes': 'nonsense' is not"),
        ('{"query": "q", "codes": [7]}', "line 2: field 'codes': '7' is not written"),
        ('{"query": "q", "codes": ["250.00"]}', "field 'system'"),
        ('{"query": "q", "codes": ["I21"], "system": "icd11"}', "field 'system'.*known ones"),
        ('{"query": "q", "codes": ["I21"], "system": 10}', "field 'system'"),
        ('{"query": "q", "codes": ["I21"], "kind": 1}', "field 'kind'"),
        ('{"query": "q", "codes": ["I21"], "id": "1"}', "two cases have the id '1'"),
        ('{"query": "q", "codes": ["I21"], "id": null}', "line 2: field 'id'"),
    ],
)
def test_a_faulty_line_is_named(file, line, fault):
    with pytest.raises(CasesError, match=fault) as error:
        read_cases(file(f"{GOOD}\n{line}"))
    assert "cases.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_files_that_are_no_files_of_cases(file, tmp_path):
    with pytest.raises(CasesError, match="cannot be read"):
        read_cases(tmp_path / "missing.jsonl")
    with pytest.raises(CasesError, match="holds no case"):
        read_cases(file("\n \n"))
    with pytest.raises(CasesError, match="line 2: no UTF-8"):
        read_cases(file(GOOD.encode() + b"\n\xff\xfe"))
    with pytest.raises(CasesError, match="qrels have"):
        read_cases(file("just some words in a line"))
    whole = gzip.compress(os.urandom(2000).hex().encode())
    for damaged in (whole[:700], whole[:20] + b"\x00\x01\x02" + whole[23:]):
        with pytest.raises(CasesError, match="gzip file is damaged"):
            read_cases(file(damaged))


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
identities = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
golds = st.lists(
    st.sampled_from(["I21.9", "E11", "A00.0", "S06.0X0A"]), min_size=1, max_size=3, unique=True
)
made_cases = st.builds(
    lambda i, q, c, kind: Case(i, q, tuple(map(code, c)), kind),
    identities,
    words,
    golds,
    st.sampled_from(["", "lay", "hard"]),
)
many = st.lists(made_cases, min_size=1, max_size=6, unique_by=lambda case: case.id)


@given(cases=many, suffix=st.sampled_from(["jsonl", "jsonl.gz"]))
def test_cases_survive_the_round_trip(cases, suffix, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"round.{suffix}"
    write_cases(path, cases)
    assert read_cases(path) == cases


@given(cases=many)
def test_cases_survive_a_beir_folder(cases, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "beir"
    write_beir(folder, cases, {"I21.9": "Acute myocardial infarction, unspecified"})
    assert read_cases(folder) == cases
    corpus = read_beir_corpus(folder)
    assert corpus["I21.9"] == "Acute myocardial infarction, unspecified"
    assert {gold.value for case in cases for gold in case.codes} <= corpus.keys()


def test_a_beir_folder_of_old_codes_keeps_their_system(tmp_path):
    write_beir(tmp_path / "b", [OLD], {"V70.0": "Routine examination"})
    assert read_cases(tmp_path / "b") == [OLD]
    lines = (tmp_path / "b" / "qrels" / "test.tsv").read_text().splitlines()
    assert lines == ["query-id\tcorpus-id\tscore", "c\tV70.0\t1"]
    with pytest.raises(CasesError, match="one system"):
        write_beir(tmp_path / "mixed", [MI, OLD], {})


def test_a_beir_folder_takes_its_test_judgements(tmp_path):
    write_beir(tmp_path, [MI, SUGAR], {})
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\na\tI21.9\t1\n")
    assert read_cases(tmp_path) == [MI, SUGAR]
    (tmp_path / "qrels" / "test.tsv").unlink()
    assert read_cases(tmp_path) == [MI]
    (tmp_path / "qrels" / "train.tsv").write_text("a\tI21.9\t1\n")
    with pytest.raises(CasesError, match=r"its qrels are: dev.tsv, train.tsv"):
        read_cases(tmp_path)


def test_faulty_beir_folders(tmp_path):
    with pytest.raises(CasesError, match="its qrels are: none"):
        read_cases(tmp_path)
    write_beir(tmp_path, [MI], {})
    qrels = tmp_path / "qrels" / "test.tsv"
    qrels.write_text("ghost\tI21.9\t1\n")
    with pytest.raises(CasesError, match="the query 'ghost'"):
        read_cases(tmp_path)
    qrels.write_text("a\tdocument-7\t1\n")
    with pytest.raises(CasesError, match="query 'a': 'document-7'.*must be codes"):
        read_cases(tmp_path)
    qrels.write_text("a\tI21.9\t0\n")
    with pytest.raises(CasesError, match="holds no case"):
        read_cases(tmp_path)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "I21", "text": 5}\n')
    with pytest.raises(CasesError, match="corpus.jsonl, line 1"):
        read_beir_corpus(tmp_path)


def test_qrels_of_both_kinds_are_read(file, tmp_path):
    trec = read_qrels(file("a 0 I21.9 1\na 0 I22 0\nb 0 E11 2\n", "qrels"))
    assert trec == {"a": {"I21.9": 1, "I22": 0}, "b": {"E11": 2}}
    beir = read_qrels(file("query-id\tcorpus-id\tscore\na\tI21.9\t1\n", "test.tsv"))
    assert beir == {"a": {"I21.9": 1}}
    write_qrels(tmp_path / "out", [MI, SUGAR])
    assert (tmp_path / "out").read_text() == "a 0 I21.9 1\nb 0 E11.9 1\nb 0 E10 1\n"
    cases = read_cases(tmp_path / "out")
    assert [(case.id, case.query, case.codes) for case in cases] == [
        ("a", "", MI.codes),
        ("b", "", SUGAR.codes),
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a 0 I21", None),
        ("a 0 I21 1 1", "line 1: 5 fields"),
        ("a 0 I21 high", "line 1: relevance 'high'"),
        ("a 0 I21 1\na 0 I21 2", "line 2: judges 'I21' for 'a' again"),
    ],
)
def test_faulty_qrels_are_named(file, content, fault):
    with pytest.raises(CasesError, match=fault or "line 1: relevance 'I21'"):
        read_qrels(file(content, "qrels"))


FOUND = Run(
    "ours",
    by_id={
        "a": (("I21.9", 0.93), ("icd9cm:410.90", 0.5)),
        "b": (("E11.9", 1 / 3), ("E10", 1e-17)),
    },
)


def test_a_run_survives_both_forms(tmp_path):
    cases = [MI, SUGAR, OLD]
    write_trec_run(tmp_path / "ours.trec", FOUND, cases)
    trec = read_run(tmp_path / "ours.trec")
    assert trec.name == "ours" and trec.by_id == FOUND.by_id
    assert trec.ranking(OLD) is None
    write_run(tmp_path / "ours.jsonl.gz", FOUND, cases)
    lines = read_run(tmp_path / "ours.jsonl.gz", name="mine")
    assert lines.name == "mine"
    assert [lines.ranking(case) for case in cases] == [FOUND.by_id["a"], FOUND.by_id["b"], ()]


def test_the_lines_of_a_run_are_what_the_query_command_writes(tmp_path):
    write_run(tmp_path / "run.jsonl", FOUND, [MI])
    row = json.loads((tmp_path / "run.jsonl").read_text())
    assert row == {
        "query": "heart attack",
        "hits": [
            {"rank": 1, "code": "I21.9", "score": 0.93},
            {"rank": 2, "code": "410.90", "system": "icd9cm", "score": 0.5},
        ],
    }


def test_a_run_of_the_query_command_is_read(file):
    path = file(
        '{"query": " heart  attack", "release": "2026", "hits": [{"rank": 1, "code": "I21.9", '
        '"system": "icd10cm", "title": "x", "score": 0.9, "billable": true}]}\n'
        '{"query": "", "release": "2026", "hits": []}\n',
        "run.jsonl",
    )
    run = read_run(path)
    assert run.ranking(MI) == (("icd10cm:I21.9", 0.9),)
    assert run.ranking(SUGAR) is None


def test_hits_stand_by_score_and_equal_ones_by_rank(file):
    run = read_run(file("a Q0 B 2 0.5 t\na Q0 C 3 0.9 t\na Q0 A 10 0.5 t\n", "run"))
    assert [value for value, _ in run.by_id["a"]] == ["C", "B", "A"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a Q0 I21 1 0.5", "line 1: not a line of a TREC run"),
        ("a Q0 I21 first 0.5 t", "line 1: not a line of a TREC run"),
        (f"a Q0 I21 {'9' * 5000} 0.5 t", "line 1: not a line of a TREC run"),
        ("a Q0 I21 1 nan t", "line 1: score 'nan'"),
        ("a Q0 I21 1 0.5 t\na Q0 I21 2 0.4 t", "line 2: the code 'I21' is ranked twice"),
        ('{"query": "q"}', "line 1: field 'hits'"),
        ('{"hits": []}', "line 1: field 'query'"),
        ('{"query": "q", "hits": [3]}', "line 1: field 'code'"),
        ('{"query": "q", "hits": [{"code": "I21"}]}', "line 1: score 'None'"),
        ('{"query": "q", "hits": [{"code": "I21", "score": true}]}', "line 1: score 'True'"),
        ('{"query": "q", "hits": [{"code": "I21", "score": NaN}]}', "line 1: score 'nan'"),
        ('{"query": "q", "hits": [{"code": "I21", "score": 1%s}]}' % ("0" * 400), "score '100"),
        (
            '{"query": "q", "hits": []}\n{"query": "q", "hits": [{"code": "I21", "score": 1}]}',
            "line 2: the query 'q' has other hits above",
        ),
    ],
)
def test_faulty_runs_are_named(file, content, fault):
    with pytest.raises(CasesError, match=fault):
        read_run(file(content, "run.jsonl"))


def test_ids_with_blanks_cannot_stand_in_trec_files(tmp_path):
    odd = Case("two words", "q", MI.codes)
    with pytest.raises(CasesError, match="'two words' cannot stand"):
        write_qrels(tmp_path / "out", [MI, odd])
    with pytest.raises(CasesError, match="'two words' cannot stand"):
        write_trec_run(tmp_path / "out", Run("x", by_id={"two words": (("I21", 1.0),)}), [odd])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "cases.jsonl"
    write_cases(path, [MI])

    def broken():
        yield SUGAR
        raise RuntimeError("the machine stopped")

    with pytest.raises(RuntimeError):
        write_cases(path, broken())
    assert read_cases(path) == [MI]
    assert [entry.name for entry in tmp_path.iterdir()] == ["cases.jsonl"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(CasesError, match="plain"):
        write_cases(tmp_path / "plain" / "cases.jsonl", [MI])
    (tmp_path / "folder").mkdir()
    with pytest.raises(CasesError, match="folder: cannot be written"):
        write_cases(tmp_path / "folder", [MI])
    with pytest.raises(CasesError, match="cannot be made"):
        write_beir(tmp_path / "plain", [MI], {})
