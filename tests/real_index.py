"""The default index, built once a test run by the shipped encoder, and ways to ask it."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from cmsearch.search import Index

ENTRY = "import sys; sys.argv[0] = 'cmsearch'; from cmsearch.cli import main; main()"


@cache
def real_home() -> Path:
    """Return a folder for $CMSEARCH_HOME that holds the default index.

    $CMSEARCH_TEST_HOME names one that is kept: the next run then encodes only what changed.
    """
    kept = os.environ.get("CMSEARCH_TEST_HOME")
    home = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="cmsearch-tests-"))
    if not kept:
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    Index.build(home / "indexes" / "default", ontology=home / "ontology")
    return home


@cache
def real_index() -> Index:
    """Return the default index, open."""
    return Index.open(real_home() / "indexes" / "default")


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a process that shall use the real index."""
    return {**os.environ, "CMSEARCH_HOME": str(real_home()), "COLUMNS": "200", **more}


def command(
    *arguments: str, stdin: bytes = b"", timeout: float = 120, **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run ``cmsearch`` with these arguments in a process of its own; ``more`` are variables."""
    return subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        env=environment(**more),
        check=False,
    )
