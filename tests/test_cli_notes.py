"""suggest and mentions on the command line: formats, streams, faults. The index is a stand-in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import code10
from typer.testing import CliRunner, Result

from cmsearch.cli import notes
from cmsearch.cli.app import app
from cmsearch.codes import System
from cmsearch.errors import CodeError, NoteError
from cmsearch.types import Assertion, Hit, Mention, Suggestion, Why
from docs.reference import reference

NOTE = "ASSESSMENT: fever and a cough. [bold]No[/] \x1b[31mrash."
KEYS = ["rank", "code", "system", "title", "probability", "evidence", "why", "warnings"]


class FakeIndex:
    """Finds fever, cough and rash by their names; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def release(self, systems: Sequence[System]) -> str:
        return "; ".join(system.label for system in systems)

    def _mentions(self, text: str) -> list[tuple[Mention, Hit]]:
        found = []
        for word, value in (("fever", "R50.9"), ("cough", "R05.9"), ("rash", "R21")):
            if (begin := text.find(word)) >= 0:
                assertion = Assertion.NEGATED if word == "rash" else Assertion.PRESENT
                hit = Hit(
                    1, code10(value), word.title(), 0.9, True, "Symptoms", "one", word, "title",
                    Why.BOTH,
                )  # fmt: skip
                place = (begin, begin + len(word))
                found.append((Mention(word, *place, "assessment", assertion, (hit,)), hit))
        return found

    def suggest(self, texts: Sequence[str], **options: Any) -> list[list[Suggestion]]:
        self.asked.append(options)
        (text,) = texts
        if "boom" in text:
            raise RuntimeError(text)
        if "refuse" in text:
            raise CodeError("this index holds nothing of the kind")
        found = []
        for mention, hit in self._mentions(text):
            held = "negated: not there [II]" if mention.assertion is Assertion.NEGATED else ""
            if held and not options["everything"]:
                continue
            found.append(
                Suggestion(
                    len(found) + 1, hit.code, hit.title, "one", 0.8, (mention,), "its words",
                    ("use-additional: a [fictional] code [I.A.13]",), held,
                )
            )  # fmt: skip
        return [found[: options["top"]]]

    def mentions(self, texts: Sequence[str], **options: Any) -> list[list[Mention]]:
        self.asked.append(options)
        return [[mention for mention, _ in self._mentions(text)] for text in texts]


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> FakeIndex:
    found = FakeIndex()
    monkeypatch.setattr(notes, "open_index", lambda folder: found)
    return found


@pytest.fixture
def note(tmp_path: Path) -> str:
    path = tmp_path / "note.txt"
    path.write_text(NOTE, encoding="utf-8")
    return str(path)


def invoke(*arguments: str, stdin: bytes = b"", width: int = 100) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin, env={"COLUMNS": str(width)})


def said(*arguments: str, stdin: bytes = b"", width: int = 100) -> str:
    result = invoke(*arguments, stdin=stdin, width=width)
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result.stdout


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_json_has_these_keys(note, format):
    answer = json.loads(said("suggest", note, "--format", format))
    assert list(answer) == ["id", "release", "suggestions"]
    assert (answer["id"], answer["release"]) == (note, "ICD-10-CM")
    assert [list(item) for item in answer["suggestions"]] == [KEYS, KEYS]
    first = answer["suggestions"][0]
    (evidence,) = first.pop("evidence")
    assert evidence == {
        "text": "fever", "begin": 12, "end": 17, "section": "assessment", "assertion": "present",
    }  # fmt: skip
    assert NOTE[evidence["begin"] : evidence["end"]] == "fever"
    assert first == {
        "rank": 1, "code": "R50.9", "system": "icd10cm", "title": "Fever", "probability": 0.8,
        "why": "its words", "warnings": ["use-additional: a [fictional] code [I.A.13]"],
    }  # fmt: skip


def test_all_tells_what_holds_a_code_back(note):
    answer = json.loads(said("suggest", note, "--format", "json", "--all"))
    assert [item["suppressed"] for item in answer["suggestions"]] == [
        "", "", "negated: not there [II]",
    ]  # fmt: skip
    assert [list(item) for item in answer["suggestions"]] == [[*KEYS, "suppressed"]] * 3


def test_options_reach_the_index(note, index):
    said(
        "suggest", note, "--top", "1", "--min-confidence", "0.2", "--system", "icd9", "--all",
        "--code-negated", "--format", "json",
    )  # fmt: skip
    assert index.asked == [
        {"top": 1, "min_confidence": 0.2, "systems": (System.ICD9CM,), "everything": True,
         "code_negated": True}
    ]  # fmt: skip
    index.asked.clear()
    said("suggest", note, "--format", "json")
    assert index.asked == [
        {"top": None, "min_confidence": None, "systems": (System.ICD10CM,), "everything": False,
         "code_negated": False}
    ]  # fmt: skip


def test_a_note_from_stdin(note):
    answer = json.loads(said("suggest", "-", "--format", "json", stdin=NOTE.encode()))
    assert answer["id"] == "-"
    assert len(answer["suggestions"]) == 2


def test_a_stream_is_answered_in_order():
    notes = [{"id": 7, "text": "fever"}, {"id": "b", "text": ""}, {"text": "a cough"}]
    answers = [
        json.loads(line)
        for line in said("suggest", "-", "--format", "jsonl", stdin=lines(*notes)).splitlines()
    ]
    assert [answer["id"] for answer in answers] == [7, "b", None]
    assert [len(answer["suggestions"]) for answer in answers] == [1, 0, 1]


def test_bad_lines_are_told_without_their_words():
    secret = "secretpatient"
    rows = [
        b'{"id": "a", "text": "fever"}',
        f'{{"id": "b", "text": "{secret}'.encode(),
        f'["{secret}"]'.encode(),
        f'{{"id": "c", "note": "{secret}"}}'.encode(),
        f'{{"id": ["{secret}"], "text": "x"}}'.encode(),
        f'{{"id": "d", "text": "boom {secret}"}}'.encode(),
        f'{{"id": "e", "text": "refuse {secret}"}}'.encode(),
        b"\xff\xfe" + secret.encode(),
        b"[" * 100_000,
        b"",
        b'{"id": "z", "text": "cough"}',
    ]
    result = invoke("suggest", "-", "--format", "jsonl", stdin=b"\n".join(rows))
    assert result.exit_code == 1
    assert secret not in result.stdout + result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == len(rows) - 1
    assert [answer["id"] for answer in answers] == [
        "a", None, None, "c", None, "d", "e", None, None, "z",
    ]  # fmt: skip
    assert [answer.get("line") for answer in answers] == [None, *range(2, 10), None]
    assert all(list(answer) == ["id", "line", "error"] for answer in answers[1:-1])
    assert "RuntimeError" in answers[5]["error"]
    assert answers[6]["error"] == "this index holds nothing of the kind"


def test_halves_of_surrogate_pairs_stay_json():
    stdin = b'{"id": "\\ud800", "text": "\\udc00 fever"}\n'
    (line,) = said("suggest", "-", "--format", "jsonl", stdin=stdin).splitlines()
    assert json.loads(line)["id"] == "\ud800"
    line.encode("utf-8")


def test_csv(note):
    rows = list(csv.DictReader(io.StringIO(said("suggest", note, "--format", "csv"))))
    assert [row["code"] for row in rows] == ["R50.9", "R05.9"]
    assert (rows[0]["evidence"], rows[0]["places"], rows[0]["assertions"]) == (
        "fever", "12-17", "present",
    )  # fmt: skip
    assert "suppressed" not in rows[0]
    more = csv.DictReader(io.StringIO(said("suggest", note, "--format", "csv", "--all")))
    assert [row["suppressed"] for row in more][-1] == "negated: not there [II]"
    empty = said("suggest", "-", "--format", "csv", stdin=b"nothing")
    assert empty.startswith("id,release,rank,code")


@pytest.mark.parametrize("width", [40, 100, 180])
def test_the_table_shows_note_codes_and_checks(note, width):
    shown = said("suggest", note, "--all", width=width)
    for words in ("R50.9", "Fever", "cough", "0.80", "negated", "ICD-10-CM", "held back", "fever¹"):
        assert words in shown
    assert "[bold]No" in shown  # markup of a note is text
    assert "a [fictional]" in " ".join(shown.split()) or width == 40
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_long_note_is_shown_around_its_evidence():
    text = "nothing here\n" * 300 + "a fever\n" + "nothing here\n" * 300
    shown = said("suggest", "-", stdin=text.encode())
    assert "fever¹" in shown
    assert "299 lines that support no code" in shown
    assert len(shown.splitlines()) < 30


def test_nothing_found_is_no_error():
    result = invoke("suggest", "-", stdin=b"nothing")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "--all" in result.stderr


def test_html_into_a_file(note, tmp_path):
    out = tmp_path / "page.html"
    assert said("suggest", note, "--format", "html", "-o", str(out)) == ""
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    table = tmp_path / "table.txt"
    said("suggest", note, "-o", str(table))
    assert "R50.9" in table.read_text(encoding="utf-8")


def test_files_that_cannot_be_read_or_written(note, tmp_path):
    missing = invoke("suggest", str(tmp_path / "none.txt"))
    assert isinstance(missing.exception, NoteError)
    written = invoke("suggest", note, "-o", str(tmp_path / "no" / "folder.txt"))
    assert isinstance(written.exception, NoteError)
    binary = invoke("suggest", "-", stdin=b"%PDF-1.7 secret")
    assert isinstance(binary.exception, NoteError)
    assert "secret" not in str(binary.exception)
    kept = tmp_path / "kept.html"
    kept.write_text("old", encoding="utf-8")
    invoke("suggest", str(tmp_path / "none.txt"), "--format", "html", "-o", str(kept))
    assert kept.read_text(encoding="utf-8") == "old"


def test_a_note_is_neither_overwritten_nor_repeated(note, tmp_path):
    before = Path(note).read_bytes()
    itself = invoke("suggest", note, "-o", note)
    assert "is the note itself" in str(itself.exception) and Path(note).read_bytes() == before
    typed = invoke("suggest", "Patient Secretname has asthma")
    assert isinstance(typed.exception, NoteError) and "Secret" not in str(typed.exception)
    assert "standard input" in str(typed.exception)
    nothing = invoke("mentions", "")
    assert isinstance(nothing.exception, NoteError) and "no note" in str(nothing.exception)
    many = tmp_path / "many.jsonl"
    many.write_text('{"id": "a", "text": "asthma"}\n', encoding="utf-8")
    assert "cmsearch batch" in str(invoke("suggest", str(many)).exception)


@pytest.mark.parametrize(
    "arguments",
    [["--format", "xml"], ["--top", "0"], ["--min-confidence", "1.5"]],
)
def test_wrong_usage_is_exit_2(note, arguments):
    assert invoke("suggest", note, *arguments).exit_code == 2


def test_an_unknown_system_names_the_known_ones(note):
    result = invoke("suggest", note, "--system", "icd11")
    assert isinstance(result.exception, CodeError)
    assert "icd10cm" in str(result.exception)


def test_mentions_in_every_format(note, index):
    answer = json.loads(said("mentions", note, "--format", "json"))
    assert list(answer) == ["id", "release", "mentions"]
    assert [item["text"] for item in answer["mentions"]] == ["fever", "cough", "rash"]
    assert list(answer["mentions"][0]) == ["text", "begin", "end", "section", "assertion", "codes"]
    assert answer["mentions"][0]["codes"][0] == {
        "rank": 1, "code": "R50.9", "system": "icd10cm", "title": "Fever", "score": 0.9,
        "billable": True,
    }  # fmt: skip
    assert index.asked == [{"k": 3, "systems": (System.ICD10CM,)}]
    rows = list(csv.DictReader(io.StringIO(said("mentions", note, "--format", "csv"))))
    assert [(row["text"], row["code"]) for row in rows][2] == ("rash", "R21")
    shown = said("mentions", note)
    for words in ("fever", "negated", "R21 Rash", "assessment"):
        assert words in shown
    stdin = lines({"id": 1, "text": "fever"}, {"id": 2})
    result = invoke("mentions", "-", "--format", "jsonl", stdin=stdin)
    assert result.exit_code == 1
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["mentions"][0]["text"] == "fever"
    assert "missing" in second["error"]


def test_the_command_reference_is_fresh_and_complete():
    written = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert reference() == written, "run: make docs"
    headings = [line for line in written.splitlines() if line.startswith("## ")]
    assert {"## cmsearch suggest", "## cmsearch mentions", "## cmsearch query"} <= set(headings)
