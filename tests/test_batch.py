"""Batch jobs: what is read, what is set aside and why, what is written, who may go on."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from pathlib import Path

import pytest
from batch_fixtures import WordsTask, answer, files, notes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import one_line

from cmsearch.batch.answering import answered
from cmsearch.batch.local import LocalEngine
from cmsearch.batch.output import Output, flat, header
from cmsearch.batch.rows import CHUNK_CHARACTERS, CHUNK_ROWS, Chunk, Fault, Note, chunks
from cmsearch.batch.source import Format, Source
from cmsearch.batch.tasks import QueryTask
from cmsearch.errors import BatchError, IndexFolderError

TEXTS = {"a1": "chest pain", "a2": 'a "quoted", comma\nand a line', "a3": "café", "a4": " "}


def read(path, **options):
    return [item for item, _ in Source.of(str(path), **options).rows()]


def found(path, **options):
    """Return ids and texts, or the reasons why there are none."""
    return {
        item.id: item.text if isinstance(item, Note) else Fault for item in read(path, **options)
    }


EXPECTED = {**TEXTS, "a4": Fault}


def as_csv(path, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=delimiter)
        table.writerow(["id", "other", "text"])
        table.writerows((name, "x", text) for name, text in TEXTS.items())
    return path


def as_jsonl(path):
    lines = [json.dumps({"id": name, "text": text}) for name, text in TEXTS.items()]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def as_folder(path):
    (path / "deep").mkdir(parents=True)
    for name, text in TEXTS.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8")
    (path / "readme.md").write_text("no note")
    return path


def test_every_format_gives_the_same_rows(tmp_path):
    assert found(as_csv(tmp_path / "in.csv")) == EXPECTED
    assert found(as_csv(tmp_path / "in.tsv", "\t")) == EXPECTED
    assert found(as_jsonl(tmp_path / "in.jsonl")) == EXPECTED
    assert found(as_folder(tmp_path / "in")) == EXPECTED


def test_parquet_in_many_types(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    ids, texts = list(TEXTS), list(TEXTS.values())
    kinds = (arrow.string(), arrow.large_string(), arrow.binary(),
             arrow.dictionary(arrow.int32(), arrow.string()))  # fmt: skip
    for kind in kinds:
        table = arrow.table({"text": arrow.array(texts).cast(kind), "id": ids})
        parquet.write_table(table, tmp_path / "in.parquet")
        assert found(tmp_path / "in.parquet") == EXPECTED
    bad = arrow.table({"text": arrow.array([b"\xff", None, b"fine"]), "id": [7, 8, None]})
    parquet.write_table(bad, tmp_path / "in.parquet")
    assert read(tmp_path / "in.parquet") == [
        Fault(1, "7", "not UTF-8"), Fault(2, "8", "empty"), Note(3, "3", "fine"),
    ]  # fmt: skip
    parquet.write_table(arrow.table({"text": [1.5]}), tmp_path / "in.parquet")
    with pytest.raises(BatchError, match="'text' holds double, no text; say which with --text-c"):
        read(tmp_path / "in.parquet")
    (tmp_path / "in.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(BatchError, match="not a readable Parquet file"):
        read(tmp_path / "in.parquet")


def test_packed_inputs_are_known_by_their_content(tmp_path):
    plain = as_csv(tmp_path / "in.csv").read_bytes()
    (tmp_path / "two.csv").write_bytes(gzip.compress(plain[:30]) + gzip.compress(plain[30:]))
    assert found(tmp_path / "two.csv") == EXPECTED
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(plain * 99)[:-20])
    with pytest.raises(BatchError, match=r"cut.csv.gz: the gzip file is damaged"):
        read(tmp_path / "cut.csv.gz")
    arrow = pytest.importorskip("pyarrow")
    packed = arrow.compress(plain, "zstd", asbytes=True)
    (tmp_path / "in.csv.zst").write_bytes(packed)
    assert found(tmp_path / "in.csv.zst") == EXPECTED
    (tmp_path / "in.csv.zst").write_bytes(packed[:-9])
    with pytest.raises(BatchError, match="check the path, or whether the file is whole"):
        read(tmp_path / "in.csv.zst")


def test_columns_are_named_and_missing_ones_refused(tmp_path):
    path = as_csv(tmp_path / "in.csv")
    assert read(path, text_column="other", id_column="other")[0] == Note(1, "x", "x")
    assert read(path, text_column="other")[0] == Note(1, "a1", "x")
    with pytest.raises(BatchError, match=r"no column 'note'; it has id, other, text; .*--text-col"):
        read(path, text_column="note")
    with pytest.raises(BatchError, match=r"no column 'key'; .*--id-column"):
        read(path, id_column="key")
    path.write_text("text\nchest pain\n")
    assert read(path) == [Note(1, "1", "chest pain")]
    path.write_text("smoker of 40 years,patient coughs\n")
    with pytest.raises(BatchError) as refused:
        read(path)
    assert "cough" not in str(refused.value)  # a file without a header begins with a note
    path.write_text("")
    with pytest.raises(BatchError, match="no header"):
        read(path)


BAD_CSV = [
    (b"b,\xff\xfe", "not UTF-8"),
    (b"b,", "empty"),
    (b"b,' \t '".replace(b"'", b'"'), "empty"),
    (b"b", "has 1 fields, the header has 2"),
    (b"b,one,two", "has 3 fields, the header has 2"),
    (b"b," + b"long " * 250, "longer than 1,000 characters"),
    (b'b,"' + b"long\n" * 20_000 + b'"', "longer than 1,000 characters"),
    (b'b,"' + b'a "", b\n' * 20_000 + b'"', "longer than 1,000 characters"),
    (b"b" * 300 + b",text", "its id is longer than 200 characters"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_CSV, ids=range(len(BAD_CSV)))
def test_bad_rows_of_csv_leave_the_others_alone(tmp_path, line, reason):
    path = tmp_path / "in.csv"
    path.write_bytes(b"\xef\xbb\xbfid,text\r\na,before\r\n" + line + b'\nc,"af""ter"\n\nd,end')
    before, bad, *after = read(path, longest=1_000)
    assert before == Note(1, "a", "before")
    assert isinstance(bad, Fault)
    assert bad.row == 2
    assert bad.reason.startswith(reason)
    assert after == [Note(3, "c", 'af"ter'), Note(4, "d", "end")]


BAD_JSON = [
    (b"{nothing", "not JSON"),
    (b"[1]", "not a JSON object"),
    (b'{"id": "b", "text": "\xff"}', "not UTF-8"),
    (b'{"id": "b", "text": ""}', "empty"),
    (b'{"id": "b", "text": null}', "empty"),
    (b'{"id": "b", "text": 5}', "'text' holds no text"),
    (b'{"id": "b"}', "has no 'text'"),
    (b'{"id": [1], "text": "x"}', "its id is neither"),
    (b'{"id": "b", "text": "\\ud83d"}', "holds half a character"),
    (b'{"id": "b", "text": "' + b"long " * 250 + b'"}', "longer than 1,000 characters"),
    (b'{"id": "b", "text": "' + b"long " * 99_000 + b'"}', "longer than 1,000 characters"),
    (b"[" * 5_000, "not JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_rows_of_json_lines(tmp_path, line, reason):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id": 1, "text": "before"}\n' + line + b'\n\n{"text": "after"}')
    before, bad, after = read(path, longest=1_000)
    assert before == Note(1, "1", "before")
    assert isinstance(bad, Fault)
    assert (bad.row, bad.reason.startswith(reason)) == (2, True), bad
    assert after == Note(4, "4", "after")
    assert bad.id in ("b", "2")


def test_bad_files_of_a_folder(tmp_path):
    folder = as_folder(tmp_path / "in")
    (folder / "deep" / "b.txt").write_bytes(b"\xff")
    (folder / "deep" / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    (folder / "deep" / "d.txt.gz").write_bytes(gzip.compress(os.urandom(999))[:-9])
    (folder / "e.txt").write_text("long " * 1000)
    rows = read(folder, longest=1_000)
    assert [row.row for row in rows] == list(range(1, 9))
    assert rows[4:] == [
        Fault(5, "deep/b", "not UTF-8"),
        Note(6, "deep/c", "packed"),
        Fault(7, "deep/d", "cannot be read (damaged)"),
        Fault(8, "e", "longer than 1,000 characters"),
    ]


def test_what_an_input_is_must_be_known(tmp_path):
    with pytest.raises(BatchError, match="no such file or folder"):
        Source.of(str(tmp_path / "in.csv"))
    (tmp_path / "in.dat").write_text("text\nchest pain\n")
    with pytest.raises(BatchError, match="say --from csv, tsv, jsonl or parquet"):
        Source.of(str(tmp_path / "in.dat"))
    assert found(tmp_path / "in.dat", format=Format.CSV) == {"1": "chest pain"}
    with pytest.raises(BatchError, match="stdin"):
        Source.of("-")


cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=20)


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(rows=st.lists(st.tuples(cells, cells), max_size=12))
def test_any_csv_is_read_as_the_csv_module_reads_it(tmp_path, rows):
    path = tmp_path / "in.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "text"), *rows])
    items = read(path)
    assert [item.row for item in items] == list(range(1, len(rows) + 1))
    for item, (name, text) in zip(items, rows, strict=True):
        assert item.id == (name or str(item.row))
        assert isinstance(item, Fault) if not text.strip() else item.text == text


def test_chunks_depend_on_the_input_alone():
    items = [Note(row, str(row), "x" * (row % 7)) for row in range(1, 200)]
    cut = list(chunks((item, None) for item in items))
    assert [len(chunk.items) for chunk in cut] == [CHUNK_ROWS] * 3 + [199 - 3 * CHUNK_ROWS]
    assert [item for chunk in cut for item in chunk.items] == items
    assert len({chunk.digest for chunk in cut}) == 4
    changed = [*items[:-1], Note(199, "199", "other")]
    again = list(chunks((item, 0.5) for item in changed))
    assert [chunk.digest for chunk in again][:3] == [chunk.digest for chunk in cut][:3]
    assert again[3].digest != cut[3].digest
    long = [Note(row, str(row), "x" * (CHUNK_CHARACTERS // 2)) for row in range(5)]
    assert [len(chunk.items) for chunk in chunks((item, None) for item in long)] == [2, 2, 1]


def test_a_source_goes_on_only_where_it_is_the_same(tmp_path):
    source = Source.of(str(notes(tmp_path / "in.jsonl", 200)))
    whole = list(source.chunks())
    assert list(source.chunks(skip=2, digest=whole[1].digest)) == whole[2:]
    assert list(source.chunks(skip=4, digest=whole[3].digest)) == []
    for skip, digest in [(2, "other"), (4, "other"), (9, whole[3].digest[::-1])]:
        with pytest.raises(BatchError, match="differs from the input"):
            list(source.chunks(skip=skip, digest=digest))


def test_a_row_that_fails_is_set_aside_without_its_text():
    items = (Note(1, "a", "fine words"), Note(2, "b", "please divide"), Fault(3, "c", "empty"))
    found = answered(Chunk(0, items, "d"), WordsTask().open(threads=1))
    assert (found.answered, found.set_aside) == (1, 2)
    failed, empty = map(json.loads, found.errors.splitlines())
    assert failed["id"] == "b"
    assert failed["reason"].startswith("failed: ZeroDivisionError in batch_fixtures.py, line ")
    assert "divide" not in found.errors.decode()
    assert empty == {"row": 3, "id": "c", "reason": "empty"}


def test_an_index_that_fails_ends_the_job():
    def failing(texts):
        raise IndexFolderError("gone")

    with pytest.raises(IndexFolderError):
        answered(Chunk(0, (Note(1, "a", "x"),), ""), failing)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A finished job with one worker and the same with three."""
    folder = tmp_path_factory.mktemp("jobs")
    source = notes(folder / "in.jsonl", 500)
    answer(source, folder / "one.jsonl", workers=1)
    answer(source, folder / "three.jsonl", workers=3)
    return folder


def test_the_output_does_not_depend_on_the_workers(jobs):
    assert files(jobs / "one.jsonl") == files(jobs / "three.jsonl")
    rows = rows_of(jobs / "one.jsonl")
    assert [row["row"] for row in rows] == [row for row in range(1, 501) if row % 97]
    assert rows[1] == {
        "row": 2, "id": "n00001", "length": 23,
        "words": [{"rank": 1, "word": "enough"}, {"rank": 2, "word": "café"},
                  {"rank": 3, "word": "note"}],
    }  # fmt: skip
    assert files(jobs / "one.jsonl")[".errors.jsonl"].count(b'"reason": "empty"') == 5
    assert not list(jobs.glob("*.parts"))


def test_the_job_file_tells_what_was_done(jobs):
    record = json.loads((jobs / "one.jsonl.job.json").read_text())
    assert record["state"] == "done"
    assert record["asked"]["task"] == "words"
    told = record["told"]
    assert (told["rows"], told["answered"], told["set_aside"]) == (500, 495, 5)
    assert told["schema"]["words.rank"] == "whole number"
    source = Source.of(str(jobs / "in.jsonl"))
    assert told["input_sha256"] == list(source.chunks())[-1].digest
    assert "note" not in json.dumps({**told, "input_path": "", "output_path": ""})


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_other_outputs_hold_the_same(jobs, tmp_path, ending):
    if ending.endswith(("zst", "parquet")):
        pytest.importorskip("pyarrow")
    out = tmp_path / f"out{ending}"
    answer(jobs / "in.jsonl", out)
    lines = rows_of(jobs / "one.jsonl")
    assert rows_of(out) == (lines if ".csv" not in ending else table_of(lines))
    content = out.read_bytes()
    answer(jobs / "in.jsonl", out, overwrite=True)
    assert out.read_bytes() == content


def rows_of(path: Path):
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".zst":
        import pyarrow

        with pyarrow.input_stream(str(path), compression="zstd") as stream:
            return [json.loads(line) for line in stream.read().splitlines()]
    packed = gzip.open if path.suffix == ".gz" else open
    with packed(path, "rt", encoding="utf-8", newline="") as stream:
        if ".csv" in path.name:
            return list(csv.reader(stream))
        return [json.loads(line) for line in stream]


def table_of(rows):
    table = [["row", "id", "length", "rank", "word"]]
    for row in rows:
        plain = [str(row["row"]), row["id"], str(row["length"])]
        table += [[*plain, str(w["rank"]), w["word"]] for w in row["words"]] or [[*plain, "", ""]]
    return table


def test_a_note_without_answers_keeps_its_line_of_csv():
    columns = WordsTask().columns
    assert header(columns) == ["row", "id", "length", "rank", "word"]
    empty = {"row": 1, "id": "a", "length": 3, "words": []}
    assert list(flat(empty, columns)) == [[1, "a", 3, None, None]]


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_an_input_without_rows_has_an_output_without_rows(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "in.csv").write_text("id,text\n")
    out = tmp_path / f"out{ending}"
    done = answer(tmp_path / "in.csv", out)
    assert (done.answered, done.set_aside, done.errors) == (0, 0, None)
    assert len(rows_of(out)) == (ending == ".csv")


def test_a_parquet_output_of_many_row_groups(jobs, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("cmsearch.batch.parquet._GROUP_BYTES", 10_000)
    out = tmp_path / "out.parquet"
    answer(jobs / "in.jsonl", out)
    assert parquet.read_metadata(out).num_row_groups > 1
    assert rows_of(out) == rows_of(jobs / "one.jsonl")


def test_what_is_there_is_not_overwritten(jobs, tmp_path):
    with pytest.raises(BatchError, match="one.jsonl: is there already"):
        answer(jobs / "in.jsonl", jobs / "one.jsonl")
    foreign = tmp_path / "mine.jsonl"
    foreign.write_text("precious")
    with pytest.raises(BatchError, match="is there already; name another output or start anew wi"):
        answer(jobs / "in.jsonl", foreign)
    assert foreign.read_text() == "precious"
    answer(jobs / "in.jsonl", foreign, overwrite=True)
    assert files(foreign) == files(jobs / "one.jsonl")


@pytest.mark.parametrize("ending", ["txt", "json", "parquet.gz", "", "csv.bz2"])
def test_an_output_must_have_a_known_ending(tmp_path, ending):
    with pytest.raises(BatchError, match="must end in") as refused:
        Output.of(tmp_path / f"out.{ending}")
    assert one_line(refused.value)
    with pytest.raises(BatchError, match="no such folder"):
        Output.of(tmp_path / "nowhere" / "out.csv")


def stopped(source, out, **task):
    """Leave a job that was stopped on its way."""

    def stop(answered, set_aside, read):
        if answered > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer(source, out, task=WordsTask(**task), watch=stop)


def test_a_job_goes_on_only_with_the_same_options(jobs, tmp_path):
    source, out = notes(tmp_path / "in.jsonl", 500), tmp_path / "out.jsonl"
    stopped(source, out, tag="one")
    with pytest.raises(BatchError, match=r"began with settings.tag 'one', this one has 'two'; "):
        answer(source, out, task=WordsTask(tag="two"))
    with pytest.raises(BatchError, match=r"input.bytes"):
        answer(notes(source, 501), out, task=WordsTask(tag="one"))
    changed = source.read_text().replace("n00003", "m00003").splitlines(keepends=True)[:500]
    source.write_text("".join(changed))
    with pytest.raises(BatchError, match="differs from the input that this job began with"):
        answer(source, out, task=WordsTask(tag="one"))
    notes(source, 500)
    done = answer(source, out, task=WordsTask(tag="one"), workers=2)
    assert done.resumed > 150
    assert files(out) == files(jobs / "one.jsonl")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    source, out = notes(tmp_path / "in.jsonl", 500), tmp_path / "out.jsonl"
    stopped(source, out)
    parts = tmp_path / "out.jsonl.parts"
    kept = (parts / "answers.jsonl").read_bytes()
    (parts / "answers.jsonl").write_bytes(kept[:-1])
    with pytest.raises(BatchError, match=r"answers.jsonl: has .* bytes, not the"):
        answer(source, out)
    (parts / "answers.jsonl").write_bytes(kept + b"half a li")
    progress = (parts / "progress.json").read_text()
    (parts / "progress.json").write_text("{")
    with pytest.raises(BatchError, match="damaged; start anew with --overwrite"):
        answer(source, out)
    (parts / "progress.json").write_text(progress)
    record = tmp_path / "out.jsonl.job.json"
    kept_record = record.read_text()
    record.unlink()
    with pytest.raises(BatchError, match=r"without out.jsonl.job.json"):
        answer(source, out)
    record.write_text(kept_record)
    assert answer(source, out).answered == 495


def test_two_processes_do_not_run_one_job(tmp_path):
    source, out = notes(tmp_path / "in.jsonl", 300), tmp_path / "out.jsonl"
    said = []

    def again(answered_so_far, set_aside, read):
        if not said:
            with pytest.raises(BatchError) as refused:
                answer(source, out)
            said.append(str(refused.value))

    answer(source, out, watch=again)
    assert "another process runs this very job" in said[0]


def test_workers_answer_from_a_real_index_folder(tiny_folder):
    """The task's settings name all that the answers owe to the index."""
    settings_ = QueryTask(index=tiny_folder, k=3).settings()
    assert settings_["k"] == 3
    assert settings_["encoder"] == "fake"
    assert settings_["code_sets"]["icd10cm"][0] == "one"
    with pytest.raises(IndexFolderError, match="there is no index here"):
        QueryTask(index=tiny_folder / "none").settings()


class BrokenTask(WordsTask):
    """An index that cannot be opened."""

    def open(self, *, threads):
        raise IndexFolderError("concepts.sqlite: damaged")


def test_a_task_that_cannot_be_opened_ends_the_job(tmp_path):
    source = Source.of(str(notes(tmp_path / "in.jsonl", 5)))
    with pytest.raises(BatchError, match=r"concepts.sqlite: damaged"):
        next(LocalEngine(1).answers(source, BrokenTask()))
    with pytest.raises(IndexFolderError, match="no index here"):
        next(LocalEngine(1).answers(source, QueryTask(index=tmp_path / "none")))


class ShiftingTask(WordsTask):
    """An index that is another one in each process."""

    def settings(self):
        return {"pid": os.getpid()}


def test_a_worker_with_another_index_ends_the_job(tmp_path):
    source = Source.of(str(notes(tmp_path / "in.jsonl", 5)))
    with pytest.raises(BatchError, match="not the one that the job began with"):
        next(LocalEngine(1).answers(source, ShiftingTask()))


def test_chance_order_of_ids_is_kept(tmp_path):
    names = [f"id{number}" for number in range(100)]
    random.Random(3).shuffle(names)
    source = tmp_path / "in.csv"
    source.write_text("id,text\n" + "".join(f"{name},two words\n" for name in names))
    answer(source, tmp_path / "out.csv", workers=2)
    with (tmp_path / "out.csv").open(newline="") as file:
        kept = [row["id"] for row in csv.DictReader(file)]
    assert list(dict.fromkeys(kept)) == names
