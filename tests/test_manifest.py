"""The manifest: what is written comes back, and what is damaged is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import names, one_line

from cmsearch.errors import IndexFolderError
from cmsearch.manifest import FORMAT, MANIFEST_FILE, IndexedCodeSet, Manifest
from cmsearch.types import EncoderIdentity

MANIFEST = Manifest(
    encoder=EncoderIdentity("é-coder", "ab" * 32, "mean", 384, 8192, "query: "),
    encoder_source="some/where",
    kind="flat",
    dtype="int8",
    step=0.005,
    templates=("title", "index"),
    templates_version="1",
    vocabulary="",
    code_sets=(
        IndexedCodeSet("icd10cm", "April 2026", "a file", "cd" * 32, 30),
        IndexedCodeSet("icd9cm", "v32", "another", "ef" * 32, 10),
    ),
    forms=50,
    vectors=48,
    lexicon_file="concepts-1.sqlite",
    vectors_file="vectors-1.faiss",
    lexicon_bytes=3,
    vectors_bytes=5,
)


@pytest.fixture
def written(tmp_path):
    MANIFEST.write(tmp_path)
    return tmp_path


def change(folder, **values):
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder):
    with pytest.raises(IndexFolderError) as caught:
        Manifest.read(folder)
    assert one_line(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_what_is_written_comes_back(written):
    assert Manifest.read(written) == MANIFEST
    assert names(written) == [MANIFEST_FILE]


def test_a_later_one_replaces_it(written):
    later = replace(MANIFEST, forms=51)
    later.write(written)
    assert Manifest.read(written) == later
    assert names(written) == [MANIFEST_FILE]


def test_the_releases_by_system():
    assert MANIFEST.releases == {"icd10cm": "April 2026", "icd9cm": "v32"}


def test_every_field_stands_in_the_file(written):
    values = json.loads((written / MANIFEST_FILE).read_text(encoding="utf-8"))
    assert sorted(values) == sorted(Manifest.__dataclass_fields__)
    assert values["format"] == FORMAT
    assert values["encoder"]["name"] == "é-coder"


def test_no_index(tmp_path):
    assert "build one with: cmsearch index" in refused(tmp_path)
    assert "build one with: cmsearch index" in refused(tmp_path / "none")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in refused(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"format": 1', b"\xff\xfe\x00", b"[" * 100_000, b"nonsense"],
    ids=["empty", "open", "cut", "binary", "deep", "words"],
)
def test_damaged_json(tmp_path, content):
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    assert "cmsearch index --rebuild" in refused(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "{}"])
def test_json_that_is_no_manifest(tmp_path, content):
    (tmp_path / MANIFEST_FILE).write_text(content)
    assert f"this cmsearch reads format {FORMAT}" in refused(tmp_path)


@pytest.mark.parametrize("other", [0, FORMAT + 1, "1", None])
def test_another_format_is_named(written, other):
    change(written, format=other)
    message = refused(written)
    assert f"index format {other}, this cmsearch reads format {FORMAT}" in message
    assert "cmsearch index --rebuild" in message


@pytest.mark.parametrize("name", sorted(set(Manifest.__dataclass_fields__) - {"format"}))
def test_a_missing_field_is_named(written, name):
    path = written / MANIFEST_FILE
    values = json.loads(path.read_text())
    del values[name]
    path.write_text(json.dumps(values))
    assert name in refused(written)


def test_an_unknown_field_is_refused(written):
    change(written, colour="blue")
    assert "colour" in refused(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lexicon_file", 3),
        ("vectors", "many"),
        ("forms", True),
        ("encoder", []),
        ("encoder", {"name": "x"}),
        ("encoder", {"name": "x", "sha256": 5, "pooling": "m", "dim": 1, "max_tokens": 1}),
        ("code_sets", 5),
        ("code_sets", [{}]),
        ("code_sets", ["x"]),
        ("templates", None),
        ("templates", [1]),
    ],
)
def test_a_field_of_another_type_is_refused(written, name, value):
    change(written, **{name: value})
    assert "cmsearch index --rebuild" in refused(written)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(sorted(Manifest.__dataclass_fields__)), value=anything)
def test_a_field_with_anything_in_it(written, name, value):
    MANIFEST.write(written)
    change(written, **{name: value})
    try:
        found = Manifest.read(written)
    except IndexFolderError as error:
        assert one_line(error)
    else:
        assert found.releases.keys() <= {"icd10cm", "icd9cm"}
        assert found.encoder == MANIFEST.encoder


def test_sizes_are_checked(written):
    (written / MANIFEST.lexicon_file).write_bytes(b"123")
    with pytest.raises(IndexFolderError, match="vectors-1.faiss: is missing"):
        MANIFEST.check_sizes(written)
    (written / MANIFEST.vectors_file).write_bytes(b"1234")
    with pytest.raises(IndexFolderError, match="vectors-1.faiss: has 4 bytes, not 5"):
        MANIFEST.check_sizes(written)
    (written / MANIFEST.vectors_file).write_bytes(b"12345")
    MANIFEST.check_sizes(written)
