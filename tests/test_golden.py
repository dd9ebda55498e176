"""Phrases whose codes everybody knows, and everyday wording, with the shipped encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_index import real_index

from cmsearch.codes import Code, System

DATA = Path(__file__).parent / "data"
GOLDEN = [
    line.split("\t") for line in (DATA / "golden.tsv").read_text(encoding="utf-8").splitlines()
]
EVERYDAY_RECALL_AT_5 = 0.92


def is_right(found: Code, gold: str, system: System = System.ICD10CM) -> bool:
    """Whether a code is the gold code or lies below it."""
    return found.system is system and found.value.startswith(gold)


def test_there_are_enough_golden_phrases_and_their_codes_exist():
    assert len(GOLDEN) == len({phrase for phrase, _ in GOLDEN}) >= 100
    index = real_index()
    for phrase, code in GOLDEN:
        assert index.files.lexicon.named(Code.of(System.ICD10CM, code)), phrase
    assert len({code[0] for _, code in GOLDEN}) >= 18  # over nearly all chapters


@pytest.mark.parametrize(("phrase", "code"), GOLDEN, ids=[phrase for phrase, _ in GOLDEN])
def test_a_golden_phrase_finds_its_code(phrase, code):
    hits = real_index().search([phrase], k=5)[0]
    assert any(is_right(hit.code, code) for hit in hits), [hit.code.value for hit in hits]


def test_everyday_wording():
    text = (DATA / "everyday.jsonl").read_text(encoding="utf-8")
    cases = [json.loads(line) for line in text.splitlines()]
    assert len(cases) >= 300
    found = real_index().search([case["query"] for case in cases], k=5)
    right = [
        any(
            is_right(hit.code, gold, System(case["system"]))
            for hit in hits
            for gold in case["codes"]
        )
        for case, hits in zip(cases, found, strict=True)
    ]
    missed = [case["query"] for case, good in zip(cases, right, strict=True) if not good]
    assert sum(right) / len(cases) >= EVERYDAY_RECALL_AT_5, missed
