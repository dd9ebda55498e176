"""The contrastive loss against plain loops, on an encoder that a person can compute."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)

from cmsearch.train.loss import (  # noqa: E402
    ConceptContrast,
    TeacherMatch,
    concept_keys,
    embed,
    related,
)

pytestmark = pytest.mark.train

WIDTH = 6
CODES = ["I21", "I21.4", "I21.9", "I2", "I25.10", "E11", "E11.9", "E11.65", "S52.221A", "S52.22"]
CONCEPTS = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["icd10cm", "icd9cm"]), st.sampled_from(CODES)),
    st.sampled_from(["DOID:9351", "DOID:935", "MONDO:7", "abbreviation:heart failure", "D001"]),
)


class MeanOfTokens(torch.nn.Module):  # type: ignore[misc,name-defined]
    """The mean of token vectors, as a sentence-transformers model returns it."""

    def __init__(self, tokens: int = 50) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = torch.nn.Embedding(tokens, WIDTH)
        self.widths: list[int] = []

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        mask = features["attention_mask"][:, :, None].float()
        self.widths.append(mask.shape[1])
        summed = (self.table(features["input_ids"]) * mask).sum(dim=1)
        return {"sentence_embedding": summed / mask.sum(dim=1)}


def column(rows: list[list[int]]) -> dict[str, Any]:
    """Return a padded column of a batch; 0 is the padding."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def batch(count: int, *, seed: int = 2) -> list[dict[str, Any]]:
    made = torch.Generator().manual_seed(seed)

    def rows() -> list[list[int]]:
        lengths = torch.randint(1, 9, (count,), generator=made).tolist()
        return [torch.randint(1, 50, (n,), generator=made).tolist() for n in lengths]

    return [column(rows()), column(rows())]


def is_related(one: str, other: str) -> bool:
    """Whether two concepts are one, or ancestor and descendant: the plain rule."""
    system, _, code = one.partition(":")
    system_too, _, code_too = other.partition(":")
    if system != system_too or not system.startswith("icd"):
        return one == other
    code, code_too = code.replace(".", ""), code_too.replace(".", "")
    return code.startswith(code_too) or code_too.startswith(code)


def naive(
    model: MeanOfTokens, features: list[dict[str, Any]], concepts: list[str],
    *, scale: float, dims: tuple[int, ...],
) -> float:  # fmt: skip
    """Symmetric InfoNCE in plain Python."""
    left, right = ([list(row) for row in model(c)["sentence_embedding"].tolist()] for c in features)
    total = 0.0
    for dim in dims:
        for ones, others in ((left, right), (right, left)):
            for i, one in enumerate(ones):
                scores = []
                for j, other in enumerate(others):
                    if i != j and is_related(concepts[i], concepts[j]):
                        continue
                    dot = sum(a * b for a, b in zip(one[:dim], other[:dim], strict=True))
                    length = math.hypot(*one[:dim]) * math.hypot(*other[:dim])
                    scores.append((scale * dot / length, i == j))
                gold = next(score for score, right_one in scores if right_one)
                whole = math.log(sum(math.exp(score) for score, _ in scores))
                total += (whole - gold) / (2 * len(ones) * len(dims))
    return total


# Which concepts are related


@settings(deadline=None)
@given(st.lists(CONCEPTS, min_size=1, max_size=12))
def test_related_equals_the_plain_rule(concepts: list[str]) -> None:
    keys = concept_keys(concepts)
    assert keys.shape == (len(concepts), 9)
    expected = [[is_related(one, other) for other in concepts] for one in concepts]
    assert related(keys, keys).tolist() == expected


@settings(deadline=None)
@given(
    st.lists(
        st.from_regex(r"(icd10cm|icd9cm):[A-C][01]{2}(\.[01]{1,4})?", fullmatch=True),
        min_size=2, max_size=8,
    )
)  # fmt: skip
def test_ancestors_are_told_by_their_codes(concepts: list[str]) -> None:
    keys = concept_keys(concepts)
    expected = [[is_related(one, other) for other in concepts] for one in concepts]
    assert related(keys, keys).tolist() == expected


def test_related_cases_by_hand() -> None:
    keys = concept_keys(["icd10cm:I21", "icd10cm:I21.9", "icd10cm:I21.4", "icd9cm:I21", "D:1"])
    found = related(keys[:2], keys)
    assert found.tolist() == [[True, True, True, False, False], [True, True, False, False, False]]


# The loss


@settings(max_examples=40, deadline=None)
@given(
    st.lists(CONCEPTS, min_size=2, max_size=10),
    st.sampled_from([(6,), (6, 4, 2)]),
    st.sampled_from([1.0, 20.0]),
    st.integers(0, 5),
)
def test_the_loss_equals_a_plain_one(
    concepts: list[str], dims: tuple[int, ...], scale: float, micro: int
) -> None:
    model = MeanOfTokens()
    features = batch(len(concepts))
    loss = ConceptContrast(model, concepts, scale=scale, dims=dims, micro=micro)
    found = loss(features, torch.arange(len(concepts))).item()
    expected = naive(model, features, concepts, scale=scale, dims=dims)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_labels_are_rows_of_the_training_set() -> None:
    concepts = ["x:1", "icd10cm:I21", "x:2", "icd10cm:I21.9", "x:3"]
    model, features = MeanOfTokens(), batch(3)
    loss = ConceptContrast(model, concepts, scale=1.0, dims=(6,))
    found = []
    for rows in ([3, 1, 0], [4, 2, 0]):
        found.append(loss(features, torch.tensor(rows)).item())
        mine = [concepts[row] for row in rows]
        expected = naive(model, features, mine, scale=1.0, dims=(6,))
        assert found[-1] == pytest.approx(expected, rel=1e-4)
    assert abs(found[0] - found[1]) > 0.05


def test_texts_of_one_concept_do_not_push_each_other() -> None:
    model = MeanOfTokens()
    family = ConceptContrast(model, ["icd10cm:I21", "icd10cm:I21.9", "icd10cm:I21"], dims=(6,))
    loss = family(batch(3), torch.arange(3))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert model.table.weight.grad is not None
    assert model.table.weight.grad.abs().max().item() < 1e-6
    strangers = ConceptContrast(model, ["x:1", "x:2", "x:3"], dims=(6,))
    assert strangers(batch(3), torch.arange(3)).item() > 0.1


def test_a_masked_text_changes_nothing_for_its_relatives() -> None:
    # Row 1 is related to row 0 and only row 2 is a negative of row 0: what stands in
    # row 1 may change the terms of rows 1 and 2, never that of row 0.
    model = MeanOfTokens()
    concepts = ["icd10cm:I21", "icd10cm:I21.9", "x:1"]
    grown = []
    for text in ([7, 8], [30, 31, 32]):
        model.zero_grad()
        left, right = column([[1], [2], [3]]), column([[4], text, [6]])
        ConceptContrast(model, concepts, dims=(6,))([left, right], torch.arange(3)).backward()
        assert model.table.weight.grad is not None
        grown.append(model.table.weight.grad[1].clone())  # token 1 stands in row 0 alone
    assert torch.allclose(grown[0], grown[1], atol=1e-7)
    assert grown[0].abs().max().item() > 1e-4


def test_a_good_encoder_has_less_loss() -> None:
    model = MeanOfTokens()
    rows = [[1, 2], [3, 4], [5, 6], [7, 8]]
    loss = ConceptContrast(model, ["x:1", "x:2", "x:3", "x:4"], dims=(6,))
    same = loss([column(rows), column(rows)], torch.arange(4))
    moved = loss([column(rows), column(rows[1:] + rows[:1])], torch.arange(4))
    assert same.item() < 1.0 < moved.item()


def test_gradients_flow_to_both_sides_and_training_helps() -> None:
    model, features = MeanOfTokens(), batch(8)
    loss = ConceptContrast(model, [f"x:{i}" for i in range(8)], dims=(6, 3))
    labels = torch.arange(8)
    first = loss(features, labels)
    first.backward()
    assert model.table.weight.grad is not None
    used = torch.unique(torch.cat([c["input_ids"].flatten() for c in features]))
    used = used[used != 0]
    assert (model.table.weight.grad[used].abs().sum(dim=1) > 0).all()
    assert model.table.weight.grad[0].abs().sum().item() == 0
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(30):
        optimiser.zero_grad()
        loss(features, labels).backward()
        optimiser.step()
    assert loss(features, labels).item() < first.item() * 0.7


# Vectors in groups


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(0, 30))
def test_groups_change_no_vector(count: int, micro: int) -> None:
    model, features = MeanOfTokens(), batch(count, seed=count)
    whole = [model(one)["sentence_embedding"] for one in features]
    cut = embed(model, features, micro=micro)
    assert [len(one) for one in cut] == [count, count]
    for one, other in zip(cut, whole, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_groups_change_no_gradient_and_save_padding() -> None:
    features, concepts = batch(12), [f"x:{row}" for row in range(12)]
    gradients, widths = {}, {}
    for micro in (24, 0, 5):
        model = MeanOfTokens()
        ConceptContrast(model, concepts, dims=(6, 4), micro=micro)(
            features, torch.arange(12)
        ).backward()
        gradients[micro], widths[micro] = model.table.weight.grad, model.widths
    assert torch.allclose(gradients[24], gradients[0], atol=1e-6)
    assert torch.allclose(gradients[24], gradients[5], atol=1e-6)
    assert gradients[24].abs().max() > 1e-3
    assert widths[24] == [8, 8]  # there, and once more on the way back
    assert len(widths[0]) == 4
    assert widths[0] == sorted(widths[0])
    assert widths[0][0] < 8
    assert len(widths[5]) == 2 * 5


# The teacher


def test_matching_the_teacher_is_one_minus_the_mean_cosine() -> None:
    class Unit(MeanOfTokens):
        def forward(self, features: dict[str, Any]) -> dict[str, Any]:
            vectors = super().forward(features)["sentence_embedding"]
            return {"sentence_embedding": torch.nn.functional.normalize(vectors, dim=-1)}

    model = Unit()
    features = batch(5)[:1]
    ours = model(features[0])["sentence_embedding"].detach()
    match = TeacherMatch(model, weight=3.0)
    assert match(features, ours).item() == pytest.approx(0.0, abs=1e-6)
    assert match(features, -ours).item() == pytest.approx(6.0, abs=1e-5)
    rolled = ours.roll(1, dims=0)
    expected = 3.0 * (1 - (ours * rolled).sum(dim=1).mean().item())
    loss = match(features, rolled)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert model.table.weight.grad is not None
    assert model.table.weight.grad.abs().max().item() > 0
