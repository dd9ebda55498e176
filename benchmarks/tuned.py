"""A tuning recipe carried to its end: tuned, exported, and its dense half judged on cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmsearch.casefiles import read_cases
from cmsearch.cases import Case, Run
from cmsearch.codes import System
from cmsearch.evaluate import measure, rank_cases
from cmsearch.paths import index_folder
from cmsearch.peers import open_peer
from cmsearch.report import MEASURES
from cmsearch.runfiles import read_run, write_run
from cmsearch.search import Index
from cmsearch.train.config import TuneConfig
from cmsearch.train.export import export
from cmsearch.train.tune import Sources, tune

# Of all encoders of a study, whatever their width.
DIM = 128


def configured(values: dict[str, Any]) -> TuneConfig:
    """Return a configuration from the keys of a recipe."""
    dims = tuple(values.get("dims", TuneConfig().dims))
    return dataclasses.replace(TuneConfig(), **values | {"dims": dims})


@dataclass(frozen=True, slots=True)
class Bench:
    """What every encoder of a study is judged on.

    Attributes:
        forms: code values with a text each, the same ones for every encoder.
        cases: by name of the file.
    """

    forms: list[tuple[str, str]]
    cases: dict[str, list[Case]]

    @classmethod
    def open(cls, paths: Sequence[Path], index: Path | None) -> Bench:
        """Return the cases of the files, and the forms of an index; its encoder is not used."""
        lexicon = Index.open(index_folder(index)).files.lexicon
        forms = list(lexicon.peer_forms(System.ICD10CM.value))
        return cls(forms, {path.stem: read_cases(path) for path in paths})

    def judge(self, name: str, config: TuneConfig, sources: Sources, out: Path) -> dict[str, Run]:
        """Return the rankings of a recipe's encoder, by file of cases; done work is kept.

        A concept ranks by the best cosine of its forms: nothing else of the search counts.
        """
        paths = {stem: out / f"{stem}.run.jsonl" for stem in self.cases}
        if not all(path.is_file() for path in paths.values()):
            model = out / "model"
            if not (model / "modules.json").is_file():
                tune(config, sources, out)
            exported = export(model, out / "exported", name=name, dim=DIM, max_tokens=512)
            peer = open_peer(str(exported), self.forms)
            for stem, path in paths.items():
                write_run(path, rank_cases(peer, self.cases[stem]), self.cases[stem])
        return {stem: read_run(path, name=name) for stem, path in paths.items()}

    def recall(self, runs: dict[str, Run], k: int) -> dict[str, float]:
        """Return recall at k of rankings, by file of cases."""
        column = MEASURES.index(f"recall@{k}")
        return {
            stem: round(float(measure(self.cases[stem], run)[:, column].mean()), 4)
            for stem, run in runs.items()
        }
