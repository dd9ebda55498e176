"""Where the user's data lie: built indexes and downloaded release files."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path

HOME_VARIABLE = "CMSEARCH_HOME"


def home() -> Path:
    """Return the folder that holds ``indexes/`` and ``ontology/``.

    $CMSEARCH_HOME if it is set; else the current folder if it has an ``indexes/`` of
    its own (a checkout); else the user's data folder.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser()
    if Path("indexes").is_dir():
        return Path()
    return user_data_path("cmsearch", appauthor=False)


def index_folder(named: Path | None = None) -> Path:
    """Return the index folder: the named one, or ``default`` under the home."""
    return named if named is not None else home() / "indexes" / "default"


def index_command(folder: Path, *options: str) -> str:
    """Return the command that makes an index in this folder, for advice in errors."""
    named = () if folder == index_folder() else ("--index", str(folder))
    return " ".join(("cmsearch index", *options, *named))


def ontology_folder(named: Path | None = None) -> Path:
    """Return the folder of the user's release files."""
    return named if named is not None else home() / "ontology"
