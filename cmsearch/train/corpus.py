"""Token shards: the documents of pretraining as numbers on disk, ready to be packed.

A folder of shards holds, for each part of the mix and for training and validation,
``PART.train.bin`` (uint16 token ids, one document after the other, without special
tokens) and ``PART.train.npy`` (int64, where each document begins, and the end), together
with ``tokenizer.json``, ``shards.json`` and, for masking by term, ``terms.json``.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from cmsearch.errors import TrainingError
from cmsearch.train.documents import TERMS, Document

Tokens = NDArray[np.uint16]
Places = NDArray[np.int64]
TRAIN, VALID = "train", "valid"
_AT_ONCE = 512
_LARGEST = 2**16
_LONGEST_TERM = 12  # tokens


@dataclass(frozen=True, slots=True)
class Count:
    """How much of a part there is, after what was dropped."""

    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Shards:
    """An open folder of token shards; the arrays are mapped, not read.

    Attributes:
        folder: where they lie.
        tokens: by split and part the token ids, uint16.
        starts: by split and part where each document begins, and the end, int64.
    """

    folder: Path
    tokens: dict[str, dict[str, Tokens]]
    starts: dict[str, dict[str, Places]]

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer that made the shards."""
        return self.folder / "tokenizer.json"

    @property
    def parts(self) -> list[str]:
        """The parts of the mix, sorted."""
        return sorted(self.tokens[TRAIN])

    def read_terms(self) -> list[list[int]]:
        """Return the token ids of the terminologies' wordings.

        Raises:
            TrainingError: the shards were made without terminologies.
        """
        path = self.folder / "terms.json"
        if not path.is_file():
            raise TrainingError(
                f"{path} is missing, and hiding whole terms needs it; build the shards with --terms"
            )
        found: list[list[int]] = json.loads(path.read_text(encoding="utf-8"))
        return found

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Return the shards of a folder.

        Raises:
            TrainingError: the folder holds none, or they are not complete.
        """
        try:
            described = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
            tokens: dict[str, dict[str, Tokens]] = {TRAIN: {}, VALID: {}}
            starts: dict[str, dict[str, Places]] = {TRAIN: {}, VALID: {}}
            for split in (TRAIN, VALID):
                for part, count in described[split].items():
                    starts[split][part] = np.load(folder / f"{part}.{split}.npy")
                    path = folder / f"{part}.{split}.bin"
                    found = np.memmap(path, np.uint16, "r") if count["tokens"] else _NONE
                    if len(found) != count["tokens"] or starts[split][part][-1] != len(found):
                        raise TrainingError(f"{path}: not complete; build the shards again")
                    tokens[split][part] = found
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{folder}: no token shards ({error}); make them with: cmsearch train corpus"
            ) from error
        return cls(folder, tokens, starts)


_NONE: Tokens = np.zeros(0, np.uint16)


def normalised(text: str) -> bytes:
    """Return the digest of a text's letters and digits, the same for the same words."""
    words = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    return blake2b(words.encode(), digest_size=16).digest()


def is_validation(identifier: str) -> bool:
    """Whether a document belongs to the one in a hundred that validates; by its id alone."""
    digest = blake2b(identifier.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 100 == 0


def distinct(found: Iterable[Document], dropped: Counter[str]) -> Iterator[Document]:
    """Yield each text once, whatever its case and punctuation; count those dropped."""
    seen: set[bytes] = set()
    for document in found:
        digest = normalised(document.text)
        if digest in seen:
            dropped[document.part] += 1
            continue
        seen.add(digest)
        yield document


def write_shards(found: Iterable[Document], tokenizer_file: Path, out: Path) -> dict[str, Count]:
    """Tokenise documents into a folder of shards; return what is in it by part.

    A folder that is there is replaced as a whole when all is written.

    Raises:
        TrainingError: the tokenizer has more than 65,536 pieces, or there are no documents.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    if tokenizer.get_vocab_size() > _LARGEST:
        raise TrainingError(f"{tokenizer_file}: more than {_LARGEST} pieces do not fit uint16")
    part_folder = out.with_name(f".{out.name}.part")
    shutil.rmtree(part_folder, ignore_errors=True)
    part_folder.mkdir(parents=True)
    dropped: Counter[str] = Counter()
    files: dict[tuple[str, str], BinaryIO] = {}
    starts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0])
    wordings: set[str] = set()
    try:
        kept = distinct(found, dropped)
        while some := list(islice(kept, _AT_ONCE)):
            rows = tokenizer.encode_batch([d.text for d in some], add_special_tokens=False)
            wordings.update(t for d in some if d.part == TERMS for t in d.text.splitlines())
            for document, row in zip(some, rows, strict=True):
                key = (document.part, VALID if is_validation(document.id) else TRAIN)
                if key not in files:
                    files[key] = (part_folder / f"{key[0]}.{key[1]}.bin").open("wb")
                if row.ids:
                    files[key].write(np.array(row.ids, np.uint16).tobytes())
                    starts[key].append(starts[key][-1] + len(row.ids))
    finally:
        for file in files.values():
            file.close()
    if not files:
        raise TrainingError("no documents to make token shards of")
    described = _describe(part_folder, files, starts, dropped, tokenizer_file)
    if wordings:
        rows = tokenizer.encode_batch(sorted(wordings), add_special_tokens=False)
        text = json.dumps([row.ids for row in rows if 1 < len(row.ids) <= _LONGEST_TERM])
        (part_folder / "terms.json").write_text(text, encoding="utf-8")
    shutil.copy(tokenizer_file, part_folder / "tokenizer.json")
    shutil.rmtree(out, ignore_errors=True)
    part_folder.rename(out)
    return described


def _describe(
    folder: Path,
    keys: Iterable[tuple[str, str]],
    starts: dict[tuple[str, str], list[int]],
    dropped: Counter[str],
    tokenizer_file: Path,
) -> dict[str, Count]:
    counts: dict[str, dict[str, Count]] = {TRAIN: {}, VALID: {}}
    for part, split in sorted(keys):
        places = np.array(starts[part, split], np.int64)
        np.save(folder / f"{part}.{split}.npy", places)
        counts[split][part] = Count(len(places) - 1, int(places[-1]))
    described = {
        split: {part: asdict(count) for part, count in found.items()}
        for split, found in counts.items()
    }
    digest = sha256(tokenizer_file.read_bytes()).hexdigest()
    text = json.dumps({"tokenizer": digest, "dropped": dict(dropped), **described}, indent=1)
    (folder / "shards.json").write_text(text, encoding="utf-8")
    return counts[TRAIN]
