"""The index folder: whole or not at all, whatever happens to the build or to the files."""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import closing

import numpy as np
import pytest
import tiny
from tiny import FakeEncoder, build, names, one_line, retitled

from cmsearch.codes import System
from cmsearch.contents import BuildOptions
from cmsearch.errors import IndexFolderError, IndexMismatch
from cmsearch.fusion import Fusion
from cmsearch.index import build_index, check_encoder, open_index
from cmsearch.manifest import MANIFEST_FILE, Manifest
from cmsearch.ontology.concept import CodeSet, Concept
from cmsearch.ontology.ontology import Ontology
from cmsearch.search import Filters, Index
from cmsearch.serialise import Template
from cmsearch.vectors import Kind

# 27 titles of ICD-10-CM (30 concepts, three of them 7th-character codes) and 10 of ICD-9-CM,
# 10 inclusion terms, two index lines with two texts each.
FORMS = 27 + 10 + 10 + 4
# "Pneumonia, unspecified organism" twice; "Diabetes mellitus", "Acute myocardial infarction"
# and "Diseases of the circulatory system" in both systems.
TEXTS = FORMS - 4


def first(folder, query, encoder=None):
    """Return the code that an index puts first for a query."""
    files = open_index(folder)
    with closing(files.lexicon._db):
        index = Index(files, encoder or FakeEncoder(), Fusion.load())
        return index.search([query], k=1, filters=Filters(systems=tiny.SYSTEMS))[0][0].code.value


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the small index that a test may spoil."""
    shutil.copytree(tiny_folder, tmp_path / "index")
    return tmp_path / "index"


# ---------------------------------------------------------------- building and opening


def test_the_manifest_counts_what_is_there(tiny_files):
    manifest = tiny_files.manifest
    assert (manifest.forms, manifest.vectors) == (FORMS, TEXTS)
    assert [(item.system, item.concepts) for item in manifest.code_sets] == [
        ("icd10cm", 30),
        ("icd9cm", 10),
    ]
    assert manifest.kind == "flat"
    assert manifest.vocabulary == ""
    assert manifest.templates == ("title", "inclusion", "includes", "index", "vocabulary")
    assert len(tiny_files.vectors) == TEXTS
    assert len(tiny_files.lexicon.table.concept) == FORMS


def test_the_folder_holds_three_files(tiny_folder, tiny_files):
    manifest = tiny_files.manifest
    expected = [manifest.lexicon_file, manifest.vectors_file, MANIFEST_FILE]
    assert names(tiny_folder) == sorted(expected)


def test_every_form_has_the_vector_of_its_text(tiny_files):
    encoder = FakeEncoder()
    pairs = list(tiny_files.lexicon.texts())
    assert len(pairs) == TEXTS
    stored = tiny_files.vectors.vectors(np.array([row for _, row in pairs]))
    fresh = encoder.encode([text for text, _ in pairs])
    assert np.abs(stored - fresh).max() <= tiny_files.manifest.step / 2 + 1e-6


def test_codes_with_a_7th_character_have_no_forms_of_their_own(tiny_files):
    row = tiny_files.lexicon.by_code("S52.501A")[0]
    assert tiny_files.lexicon.forms_of_concept(row.id) == []
    assert tiny_files.lexicon.forms_of_concept(row.parent)


def test_two_builds_are_the_same(tmp_path, tiny_files):
    build(tmp_path / "again")
    again = open_index(tmp_path / "again")
    assert list(again.lexicon.texts()) == list(tiny_files.lexicon.texts())
    rows = np.arange(TEXTS)
    assert np.array_equal(again.vectors.vectors(rows), tiny_files.vectors.vectors(rows))


def test_progress_goes_from_nothing_to_all(tmp_path):
    told = []
    build(tmp_path, progress=lambda *step: told.append(step))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["text forms", "encoding", "vector index", "lexical index"]
    for stage in stages:
        steps = [(done, total) for name, done, total in told if name == stage]
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1] > 0
        assert steps == sorted(steps)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_answers(tmp_path, kind):
    build(tmp_path, options=BuildOptions(tiny.SYSTEMS, kind=kind, vocabulary=False))
    assert first(tmp_path, "heart attack") == "I21.9"


def test_one_system_and_one_template(tmp_path):
    options = BuildOptions((System.ICD9CM,), templates=(Template.PUBLISHED,), vocabulary=False)
    one = Ontology([tiny.code_set(System.ICD9CM, tiny.ICD9)])
    manifest = build(tmp_path, ontology=one, options=options)
    assert (manifest.forms, manifest.vectors) == (10, 10)
    texts = {text for text, _ in open_index(tmp_path).lexicon.texts()}
    assert "ICD 9 code for 486: Pneumonia, organism unspecified" in texts


@pytest.mark.parametrize("system", [System.ICD10PCS, System.ICD9PROC])
def test_systems_without_groups_and_crosswalks(tmp_path, system):
    value = {System.ICD10PCS: "0016070", System.ICD9PROC: "39.50"}[system]
    concept = Concept(tiny.Code(value, system), "Bypass of something", billable=True)
    ontology = Ontology([CodeSet(system, "one", "by hand", "00", (concept,))])
    options = BuildOptions((system,), vocabulary=False)
    build_index(tmp_path, ontology, options=options, encoder=FakeEncoder())
    assert open_index(tmp_path).lexicon.by_code(value)[0].grouping == ""


# ---------------------------------------------------------------- incremental


def test_only_new_texts_are_encoded_again(folder):
    encoder = FakeEncoder()
    table = retitled({"486": "Pneumonia of an unknown germ", "493.90": "Wheezing disease"})
    changed = tiny.tiny_ontology(icd9=table, release="two")
    manifest = build(folder, encoder=encoder, ontology=changed)
    assert sorted(encoder.encoded) == ["Pneumonia of an unknown germ", "Wheezing disease"]
    assert manifest.releases == {"icd10cm": "one", "icd9cm": "two"}
    assert first(folder, "wheezing disease") == "493.90"
    assert first(folder, "heart attack") == "I21.9"
    assert len(names(folder)) == 3


def test_a_title_that_goes_leaves_no_trace(folder):
    table = retitled({"486": "Asthma, unspecified type"})
    manifest = build(folder, ontology=tiny.tiny_ontology(icd9=table))
    assert manifest.vectors == TEXTS - 1
    texts = {text for text, _ in open_index(folder).lexicon.texts()}
    assert "Pneumonia, organism unspecified" not in texts


def test_nothing_is_encoded_when_nothing_changed(folder):
    encoder = FakeEncoder()
    before = open_index(folder)
    build(folder, encoder=encoder)
    after = open_index(folder)
    assert encoder.encoded == []
    rows = np.arange(TEXTS)
    assert np.array_equal(before.vectors.vectors(rows), after.vectors.vectors(rows))


@pytest.mark.parametrize("kind", list(Kind))
def test_vectors_are_kept_over_a_change_of_kind(folder, kind):
    encoder = FakeEncoder()
    build(folder, encoder=encoder, options=BuildOptions(tiny.SYSTEMS, kind=kind, vocabulary=False))
    assert encoder.encoded == []


def test_all_is_encoded_anew_when_asked_for_or_under_another_encoder(folder):
    again = FakeEncoder()
    build(folder, encoder=again, anew=True)
    other = FakeEncoder("other", dim=256)
    manifest = build(folder, encoder=other)
    assert len(again.encoded) == len(other.encoded) == TEXTS
    assert manifest.encoder == other.identity
    assert first(folder, "heart attack", FakeEncoder("other", dim=256)) == "I21.9"


def test_a_text_is_encoded_once(tmp_path):
    encoder = FakeEncoder()
    build(tmp_path, encoder=encoder)
    assert len(encoder.encoded) == len(set(encoder.encoded)) == TEXTS


# ---------------------------------------------------------------- mismatch and damage


def test_another_encoder_is_refused_and_both_are_named(tiny_folder, tiny_files):
    check_encoder(tiny_folder, tiny_files.manifest, FakeEncoder())
    for other in (FakeEncoder("other"), FakeEncoder(dim=64)):
        with pytest.raises(IndexMismatch) as caught:
            Index.open(tiny_folder, encoder=other)
        message = str(caught.value)
        assert "encoder fake (512 dimensions" in message
        assert f"this is {other.name} ({other.dim} dimensions" in message
        assert "cmsearch index --rebuild" in message
        assert one_line(message)


def refused(folder):
    with pytest.raises(IndexFolderError) as caught:
        open_index(folder)
    assert one_line(caught.value)
    assert "cmsearch index" in str(caught.value)
    return str(caught.value)


def test_no_index_here(tmp_path):
    assert "there is no index here" in refused(tmp_path)
    assert "there is no index here" in refused(tmp_path / "none")


@pytest.mark.parametrize("part", ["lexicon_file", "vectors_file"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "nonsense"])
def test_a_damaged_part_is_named_and_the_next_build_mends_it(folder, part, damage):
    path = folder / getattr(Manifest.read(folder), part)
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "cut": data[:-100],
                "longer": data + b"x",
                "nonsense": b"?" * len(data),
            }[damage]
        )
    assert path.name in refused(folder)
    build(folder)
    assert first(folder, "heart attack") == "I21.9"
    assert len(names(folder)) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}'])
def test_a_damaged_manifest_is_refused_and_mended(folder, content):
    (folder / MANIFEST_FILE).write_text(content)
    assert "manifest.json" in refused(folder)
    build(folder)
    assert first(folder, "heart attack") == "I21.9"
    assert len(names(folder)) == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind": "flat"', '"kind": "round"'),
        (f'"vectors": {TEXTS}', f'"vectors": {TEXTS + 1}'),
        ('"dim": 512', '"dim": 511'),
    ],
)
def test_a_manifest_that_does_not_fit_its_files(folder, old, new):
    path = folder / MANIFEST_FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    refused(folder)


def test_damage_deep_in_the_lexicon_does_not_stop_a_build(folder):
    path = folder / Manifest.read(folder).lexicon_file
    data = bytearray(path.read_bytes())
    for page in range(2 * 4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    build(folder)
    assert first(folder, "heart attack") == "I21.9"


# ---------------------------------------------------------------- killed builds

KILLED = """
import os, sys
from pathlib import Path
import tiny

class Waiting(tiny.FakeEncoder):
    def encode(self, texts):
        half = super().encode(texts[: len(texts) // 2])
        print("encoding", flush=True)
        sys.stdin.read()
        raise SystemExit("was not killed")

def progress(stage, done, total):
    if sys.argv[2] == f"{stage} {done}":
        print("there", flush=True)
        sys.stdin.read()

name = sys.argv[2]
encoder = Waiting() if name == "encode" else tiny.FakeEncoder()
changed = tiny.tiny_ontology(icd9=tiny.retitled({"486": "A new title"}))
tiny.build(Path(sys.argv[1]), encoder=encoder, ontology=changed, anew=True, progress=progress)
"""


@pytest.mark.parametrize(
    ("moment", "most"), [("encode", 1), ("lexical index 0", 2), ("lexical index 1", 2)]
)
def test_a_killed_build_leaves_the_old_index_and_the_next_cleans_up(folder, start, moment, most):
    before = names(folder)
    with start(KILLED, folder, moment) as child:
        assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert set(before) <= set(names(folder))
    assert len(names(folder)) <= len(before) + most
    assert first(folder, "heart attack") == "I21.9"
    texts = {text for text, _ in open_index(folder).lexicon.texts()}
    assert "Pneumonia, organism unspecified" in texts
    assert "A new title" not in texts
    manifest = build(folder)
    assert names(folder) == sorted([manifest.lexicon_file, manifest.vectors_file, MANIFEST_FILE])
    assert first(folder, "heart attack") == "I21.9"


def test_a_killed_first_build_leaves_no_index(tmp_path, start):
    with start(KILLED, tmp_path / "new", "lexical index 1") as child:
        assert child.stdout.readline()
        child.kill()
    assert "there is no index here" in refused(tmp_path / "new")
    build(tmp_path / "new")
    assert len(names(tmp_path / "new")) == 3


def test_an_encoder_that_fails_leaves_nothing_behind(folder):
    class Failing(FakeEncoder):
        def encode(self, texts):
            raise RuntimeError("no more")

    before = names(folder)
    with pytest.raises(RuntimeError, match="no more"):
        build(folder, encoder=Failing(), anew=True)
    with pytest.raises(KeyboardInterrupt):
        build(folder, anew=True, progress=interrupted)
    assert names(folder) == before
    assert first(folder, "heart attack") == "I21.9"


def interrupted(stage, done, total):
    if stage == "lexical index" and done:
        raise KeyboardInterrupt


# ---------------------------------------------------------------- several at once

TWO = """
import sys
from pathlib import Path
import tiny

print("ready", flush=True)
sys.stdin.readline()
tiny.build(Path(sys.argv[1]), anew=True)
"""


def test_two_processes_build_at_once(tmp_path, start):
    children = [start(TWO, tmp_path / "index") for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        out, errors = child.communicate(timeout=60)
        assert (child.returncode, out, errors) == (0, "", "")
    manifest = Manifest.read(tmp_path / "index")
    expected = sorted([manifest.lexicon_file, manifest.vectors_file, MANIFEST_FILE])
    assert names(tmp_path / "index") == expected
    assert first(tmp_path / "index", "heart attack") == "I21.9"


def test_a_build_waits_for_another(folder, start):
    with start(KILLED, folder, "lexical index 1") as child:
        assert child.stdout.readline()
        waiting = threading.Thread(target=build, args=(folder,))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        child.kill()
    waiting.join(30)
    assert not waiting.is_alive()
    assert len(names(folder)) == 3


def test_a_folder_held_for_too_long(folder, start, monkeypatch):
    monkeypatch.setattr("cmsearch.index._LOCK_SECONDS", 0.1)
    with start(KILLED, folder, "encode") as child:
        assert child.stdout.readline()
        with pytest.raises(IndexFolderError, match="another build") as caught:
            build(folder)
        child.kill()
    assert one_line(caught.value)


def test_a_reader_keeps_answering_while_the_index_is_replaced(folder):
    files = open_index(folder)
    index = Index(files, FakeEncoder(), Fusion.load())
    both = Filters(systems=tiny.SYSTEMS)
    before = index.search(["heart attack", "pneumonia"], k=5, filters=both)
    table = retitled({"486": "Quite another thing"})
    for _ in range(2):
        build(folder, ontology=tiny.tiny_ontology(icd9=table), anew=True)
    assert not (folder / files.manifest.vectors_file).exists()
    assert index.search(["heart attack", "pneumonia"], k=5, filters=both) == before
    assert index.files.lexicon.correct("pnuemonia") == "pneumonia"
    assert first(folder, "quite another thing") == "486"


def test_opening_while_the_index_is_replaced_finds_one_or_the_other(folder):
    done = threading.Event()
    failures = []

    def read():
        while not done.is_set():
            try:
                with closing(open_index(folder).lexicon._db):
                    pass
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(8):
        build(folder)
    done.set()
    reader.join()
    assert failures == []


# ---------------------------------------------------------------- folders that cannot be written


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "index"):
        with pytest.raises(IndexFolderError, match="cannot be written|is a file") as caught:
            build(place)
        assert one_line(caught.value)
        assert str(place) in str(caught.value)
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_in_which_nothing_can_be_made(monkeypatch, folder):
    # Root may write everywhere, so the system's answer on a read-only disk is played.
    def read_only(*arguments, **options):
        raise OSError(30, "Read-only file system")

    before = names(folder)
    monkeypatch.setattr("cmsearch.index.FileLock.acquire", read_only)
    with pytest.raises(IndexFolderError, match="Read-only file system") as caught:
        build(folder)
    assert one_line(caught.value)
    assert "--index" in str(caught.value)
    monkeypatch.undo()
    assert names(folder) == before
    assert first(folder, "heart attack") == "I21.9"


FULL = """
import resource, signal, sys
from pathlib import Path
import tiny
from cmsearch.errors import IndexFolderError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    tiny.build(Path(sys.argv[1]), anew=True)
except IndexFolderError as error:
    print(error)
"""


# The files have about 48 KB (vectors) and 100 KB (lexicon), the manifest about 1 KB.
@pytest.mark.parametrize("limit", [0, 1, 4096, 46_000, 60_000])
def test_a_full_disk_leaves_the_old_index(folder, start, limit):
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with start(FULL, folder, limit) as child:
        out, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")
    assert "cannot be written" in out
    assert one_line(out)
    assert str(folder) in out
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before
    assert first(folder, "heart attack") == "I21.9"


def test_a_full_disk_at_the_first_build_leaves_no_index(tmp_path, start):
    with start(FULL, tmp_path / "new", 2000) as child:
        out, _ = child.communicate(timeout=60)
    assert "cannot be written" in out
    assert names(tmp_path / "new") == []
