"""The commands batch and notes, with the real index behind them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from batch_fixtures import answer
from cli_fixtures import HIT_KEYS, invoke
from real_index import command, real_home

from cmsearch.batch.tasks import MentionsTask, QueryTask, SuggestTask
from cmsearch.cli.jobprogress import job_said
from cmsearch.errors import BatchError

ROWS = [("n1", "heart attack"), ("n2", ""), ("n3", "type 2 diabetes with kidney disease")]
NOTE = "Assessment: 1. Hypothyroidism, on Synthroid. 2. Hypertension. No pneumonia."


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("key", "note"), *ROWS])
    return path


def test_batch_query(table, tmp_path):
    out = tmp_path / "out.jsonl"
    columns = ["--text-column", "note", "--id-column", "key"]
    ran = command("batch", str(table), str(out), *columns, "--task", "query", "-k", "3", "-w", "1")
    assert (ran.returncode, ran.stdout) == (3, b"")
    said = ran.stderr.decode()
    assert "2 rows answered" in said
    assert "1 rows set aside" in said
    first, third = map(json.loads, out.read_text().splitlines())
    assert (first["row"], first["id"], len(first["hits"])) == (1, "n1", 3)
    assert list(first["hits"][0]) == HIT_KEYS
    assert first["hits"][0]["code"] == "I21.9"
    assert third["id"] == "n3"
    [fault] = (tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines()
    assert json.loads(fault) == {"row": 2, "id": "n2", "reason": "empty"}
    again = invoke("batch", str(table), str(out), *columns, "--task", "query")
    assert isinstance(again.exception, BatchError)
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize(("task", "key"), [("suggest", "suggestions"), ("mentions", "mentions")])
def test_batch_of_notes_through_a_pipe(task, key):
    notes = "".join(json.dumps({"id": f"n{n}", "text": NOTE}) + "\n" for n in range(2))
    ran = command("batch", "-", "-", "--from", "jsonl", "--task", task, "-w", "1",
                  stdin=notes.encode())  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    first, second = map(json.loads, ran.stdout.splitlines())
    assert first["id"] == "n0"
    assert first[key] == second[key]
    assert first["release"] == "ICD-10-CM April 2026"
    words = json.dumps(first[key])
    assert "E03.9" in words
    evidence = first[key][0]["evidence"][0] if task == "suggest" else first[key][0]
    assert NOTE[evidence["begin"] : evidence["end"]] == evidence["text"]


@pytest.mark.parametrize("kind", [QueryTask, SuggestTask, MentionsTask])
def test_the_stated_schema_holds_all_that_is_answered(kind, tmp_path):
    """Parquet keeps what the schema states and nothing else; JSON lines keep everything."""
    parquet = pytest.importorskip("pyarrow.parquet")
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in (NOTE, "zzyzx")))
    task = kind(index=real_home() / "indexes" / "default")
    if kind is SuggestTask:
        task = replace(task, everything=True)
    answer(source, tmp_path / "out.jsonl", task=task)
    answer(source, tmp_path / "out.parquet", task=task)
    answer(source, tmp_path / "out.csv", task=task)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == lines
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["row"] for row in table} == {"1", "2"}
    last = task.columns[-1]
    assert len([row for row in table if row["row"] == "1"]) == len(lines[0][last.name]) > 0
    assert set(table[0]) >= {part.name for part in last.parts}


def test_words_of_notes_stay_in_the_output_folder(tmp_path):
    places = {name: str(tmp_path / name.lower()) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in (*places.values(), tmp_path / "out"):
        Path(place).mkdir()
    source = tmp_path / "in.jsonl"
    rows = [NOTE + " qzxmarker", "qzxmarker " * 200_000, " "]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    for task in ("suggest", "query"):
        out = tmp_path / "out" / f"{task}.csv"
        ran = command("batch", str(source), str(out), "--task", task, "-w", "1", **places)
        assert ran.returncode == 3
        assert b"qzxmarker" not in ran.stderr + ran.stdout
        assert sorted(path.name for path in out.parent.glob(f"{task}*")) == [
            f"{task}.csv", f"{task}.csv.errors.jsonl", f"{task}.csv.job.json",
        ]  # fmt: skip
        assert all(b"qzxmarker" not in path.read_bytes() for path in out.parent.iterdir())
    ran = command("notes", "index", str(source), "--notes", str(tmp_path / "notes"), **places)
    assert ran.returncode == 3
    assert b"qzxmarker" not in ran.stderr + ran.stdout
    assert [path for place in places.values() for path in Path(place).rglob("*")] == []


def test_batch_says_what_is_wrong(table, tmp_path):
    ran = invoke("batch", str(table), str(tmp_path / "out.csv"))
    assert "no column 'text'; it has key, note" in str(ran.exception)
    ran = invoke("batch", str(table), str(tmp_path / "out.txt"), "--text-column", "note")
    assert "must end in" in str(ran.exception)
    ran = invoke("batch", "-", str(tmp_path / "out.csv"))
    assert "say --from" in str(ran.exception)
    columns = ["--text-column", "note", "--engine", "ray"]
    assert invoke("batch", str(table), "-", *columns).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


def test_notes_are_indexed_and_found(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text(NOTE)
    (folder / "b.txt").write_text("Fell on ice. Fracture of the left wrist; cast put on.")
    (folder / "c.txt").write_text(" ")
    place = str(tmp_path / "notes")
    ran = invoke("notes", "index", str(folder), "--notes", place)
    assert ran.exit_code == 3
    assert "c): empty" in ran.stderr
    assert "2 notes taken in" in ran.stderr.replace("\n", " ")
    for asked in (["E03.9"], ["thyroid failure"], ["--like", str(folder / "a.txt")]):
        ran = invoke("notes", "search", *asked, "--notes", place, "-k", "1", "--json")
        assert ran.exit_code == 0, (ran.stderr, ran.exception)
        [found] = json.loads(ran.stdout)["notes"]
        assert (found["note"], found["source"]) == ("a", "in")
        assert found["passage"] == NOTE[found["begin"] : found["end"]]
    table = invoke("notes", "search", "broken wrist", "--notes", place, "-k", "1")
    assert "Fracture of the left wrist" in " ".join(table.stdout.split())
    assert invoke("notes", "search", "--notes", place).exit_code == 2


def test_rate_and_time_left():
    assert job_said(900, 20.0, 0.5, 0.0) == "45 a second, 0:00:20 left"
    assert job_said(30, 10.0, 0.75, 0.5) == "3.0 a second, 0:00:10 left"
    assert job_said(30, 10.0, None, 0.0) == "3.0 a second"
    assert job_said(30, 10.0, 0.5, 0.5) == "3.0 a second"
