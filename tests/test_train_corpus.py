"""Documents, token shards and packed rows: nothing lost, nothing twice, nothing crossed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

REASON = "the training extra is not installed"
pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("tokenizers", reason=REASON)
zstandard = pytest.importorskip("zstandard", reason=REASON)

from tokenizers import Tokenizer  # noqa: E402

from cmsearch.codes import Code, System  # noqa: E402
from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.ontology.ontology import Ontology  # noqa: E402
from cmsearch.train import documents as module  # noqa: E402
from cmsearch.train.corpus import (  # noqa: E402
    TRAIN,
    VALID,
    Count,
    Shards,
    distinct,
    is_validation,
    normalised,
    write_shards,
)
from cmsearch.train.documents import (  # noqa: E402
    Document,
    code_documents,
    corpus_documents,
    term_documents,
)
from cmsearch.train.packing import Plan, Specials, shares  # noqa: E402
from cmsearch.train.terms import Pair, Terms  # noqa: E402
from cmsearch.train.tokenizer import train_tokenizer  # noqa: E402

pytestmark = pytest.mark.train

SPECIALS = Specials(begin=2, end=3, pad=0, mask=4)
WORDS = ("lung", "heart", "liver", "pain", "fever", "cough", "acute", "chronic", "left", "right")


def text(number: int, length: int) -> str:
    chance = np.random.default_rng(number)
    return " ".join([*chance.choice(WORDS, length).tolist(), str(number)])


DOCUMENTS = [
    *(Document("notes", f"n{number}", text(number, 60)) for number in range(150)),
    *(Document("terms", f"t{number}", text(1000 + number, 4)) for number in range(400)),
    Document("notes", "same words", text(3, 60).upper() + "."),
]


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer((d.text for d in DOCUMENTS), size=80).save(str(path))
    return path


@pytest.fixture(scope="module")
def shards(tokenizer_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("corpus") / "shards"
    write_shards(iter(DOCUMENTS), tokenizer_file, folder)
    return Shards.open(folder)


def write_lines(path: Path, rows: list[dict[str, str]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if path.suffix == ".zst" else data)


# Documents


def test_shards_of_both_kinds_are_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [{"source": "mtsamples", "id": "1", "text": "one"}])
    write_lines(tmp_path / "b.jsonl.zst", [{"source": "mine", "id": "1", "text": "two"}])
    assert list(corpus_documents(tmp_path)) == [
        Document("notes", "mtsamples:1", "one"),
        Document("mine", "mine:1", "two"),
    ]


@pytest.mark.parametrize("line", ["{", "[]", '{"source": "x", "id": "1"}', "3"])
def test_a_line_that_is_no_document(tmp_path: Path, line: str) -> None:
    good = '{"source": "x", "id": "1", "text": "secret words"}'
    (tmp_path / "a.jsonl").write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"a\.jsonl, line 2: no object with source, id") as e:
        list(corpus_documents(tmp_path))
    assert "secret" not in str(e.value)


def test_a_folder_without_shards(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="name a folder of shards"):
        next(corpus_documents(tmp_path))
    (tmp_path / "a.jsonl.zst").write_bytes(b"no archive")
    with pytest.raises(TrainingError, match="the archive is damaged"):
        next(corpus_documents(tmp_path))


def test_every_code_is_a_document_of_its_forms(tiny_ontology: Ontology) -> None:
    found = {document.id: document.text for document in code_documents(tiny_ontology)}
    expansions = [
        c for s in tiny_ontology.systems for c in tiny_ontology.concepts(s) if c.expansion
    ]
    assert len(expansions) == 3
    assert len(found) == len(tiny_ontology) - len(expansions)
    assert found["icd10cm:I20.0"].splitlines() == [
        "ICD 10 code for I20.0: Unstable angina",
        "Unstable angina; Angina pectoris; Ischemic heart diseases; "
        "Diseases of the circulatory system",
        "Crescendo angina",
        "Preinfarction syndrome",
    ]
    assert found["icd9cm:486"].startswith("ICD 9 code for 486: Pneumonia, organism unspecified")


def test_what_is_held_out_from_tuning_is_held_out_here(
    tiny_ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_held_out", lambda text: text.startswith("Crescendo"))
    found = {document.id: document.text for document in code_documents(tiny_ontology)}
    assert "Crescendo" not in found["icd10cm:I20.0"]
    assert "Preinfarction" in found["icd10cm:I20.0"]


def test_the_wordings_of_a_concept_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Pair("Heart attack", "Myocardial infarction", "icd10cm:I21.9", "index")
    two = Pair("MI", "myocardial infarction", "icd10cm:I21.9", "linked")
    other = Pair("DM", "diabetes mellitus", "abbreviation:dm", "abbreviations")
    pairs = {"index": [one], "linked": [two], "abbreviations": [other]}
    monkeypatch.setattr(module, "read_terms", lambda *_, **__: Terms(pairs, []))
    assert list(term_documents(tmp_path)) == [
        Document("terms", "icd10cm:I21.9", "Myocardial infarction\nHeart attack\nMI"),
        Document("terms", "abbreviation:dm", "diabetes mellitus\nDM"),
    ]


# Token shards


def test_the_same_words_are_kept_once() -> None:
    assert normalised("Chest pain, acute.") == normalised("chest  PAIN acute")
    assert normalised("chest pain") != normalised("chest pains")
    dropped: Counter[str] = Counter()
    kept = [document.id for document in distinct(DOCUMENTS, dropped)]
    assert "same words" not in kept
    assert dropped == {"notes": 1}


def test_one_in_a_hundred_validates_by_its_id_alone() -> None:
    chosen = [str(number) for number in range(20_000) if is_validation(str(number))]
    assert 150 < len(chosen) < 250
    assert chosen[:3] == ["2", "52", "227"]  # and stays so


def test_nothing_is_lost(shards: Shards, tokenizer_file: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    stored = Counter()
    for split in (TRAIN, VALID):
        for part, tokens in shards.tokens[split].items():
            starts = shards.starts[split][part]
            stored.update(
                (split, part, tuple(tokens[a:b].tolist()))
                for a, b in zip(starts, starts[1:], strict=False)
            )
    expected = Counter(
        (
            VALID if is_validation(document.id) else TRAIN,
            document.part,
            tuple(tokenizer.encode(document.text, add_special_tokens=False).ids),
        )
        for document in DOCUMENTS[:-1]
    )
    assert stored == expected
    described = json.loads((shards.folder / "shards.json").read_text(encoding="utf-8"))
    assert described["dropped"] == {"notes": 1}
    assert described[TRAIN]["terms"]["documents"] > 380
    assert len(shards.read_terms()) > 300


def test_building_again_replaces_all(tokenizer_file: Path, tmp_path: Path) -> None:
    write_shards(DOCUMENTS, tokenizer_file, tmp_path / "s")
    counts = write_shards([Document("other", "1", "lung pain")], tokenizer_file, tmp_path / "s")
    assert counts == {"other": Count(1, 2)}
    assert Shards.open(tmp_path / "s").parts == ["other"]
    with pytest.raises(TrainingError, match=r"terms\.json is missing.*build the shards with --ter"):
        Shards.open(tmp_path / "s").read_terms()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    with pytest.raises(TrainingError, match="no documents"):
        write_shards([], tokenizer_file, tmp_path / "s")
    assert Shards.open(tmp_path / "s").parts == ["other"]


def test_damaged_shards_are_refused(tokenizer_file: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="make them with: cmsearch train corpus"):
        Shards.open(tmp_path)
    write_shards(DOCUMENTS, tokenizer_file, tmp_path / "s")
    path = tmp_path / "s" / "notes.train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(TrainingError, match=r"notes\.train\.bin: not complete"):
        Shards.open(tmp_path / "s")


# Packed rows


def plan(shards: Shards, *, length: int = 32, rows: int | None = 100, **more: object) -> Plan:
    options: dict[str, object] = {"weights": {}, "seed": 1} | more
    return Plan(shards, TRAIN, SPECIALS, length=length, rows=rows, **options)  # type: ignore[arg-type]


def test_rows_are_full_and_stretches_whole(shards: Shards) -> None:
    batch = plan(shards).batch(0, 100)
    assert batch.ids.shape == (100, 32)
    assert (batch.ids == SPECIALS.pad).mean() < 0.1
    for ids, positions, segments in zip(*vars_of(batch), strict=True):
        for number in np.unique(segments):
            where = np.flatnonzero(segments == number)
            assert (np.diff(where) == 1).all()
            assert positions[where].tolist() == list(range(len(where)))
            if number < 0:
                assert (ids[where] == SPECIALS.pad).all()
                assert len(where) < 8
            else:
                assert ids[where[0]] == SPECIALS.begin
                assert ids[where[-1]] == SPECIALS.end
                assert not np.isin(ids[where[1:-1]], [0, 2, 3]).any()


def vars_of(batch: object) -> list[np.ndarray]:
    return [getattr(batch, name) for name in ("ids", "positions", "segments")]


def test_every_document_is_there_once(shards: Shards) -> None:
    whole = plan(shards, rows=None, length=64)
    batch = whole.batch(0, len(whole))
    body = batch.ids[~np.isin(batch.ids, [0, 2, 3])]
    everything = np.concatenate(list(shards.tokens[TRAIN].values()))
    lost = len(everything) - len(body)
    assert 0 <= lost < 64  # the last row may be short
    kinds = np.bincount(everything, minlength=80) - np.bincount(body, minlength=80)
    assert (kinds >= 0).all()


def test_no_document_twice_before_all_once(shards: Shards) -> None:
    size = len(shards.tokens[TRAIN]["terms"])
    rows = int(size * 1.25 * 1.5 // 32)  # one pass and a half; specials are a quarter more
    found = plan(shards, rows=rows, weights={"notes": 0.0})
    batch = found.batch(0, rows)
    counts = Counter(
        tuple(ids[segments == number].tolist())
        for ids, segments in zip(batch.ids, batch.segments, strict=True)
        for number in np.unique(segments)
        if number >= 0
    )
    whole = [n for row, n in counts.items() if len(row) == 10]  # not split by a row's end
    assert set(whole) <= {1, 2}
    assert len(whole) > 0.8 * len(shards.starts[TRAIN]["terms"])


def test_weights_are_shares_of_the_tokens(shards: Shards) -> None:
    sizes = {part: len(tokens) for part, tokens in shards.tokens[TRAIN].items()}
    wanted = shares(shards, {"terms": 3.0})
    assert wanted["terms"] == pytest.approx(
        3 * sizes["terms"] / (3 * sizes["terms"] + sizes["notes"])
    )
    found = plan(shards, rows=300, weights={"terms": 3.0})
    batch = found.batch(0, 300)
    # Notes are long: a stretch of a term has at most 10 tokens.
    short = sum(
        (segments == number).sum()
        for segments in batch.segments
        for number in np.unique(segments)
        if number >= 0 and (segments == number).sum() <= 10
    )
    assert short / batch.ids.size == pytest.approx(wanted["terms"], abs=0.1)


def test_a_plan_is_drawn_from_its_seed(shards: Shards) -> None:
    one, same = plan(shards).batch(10, 20), plan(shards).batch(10, 20)
    assert (one.ids == same.ids).all()
    assert (one.ids != plan(shards, seed=2).batch(10, 20).ids).any()
    assert (plan(shards).batch(0, 20).ids[10:] == one.ids).all()


def test_weights_that_name_nothing(shards: Shards) -> None:
    with pytest.raises(TrainingError, match="names articles; the parts are notes, terms"):
        shares(shards, {"articles": 1.0})
    with pytest.raises(TrainingError, match="weight of 0"):
        shares(shards, {"notes": 0.0, "terms": 0.0})


def test_codes_of_a_system_have_ids_of_their_own(tiny_ontology: Ontology) -> None:
    ids = [document.id for document in code_documents(tiny_ontology)]
    assert len(ids) == len(set(ids))
    assert f"icd9cm:{Code('486', System.ICD9CM).value}" in ids
