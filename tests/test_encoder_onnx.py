"""The shipped encoder: unit rows, whatever the text and the company, and errors in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import one_line

from cmsearch.encoder import open_encoder
from cmsearch.encoder.onnx import (
    CONFIG_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    OnnxEncoder,
    ShippedConfig,
    sha256_of,
)
from cmsearch.errors import EncoderError

# Dynamic int8 scales activations over a whole batch, so company shows a little: up to
# 1.1e-3 in a dimension was seen. A row of another text differs by more than 0.1.
COMPANY = 5e-3

TEXTS = [
    "heart attack",
    "Type 2 diabetes mellitus without complications",
    "a",
    "",
    "fracture of the lower end of the right radius, initial encounter for closed fracture",
    "心臓発作",
    "😀",
    "\x00\x07 control",
    "pneumonia " * 60,
]


@pytest.fixture(scope="session")
def encoder():
    return OnnxEncoder.load()


@pytest.fixture
def folder(encoder, tmp_path):
    """A copy of the shipped encoder that a test may spoil."""
    shutil.copytree(encoder.folder, tmp_path / "encoder")
    return tmp_path / "encoder"


def change(folder, **values):
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values))


def is_unit(vectors):
    return np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


# ---------------------------------------------------------------- vectors


def test_rows_are_unit_vectors(encoder):
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.identity.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert is_unit(vectors)


def test_no_texts(encoder):
    assert encoder.encode([]).shape == (0, encoder.identity.dim)


def test_the_company_of_a_text_does_not_matter(encoder):
    together = encoder.encode(TEXTS)
    assert np.abs(together - encoder.encode(TEXTS[::-1])[::-1]).max() < COMPANY
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.abs(encoder.encode([text])[0] - vector).max() < COMPANY


def test_rows_stand_in_the_order_of_the_texts(encoder):
    texts = [f"{'long ' * (n % 7)}text number {n}" for n in range(600)]
    vectors = encoder.encode(texts)
    for row in (0, 1, 299, 598, 599):
        assert np.abs(encoder.encode([texts[row]])[0] - vectors[row]).max() < COMPANY


def test_the_same_text_has_the_same_vector(encoder):
    assert np.array_equal(encoder.encode(TEXTS), encoder.encode(TEXTS))
    assert np.abs(np.diff(encoder.encode(["asthma"] * 5), axis=0)).max() < 1e-6


def test_meaning_is_nearer_than_none(encoder):
    asked, near, far = encoder.encode(["asthma attack", "acute asthma", "fracture of toe"])
    assert asked @ near > asked @ far + 0.1


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b"])
def test_an_empty_text_has_a_vector(encoder, text):
    assert is_unit(encoder.encode([text]))
    assert is_unit(encoder.encode([text, "heart attack"]))


def test_a_text_of_100_000_characters_is_cut(encoder):
    vectors = encoder.encode(["heart attack " * 7700, "x" * 100_000, "heart attack"])
    assert is_unit(vectors)


def test_a_text_is_cut_at_the_most_tokens(folder):
    change(folder, max_tokens=16)
    short = OnnxEncoder.load(folder)
    words = "pain " * 14
    one, other = short.encode([words * 20 + "fracture", words * 20 + "asthma"])
    assert np.abs(one - other).max() < 1e-6
    first, second = short.encode(["fracture " + words * 20, "asthma " + words * 20])
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("text", ["\ud800", "heart \udfff attack", "\ud83d", "é\udc80"])
def test_lone_surrogates_are_no_trouble(encoder, text):
    assert is_unit(encoder.encode([text]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_texts(encoder, texts):
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), encoder.identity.dim)
    assert is_unit(vectors)


def test_progress_adds_up(encoder):
    told = []
    texts = [f"text {n}" for n in range(700)]
    encoder.encode(texts, progress=told.append)
    assert sum(told) == 700
    assert len(told) >= 2
    assert min(told) >= 1


def test_a_prefix_stands_before_every_text(folder, encoder):
    change(folder, prefix="query: ")
    prefixed = OnnxEncoder.load(folder)
    assert prefixed.identity.prefix == "query: "
    expected = encoder.encode(["query: heart attack", "query: "])
    assert np.abs(prefixed.encode(["heart attack", ""]) - expected).max() < COMPANY
    assert np.abs(encoder.encode(["heart attack"]) - expected[:1]).max() > 1e-3


# ---------------------------------------------------------------- identity


def test_the_identity_is_that_of_the_files(encoder):
    values = json.loads((encoder.folder / CONFIG_FILE).read_text(encoding="utf-8"))
    identity = encoder.identity
    assert identity.name == values["name"] != ""
    assert identity.sha256 == values["sha256"]
    assert len(identity.sha256) == 64
    assert (identity.dim, identity.max_tokens) == (values["dim"], values["max_tokens"])
    assert OnnxEncoder.load().identity == identity


def test_the_shipped_encoder_is_the_default(encoder):
    assert open_encoder().identity == encoder.identity
    assert open_encoder(str(encoder.folder)).identity == encoder.identity


def test_the_digest_of_files_in_order(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"bc")
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a", tmp_path / "b") == sha256_of(tmp_path / "abc")
    assert sha256_of(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


# ---------------------------------------------------------------- damaged folders


def failing(folder, **options):
    with pytest.raises(EncoderError) as caught:
        OnnxEncoder.load(folder, **options).encode(["heart attack"])
    assert one_line(caught.value)
    return str(caught.value)


def test_a_folder_without_encoder(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        message = failing(folder)
        assert str(folder) in message
        assert "cmsearch train export" in message


@pytest.mark.parametrize("name", [MODEL_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "nonsense"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        content = {"empty": b"", "cut": data[: len(data) // 2], "nonsense": b"\xff" * 1000}
        path.write_bytes(content[damage])
    assert name in failing(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe", b'{"name": "x"}'])
def test_a_damaged_description_says_what_it_must_hold(folder, content):
    (folder / CONFIG_FILE).write_bytes(content)
    message = failing(folder)
    assert CONFIG_FILE in message
    for field in fields(ShippedConfig):
        assert field.name in message


def test_an_unknown_field_is_refused(folder):
    change(folder, colour="blue")
    assert "colour" in failing(folder)


@pytest.mark.parametrize(
    "values",
    [{"dim": 7}, {"dim": "many"}, {"max_tokens": "x"}, {"max_tokens": -1}, {"prefix": 3}],
)
def test_a_description_that_does_not_fit(folder, values):
    change(folder, **values)
    assert str(folder) in failing(folder)


def test_an_unknown_device(encoder):
    assert "cpu and cuda" in failing(encoder.folder, device="tpu")


def test_cuda_where_there_is_none(encoder, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "onnxruntime-gpu" in failing(encoder.folder, device="cuda")
