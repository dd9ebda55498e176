"""The report: the match rule, the measures of small rankings by hand, the interval."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.cases import Case, Run
from cmsearch.codes import Code, System
from cmsearch.errors import CasesError
from cmsearch.evaluate import compare, evaluate, is_right, judge, measure, rank_cases
from cmsearch.report import MEASURES, rows
from cmsearch.runfiles import read_run, write_run, write_trec_run


def case(query, *codes, kind="", system=System.ICD10CM, identity=None):
    return Case(identity or query, query, tuple(Code.of(system, code) for code in codes), kind)


def run_of(name="r", **rankings):
    scored = {
        query: tuple((value, 1.0 - at / 100) for at, value in enumerate(values))
        for query, values in rankings.items()
    }
    return Run(name, by_id=scored)


def measures_of(one, *values):
    row = measure([one], run_of(**{one.id: values}))[0]
    return dict(zip(MEASURES, row.tolist(), strict=True))


class Fixed:
    """A ranker with known answers that remembers what it was asked."""

    name = "fixed"

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def rank(self, queries, *, k):
        self.asked.append((list(queries), k))
        return [
            [(value, 1.0 / rank) for rank, value in enumerate(self.answers[query], start=1)][:k]
            for query in queries
        ]


@pytest.mark.parametrize(
    ("gold", "hit", "right"),
    [
        ("E11", "E11", True),
        ("E11", "E11.9", True),
        ("E11", "e119", True),
        ("E11.9", "E11", False),
        ("E11.6", "E11.65", True),
        ("E11.65", "E11.6", False),
        ("E11", "E10.9", False),
        ("S06.0X0", "S06.0X0A", True),
        ("E11", "icd10cm:E11.9", True),
        ("E11", "ICD-10-CM:E11.9", True),
        ("V70.0", "icd9cm:V70.0", False),
        ("E11", "icd11:E11", False),
        ("E11", "nonsense", False),
        ("E11", "", False),
        ("E11", "250.00", False),
    ],
)
def test_the_match_rule(gold, hit, right):
    assert measures_of(case("q", gold), hit)["recall@1"] == right


def test_the_match_rule_stays_within_the_system():
    old = case("q", "V70", system=System.ICD9CM)
    assert is_right(Code("V70.0", System.ICD9CM), old)
    assert not is_right(Code("V70.0", System.ICD10CM), old)
    assert not is_right(None, old)
    assert measures_of(old, "V70.0")["recall@1"] == 1.0
    assert measures_of(old, "icd10cm:V70.0")["recall@1"] == 0.0
    # The ICD-9 code E880.1 and the ICD-10-CM code E88.01 are spelled alike without a dot.
    assert measures_of(case("q", "E88.01"), "E880.1")["recall@1"] == 0.0


def test_the_measures_of_a_ranking_by_hand():
    found = measures_of(case("q", "I21"), "I20.9", "I25", "I21.9", "I21.4", "A00")
    assert found == {
        "recall@1": 0.0,
        "recall@5": 1.0,
        "recall@10": 1.0,
        "MRR@10": pytest.approx(1 / 3),
        "nDCG@10": pytest.approx(1 / math.log2(4)),
        "category@1": 0.0,
    }


def test_category_at_1_asks_for_the_category_alone():
    assert measures_of(case("q", "I21.9"), "I21.4")["category@1"] == 1.0
    assert measures_of(case("q", "I21.9"), "I22.9")["category@1"] == 0.0
    assert measures_of(case("q", "I21.9"), "I22.9", "I21.9")["category@1"] == 0.0
    external = case("q", "E880.1", system=System.ICD9CM)
    assert measures_of(external, "E880.9")["category@1"] == 1.0
    assert measures_of(external, "E881.0")["category@1"] == 0.0
    procedure = case("q", "0016070", system=System.ICD10PCS)
    assert measures_of(procedure, "0017071")["category@1"] == 1.0
    assert measures_of(procedure, "0016071")["recall@1"] == 0.0
    assert measures_of(procedure, "0026070")["category@1"] == 0.0


def test_ndcg_counts_each_gold_code_once():
    assert measures_of(case("q", "I21"), "I21.9", "I21.4", "I21")["nDCG@10"] == 1.0
    two = case("q", "E11", "E11.9")
    assert measures_of(two, "E11.9", "E11.65")["nDCG@10"] == 1.0
    both = 1 + 1 / math.log2(3)
    assert measures_of(two, "E11.65", "A00", "E11.8")["nDCG@10"] == pytest.approx(1 / both)
    assert measures_of(two, "E11.9", "A00", "E11.9")["nDCG@10"] == pytest.approx((1 + 0.5) / both)


def test_nothing_counts_past_the_tenth_hit():
    late = [*(f"A0{digit}" for digit in range(10)), "I21"]
    assert set(measures_of(case("q", "I21"), *late).values()) == {0.0}
    assert measures_of(case("q", "I21"), *late[1:])["recall@10"] == 1.0


@given(
    st.lists(st.sampled_from(["E11", "E11.9", "E11.65", "E10", "A00", "A00.0"]), unique=True),
    st.lists(
        st.sampled_from(["E11", "E11.9", "E11.6", "A00"]), min_size=1, max_size=3, unique=True
    ),
)
def test_measures_stand_between_0_and_1_and_in_order(values, gold):
    found = measures_of(case("q", *gold), *values)
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in found.values())
    assert found["recall@1"] <= found["recall@5"] <= found["recall@10"]
    assert found["recall@1"] <= found["MRR@10"] <= found["recall@10"]
    assert found["recall@1"] <= found["category@1"]
    assert (found["nDCG@10"] > 0) == (found["recall@10"] > 0)


CASES = [
    case("mi", "I21.9", kind="lay"),
    case("sugar", "E11", kind="lay"),
    case("sob", "R06.02", kind="shorthand"),
]


def test_the_report_stands_overall_and_by_kind():
    ranker = Fixed(mi=["I21.9"], sugar=["E10", "E11.9"], sob=[])
    report = evaluate(CASES, [ranker])
    [result] = report.results
    assert ranker.asked == [(["mi", "sugar", "sob"], 10)]
    assert (result.name, result.missing) == ("fixed", 0)
    assert (result.overall.kind, result.overall.n) == (None, 3)
    assert [(group.kind, group.n) for group in result.kinds] == [("lay", 2), ("shorthand", 1)]
    assert [estimate.measure for estimate in result.overall.estimates] == list(MEASURES)
    values = [[e.value for e in group.estimates] for group in (result.overall, *result.kinds)]
    ndcg = 1 / math.log2(3)
    assert values[0] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 0.5, (1 + ndcg) / 3, 1 / 3])
    assert values[1] == pytest.approx([0.5, 1, 1, 0.75, (1 + ndcg) / 2, 0.5])
    assert values[2] == [0.0] * 6
    for group in (result.overall, *result.kinds):
        for estimate in group.estimates:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert result.overall.estimates[0].low == 0.0 and result.overall.estimates[0].high == 1.0


def test_the_json_of_a_report_has_stable_keys():
    report = evaluate(CASES, [Fixed(mi=["I21.9"], sugar=[], sob=[])])
    plain = json.loads(report.to_json())
    assert plain == report.to_dict()
    assert set(plain) == {"cases", "interval", "rankers"}
    assert plain["cases"] == 3
    assert plain["interval"] == {"level": 0.95, "method": "bootstrap", "resamples": 1000}
    [ranker] = plain["rankers"]
    assert list(ranker) == ["name", "missing", "overall", "kinds"]
    assert list(ranker["overall"]) == ["n", "measures"]
    assert list(ranker["overall"]["measures"]) == list(MEASURES)
    assert list(ranker["overall"]["measures"]["recall@1"]) == ["value", "low", "high"]
    assert [group["kind"] for group in ranker["kinds"]] == ["lay", "shorthand"]
    assert report.to_json() == evaluate(CASES, [Fixed(mi=["I21.9"], sugar=[], sob=[])]).to_json()


def test_rows_put_rankers_side_by_side():
    report = judge(CASES, [run_of("a", mi=["I21.9"]), run_of("b", sugar=["E11"], sob=[])])
    table = rows(report, intervals=False)
    assert table[0] == ("cases", "n", "ranker", *MEASURES)
    assert [row[:4] for row in table[1:]] == [
        ("all", "3", "a", "0.333"),
        ("all", "3", "b", "0.333"),
        ("lay", "2", "a", "0.500"),
        ("lay", "2", "b", "0.500"),
        ("shorthand", "1", "a", "0.000"),
        ("shorthand", "1", "b", "0.000"),
    ]
    assert rows(report)[1][3] == "0.333 [0.000, 1.000]"
    assert [result.missing for result in report.results] == [2, 1]


def test_cases_without_a_kind_make_no_groups():
    report = judge([case("mi", "I21.9")], [run_of(mi=["I21.9"])])
    assert report.results[0].kinds == ()
    assert [row[0] for row in rows(report)] == ["cases", "all"]
    mixed = judge([case("mi", "I21.9"), case("x", "A00", kind="lay")], [run_of(mi=[])])
    assert [row[0] for row in rows(mixed)] == ["cases", "all", "(no kind)", "lay"]


def test_equal_queries_are_asked_once_and_may_have_other_answers():
    twice = [case("ms", "G35", identity="1"), case("ms", "I05.0", identity="2")]
    ranker = Fixed(ms=["G35", "I05.0"])
    values = measure(twice, rank_cases(ranker, twice, k=50))
    assert ranker.asked == [(["ms"], 50)]
    assert values[:, 0].tolist() == [1.0, 0.0] and values[:, 3].tolist() == [1.0, 0.5]


def test_a_small_k_is_raised_to_what_the_measures_need():
    ranker = Fixed(mi=["I21.9"], sugar=[], sob=[])
    evaluate(CASES, [ranker], k=3)
    assert ranker.asked[0][1] == 10


@pytest.mark.parametrize("write", [write_run, write_trec_run], ids=["json", "trec"])
def test_a_run_that_was_written_is_judged_like_its_ranker(write, tmp_path):
    ranker = Fixed(mi=["I21.9", "I21.4"], sugar=["E10", "E11.9"], sob=["icd9cm:786.05"])
    run = rank_cases(ranker, CASES)
    write(tmp_path / "run.out", run, CASES)
    again = read_run(tmp_path / "run.out", name="fixed")
    assert judge(CASES, [again]) == judge(CASES, [run])
    side_by_side = evaluate(CASES, [ranker], runs=[read_run(tmp_path / "run.out")])
    assert [result.name for result in side_by_side.results] == ["fixed", "run"]


def test_a_difference_is_paired():
    draw = np.random.default_rng(0)
    cases = [case(f"q{n}", "I21.9") for n in range(300)]
    hard = draw.random(300) < 0.5
    worse = run_of("worse", **{f"q{n}": ["A00" if hard[n] else "I21.9"] for n in range(300)})
    fixed = {f"q{n}": ["A00" if hard[n] and n % 10 else "I21.9"] for n in range(300)}
    better = run_of("better", **fixed)
    ahead = compare(cases, better, worse)
    assert (ahead.first, ahead.second) == ("better", "worse")
    assert ahead.estimates[0].value == pytest.approx(hard[::10].sum() / 300)
    assert ahead.estimates[0].low > 0
    same = compare(cases, worse, worse).estimates
    assert all(e.low == e.value == e.high == 0.0 for e in same)


def test_what_cannot_be_evaluated_is_refused():
    ranker = Fixed(mi=[])
    with pytest.raises(CasesError, match="at least one case"):
        evaluate([], [ranker])
    with pytest.raises(CasesError, match="at least one case, and one ranker"):
        evaluate(CASES, [])
    with pytest.raises(CasesError, match=r"one name \(a, a\)"):
        judge(CASES, [run_of("a", mi=[]), run_of("a", mi=[])])
    with pytest.raises(CasesError, match="'other' has none of the 3 cases"):
        judge(CASES, [run_of("other", else_=["I21"])])
    with pytest.raises(CasesError, match="'q1' has no query text, so fixed cannot be asked"):
        evaluate([Case("q1", "", CASES[0].codes)], [ranker])
