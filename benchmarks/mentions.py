"""How well names of diseases are found: precision, recall and F1 of the tagger.

    python -m benchmarks.mentions IOB.tsv... [--index DIR]

A name is right if its beginning and its end are. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from cmsearch.index import open_index
from cmsearch.notes.tagger import Tagger
from cmsearch.paths import index_folder
from cmsearch.train.tagger import read_marked, score


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+", help="a word and its label a line")
    parser.add_argument("--index", type=Path, help="an index folder")
    options = parser.parse_args()
    lexicon = open_index(index_folder(options.index)).lexicon
    tagger = Tagger.load()
    figures = {}
    for path in options.paths:
        scores = score(tagger, read_marked(path, lexicon))
        figures[path.name] = {name: round(value, 4) for name, value in asdict(scores).items()}
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
