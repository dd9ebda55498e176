"""Evaluation cases and runs: JSON lines, TREC run and qrels, BEIR folders.

    cases   {"query": "heart attack", "codes": ["I21.9"], "system": "icd10cm", "kind": "lay"}
    run     {"query": "heart attack", "hits": [{"code": "I21.9", "score": 0.93}]}
    qrels   heart-1 0 I21.9 1
    run     heart-1 Q0 I21.9 1 0.93 cmsearch
    BEIR    corpus.jsonl, queries.jsonl, qrels/test.tsv

A path that ends in ``.gz`` is written compressed; compressed files are known by their
content. A code value in a run may carry its system in front: ``icd9cm:V70.0``.
"""

from __future__ import annotations

import gzip
import json
import math
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from cmsearch.codes import Code, System
from cmsearch.errors import CasesError, CodeError

Ranking = tuple[tuple[str, float], ...]
Qrels = dict[str, dict[str, int]]
_Where = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One query and the codes that answer it.

    Attributes:
        id: what TREC and BEIR files call the query; the line number where nothing does.
        query: its text; empty where the cases come from qrels alone.
        codes: the gold codes, at least one, all of one system.
        kind: the group that it is reported with; empty for none.
    """

    id: str
    query: str
    codes: tuple[Code, ...]
    kind: str = ""

    @property
    def system(self) -> System:
        """The system of the gold codes."""
        return self.codes[0].system


@dataclass(frozen=True, slots=True)
class Run:
    """What one system found: rankings by query id or by query text, best hit first."""

    name: str
    by_id: Mapping[str, Ranking] = field(default_factory=dict)
    by_query: Mapping[str, Ranking] = field(default_factory=dict)

    def ranking(self, case: Case) -> Ranking | None:
        """Return the code values and scores found for a case; None where it is missing."""
        if case.id in self.by_id:
            return self.by_id[case.id]
        return self.by_query.get(_plain(case.query))


def read_cases(path: Path, *, system: System = System.ICD10CM) -> list[Case]:
    """Return the cases of a JSON lines file, a TREC qrels file or a BEIR folder.

    Args:
        path: the file, plain or gzip, or the folder.
        system: the system of codes whose line names none.

    Raises:
        CasesError: it cannot be read, is none of the three, or holds no case.
    """
    if path.is_dir():
        cases = _beir_cases(path, system)
    elif _starts_like_json(path):
        cases = [_case(row, where, system) for where, row in _json_lines(path)]
    else:
        cases = _judged_cases(read_qrels(path), {}, str(path), system)
    if not cases:
        raise CasesError(f"{path}: holds no case; give at least one line with query and codes")
    twice = _first_double(case.id for case in cases)
    if twice is not None:
        raise CasesError(f"{path}: two cases have the id {twice!r}; give each its own")
    return cases


def read_run(path: Path, *, name: str | None = None) -> Run:
    """Return the rankings of a run: the JSON lines of ``cmsearch query -``, or a TREC run.

    Hits are ordered by score, larger first; equal scores keep the order of their ranks.

    Args:
        path: the file, plain or gzip.
        name: what to call it; the name of the file without its suffixes by default.

    Raises:
        CasesError: the file cannot be read or is neither of the two.
    """
    name = name or path.name.split(".")[0]
    if _starts_like_json(path):
        return Run(name, by_query=_json_run(path))
    return Run(name, by_id=_trec_run(path))


def read_qrels(path: Path) -> Qrels:
    """Return the relevance of each document for each query, of a TREC or BEIR file.

    TREC lines have four fields (query, 0, document, relevance), BEIR lines three (query,
    document, score) under a header.

    Raises:
        CasesError: a line has other fields, or judges a document twice.
    """
    judged: Qrels = {}
    for where, line in _lines(path):
        fields = line.split()
        if fields[0] == "query-id":
            continue
        if len(fields) not in (3, 4):
            _refuse(
                where,
                f"{len(fields)} fields",
                "qrels have 'query 0 document relevance', or 'query document score'",
            )
        query, document, relevance = fields[0], fields[-2], fields[-1]
        try:
            grade = int(relevance)
        except ValueError:
            _refuse(where, f"relevance {relevance[:20]!r}", "write a whole number such as 1")
        documents = judged.setdefault(query, {})
        if document in documents:
            _refuse(where, f"judges {document!r} for {query!r} again", "remove one of the lines")
        documents[document] = grade
    return judged


def read_beir_corpus(folder: Path) -> dict[str, str]:
    """Return the text of each document of a BEIR folder, its title in front.

    Raises:
        CasesError: ``corpus.jsonl`` is missing or a line of it has no id or text.
    """
    documents = {}
    for where, row in _json_lines(folder / "corpus.jsonl"):
        title, text = row.get("title") or "", row.get("text") or ""
        if not isinstance(title, str) or not isinstance(text, str):
            _refuse(where, "field 'title' or 'text' is no text", "write it as a string")
        documents[_text(row, "_id", where)] = f"{title} {text}".strip()
    return documents


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write cases as JSON lines.

    Raises:
        CasesError: the file cannot be written.
    """
    _write(path, (_dump(_case_row(case)) for case in cases))


def write_qrels(path: Path, cases: Iterable[Case]) -> None:
    """Write the gold codes of cases as TREC qrels; the match of descendants is lost.

    Raises:
        CasesError: an id holds white space, or the file cannot be written.
    """
    _write(path, (f"{_word(case.id)} 0 {code} 1" for case in cases for code in case.codes))


def write_run(path: Path, run: Run, cases: Iterable[Case]) -> None:
    """Write what a run found for cases as JSON lines, one for each case, in order.

    Raises:
        CasesError: the file cannot be written.
    """
    _write(path, (_dump(_run_row(case, run.ranking(case) or ())) for case in cases))


def write_trec_run(path: Path, run: Run, cases: Iterable[Case]) -> None:
    """Write what a run found for cases as a TREC run, for trec_eval and its kin.

    Raises:
        CasesError: an id holds white space, or the file cannot be written.
    """
    tag = "-".join(run.name.split()) or "run"
    _write(
        path,
        (
            f"{_word(case.id)} Q0 {_word(value)} {rank} {score!r} {tag}"
            for case in cases
            for rank, (value, score) in enumerate(run.ranking(case) or (), start=1)
        ),
    )


def write_beir(folder: Path, cases: Sequence[Case], titles: Mapping[str, str]) -> None:
    """Write cases as a BEIR folder, the codes being its documents.

    Args:
        folder: made where it is missing.
        cases: of one system.
        titles: the text of each code value; gold codes that it lacks get an empty one.

    Raises:
        CasesError: the cases mix systems, or a file cannot be written.
    """
    if len({case.system for case in cases}) > 1:
        raise CasesError(f"{folder}: a BEIR folder holds codes of one system; write one for each")
    gold = {code.value: "" for case in cases for code in case.codes}
    documents = sorted({**gold, **titles}.items())
    _make_folder(folder / "qrels")
    _write(
        folder / "corpus.jsonl",
        (_dump({"_id": value, "title": "", "text": text}) for value, text in documents),
    )
    _write(folder / "queries.jsonl", (_dump(_beir_query(case)) for case in cases))
    judged = (f"{_word(case.id)}\t{code}\t1" for case in cases for code in case.codes)
    _write(folder / "qrels" / "test.tsv", ("query-id\tcorpus-id\tscore", *judged))


# --- from rows to cases and runs


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    kind: str
    system: System


def _case(row: Mapping[str, Any], where: _Where, system: System) -> Case:
    codes = row.get("codes")
    if not isinstance(codes, list) or not codes:
        _refuse(where, "field 'codes' is no list of codes", 'write it as "codes": ["I21.9"]')
    query = _query(row, "query", where, system)
    gold = tuple(_gold(value, query.system, where) for value in codes)
    identity = _text(row, "id", where) if "id" in row else str(where[1])
    return Case(identity, query.text, tuple(dict.fromkeys(gold)), query.kind)


def _query(row: Mapping[str, Any], key: str, where: _Where, system: System) -> _Query:
    text = _text(row, key, where)
    kind = _text(row, "kind", where, blank=True) if "kind" in row else ""
    if "system" in row:
        try:
            system = System.parse(_text(row, "system", where))
        except CodeError as error:
            _refuse(where, "field 'system'", str(error))
    return _Query(text, kind, system)


def _gold(value: object, system: System, where: _Where) -> Code:
    try:
        return Code.of(system, value if isinstance(value, str) else "")
    except CodeError:
        _refuse(
            where,
            f"field 'codes': {str(value)[:40]!r} is not written like an {system.label} code",
            "correct it, or name its code system in the field 'system'",
        )


def _judged_cases(
    judged: Qrels, queries: Mapping[str, _Query], name: str, system: System
) -> list[Case]:
    """Return a case for each query with a relevant document, in the order of the queries."""
    cases = []
    order = [key for key in queries if key in judged]
    for key in [*order, *(key for key in judged if key not in queries)]:
        query = queries.get(key, _Query("", "", system))
        relevant = [document for document, grade in judged[key].items() if grade > 0]
        try:
            gold = tuple(dict.fromkeys(Code.of(query.system, document) for document in relevant))
        except CodeError as error:
            raise CasesError(
                f"{name}: query {key!r}: {error}; the documents of cases must be codes"
            ) from error
        if gold:
            cases.append(Case(key, query.text, gold, query.kind))
    return cases


def _beir_cases(folder: Path, system: System) -> list[Case]:
    path = _beir_qrels(folder)
    judged = read_qrels(path)
    queries = {
        _text(row, "_id", where): _query({**row, **_metadata(row)}, "text", where, system)
        for where, row in _json_lines(folder / "queries.jsonl")
    }
    unknown = sorted(judged.keys() - queries.keys())
    if unknown:
        raise CasesError(
            f"{path}: judges the query {unknown[0]!r}, which {folder / 'queries.jsonl'} "
            "does not have; take both from one release"
        )
    return _judged_cases(judged, queries, str(path), system)


def _beir_qrels(folder: Path) -> Path:
    found = sorted((folder / "qrels").glob("*.tsv"))
    test = [path for path in found if path.name == "test.tsv"]
    if len(test or found) == 1:
        return (test or found)[0]
    names = ", ".join(path.name for path in found) or "none"
    raise CasesError(
        f"{folder}: a BEIR folder has corpus.jsonl, queries.jsonl and qrels/test.tsv; "
        f"its qrels are: {names}"
    )


def _metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    metadata = row.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _json_run(path: Path) -> dict[str, Ranking]:
    rankings: dict[str, Ranking] = {}
    for where, row in _json_lines(path):
        hits = row.get("hits")
        if not isinstance(hits, list):
            _refuse(where, "field 'hits' is no list", 'write it as "hits": [{"code": ...}]')
        ranking = _ranked([_hit(hit, where) for hit in hits], where)
        query = _plain(_text(row, "query", where, blank=True))
        if rankings.setdefault(query, ranking) != ranking:
            _refuse(where, f"the query {query[:40]!r} has other hits above", "keep one line of it")
    return rankings


def _hit(hit: object, where: _Where) -> tuple[str, float]:
    row: Mapping[str, Any] = hit if isinstance(hit, dict) else {}
    value = _text(row, "code", where)
    if "system" in row:
        value = f"{_text(row, 'system', where)}:{value}"
    return value, _score(row.get("score"), where)


def _trec_run(path: Path) -> dict[str, Ranking]:
    found: dict[str, list[tuple[int, str, float]]] = {}
    last: dict[str, _Where] = {}
    for where, line in _lines(path):
        fields = line.split()
        if len(fields) != 6 or not fields[3][:9].isdecimal() or len(fields[3]) > 9:
            _refuse(where, "not a line of a TREC run", "write 'query Q0 document rank score tag'")
        query, _, document, rank, score, _ = fields
        found.setdefault(query, []).append((int(rank), document, _score(score, where)))
        last[query] = where
    return {
        query: _ranked([(document, score) for _, document, score in sorted(hits)], last[query])
        for query, hits in found.items()
    }


def _ranked(hits: list[tuple[str, float]], where: _Where) -> Ranking:
    twice = _first_double(value for value, _ in hits)
    if twice is not None:
        _refuse(where, f"the code {twice!r} is ranked twice for one query", "keep its best rank")
    return tuple(sorted(hits, key=lambda hit: -hit[1]))


def _score(value: object, where: _Where) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(cast(float, value))
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        _refuse(where, f"score {str(value)[:20]!r}", "write a finite number, larger for better")
    return score


# --- from cases and runs to rows


def _case_row(case: Case) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": case.id,
        "query": case.query,
        "codes": [code.value for code in case.codes],
        "system": case.system.value,
    }
    return {**row, "kind": case.kind} if case.kind else row


def _beir_query(case: Case) -> dict[str, Any]:
    metadata = {"system": case.system.value}
    if case.kind:
        metadata["kind"] = case.kind
    return {"_id": case.id, "text": case.query, "metadata": metadata}


def _run_row(case: Case, ranking: Ranking) -> dict[str, Any]:
    hits = []
    for rank, (value, score) in enumerate(ranking, start=1):
        system, _, code = value.rpartition(":")
        named = {"system": system} if system else {}
        hits.append({"rank": rank, "code": code, **named, "score": score})
    return {"query": case.query, "hits": hits}


# --- from files to rows and back


def _lines(path: Path) -> Iterator[tuple[_Where, str]]:
    """Yield file, number and text of every line that is not blank."""
    try:
        with _opened(path) as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError:
                    _refuse((str(path), number), "no UTF-8 text", "save the file as UTF-8")
                if line:
                    yield (str(path), number), line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CasesError(f"{path}: the gzip file is damaged ({error}); copy it again") from error
    except OSError as error:
        raise CasesError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _starts_like_json(path: Path) -> bool:
    return next((line.startswith(("{", "[")) for _, line in _lines(path)), False)


def _json_lines(path: Path) -> Iterator[tuple[_Where, Mapping[str, Any]]]:
    for where, line in _lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or large"
            _refuse(where, f"not JSON ({reason})", "write one object on each line")
        if not isinstance(row, dict):
            _refuse(where, "not a JSON object", 'write one on each line: {"query": ...}')
        yield where, row


def _text(row: Mapping[str, Any], key: str, where: _Where, *, blank: bool = False) -> str:
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith("id"):
        return str(value)
    if not isinstance(value, str) or not (blank or value.strip()):
        known = ", ".join(map(repr, row)) or "none"
        _refuse(where, f"field {key!r} is missing or no text", f"give it; fields here: {known}")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        _refuse(where, f"field {key!r} holds half a character", "remove the \\ud8xx escape")
    return value


def _plain(query: str) -> str:
    return " ".join(query.split())


def _first_double(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _refuse(where: _Where, fault: str, advice: str) -> NoReturn:
    raise CasesError(f"{where[0]}, line {where[1]}: {fault}; {advice}")


def _word(value: str) -> str:
    if not value or len(value.split()) != 1 or value != value.strip():
        raise CasesError(f"{value[:40]!r} cannot stand in a TREC file: it needs one word")
    return value


def _dump(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file that appears when complete; compressed for ``.gz``."""
    _make_folder(path.parent)
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as stream:
            part = Path(stream.name)
            content = "".join(f"{line}\n" for line in lines).encode()
            stream.write(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise CasesError(
            f"{path}: cannot be written ({error.strerror or error}); check folder and space"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CasesError(
            f"{folder}: cannot be made ({error.strerror or error}); name another"
        ) from error
