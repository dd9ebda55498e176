"""ICD-9-CM to ICD-10-CM by meaning alone, judged by the GEM.

    python -m benchmarks.crosswalk [--index DIR] [--peer NAME]

Every ICD-9-CM diagnosis title is searched among the billable ICD-10-CM codes; a first hit
is right if it is any target of the GEM. The GEM itself is used for judging only. Peers rank
the titles of the same billable codes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cmsearch import Code, Index, System
from cmsearch.filters import Filters
from cmsearch.ontology.crosswalk import by_source, read_gem
from cmsearch.peers import open_peer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path)
    parser.add_argument("--peer", action="append", default=[])
    options = parser.parse_args()
    index = Index.open(options.index)
    gem = by_source(read_gem(System.ICD9CM, System.ICD10CM))
    lexicon = index.files.lexicon
    sources = [row for row in lexicon.concepts_of(System.ICD9CM.value) if row.billable]
    titles = [row.title for row in sources]
    filters = Filters(systems=(System.ICD10CM,), billable=True)
    found = {"cmsearch": [[hit.code.value for hit in hits]
                          for hits in index.search(titles, k=5, filters=filters)]}  # fmt: skip
    billable = [row for row in lexicon.concepts_of(System.ICD10CM.value) if row.billable]
    forms = [(row.code, row.title) for row in billable]
    for name in options.peer:
        ranked = open_peer(name, forms).rank(titles, k=5)
        found[name] = [[code for code, _ in hits] for hits in ranked]
    for name, codes in found.items():
        right, exact_right, exact = [], 0, 0
        for row, hits in zip(sources, codes, strict=True):
            entries = gem.get(Code(row.code, System.ICD9CM), ())
            targets = {entry.target.value for entry in entries if entry.target is not None}
            if not targets:
                continue
            right.append((bool(hits) and hits[0] in targets, bool(targets & set(hits))))
            if any(not entry.approximate for entry in entries):
                exact += 1
                exact_right += bool(hits) and hits[0] in targets
        print(json.dumps({
            "ranker": name,
            "titles": len(right),
            "recall@1": round(sum(first for first, _ in right) / len(right), 4),
            "recall@5": round(sum(five for _, five in right) / len(right), 4),
            "exact_flagged": exact,
            "exact_recall@1": round(exact_right / max(exact, 1), 4),
        }))  # fmt: skip


if __name__ == "__main__":
    main()
