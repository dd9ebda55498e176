"""The tokenizer: WordPiece, lower case, without accents, trained on clinical text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import WordPieceTrainer

from cmsearch.errors import TrainingError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(texts: Iterable[str], *, size: int) -> Tokenizer:
    """Return a WordPiece tokenizer with at most ``size`` pieces, learned from the texts.

    It adds no [CLS] and no [SEP]: pretraining puts them between documents itself, and
    vectors, which are means over tokens, do without (a form has six tokens of its own).
    The library breaks ties between pairs of pieces in the random order of a hash table, so
    that two trainings may differ in rare pieces: keep the file, not only the recipe.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.WordPiece()
    trainer = WordPieceTrainer(
        vocab_size=size, min_frequency=3, special_tokens=list(SPECIAL), limit_alphabet=200,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def read_corpus(folder: Path) -> Iterator[str]:
    """Yield the documents of a corpus folder (``part-*.jsonl.zst``), shard by shard."""
    shards = sorted(folder.glob("part-*.jsonl.zst"))
    if not shards:
        raise TrainingError(f"{folder}: no part-*.jsonl.zst here")
    for shard in shards:
        with shard.open("rb") as packed:
            reader = zstandard.ZstdDecompressor().stream_reader(packed)
            for line in io.TextIOWrapper(reader, encoding="utf-8"):
                yield json.loads(line)["text"]
