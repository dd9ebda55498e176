"""Which tokens are hidden: how many, which units, by what."""

from __future__ import annotations

import numpy as np
import pytest

REASON = "the training extra is not installed"
pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("tokenizers", reason=REASON)

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.train.masking import Masked, Masker, TermFinder, continuing  # noqa: E402
from cmsearch.train.packing import Batch, Specials  # noqa: E402

pytestmark = pytest.mark.train

SPECIALS = Specials(begin=2, end=3, pad=0, mask=4)
PIECES = 100  # 5 to 59 begin a word, 60 to 99 continue one
CONTINUES = np.arange(PIECES) >= 60


def batch(ids: np.ndarray) -> Batch:
    return Batch(ids, np.zeros_like(ids), np.zeros_like(ids))


def rows(count: int = 40, length: int = 50, *, seed: int = 0) -> Batch:
    """Rows of words of one to three pieces between [CLS] and [SEP], some padding behind."""
    chance = np.random.default_rng(seed)
    ids = chance.integers(5, PIECES, (count, length))
    ids[:, 1] = 5
    ids[:, 0], ids[:, -4], ids[:, -3:] = SPECIALS.begin, SPECIALS.end, SPECIALS.pad
    return batch(ids)


def hide(found: Batch, *, rate: float = 0.3, seed: int = 1, **options: object) -> Masked:
    masker = Masker(CONTINUES, SPECIALS, **options)  # type: ignore[arg-type]
    return masker(found, rate=rate, chance=np.random.default_rng(seed))


@given(rate=st.floats(0.01, 0.6), seed=st.integers(0, 50), unit=st.sampled_from(["piece", "word"]))
def test_always_the_same_share_is_hidden(rate: float, seed: int, unit: str) -> None:
    found = rows(8, 40, seed=seed)
    masked = hide(found, rate=rate, seed=seed, unit=unit)
    assert masked.chosen.sum() == round(rate * found.ids.size)
    assert (masked.labels == found.ids).all()
    assert (masked.ids[~masked.chosen] == found.ids[~masked.chosen]).all()


def test_special_tokens_are_never_hidden() -> None:
    found = rows()
    masked = hide(found, rate=0.99)
    special = np.isin(found.ids, [0, 2, 3, 4])
    assert special.any()
    assert not masked.chosen[special].any()
    assert masked.chosen[~special].all()  # fewer are there than were asked for


def test_eight_in_ten_are_masked_and_one_in_ten_replaced() -> None:
    masked = hide(rows(400, 60))
    chosen = masked.chosen
    as_mask = (masked.ids == SPECIALS.mask)[chosen].mean()
    same = (masked.ids == masked.labels)[chosen].mean()
    assert as_mask == pytest.approx(0.8, abs=0.02)
    assert same == pytest.approx(0.1, abs=0.02)
    replaced = masked.ids[chosen & (masked.ids != SPECIALS.mask)]
    assert set(replaced.tolist()).isdisjoint({0, 2, 3, 4})


def test_the_same_chance_hides_the_same() -> None:
    one, same, other = hide(rows()), hide(rows()), hide(rows(), seed=2)
    assert (one.ids == same.ids).all()
    assert (one.chosen != other.chosen).any()


def words_of(ids: np.ndarray) -> np.ndarray:
    """Number the words of a row; special tokens stand alone."""
    special = np.isin(ids, [0, 2, 3, 4])
    return np.cumsum(~CONTINUES[ids] | special)


def split_words(found: Batch, masked: Masked) -> int:
    """Count words of which a part is hidden and a part is not."""
    split = 0
    for ids, chosen in zip(found.ids, masked.chosen, strict=True):
        numbers = words_of(ids)
        for number in np.unique(numbers):
            share = chosen[numbers == number].mean()
            split += 0 < share < 1
    return split


def test_whole_words_are_hidden_or_not_at_all() -> None:
    found = rows()
    assert split_words(found, hide(found)) > 50
    # The share is exact, so that the last word drawn may be cut.
    assert split_words(found, hide(found, unit="word")) <= 1


def test_terms_are_hidden_as_a_whole_and_more_often() -> None:
    term = [10, 70, 11, 12]  # three words, the first of two pieces
    ids = np.random.default_rng(3).integers(20, 60, (200, 40))
    ids[:, 20:24] = term
    finder = TermFinder([term, [13]])
    masked = hide(batch(ids), rate=0.2, unit="term", terms=finder)
    inside = masked.chosen[:, 20:24]
    assert (inside.all(axis=1) != inside.any(axis=1)).sum() <= 1
    elsewhere = np.delete(masked.chosen, range(20, 24), axis=1).mean()
    assert inside.mean() > 1.6 * elsewhere


def test_terms_are_found_longest_first_and_by_whole_words() -> None:
    finder = TermFinder([[10, 11], [10, 11, 12], [11, 70], [5]])
    assert len(finder) == 3  # one piece is hidden as it is
    find = lambda ids: finder.find(np.array(ids), ~CONTINUES[np.array(ids)])  # noqa: E731
    assert find([9, 10, 11, 12, 10, 11]) == [(1, 4), (4, 6)]
    assert find([10, 11, 70]) == [(1, 3)]  # "10 11" would end within a word
    assert find([70, 10, 11]) == [(1, 3)]
    assert find([9, 9]) == []


def test_terms_need_terminologies() -> None:
    with pytest.raises(TrainingError, match="needs token shards with terminologies"):
        hide(rows(), unit="term")


def test_which_pieces_continue_a_word() -> None:
    assert continuing({"a": 0, "##b": 2, "c": 1}).tolist() == [False, False, True]
