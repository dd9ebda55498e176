"""Files of evaluation cases: JSON lines, TREC qrels, BEIR folders.

cases   {"query": "heart attack", "codes": ["I21.9"], "system": "icd10cm", "kind": "lay"}
qrels   heart-1 0 I21.9 1
BEIR    corpus.jsonl, queries.jsonl, qrels/test.tsv
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmsearch.cases import Case
from cmsearch.codes import Code, System
from cmsearch.errors import CasesError, CodeError
from cmsearch.lines import (
    Where,
    dump,
    first_double,
    make_folder,
    one_word,
    read_json_lines,
    read_lines,
    refuse,
    starts_like_json,
    text_field,
    write_lines,
)

Qrels = dict[str, dict[str, int]]


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
    elif starts_like_json(path):
        cases = [_case(row, where, system) for where, row in read_json_lines(path)]
    else:
        cases = _judged_cases(read_qrels(path), {}, str(path), system)
    if not cases:
        raise CasesError(f"{path}: holds no case; give at least one line with query and codes")
    twice = first_double(case.id for case in cases)
    if twice is not None:
        raise CasesError(f"{path}: two cases have the id {twice!r}; give each its own")
    return cases


def read_qrels(path: Path) -> Qrels:
    """Return the relevance of each document for each query, of a TREC or BEIR file.

    TREC lines have four fields (query, 0, document, relevance), BEIR lines three (query,
    document, score) under a header.

    Raises:
        CasesError: a line has other fields, or judges a document twice.
    """
    judged: Qrels = {}
    for where, line in read_lines(path):
        fields = line.split()
        if fields[0] == "query-id":
            continue
        if len(fields) not in (3, 4):
            refuse(
                where,
                f"{len(fields)} fields",
                "qrels have 'query 0 document relevance', or 'query document score'",
            )
        query, document, relevance = fields[0], fields[-2], fields[-1]
        try:
            grade = int(relevance)
        except ValueError:
            refuse(where, f"relevance {relevance[:20]!r}", "write a whole number such as 1")
        documents = judged.setdefault(query, {})
        if document in documents:
            refuse(where, f"judges {document!r} for {query!r} again", "remove one of the lines")
        documents[document] = grade
    return judged


def read_beir_corpus(folder: Path) -> dict[str, str]:
    """Return the text of each document of a BEIR folder, its title in front.

    Raises:
        CasesError: ``corpus.jsonl`` is missing or a line of it has no id or text.
    """
    documents = {}
    for where, row in read_json_lines(folder / "corpus.jsonl"):
        title, text = row.get("title") or "", row.get("text") or ""
        if not isinstance(title, str) or not isinstance(text, str):
            refuse(where, "field 'title' or 'text' is no text", "write it as a string")
        documents[text_field(row, "_id", where)] = f"{title} {text}".strip()
    return documents


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write cases as JSON lines.

    Raises:
        CasesError: the file cannot be written.
    """
    write_lines(path, (dump(_case_row(case)) for case in cases))


def write_qrels(path: Path, cases: Iterable[Case]) -> None:
    """Write the gold codes of cases as TREC qrels; the match of descendants is lost.

    Raises:
        CasesError: an id holds white space, or the file cannot be written.
    """
    write_lines(path, (f"{one_word(case.id)} 0 {code} 1" for case in cases for code in case.codes))


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
    make_folder(folder / "qrels")
    write_lines(
        folder / "corpus.jsonl",
        (dump({"_id": value, "title": "", "text": text}) for value, text in documents),
    )
    write_lines(folder / "queries.jsonl", (dump(_beir_query(case)) for case in cases))
    judged = (f"{one_word(case.id)}\t{code}\t1" for case in cases for code in case.codes)
    write_lines(folder / "qrels" / "test.tsv", ("query-id\tcorpus-id\tscore", *judged))


# --- from rows to cases


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    kind: str
    system: System


def _case(row: Mapping[str, Any], where: Where, system: System) -> Case:
    codes = row.get("codes")
    if not isinstance(codes, list) or not codes:
        refuse(where, "field 'codes' is no list of codes", 'write it as "codes": ["I21.9"]')
    query = _query(row, "query", where, system)
    gold = tuple(_gold(value, query.system, where) for value in codes)
    identity = text_field(row, "id", where) if "id" in row else str(where[1])
    return Case(identity, query.text, tuple(dict.fromkeys(gold)), query.kind)


def _query(row: Mapping[str, Any], key: str, where: Where, system: System) -> _Query:
    text = text_field(row, key, where)
    kind = text_field(row, "kind", where, blank=True) if "kind" in row else ""
    if "system" in row:
        try:
            system = System.parse(text_field(row, "system", where))
        except CodeError as error:
            refuse(where, "field 'system'", str(error))
    return _Query(text, kind, system)


def _gold(value: object, system: System, where: Where) -> Code:
    try:
        return Code.of(system, value if isinstance(value, str) else "")
    except CodeError:
        refuse(
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
        text_field(row, "_id", where): _query({**row, **_metadata(row)}, "text", where, system)
        for where, row in read_json_lines(folder / "queries.jsonl")
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


# --- from cases to rows


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
