"""What somebody asks stays with them: in no file, no log, no error, no connection."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from real_index import ENTRY, command, environment, real_home

MARKER = "qzxmarker"
# Reports on stderr what a process writes, connects to or starts.
WATCH = """
import os, sys
seen = []
def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen.append(f"open {path}")
    elif event.startswith(("socket.", "subprocess.", "os.system", "os.posix_spawn", "os.exec",
                           "os.mkdir", "os.rename", "os.remove", "tempfile.", "urllib.",
                           "syslog.")):
        seen.append(f"{event} {arguments[:2]}")
sys.addaudithook(watch)
import atexit
atexit.register(lambda: sys.stderr.write("".join(f"SEEN {line}\\n" for line in seen)))
"""
ASKED = [
    (["query", f"chest pain {MARKER}"], b""),
    (["query", f"chest pain {MARKER}", "--format", "jsonl"], b""),
    (["query", "-"], f"chest pain {MARKER}\n{MARKER}\n\xff{MARKER}\n".encode("latin-1")),
    (["query", f"{MARKER} " * 3000, "--format", "csv"], b""),
    (["similar", f"chest pain {MARKER}"], b""),
]


def contents(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of every file below some folders."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def holding(marker: str, *folders: Path) -> list[Path]:
    return [path for path in contents(*folders) if marker.encode() in path.read_bytes()]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Empty folders for everything that a process may take for its own."""
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "cwd")
    found = {name: tmp_path / name.lower() for name in names}
    for folder in found.values():
        folder.mkdir()
    return found


def variables(places: dict[str, Path]) -> dict[str, str]:
    """Return what an ordinary user has set: nothing that would keep ONNX Runtime quiet."""
    own = {name: str(path) for name, path in places.items() if name != "cwd"}
    quiet = ("ORT_", "CI", "GITHUB_", "TF_BUILD", "PYTEST_")
    return {name: value for name, value in environment(**own).items() if not name.startswith(quiet)}


def ask(
    places: dict[str, Path],
    arguments: list[str],
    stdin: bytes = b"",
    *,
    code: str = ENTRY,
    under: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*under, sys.executable, "-B", "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        cwd=places["cwd"],
        env=variables(places),
        timeout=120,
        check=False,
    )


def test_the_search_for_the_marker_finds_it(tmp_path):
    """Else the tests below would prove nothing."""
    (tmp_path / "log").write_text(f"asked: {MARKER}\n")
    assert holding(MARKER, tmp_path) == [tmp_path / "log"]


@pytest.mark.parametrize(("arguments", "stdin"), ASKED, ids=[" ".join(a)[:24] for a, _ in ASKED])
def test_no_file_gains_what_was_asked(places, arguments, stdin):
    home = real_home()
    before = contents(home)
    ran = ask(places, arguments, stdin)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert MARKER.encode() in ran.stdout  # the answer names the question
    assert contents(home) == before
    assert contents(*places.values()) == {}
    assert holding(MARKER, home) == []


@pytest.mark.parametrize(("arguments", "stdin"), ASKED, ids=[" ".join(a)[:24] for a, _ in ASKED])
def test_nothing_is_written_started_or_connected_to(places, arguments, stdin):
    ran = ask(places, arguments, stdin, code=WATCH + ENTRY)
    assert ran.returncode == 0
    assert ran.stderr == b""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize(
    "arguments", [["query", f"chest pain {MARKER}"], ["index", "-s", "icd9proc"]]
)
def test_no_connection_is_made_by_any_library(places, tmp_path, arguments):
    """The libraries in C and C++ too, which the watch above cannot see."""
    trace = tmp_path / "trace"
    under = ("strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace))
    if arguments[0] == "index":
        arguments = [*arguments, "--index", str(tmp_path / "index")]
    ran = ask(places, arguments, under=under)
    assert ran.returncode == 0, ran.stderr
    assert "AF_INET" not in trace.read_text()
    assert contents(*places.values()) == {}


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_trace_sees_a_connection(places, tmp_path):
    trace = tmp_path / "trace"
    under = ("strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace))
    code = "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); s.close()"
    ask(places, [], code=code, under=under)
    assert "AF_INET" in trace.read_text()


def test_the_watch_sees(places):
    code = WATCH + "open('left', 'w').close(); import socket; socket.socket().close()"
    seen = ask(places, [], b"", code=code).stderr
    assert b"SEEN open left" in seen
    assert b"SEEN socket." in seen


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", f"chest pain {MARKER}", "--index", "/nowhere"],
        ["query", f"chest pain {MARKER}", "--system", "icd11"],
        ["query", f"chest pain {MARKER}", "--system", "icd10pcs"],
        ["query", f"chest pain {MARKER}", "-k", "0"],
        ["query", f"chest pain {MARKER}", "--format", "xml"],
        ["query", f"chest pain {MARKER}", "--under", "XYZ"],
        ["similar", f"chest pain {MARKER}", "--to", "icd10pcs"],
    ],
)
def test_an_error_does_not_repeat_what_was_asked(arguments):
    ran = command(*arguments)
    assert ran.stderr
    assert MARKER.encode() not in ran.stderr + ran.stdout


def test_cases_stay_where_they_are(places, tmp_path):
    cases = tmp_path / "cases.jsonl"
    case = {"query": f"chest pain {MARKER}", "codes": ["R07.9"], "system": "icd10cm", "kind": "lay"}
    cases.write_text(json.dumps(case) + "\n")
    before = contents(real_home())
    ran = ask(places, ["eval", str(cases), "--format", "json"], b"")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert MARKER.encode() not in ran.stdout
    assert contents(real_home()) == before
    assert contents(*places.values()) == {}
