"""Commands that train: tune, fuse, export. They need the training extra."""

from __future__ import annotations

from enum import StrEnum
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
    coded: Annotated[
        Path | None, typer.Option(help="Coded notes for evidence, a line each: id, text, codes.")
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

    folder = run(TuneConfig.load(recipe), Sources(terms, corpus, coded), out)
    render.talk().print(f"the model is in {folder}; export it with: cmsearch train export {folder}")


@train.command("corpus")
def corpus(
    documents: Annotated[Path, typer.Argument(help="Folder of shards (*.jsonl, *.jsonl.zst).")],
    tokenizer: Annotated[Path, typer.Option(help="The tokenizer.json to use.")],
    out: Annotated[Path, typer.Option(help="Folder of token shards to write.")],
    terms: Annotated[
        Path | None, typer.Option(help="Folder of terminology tables (*.tsv.gz).")
    ] = None,
) -> None:
    """Write documents, all codes and the terminologies as token shards for pretraining.

    Example: cmsearch train corpus corpus --terms terms --tokenizer tokenizer.json --out shards
    """
    from cmsearch.errors import need

    need("zstandard", extra="train")
    from cmsearch.train.corpus import write_shards
    from cmsearch.train.documents import documents as read

    for part, count in write_shards(read(documents, terms), tokenizer, out).items():
        render.talk().print(
            f"{part:>12} {count.documents:>9,} documents {count.tokens:>12,} tokens"
        )


@train.command("pieces")
def pieces(
    documents: Annotated[Path, typer.Argument(help="Folder of shards (*.jsonl, *.jsonl.zst).")],
    tokenizer: Annotated[
        list[Path], typer.Option(help="A tokenizer.json or a model's folder; may be repeated.")
    ],
    part: Annotated[str, typer.Option(help="The part of the mix to measure on.")] = "notes",
    limit: Annotated[int, typer.Option(help="How many held-out documents at most.")] = 500,
) -> None:
    """Count into how many pieces tokenizers cut the words of held-out documents.

    Example: cmsearch train pieces corpus --tokenizer tokenizer.json --tokenizer other/model
    """
    from itertools import islice

    from cmsearch.errors import need

    need("zstandard", extra="train")
    from cmsearch.train.corpus import is_validation
    from cmsearch.train.documents import corpus_documents
    from cmsearch.train.pieces import measure_fit, open_tokenizers

    texts = (
        document.text
        for document in corpus_documents(documents)
        if document.part == part and is_validation(document.id)
    )
    for fit in measure_fit(open_tokenizers(tokenizer), islice(texts, limit)):
        render.talk().print(
            f"{fit.name}: {fit.size:,} pieces; a word is {fit.per_word:.3f} pieces, a distinct "
            f"word {fit.per_distinct_word:.3f}, a token of text {fit.per_token:.3f}; "
            f"{fit.whole:.1%} of the words are one piece"
        )


@train.command("pretrain")
def pretrain(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, as in recipes/pretrain-*.")],
    shards: Annotated[Path, typer.Option(help="Token shards, from: cmsearch train corpus.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on here.")],
    start: Annotated[
        str | None, typer.Option("--from", help="A published ModernBERT to go on from.")
    ] = None,
) -> None:
    """Pretrain an encoder on masked tokens; log, curves and checkpoints lie in the folder.

    Example: cmsearch train pretrain recipes/pretrain-cpu.toml --shards shards --out runs/mlm
    """
    from dataclasses import replace

    from cmsearch.errors import need

    for module in (*_LIBRARIES, "optimi", "matplotlib"):
        need(module, extra="train")
    from cmsearch.cli.progress import PretrainProgress
    from cmsearch.train.pretrain import pretrain as run
    from cmsearch.train.pretrain_config import PretrainConfig

    config = PretrainConfig.load(recipe)
    if start is not None:
        config = replace(config, start=start)
    with PretrainProgress(render.talk()) as report:
        folder = run(config, shards, out, report=report)
    render.talk().print(f"the model is in {folder}; tune it with start = {str(folder)!r}")


class ModelFormat(StrEnum):
    """What ``train export`` writes."""

    onnx = "onnx"
    hf = "hf"


@train.command("export")
def export(
    model: Annotated[str, typer.Argument(help="A tuned model; for hf also shipped.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Name of the encoder, with its version (onnx).")] = "",
    dim: Annotated[int, typer.Option(help="Leading dimensions to keep (onnx).")] = 160,
    max_tokens: Annotated[int, typer.Option(help="Where longer texts are cut.")] = 8192,
    format: Annotated[
        ModelFormat,
        typer.Option("--format", help="int8 onnx for the index; hf for SentenceTransformer(DIR)."),
    ] = ModelFormat.onnx,
) -> None:
    """Export a tuned model to int8 ONNX for the index, or as a folder for other tools.

    Example: cmsearch train export runs/v0/model --out exported --name mine-1
    Example: cmsearch train export shipped --out encoder --format hf
    """
    from cmsearch.errors import need

    for module in (*_LIBRARIES, "onnx"):
        need(module, extra="train")
    if format is ModelFormat.hf:
        from cmsearch.train.reopen import export_folder

        render.talk().print(f"{export_folder(model, out, max_tokens=max_tokens)}")
        return
    if not name:
        raise typer.BadParameter("the name of the encoder with its version", param_hint="--name")
    from cmsearch.train.export import export as run

    folder = run(Path(model), out, name=name, dim=dim, max_tokens=max_tokens)
    render.talk().print(f"{folder}")


@train.command("fuse")
def fuse(
    terms: Annotated[Path, typer.Option(help="Folder of terminology tables (*.tsv.gz).")],
    out: Annotated[Path, typer.Option(help="Folder for fusion.json and fusion_dense.json.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to fit on.")],
) -> None:
    """Fit the fusion of both halves on the wordings that were held out from tuning.

    Beside it the one that ranks the dense half alone, to compare.
    Example: cmsearch train fuse --terms terms --index indexes/default --out cmsearch
    """
    from cmsearch.errors import need

    need("torch", extra="train")
    from cmsearch.train.fuse import fit_to_files

    first, five = fit_to_files(terms, index, out)
    render.talk().print(
        f"{out}: on a fifth that it was not fitted on, recall@1 {first:.3f}, recall@5 {five:.3f}"
    )


@train.command("notes")
def notes(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, as in recipes/.")],
    coded: Annotated[Path, typer.Option(help="Coded notes, a line each: id, text, codes.")],
    out: Annotated[Path, typer.Option(help="The choice file to write.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to read with.")],
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of texts (*.jsonl, *.jsonl.zst) for silver notes.")
    ] = None,
) -> None:
    """Fit the choice of codes for notes on notes that people have coded.

    Example: cmsearch train notes recipes/notes.toml --coded train.jsonl --index indexes/default
    --corpus corpus --out choice.json
    """
    from cmsearch.errors import need

    need("lightgbm", extra="train")
    from cmsearch.train.notes import fit_to_file
    from cmsearch.train.notes_config import NotesConfig

    f1 = fit_to_file(NotesConfig.load(recipe), coded, index, out, corpus=corpus)
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


@train.command("senses")
def senses(
    corpus: Annotated[Path, typer.Option(help="Folder of texts (*.jsonl, *.jsonl.zst).")],
    out: Annotated[Path, typer.Option(help="The file of cues to write.")],
) -> None:
    """Learn what ambiguous short forms (MS, RA, PE) stand for from texts that spell them out.

    Example: cmsearch train senses --corpus corpus --out cmsearch/notes/senses.json
    """
    from cmsearch.errors import need

    need("zstandard", extra="train")
    from cmsearch.train.senses import fit_to_file

    scores = fit_to_file(corpus, out)
    render.talk().print(
        f"{out}: on {scores.texts:,} texts that it did not learn from, {scores.right:.3f} right; "
        f"clear in {scores.clear:.3f}, of these {scores.right_where_clear:.3f} right"
    )
