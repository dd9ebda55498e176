"""The contrastive loss: symmetric InfoNCE over a batch, without false negatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, pad
from torch.utils.checkpoint import checkpoint

_GROUPS = 4
_CODE_LENGTH = 8


class ConceptContrast(nn.Module):
    """Symmetric InfoNCE in which texts of one concept never push each other away.

    Source: van den Oord et al., arXiv 1807.03748; Matryoshka: arXiv 2205.13147.

    Args:
        model: the encoder.
        concepts: for each training row its concept key (``icd10cm:E11.9``, ``DOID:9351``).
        scale: inverse temperature.
        dims: widths at which the loss is taken (Matryoshka); the first is the full one.
        micro: texts that go through the model at once; 0 for all of them, in four groups of
            similar length, which saves padding.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        concepts: Sequence[str],
        *,
        scale: float = 20.0,
        dims: Sequence[int] = (384, 256, 128),
        micro: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.dims = tuple(dims)
        self.micro = micro
        self.keys = concept_keys(concepts)

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch; ``labels`` are row numbers of the training set."""
        left, right = embed(self.model, list(features), micro=self.micro)
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

    def __init__(self, model: SentenceTransformer, *, weight: float, micro: int = 0) -> None:
        super().__init__()
        self.model = model
        self.weight = weight
        self.micro = micro

    def forward(self, features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Return the loss of a batch; ``labels`` are the teacher's vectors, (n, dim)."""
        (ours,) = embed(self.model, list(features), micro=self.micro)
        return self.weight * (1 - (ours * labels.to(ours.dtype)).sum(dim=-1)).mean()


def embed(
    model: SentenceTransformer, features: list[dict[str, Tensor]], *, micro: int = 0
) -> list[Tensor]:
    """Return the sentence vectors of each column of a batch, (n, dim).

    All columns are sorted by length together and cut into groups that are padded only
    to their own longest text, which halves the work on short clinical phrases. With
    ``micro``, groups are of so many texts, and only their vectors are kept: what leads
    to them is computed again on the way back (Gao et al., arXiv 2101.06983, by torch's
    own checkpointing), so that memory does not grow with the batch.
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
    for rows in torch.split(order, micro) if micro else order.chunk(_GROUPS):
        width = int(lengths[rows].max())
        piece = {name: tensor[rows, :width] for name, tensor in joined.items()}
        if micro:
            pieces.append(checkpoint(_vectors, model, piece, use_reentrant=False))
        else:
            pieces.append(_vectors(model, piece))
    vectors = torch.cat(pieces)[order.argsort()]
    return list(torch.split(vectors, [len(column["input_ids"]) for column in features]))


def _vectors(model: SentenceTransformer, piece: dict[str, Tensor]) -> Tensor:
    found: Tensor = model(dict(piece))["sentence_embedding"]
    return found


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
