"""Fixtures that several test files share: the small world of tiny.py, built once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from cmsearch.fusion import Fusion
from cmsearch.index import OpenIndex, open_index
from cmsearch.ontology.ontology import Ontology
from cmsearch.search import Index

# benchmarks and docs of the checkout are tested too; the package stays the installed one.
sys.path.append(str(Path(__file__).parent.parent))

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def tiny_ontology() -> Ontology:
    """The 40 concepts of the small world."""
    return tiny.tiny_ontology()


@pytest.fixture
def fake_encoder() -> tiny.FakeEncoder:
    """An encoder that a person can check, with nothing encoded yet."""
    return tiny.FakeEncoder()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder over the small world. Not to be changed: copy it first."""
    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    tiny.build(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_files(tiny_folder: Path) -> OpenIndex:
    """The small index, open."""
    return open_index(tiny_folder)


@pytest.fixture(scope="session")
def tiny_index(tiny_files: OpenIndex) -> Index:
    """The small index with its fake encoder and the fusion that ships."""
    return Index(tiny_files, tiny.FakeEncoder(), Fusion.load())


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start Python code in a process of its own, with tiny.py within reach."""

    def started(code: str, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started
