"""Commands that train: tune, fuse, export. They need the training extra."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmsearch.cli import render

_LIBRARIES = ("torch", "transformers", "sentence_transformers")
train = typer.Typer(no_args_is_help=True, help="Train, fit and export encoders.")


@train.command("tune")
def tune(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, as in recipes/.")],
    terms: Annotated[Path, typer.Option(help="Folder of terminology tables (*.tsv.gz).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on here.")],
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of text shards (part-*.jsonl.zst).")
    ] = None,
) -> None:
    """Tune an encoder contrastively on pairs of texts that mean the same.

    Example: cmsearch train tune recipes/version0.toml --terms terms --corpus corpus --out runs/v0
    """
    from cmsearch.errors import need

    for module in (*_LIBRARIES, "datasets", "accelerate", "zstandard"):
        need(module, extra="train")
    from cmsearch.train.config import TuneConfig
    from cmsearch.train.tune import Sources
    from cmsearch.train.tune import tune as run

    folder = run(TuneConfig.load(recipe), Sources(terms, corpus), out)
    render.talk().print(f"the model is in {folder}; export it with: cmsearch train export {folder}")


@train.command("export")
def export(
    model: Annotated[Path, typer.Argument(help="A tuned model.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Name of the encoder, with its version.")],
    dim: Annotated[int, typer.Option(help="Leading dimensions to keep.")] = 256,
    max_tokens: Annotated[int, typer.Option(help="Where longer texts are cut.")] = 8192,
) -> None:
    """Export a tuned model to int8 ONNX for the index.

    Example: cmsearch train export runs/v0/model --out exported --name mine-1
    """
    from cmsearch.errors import need

    for module in (*_LIBRARIES, "onnx"):
        need(module, extra="train")
    from cmsearch.train.export import export as run

    render.talk().print(f"{run(model, out, name=name, dim=dim, max_tokens=max_tokens)}")


@train.command("fuse")
def fuse(
    terms: Annotated[Path, typer.Option(help="Folder of terminology tables (*.tsv.gz).")],
    out: Annotated[Path, typer.Option(help="The fusion file to write.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to fit on.")],
) -> None:
    """Fit the fusion of both halves on the wordings that were held out from tuning.

    Example: cmsearch train fuse --terms terms --index indexes/default --out fusion.json
    """
    from cmsearch.errors import need

    need("torch", extra="train")
    from cmsearch.train.fuse import fit_to_file

    first, five = fit_to_file(terms, index, out)
    render.talk().print(
        f"{out}: on a fifth that it was not fitted on, recall@1 {first:.3f}, recall@5 {five:.3f}"
    )


@train.command("notes")
def notes(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, as in recipes/.")],
    coded: Annotated[Path, typer.Option(help="Coded notes, a line each: id, text, codes.")],
    out: Annotated[Path, typer.Option(help="The choice file to write.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to read with.")],
) -> None:
    """Fit the choice of codes for notes on notes that people have coded.

    Example: cmsearch train notes recipes/notes.toml --coded train.jsonl --index indexes/default
    --out choice.json
    """
    from cmsearch.errors import need

    need("lightgbm", extra="train")
    from cmsearch.train.notes import NotesConfig, fit_to_file

    f1 = fit_to_file(NotesConfig.load(recipe), coded, index, out)
    render.talk().print(f"{out}: micro-F1 on notes that it was not fitted on {f1:.3f}")


@train.command("tagger")
def tagger(
    marked: Annotated[
        list[Path], typer.Argument(help="Sentences, a word and its label O, B or I a line.")
    ],
    out: Annotated[Path, typer.Option(help="The tagger file to write.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to read with.")],
    rounds: Annotated[int, typer.Option(help="Steps of L-BFGS.")] = 100,
    sparse: Annotated[float, typer.Option(help="Strength of the L1 penalty.")] = 0.12,
) -> None:
    """Fit the tagger of condition names on sentences in which people have marked them.

    Example: cmsearch train tagger a.tsv.gz b.tsv.gz --index indexes/default --out tagger.json
    """
    from cmsearch.errors import need

    need("pycrfsuite", extra="train")
    from cmsearch.train.tagger import fit_to_file

    count = fit_to_file(marked, index, out, rounds=rounds, sparse=sparse)
    render.talk().print(f"{out}: fitted on {count:,} sentences")
