"""How tokenizers cut words, against counts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

REASON = "the training extra is not installed"
pytest.importorskip("torch", reason=REASON)
tokenizers = pytest.importorskip("tokenizers", reason=REASON)

from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.train.pieces import measure_fit, open_tokenizers  # noqa: E402

pytestmark = pytest.mark.train


def word_piece(*pieces: str) -> tokenizers.Tokenizer:
    vocabulary = {piece: number for number, piece in enumerate(["[UNK]", *pieces])}
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


def test_pieces_are_counted_as_often_as_words_are_written() -> None:
    whole = word_piece("lung", "pain", ",", "2")
    cut = word_piece("lu", "##ng", "pain", ",", "2")
    one, other = measure_fit({"whole": whole, "cut": cut}, ["lung pain, lung", "lung 2"])
    assert (one.name, one.size) == ("whole", 5)
    assert (one.per_word, one.per_distinct_word, one.per_token, one.whole) == (1, 1, 1, 1)
    assert other.per_word == pytest.approx((3 * 2 + 1) / 4)
    assert other.per_distinct_word == pytest.approx(1.5)
    assert other.per_token == pytest.approx((3 * 2 + 1 + 1 + 1) / 6)
    assert other.whole == pytest.approx(0.25)


def test_tokenizers_are_opened_by_file_or_folder(tmp_path: Path) -> None:
    word_piece("a").save(str(tmp_path / "tokenizer.json"))
    found = open_tokenizers([tmp_path, tmp_path / "tokenizer.json"])
    assert [one.get_vocab_size() for one in found.values()] == [2, 2]
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"tokenizer\.json: no tokenizer"):
        open_tokenizers([tmp_path])


def test_nothing_to_measure_on() -> None:
    with pytest.raises(TrainingError, match="no words"):
        measure_fit({"a": word_piece("a")}, ["12 34"])
