"""Asking the command line within this process, with the real index behind it."""

from __future__ import annotations

import json
from typing import Any

from real_index import environment
from typer.testing import CliRunner, Result

from cmsearch.cli.app import app
from cmsearch.errors import CmsearchError

HIT_KEYS = [
    "rank", "code", "system", "release", "title", "score", "billable", "chapter", "matched",
    "template", "why",
]  # fmt: skip


def invoke(*arguments: str, stdin: bytes | str | None = None) -> Result:
    """Run a command to its end; an error of ours is left in ``exception``."""
    return CliRunner().invoke(app, list(arguments), input=stdin, env=environment())


def said(*arguments: str, stdin: bytes | str | None = None) -> str:
    """Return the stdout of a command that must end well and keep stderr empty."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert result.stderr == ""
    return result.stdout


def lines(*arguments: str, stdin: bytes | str | None = None) -> list[Any]:
    """Return the JSON lines that a command prints."""
    return [json.loads(line) for line in said(*arguments, stdin=stdin).splitlines()]


def refusal(*arguments: str) -> str:
    """Return the message of the error of ours that a command ends in."""
    result = invoke(*arguments)
    assert isinstance(result.exception, CmsearchError), (result.stdout, result.exception)
    assert result.stdout == ""
    return str(result.exception)
