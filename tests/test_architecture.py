"""Floors and walls, read from the imports; what stays unloaded, seen in processes."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from real_index import ENTRY, environment

import cmsearch

PACKAGE = Path(cmsearch.__file__).parent
# A module imports only from floors below its own. A name stands for a module or for a
# package with all that is in it. The side tower sees everything but the CLI.
FLOORS = {
    0: (
        "errors", "codes", "types", "rows", "paths", "lines", "metrics", "report", "wording",
        "manifest", "quantities", "separation", "values",
    ),
    1: (
        "ontology", "cases", "casefiles", "runfiles", "formtable", "lexiconfile", "projection",
        "ivfpq", "quantiser",
    ),
    2: (
        "serialise", "encoder", "vectors", "approximate", "ondevice", "lexicon", "fusion",
        "filters",
    ),
    3: ("contents", "index", "nocode", "narrowing", "query", "candidates", "arrange", "growing"),
    4: ("search", "ranking", "description"),
    5: ("notes",),
    6: ("evaluate", "peers", "atlas", "picture", "batch", "collection"),
    7: ("train",),
    8: ("cli",),
}  # fmt: skip
# Imports within a floor, each on purpose.
WITHIN = {
    ("codes", "errors"),
    ("types", "codes"),
    ("manifest", "errors"),
    ("manifest", "paths"),
    ("query", "narrowing"),
    ("arrange", "narrowing"),
    ("manifest", "types"),
    ("lines", "errors"),
    ("values", "types"),
    ("casefiles", "cases"),
    ("runfiles", "cases"),
    ("lexiconfile", "formtable"),
    ("index", "contents"),
    ("arrange", "candidates"),
    ("approximate", "vectors"),
    ("ondevice", "vectors"),
    ("quantiser", "ivfpq"),
    ("arrange", "query"),
    ("candidates", "query"),
    ("ranking", "search"),
    ("description", "search"),
    ("separation", "types"),
    ("picture", "atlas"),
}
# Which modules may import a library; a star stands for a whole package.
WALLS = {
    "torch": ("encoder.torch", "quantiser", "ondevice", "train.*", "cli.training"),
    "transformers": ("encoder.torch", "train.*"),
    "sentence_transformers": ("encoder.torch", "train.*", "peers"),
    "huggingface_hub": ("encoder.hub",),
    "onnxruntime": ("encoder.onnx", "train.export"),
    "tokenizers": ("encoder.onnx", "train.*"),
    "onnx": ("train.export", "train.embeddings", "cli.training", "train.reopen"),
    "faiss": ("vectors", "approximate", "ivfpq"),
    "sqlite3": ("lexicon", "lexiconfile", "collection.book"),
    "typer": ("cli.*",),
    "rich": ("cli.*",),
    "striprtf": ("notes.text",),
    "bm25s": ("peers",),
    "sklearn": ("peers",),
    "lightgbm": ("train.boosting", "cli.training"),
    "optimi": ("train.pretrain", "cli.training"),
    "matplotlib": ("picture", "train.journal", "cli.atlas", "cli.training"),
    "openTSNE": ("projection",),
    "pycrfsuite": ("train.tagger", "cli.training"),
    "click": (),
    "ray": ("batch.ray",),
    "pyarrow": ("batch.*",),
    "pickle": (),
    "joblib": (),
    "requests": (),
    "urllib": (),
    "socket": (),
}
# Optional libraries that these modules may only fetch through ``need``.
BY_NEED = {
    "encoder.torch": ("torch", "transformers", "sentence_transformers"),
    "encoder.hub": ("huggingface_hub",),
    "peers": ("sentence_transformers", "bm25s", "sklearn"),
    "vectors": ("faiss",),
    "approximate": ("faiss",),
    "ivfpq": ("faiss",),
    "quantiser": ("torch",),
    "ondevice": ("torch",),
    "batch.ray": ("ray", "pyarrow"),
    "batch.output": ("pyarrow",),
    "batch.parquet": ("pyarrow",),
    "batch.streams": ("pyarrow",),
    "cli.training": ("torch", "onnx", "lightgbm", "pycrfsuite", "zstandard"),
    "train.boosting": ("lightgbm",),
    "train.tagger": ("pycrfsuite",),
    "notes.text": ("striprtf",),
    "projection": ("openTSNE",),
    "picture": ("matplotlib",),
}
HEAVY = ("torch", "transformers", "sentence_transformers")
MIDDLING = ("numpy", "onnxruntime", "faiss", "tokenizers", "sqlite3")


def name_of(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(node: ast.AST) -> Iterator[str]:
    """Yield the full names that an import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def fetched(node: ast.AST) -> Iterator[str]:
    """Yield the names that ``need("x")`` or ``import_module("x")`` fetches."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in ("need", "import_module"):
            yield str(node.args[0].value)


def own(full: str) -> str | None:
    """Return the module of this package that a full name belongs to; "" is the root."""
    if full.split(".")[0] != "cmsearch":
        return None
    parts = full.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def uses(module: str) -> set[str]:
    """Return the modules of this package that a module imports, wherever it does."""
    names = {
        own(full) for node in ast.walk(tree(module)) for full in (*imported(node), *fetched(node))
    }
    return {name for name in names if name is not None}


def floor(module: str) -> int | None:
    for number, names in FLOORS.items():
        if module in names or module.split(".")[0] in names:
            return number
    return None


def covers(pattern: str, module: str) -> bool:
    if pattern.endswith(".*"):
        return module == pattern[:-2] or module.startswith(pattern[:-1])
    return module == pattern


def test_every_module_has_a_floor_and_every_floor_its_modules():
    assert len(MODULES) > 40
    assert [module for module in MODULES if module and floor(module) is None] == []
    named = [name for names in FLOORS.values() for name in names]
    assert [name for name in named if name not in MODULES] == []
    assert len(named) == len(set(named))


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_flow_down(module):
    for used in sorted(uses(module)):
        assert used != "", f"{module} imports from the root"
        below = floor(used) < floor(module)
        package = module.split(".")[0]
        sibling = used.split(".")[0] == package and (PACKAGE / package).is_dir()
        assert below or sibling or (module, used) in WITHIN, f"{module} imports {used}"


def test_no_allowance_is_left_over():
    assert {pair for pair in WITHIN if pair[1] not in uses(pair[0])} == set()


def test_only_the_command_line_knows_the_side_tower():
    users = {m for m in MODULES if any(covers("train.*", used) for used in uses(m))}
    assert {user.split(".")[0] for user in users} == {"train", "cli"}


def test_there_are_no_cycles():
    graph = {module: uses(module) - {module} for module in MODULES if module}
    while True:
        leaves = {module for module, used in graph.items() if not used & graph.keys()}
        if not leaves:
            break
        graph = {module: used for module, used in graph.items() if module not in leaves}
    assert graph == {}


def test_imports_of_our_own_stand_at_the_top_outside_the_command_line():
    hidden = [
        (module, full)
        for module in MODULES
        if module and not covers("cli.*", module)
        for scope in ast.walk(tree(module))
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(scope)
        for full in imported(node)
        if own(full) is not None
    ]
    assert hidden == []


def test_nothing_is_imported_relatively():
    dotted = [
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert dotted == []


@pytest.mark.parametrize("library", WALLS)
def test_a_library_stays_behind_its_wall(library):
    users = {
        module
        for module in MODULES
        for node in ast.walk(tree(module))
        for full in (*imported(node), *fetched(node))
        if full.split(".")[0] == library
    }
    strays = [m for m in users if not any(covers(pattern, m) for pattern in WALLS[library])]
    assert strays == []
    assert bool(users) == bool(WALLS[library])  # a wall around nothing would prove nothing


@pytest.mark.parametrize("module", BY_NEED)
def test_optional_libraries_are_fetched_through_need(module):
    plain = [
        full
        for node in ast.walk(tree(module))
        for full in imported(node)
        if full.split(".")[0] in BY_NEED[module]
    ]
    assert plain == []
    needed = {full.split(".")[0] for node in ast.walk(tree(module)) for full in fetched(node)}
    assert needed <= set(BY_NEED[module])
    assert needed


def loaded(code: str, *arguments: str) -> set[str]:
    """Return the top-level modules that a process has loaded after running code."""
    report = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write("
        "'\\nLOADED ' + ' '.join({name.split('.')[0] for name in sys.modules})))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", report + code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=True,
    )
    return set(ran.stderr.rpartition("LOADED ")[2].split())


def test_importing_cmsearch_loads_nothing_heavy():
    names = loaded("import cmsearch")
    assert "cmsearch" in names
    assert names.isdisjoint({*HEAVY, *MIDDLING, "typer", "rich"})


@pytest.mark.parametrize("arguments", [["--help"], ["query", "--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    names = loaded(ENTRY, *arguments)
    assert "typer" in names
    assert names.isdisjoint({*HEAVY, *MIDDLING})


@pytest.mark.parametrize(
    "arguments", [["query", "heart attack"], ["similar", "I21.9"], ["show", "I21.9"]]
)
def test_asking_never_loads_torch(arguments):
    names = loaded(ENTRY, *arguments)
    assert {"numpy", "faiss", "sqlite3"} <= names
    assert names.isdisjoint(HEAVY)


def test_the_root_names_are_sorted_complete_and_there():
    assert cmsearch.__all__ == sorted(cmsearch.__all__)
    promised = {
        alias.name
        for node in tree("").body
        if isinstance(node, ast.If)
        for line in node.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert set(cmsearch.__all__) == promised == set(cmsearch._HOMES)
    for name in cmsearch.__all__:
        found = getattr(cmsearch, name)
        assert found.__name__ == name
        # A name must mean the same when its module was imported before.
        home = importlib.import_module(cmsearch._HOMES[name])
        assert getattr(cmsearch, name) is getattr(home, name) is found
    assert set(cmsearch.__all__) <= set(dir(cmsearch))
    with pytest.raises(AttributeError, match="no attribute 'Atlas'"):
        getattr(cmsearch, "Atlas")  # noqa: B009
