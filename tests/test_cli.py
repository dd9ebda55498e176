"""The command line as others script against it: formats, keys, exit codes, streams."""

from __future__ import annotations

import codecs
import csv
import io
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cli_fixtures import HIT_KEYS, invoke, lines, refusal, said
from real_index import ENTRY, command, environment, real_home, real_index

from cmsearch.contents import BuildOptions
from cmsearch.manifest import IndexedCodeSet

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module", autouse=True)
def built() -> Path:
    return real_home()


# query: formats


def test_json_lines_have_these_keys():
    (answer,) = lines("query", "heart", "attack", "-k", "3", "--format", "jsonl")
    assert list(answer) == ["query", "release", "hits"]
    assert answer["query"] == "heart attack"
    assert answer["release"] == "ICD-10-CM April 2026"
    assert len(answer["hits"]) == 3
    assert all(list(hit) == HIT_KEYS for hit in answer["hits"])
    first = answer["hits"][0]
    assert isinstance(first.pop("score"), float)
    assert first == {
        "rank": 1,
        "code": "I21.9",
        "system": "icd10cm",
        "release": "April 2026",
        "title": "Acute myocardial infarction, unspecified",
        "billable": True,
        "chapter": "Diseases of the circulatory system",
        "matched": "heart attack",
        "template": "vocabulary",
        "why": "lexical+dense",
    }


def test_csv_has_a_header_and_the_same_values():
    rows = list(
        csv.DictReader(io.StringIO(said("query", "heart attack", "-k", "4", "--format", "csv")))
    )
    (answer,) = lines("query", "heart attack", "-k", "4", "--format", "jsonl")
    assert list(rows[0]) == ["query", *HIT_KEYS]
    assert len(rows) == 4
    for row, hit in zip(rows, answer["hits"], strict=True):
        assert row == {"query": "heart attack", **{key: str(value) for key, value in hit.items()}}


def test_the_table_shows_codes_titles_and_reasons():
    shown = said("query", "heart attack", "-k", "2")
    assert shown == said("query", "heart attack", "-k", "2", "--format", "table")
    assert "I21.9" in shown
    assert "Acute myocardial infarction, unspecified" in shown
    assert "known wording “heart attack”" in shown
    assert "ICD-10-CM April 2026" in shown
    assert "\x1b" not in shown  # no colours where nobody looks


def test_markup_in_a_query_is_text():
    assert "[bold red]heart[/] attack" in said("query", "[bold red]heart[/] attack", "-k", "1")


def test_details_show_the_best_hit():
    shown = said("query", "heart attack", "-k", "1", "--details")
    assert "path" in shown
    assert "I20-I25 Ischemic heart diseases" in shown


def test_ten_hits_unless_told():
    (answer,) = lines("query", "chest pain", "--format", "jsonl")
    assert len(answer["hits"]) == 10


def test_filters():
    (answer,) = lines(
        "query", "fracture of shaft of right femur", "--billable", "--under", "S70-S79",
        "-k", "5", "--format", "jsonl",
    )  # fmt: skip
    assert answer["hits"][0]["code"] == "S72.301A"
    assert all(hit["billable"] and hit["code"] < "S8" for hit in answer["hits"])
    (answer,) = lines("query", "E11.3", "--expand", "-k", "3", "--format", "jsonl")
    assert [hit["code"] for hit in answer["hits"]] == ["E11.3", "E11.311", "E11.319"]


@pytest.mark.parametrize("name", ["icd9cm", "ICD-9-CM", "icd9"])
def test_systems_by_any_name(name):
    (answer,) = lines("query", "chest pain", "--system", name, "--format", "jsonl", "-k", "5")
    assert {hit["system"] for hit in answer["hits"]} == {"icd9cm"}
    assert answer["release"] == "ICD-9-CM v32 (2015)"


def test_two_systems():
    (answer,) = lines(
        "query", "V70.0", "-s", "icd9cm", "-s", "icd10cm", "--format", "jsonl", "-k", "2"
    )
    assert {hit["system"] for hit in answer["hits"]} == {"icd9cm", "icd10cm"}
    assert answer["release"] == "ICD-9-CM v32 (2015); ICD-10-CM April 2026"


def test_nothing_found_is_no_error_and_no_data():
    result = invoke("query", " ")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing found" in result.stderr
    (answer,) = lines("query", " ", "--format", "jsonl")
    assert answer["hits"] == []


def test_a_prefix_without_codes_is_an_error():
    said_no = refusal("query", "heart attack", "--under", "A00-A09", "--system", "icd9cm")
    assert "no code of this index lies under 'A00-A09'" in said_no


# query -: a stream


def test_a_stream_is_answered_line_by_line_in_order():
    asked = [
        "stroke",
        "",
        "heart attack",
        "   ",
        "I21.9",
        "😀",
        "胸痛",
        "x" * 100_000,
        "\x01\x02",
    ] * 5
    answers = lines("query", "-", "-k", "2", stdin="\n".join(asked))
    assert [answer["query"] for answer in answers] == asked
    words = [any(letter.isascii() and letter.isalnum() for letter in line) for line in asked]
    assert [bool(answer["hits"]) for answer in answers] == words
    assert answers[0]["hits"][0]["code"] == "I63.9"
    assert answers[2]["hits"][0]["code"] == "I21.9"
    assert all(list(answer) == ["query", "release", "hits"] for answer in answers)
    assert answers[: len(asked) // 5] == answers[-(len(asked) // 5) :]


def test_line_ends_of_windows_and_a_last_line_without_one():
    answers = lines("query", "-", "-k", "1", stdin=b"stroke\r\n\r\nheart attack")
    assert [answer["query"] for answer in answers] == ["stroke", "", "heart attack"]
    assert answers[1] == {"query": "", "release": "ICD-10-CM April 2026", "hits": []}


def test_no_line_no_answer():
    assert said("query", "-", stdin=b"") == ""


def test_bytes_that_are_no_text():
    answers = lines("query", "-", "-k", "1", stdin=b"\xff\xfe stroke\n\xc3\n\x00\nstroke\n")
    assert [answer["query"] for answer in answers] == ["�� stroke", "�", "\x00", "stroke"]
    assert answers[0]["hits"][0]["code"] == answers[3]["hits"][0]["code"] == "I63.9"


def test_the_mark_that_windows_puts_before_utf_8_is_no_word():
    answers = lines("query", "-", "-k", "1", stdin=b"\xef\xbb\xbfstroke\n")
    assert answers[0]["query"] == "stroke"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_queries_in_utf_16_are_refused(encoding):
    mark = b"" if encoding == "utf-16" else codecs.BOM_UTF16_BE
    result = invoke("query", "-", stdin=mark + "stroke\n".encode(encoding))
    assert "iconv -f UTF-16 -t UTF-8" in str(result.exception)
    assert result.stdout == ""


def test_a_code_of_two_systems_is_told_of_both():
    result = invoke("query", "V70.0")
    assert "In ICD-9-CM V70.0 is: Routine general medical examination" in result.stderr
    assert "V70.0" in result.stdout


def test_a_stream_as_csv_has_one_header():
    rows = list(
        csv.DictReader(
            io.StringIO(
                said("query", "-", "-k", "2", "--format", "csv", stdin=b"stroke\n\nheart attack\n")
            )
        )
    )
    assert [(row["query"], row["rank"]) for row in rows] == [
        ("stroke", "1"), ("stroke", "2"), ("", ""), ("heart attack", "1"), ("heart attack", "2"),
    ]  # fmt: skip


def test_answers_go_out_while_lines_still_come_in():
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "query", "-", "-k", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"stroke\n" * 100)
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # stdin is still open
        assert first["hits"][0]["code"] == "I63.9"
        process.stdin.close()
        rest = process.stdout.read().splitlines()
    assert len(rest) == 99
    assert process.returncode == 0


def test_a_single_query_and_a_stream_agree():
    (single,) = lines("query", "sugar diabetes", "--format", "jsonl")
    streamed = lines("query", "-", stdin="stroke\nsugar diabetes\nchest pain")
    assert streamed[1] == single


# similar, show, ontology, eval


def test_similar_to_a_code_with_the_answer_of_the_gem():
    (answer,) = lines("similar", "410.71", "--to", "icd10cm", "-k", "3", "--format", "jsonl")
    assert list(answer) == ["query", "release", "hits", "gem"]
    assert answer["query"] == "410.71 Subendocardial infarction, initial episode of care"
    assert answer["release"] == "ICD-10-CM April 2026"
    assert list(answer["hits"][0]) == HIT_KEYS
    assert answer["hits"][0]["code"] == "I21.4"
    assert answer["gem"] == [
        "I21.4 Non-ST elevation (NSTEMI) myocardial infarction (ICD-10-CM; approximate)"
    ]
    shown = said("similar", "410.71", "--to", "icd10cm", "-k", "3")
    assert "the GEM says I21.4 Non-ST elevation" in shown


def test_similar_within_a_system_asks_no_gem():
    (answer,) = lines("similar", "I21.9", "-k", "3", "--format", "jsonl")
    assert answer["gem"] == []
    assert not [hit for hit in answer["hits"] if hit["code"] == "I21.9"]


@pytest.mark.parametrize("name", ["icd9cm", "icd9", "ICD-9-CM"])
def test_similar_to_a_code_of_a_named_system(name):
    (answer,) = lines("similar", "V70.0", "--system", name, "-k", "1", "--format", "jsonl")
    assert answer["query"].startswith("V70.0 Routine general medical examination")
    assert answer["hits"][0]["system"] == "icd9cm"


@pytest.mark.parametrize("words", ["heart attack", "type 1 dm", "grade 2b", "stage 3 ckd"])
def test_similar_to_words(words):
    """Also words that are as long as an ICD-10-PCS code and hold a digit."""
    (answer,) = lines("similar", *words.split(), "--format", "jsonl", "-k", "4")
    assert answer["query"] == words
    assert answer["gem"] == []
    (plain,) = lines("query", words, "--format", "jsonl", "-k", "4")
    assert answer["hits"] == plain["hits"]


def test_similar_as_csv():
    rows = list(csv.DictReader(io.StringIO(said("similar", "I21.9", "-k", "2", "--format", "csv"))))
    assert list(rows[0]) == ["query", *HIT_KEYS]
    assert len(rows) == 2


def test_show_as_json():
    (shown,) = lines("show", "i2101", "--json")
    assert list(shown) == [
        "code", "system", "title", "release", "billable", "path", "sections", "children",
        "siblings",
    ]  # fmt: skip
    assert (shown["code"], shown["system"], shown["billable"]) == ("I21.01", "icd10cm", True)
    assert [step["code"] for step in shown["path"]] == ["I00-I99", "I20-I25", "I21", "I21.0"]
    assert {tuple(sibling) for sibling in shown["siblings"]} == {("code", "title", "billable")}


def test_show_for_people():
    shown = said("show", "E11.9")
    for part in ("billable", "E08-E13 Diabetes mellitus", "excludes 1", "siblings (9)", "250.00"):
        assert part in shown


def test_ontology_list_as_json():
    (rows,) = lines("ontology", "list", "--json")
    assert [tuple(row) for row in rows] == [
        ("system", "release", "codes", "billable", "index_terms", "origin")
    ] * 4
    assert {row["system"]: (row["codes"], row["billable"]) for row in rows} == {
        "icd10cm": (98_186, 74_719),
        "icd10pcs": (78_603, 78_603),
        "icd9cm": (14_567, 14_567),
        "icd9proc": (3_882, 3_882),
    }
    assert "98,186" in said("ontology", "list")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    path = tmp_path / "cases.jsonl"
    with (DATA / "everyday.jsonl").open(encoding="utf-8") as file:
        path.write_text("".join(line for line, _ in zip(file, range(25), strict=False)))
    return path


def test_eval_as_json(cases, tmp_path):
    run = tmp_path / "run.jsonl"
    report = json.loads(said("eval", str(cases), "--format", "json", "--save-run", str(run)))
    assert list(report) == ["cases", "interval", "rankers"]
    assert report["cases"] == 25
    (ranker,) = report["rankers"]
    assert ranker["name"] == "cmsearch"
    measures = ranker["overall"]["measures"]
    assert list(measures) == [
        "recall@1",
        "recall@5",
        "recall@10",
        "MRR@10",
        "nDCG@10",
        "category@1",
    ]
    assert all(
        0 <= found["low"] <= found["value"] <= found["high"] <= 1 for found in measures.values()
    )
    assert 0.8 <= measures["recall@5"]["value"] <= measures["recall@10"]["value"]
    assert len(run.read_text(encoding="utf-8").splitlines()) == 25
    judged = json.loads(said("eval", str(cases), "--run", str(run), "--format", "json"))
    assert judged["rankers"][0]["overall"] == ranker["overall"]
    assert "recall@5" in said("eval", str(cases))


def test_eval_of_one_half(cases, tmp_path):
    found = {}
    for half in ("dense", "cosine", "lexical"):
        path = tmp_path / f"{half}.jsonl"
        asked = ["eval", str(cases), "--only", half, "--format", "json", "--save-run", str(path)]
        (ranker,) = json.loads(said(*asked))["rankers"]
        assert ranker["name"] == f"cmsearch {half}"
        lines = map(json.loads, path.read_text("utf-8").splitlines())
        found[half] = [[(hit["code"], hit["score"]) for hit in line["hits"]] for line in lines]
    cosines = [score for hits in found["cosine"] for _, score in hits]
    # Vectors of whole steps are longer or shorter than 1 by some thousandths.
    assert all(-1 <= score <= 1.005 for score in cosines)
    assert found["dense"] != found["cosine"] != found["lexical"]
    same = [
        len({code for code, _ in one} & {code for code, _ in other}) / max(1, len(one))
        for one, other in zip(found["dense"], found["cosine"], strict=True)
    ]
    assert sum(same) / len(same) > 0.5  # another order of much the same codes
    assert "dense, cosine, lexical" in refusal("eval", str(cases), "--only", "both")


# Errors: exit code 1 and one line; usage: exit code 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["query", "pain", "--system", "icd11"],
            "the known ones are icd10cm, icd10pcs, icd9cm, icd9proc",
        ),
        (["query", "pain", "--system", "icd10pcs"], "cmsearch index --add icd10pcs"),
        (["query", "pain", "--index", "/nowhere"], "/nowhere: there is no index here"),
        (["query", "-", "--index", "/nowhere"], "/nowhere: there is no index here"),
        (["query", "pain", "--index", __file__], "is a file; an index is a folder"),
        (["index", "--index", __file__], "is a file; an index is a folder"),
        (["similar", "I21.99"], "near it are I21.9 (Acute myocardial infarction, unspecified)"),
        (["similar", "chest pain", "--system", "icd9cm"], "'chest pain' is no ICD-9-CM code"),
        (["similar", "I21.9", "--system", "icd11"], "no code system is called 'icd11'"),
        (["similar", "I21.9", "--to", "icd10pcs"], "not icd10pcs"),
        (["similar", "V70.0"], "say which with --system"),
        (["show", "E11.99"], "near it are E11.9 (Type 2 diabetes mellitus without complications)"),
        (["show", "V70.0"], "ICD-9-CM V70.0 (Routine general medical examination"),
        (["show", "E11.9", "--system", "icd9cm"], "is not written like an ICD-9-CM code"),
        (["show", "two\nlines"], "is no code of this index"),
        (["eval", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
        (["ontology", "add", "/nowhere.zip"], "/nowhere.zip: there is no such file"),
        (["index", "--index", "/proc/nowhere"], "/proc/nowhere: cannot be written"),
    ],
)
def test_errors_of_ours_say_what_to_do(arguments, message):
    result = invoke(*arguments)
    assert message in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "pain", "--system", "icd11"],
        ["show", "E11.99"],
        ["show", "V70.0"],
        ["query", "pain", "--index", "/no\nwhere"],
    ],
)
def test_an_error_is_one_line_on_stderr_and_exit_code_1(arguments):
    ran = command(*arguments)
    assert ran.returncode == 1
    assert ran.stdout == b""
    text = ran.stderr.decode()
    assert text.startswith("error: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["query"],
        ["query", "pain", "-k", "0"],
        ["query", "pain", "-k", "1001"],
        ["query", "pain", "-k", "many"],
        ["query", "pain", "--format", "xml"],
        ["query", "pain", "--nonsense"],
        ["show"],
        ["similar"],
        ["eval"],
        ["index", "--faiss", "annoy"],
        ["index", "--template", "poem"],
        ["ontology", "forget"],
        ["train", "tune"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_usage_errors_name_what_is_known():
    assert "flat, hnsw, ivfpq" in invoke("index", "--faiss", "annoy").stderr
    assert "'jsonl'" in invoke("query", "pain", "--format", "xml").stderr
    assert command("query", "pain", "--format", "xml").returncode == 2


# stdout, stderr, pipes, locales


def test_version():
    assert said("--version") == "cmsearch 0.1.0\n"
    ran = command("--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"cmsearch 0.1.0\n", b"")


def test_completion_prints_a_script():
    for shell, mark in (("bash", b"complete -o"), ("zsh", b"compdef"), ("fish", b"complete ")):
        ran = command("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert mark in ran.stdout
        assert b"cmsearch" in ran.stdout.lower()


def test_completion_completes():
    for typed, wanted in (("cmsearch ", b"similar"), ("cmsearch query --bil", b"--billable")):
        place = str(len(typed.split(" ")) - 1)
        ran = command(_CMSEARCH_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert wanted in ran.stdout.split()


@pytest.mark.parametrize(
    "path", [[], ["query"], ["similar"], ["show"], ["index"], ["eval"], ["ontology"],
             ["ontology", "add"], ["ontology", "list"], ["train"], ["train", "tune"]],
)  # fmt: skip
def test_every_command_has_help(path):
    shown = said(*path, "--help")
    assert "Usage" in shown
    leaf = path and path not in (["ontology"], ["train"], ["ontology", "list"])
    assert ("Example: cmsearch" in " ".join(shown.split())) == bool(leaf)


def test_a_reader_that_goes_away_is_no_error():
    for arguments in (["query", "-"], ["query", "chest pain", "-k", "1000", "--format", "csv"]):
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        with process:
            assert process.stdout is not None
            process.stdout.close()
            _, said_instead = process.communicate(b"stroke\n" * 200)
        assert (process.returncode, said_instead) == (0, b"")


def test_a_reader_that_goes_away_before_a_short_answer():
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "show", "E11.9", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said_instead = process.stderr.read()
    assert (process.returncode, said_instead) == (0, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict", "cp1252"])
def test_output_is_utf_8_whatever_the_locale(encoding):
    ran = command("query", "fièvre 胸痛", "--format", "jsonl", "-k", "1", PYTHONIOENCODING=encoding)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout.decode("utf-8"))["query"] == "fièvre 胸痛"
    ran = command("show", "E11.9", PYTHONIOENCODING=encoding)
    assert ran.returncode == 0
    assert "○ E11.0" in ran.stdout.decode("utf-8")


def test_an_argument_that_is_no_text():
    ran = subprocess.run(
        [sys.executable, "-c", ENTRY, "query", b"\xff heart attack", "--format", "jsonl"],
        capture_output=True,
        env=environment(PYTHONIOENCODING="utf-8:strict"),
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout.decode("utf-8"))["hits"][0]["code"] == "I21.9"


def test_progress_is_no_data(tmp_path):
    ran = command("index", "--system", "icd9proc", CMSEARCH_HOME=str(tmp_path))
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert b"text forms" in ran.stderr
    assert b"ICD-9-CM procedures v32 (2015) (" in b" ".join(ran.stderr.split())
    ran = command("query", "appendectomy", "--format", "jsonl", CMSEARCH_HOME=str(tmp_path))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["hits"][0]["code"].startswith("47")


def test_a_checkout_has_its_own_way_in():
    shim = Path(__file__).parents[1] / "cli.py"
    if not shim.is_file():
        pytest.skip("only in a checkout")
    ran = subprocess.run(
        [sys.executable, str(shim), "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "cmsearch 0.1.0\n"


def test_help_is_quick():
    """Generous, for busy machines; the benchmarks measure it exactly."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert command("--help").returncode == 0
        took.append(time.perf_counter() - start)
    assert min(took) < 2.0


def test_a_full_disk_behind_stdout_is_one_line():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("wb") as out:
        ran = subprocess.run(
            [sys.executable, "-c", ENTRY, "query", "fever"],
            stdout=out, stderr=subprocess.PIPE, env=environment(), check=False,
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.startswith(b"error: standard output:")
    assert b"Traceback" not in ran.stderr


def test_an_index_is_brought_up_to_date_with_what_it_was_made_of():
    manifest = real_index().manifest
    assert BuildOptions.of(manifest) == BuildOptions()
    procedures = IndexedCodeSet("icd9proc", "v32", "", "", 1)
    other = replace(
        manifest, kind="hnsw", vocabulary="", code_sets=(*manifest.code_sets, procedures)
    )
    kept = BuildOptions.of(other)
    assert (kept.kind.value, kept.vocabulary) == ("hnsw", False)
    assert [system.value for system in kept.systems] == ["icd10cm", "icd9cm", "icd9proc"]
