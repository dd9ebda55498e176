"""The wheel: what is in it, and that it works with nothing but what it declares."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from real_index import environment

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("build", "hatchling", "faiss"))),
    reason="needs build, hatchling and faiss: pip install 'cmsearch[test,cpu]' hatchling",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out),
            str(ROOT),
        ],
        capture_output=True,
        check=True,
        timeout=300,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of all installed distributions that requirements bring."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += [Requirement(text) for text in distribution(name).requires or ()]
    return found


def link(distributions: Iterable[str], folder: Path) -> Path:
    """Return a folder with links to everything that these distributions installed."""
    folder.mkdir()
    for name in sorted(distributions):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            target = Path(str(installed.locate_file(top)))
            if target.exists() and not (folder / top).exists():
                (folder / top).symlink_to(target)
    return folder


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the python of a fresh environment: the wheel and what it declares, no extra."""
    place = tmp_path_factory.mktemp("bare")
    venv.create(place / "venv", with_pip=False)
    python = place / "venv" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs an environment with a bin folder")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True, timeout=300,
    )  # fmt: skip
    declared = link(closure(PROJECT["dependencies"]), place / "declared")
    (site,) = (place / "venv").glob("lib/python*/site-packages")
    (site / "declared.pth").write_text(f"{declared}\n")
    link(closure(PROJECT["optional-dependencies"]["cpu"]), place / "cpu")
    return python


def run(python: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command, far from the checkout."""
    return subprocess.run(
        [str(python.with_name("cmsearch")), *arguments],
        capture_output=True,
        text=True,
        cwd=python.parent,
        env=environment(PYTHONNOUSERSITE="1", **{"PYTHONPATH": "", **more}),
        timeout=120,
        check=False,
    )


def with_cpu(python: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(python.parents[2] / "cpu")}


def test_the_wheel_holds_the_code_and_its_data(names):
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cmsearch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    for file in ("encoder/model/model.onnx", "encoder/model/tokenizer.json",
                 "encoder/model/encoder.json", "fusion.json", "py.typed"):  # fmt: skip
        assert f"cmsearch/{file}" in names
    vocabulary = [name for name in names if name.startswith("cmsearch/ontology/vocabulary/")]
    assert len([name for name in vocabulary if name.endswith(".tsv")]) >= 8


def test_the_wheel_holds_nothing_else(names):
    strangers = [name for name in names if not name.startswith(("cmsearch/", "cmsearch-"))]
    assert strangers == []
    assert "cli.py" not in names
    odd = ("test", "__pycache__", ".pyc", "runs/", "benchmarks", "recipes", ".safetensors", ".pkl")
    assert [name for name in names if any(part in name for part in odd)] == []


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < 60_000_000


def test_the_bare_command_has_a_version_and_help(bare):
    ran = run(bare, "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        0, f"cmsearch {PROJECT['version']}\n", "",
    )  # fmt: skip
    assert run(bare, "--help").returncode == 0


def test_the_bare_package_is_the_one_of_the_wheel(bare):
    ran = subprocess.run(
        [str(bare), "-c", "import cmsearch, importlib.util as u; print(cmsearch.__file__);"
         "print(*[m for m in ('torch', 'faiss', 'transformers', 'pytest') if u.find_spec(m)])"],
        capture_output=True, text=True, check=True, cwd=bare.parent, timeout=60,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    file, optional = ran.stdout.split("\n")[:2]
    assert Path(file).is_relative_to(bare.parents[1])
    assert optional == ""


def test_without_faiss_the_error_names_the_extra(bare):
    ran = run(bare, "query", "heart attack")
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == (
        "error: faiss is not installed, and this needs it. "
        'Install it with: pip install "cmsearch[cpu]"\n'
    )


def test_without_torch_training_names_the_extra(bare, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("")
    ran = run(
        bare, "train", "tune", str(recipe), "--terms", str(tmp_path), "--out", str(tmp_path / "out")
    )
    assert ran.returncode == 1
    assert ran.stderr.endswith('Install it with: pip install "cmsearch[train]"\n')
    assert ran.stderr.count("\n") == 1


def test_the_bare_wheel_with_the_cpu_extra_answers(bare):
    ran = run(bare, "query", "heart attack", "--format", "csv", "-k", "1", **with_cpu(bare))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ",I21.9,icd10cm," in ran.stdout
    shown = run(bare, "show", "E11.9", **with_cpu(bare))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "E08-E13 Diabetes mellitus" in shown.stdout


def test_the_bare_wheel_with_the_cpu_extra_builds(bare, tmp_path):
    more = {**with_cpu(bare), "CMSEARCH_HOME": str(tmp_path)}
    ran = run(bare, "index", "--system", "icd9proc", **more)
    assert ran.returncode == 0, ran.stderr
    ran = run(bare, "query", "appendectomy", "--format", "csv", "-k", "1", **more)
    assert ",47" in ran.stdout


def test_every_declared_distribution_is_installed_here():
    """Else the bare environment would lack it silently."""
    missing = []
    for text in PROJECT["dependencies"]:
        try:
            distribution(Requirement(text).name)
        except PackageNotFoundError:
            missing.append(text)
    assert missing == []
