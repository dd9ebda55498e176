"""The contrastive loss: symmetric InfoNCE over a batch, without false negatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, pad


class ConceptContrast(nn.Module):
    """Symmetric InfoNCE in which texts of one concept never push each other away.

    Source: van den Oord et al., arXiv 1807.03748; Matryoshka: arXiv 2205.13147.

    Args:
        model: the encoder.
        concepts: for each training row its concept key (``icd10cm:E11.9``, ``DOID:9351``).
        scale: inverse temperature.
        dims: widths at which the loss is taken (Matryoshka); the first is the full one.
        chunks: into how many groups of similar length a batch is cut, to save padding.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        concepts: Sequence[str],
        *,
        scale: float = 20.0,
        dims: Sequence[int] = (384, 256, 128),
        chunks: int = 4,
    ) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.dims = tuple(dims)
        self.chunks = chunks
        self.keys = concept_keys(concepts)

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch; ``labels`` are row numbers of the training set."""
        left, right = embed(self.model, list(features), chunks=self.chunks)
        keys = self.keys[labels.cpu()].to(left.device)
        masked = related(keys, keys)
        masked.fill_diagonal_(False)
        gold = torch.arange(len(left), device=left.device)
        total = left.new_zeros(())
        for dim in self.dims:
            one = normalize(left[:, :dim].float(), dim=-1)
            other = normalize(right[:, :dim].float(), dim=-1)
            logits = (one @ other.T * self.scale).masked_fill(masked, -torch.inf)
            total = total + (cross_entropy(logits, gold) + cross_entropy(logits.T, gold)) / 2
        return total / len(self.dims)


class TeacherMatch(nn.Module):
    """Mean squared distance between our vectors and a teacher's, both of length 1."""

    def __init__(self, model: SentenceTransformer, *, weight: float, chunks: int = 4) -> None:
        super().__init__()
        self.model = model
        self.weight = weight
        self.chunks = chunks

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch; ``labels`` are the teacher's vectors, (n, dim)."""
        (ours,) = embed(self.model, list(features), chunks=self.chunks)
        return self.weight * (1 - (ours * labels.to(ours.dtype)).sum(dim=-1)).mean()


def embed(
    model: SentenceTransformer, features: list[dict[str, Tensor]], *, chunks: int
) -> list[Tensor]:
    """Return the sentence vectors of each column of a batch, (n, dim).

    All columns are sorted by length together and cut into chunks that are padded only
    to their own longest text, which halves the work on short clinical phrases.
    """
    longest = max(column["input_ids"].shape[1] for column in features)
    joined = {
        name: torch.cat(
            [pad(column[name], (0, longest - column[name].shape[1])) for column in features]
        )
        for name in ("input_ids", "attention_mask")
    }
    lengths = joined["attention_mask"].sum(dim=1)
    order = lengths.argsort(stable=True)
    pieces = []
    for rows in order.chunk(chunks):
        width = int(lengths[rows].max())
        piece = {name: tensor[rows, :width] for name, tensor in joined.items()}
        pieces.append(model(piece)["sentence_embedding"])
    vectors = torch.cat(pieces)[order.argsort()]
    return list(torch.split(vectors, [len(column["input_ids"]) for column in features]))


_CODE_LENGTH = 8


def concept_keys(concepts: Sequence[str]) -> Tensor:
    """Return concept keys as an integer matrix, (n, 9).

    Column 0 says which family the key belongs to; a code of the ICD is spelled out in
    the others, so that an ancestor can be told by its prefix.
    """
    families: dict[str, int] = {}
    rows = []
    for concept in concepts:
        system, _, code = concept.partition(":")
        if system in ("icd10cm", "icd9cm"):
            spelled = [ord(letter) for letter in code.replace(".", "")[:_CODE_LENGTH]]
            family = families.setdefault(system, len(families))
        else:
            spelled = []
            family = families.setdefault(concept, len(families))
        rows.append([family, *spelled, *[0] * (_CODE_LENGTH - len(spelled))])
    return torch.tensor(rows, dtype=torch.int32)


def related(one: Tensor, other: Tensor) -> Tensor:
    """Return which keys are equal or ancestor and descendant, (len(one), len(other)) bool."""
    family = one[:, None, 0] == other[None, :, 0]
    a, b = one[:, None, 1:], other[None, :, 1:]
    agree = ((a == b) | (a == 0) | (b == 0)).all(dim=-1)
    return family & agree
