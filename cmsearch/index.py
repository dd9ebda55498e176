"""The index folder: code sets become text forms, vectors and an inverted index."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from cmsearch.contents import BuildOptions, concept_rows, crosswalk_rows, serialised
from cmsearch.errors import IndexFolderError, IndexMismatch
from cmsearch.lexicon import Lexicon
from cmsearch.lexiconfile import write_lexicon
from cmsearch.manifest import IndexedCodeSet, Manifest
from cmsearch.ondevice import DeviceVectors
from cmsearch.ontology.concept import CodeSet, Concept
from cmsearch.ontology.ontology import Ontology
from cmsearch.ontology.vocabulary import VOCABULARY_VERSION
from cmsearch.paths import index_command
from cmsearch.rows import FormRow
from cmsearch.serialise import TEMPLATES_VERSION, Form
from cmsearch.types import Encoder, Vectors
from cmsearch.vectors import FaissVectors, Kind, VectorIndex

Progress = Callable[[str, int, int], None]
_LOCK_SECONDS = 3600
_PART = 8192


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """An index folder, open for reading: its manifest and both halves."""

    folder: Path
    manifest: Manifest
    lexicon: Lexicon
    vectors: VectorIndex


def open_index(folder: Path, *, device: str = "cpu") -> OpenIndex:
    """Return the index of a folder.

    A build that replaces the files in this very moment is waited for: its manifest is
    in place before the old files go.

    Args:
        folder: the index folder.
        device: where vectors are compared: ``cpu`` by FAISS, any other through torch.

    Raises:
        IndexFolderError: there is no index, it is damaged, or the device cannot hold it.
        MissingDependency: another device than ``cpu`` is named and torch is not installed.
    """
    for attempt in (1, 2):
        manifest = Manifest.read(folder)
        try:
            manifest.check_sizes(folder)
            lexicon = Lexicon.open(folder / manifest.lexicon_file)
            vectors = FaissVectors.open(
                folder / manifest.vectors_file, kind=_kind(folder, manifest), step=manifest.step
            )
        except IndexFolderError:
            if attempt == 2 or Manifest.read(folder) == manifest:
                raise
            continue
        held, told = (len(vectors), vectors.dim), (manifest.vectors, manifest.encoder.dim)
        if held != told:
            raise IndexFolderError(
                f"{folder / manifest.vectors_file}: holds {held[0]} vectors of {held[1]} "
                f"dimensions, the manifest says {told[0]} of {told[1]}; "
                f"rebuild with: {index_command(folder, '--rebuild')}"
            )
        searched = vectors if device == "cpu" else DeviceVectors(vectors, device)
        return OpenIndex(folder, manifest, lexicon, searched)
    raise IndexFolderError(f"{folder}: is being replaced again and again; try later")


def _kind(folder: Path, manifest: Manifest) -> Kind:
    try:
        return Kind(manifest.kind)
    except ValueError as error:
        known = ", ".join(kind.value for kind in Kind)
        raise IndexFolderError(
            f"{manifest.kind!r} in the manifest is no kind of vector index (there are {known}); "
            f"rebuild with: {index_command(folder, '--rebuild')}"
        ) from error


def check_encoder(folder: Path, manifest: Manifest, encoder: Encoder) -> None:
    """Raise IndexMismatch, naming both, unless the encoder made the index."""
    if encoder.identity != manifest.encoder:
        built, given = manifest.encoder, encoder.identity
        raise IndexMismatch(
            f"the index was built with encoder {built.name} ({built.dim} dimensions, "
            f"sha256 {built.sha256[:12]}), this is {given.name} ({given.dim} dimensions, "
            f"sha256 {given.sha256[:12]}); name the right encoder or rebuild with: "
            f"{index_command(folder, '--rebuild')}"
        )


def build_index(
    folder: Path,
    ontology: Ontology,
    *,
    options: BuildOptions,
    encoder: Encoder,
    encoder_source: str = "",
    device: str = "cpu",
    anew: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Build an index and put it in place as a whole; return its manifest.

    The data files get names of their own and the manifest is replaced last, so that a
    crash at any moment leaves the old index working, or none. Texts that the old index
    already holds, under the same encoder, are not encoded again.

    Args:
        folder: the index folder; created if need be.
        ontology: the code sets to index.
        options: what the index is made of.
        encoder: the encoder.
        encoder_source: path or name of an encoder, recorded for opening the index.
        device: where the cells of ``ivfpq`` are found.
        anew: encode every text again, also those that the old index holds.
        progress: called with a stage's name, how much is done, and how much there is.

    Raises:
        IndexFolderError: the folder cannot be written, or another build holds it.
    """
    report = progress or silent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".build.lock", timeout=_LOCK_SECONDS):
            return _build(folder, ontology, options, encoder, encoder_source, device, anew, report)
    except Timeout as error:
        raise IndexFolderError(f"{folder}: another build has held it for an hour") from error
    except FileExistsError as error:
        raise IndexFolderError(f"{folder} is a file; an index is a folder") from error
    except OSError as error:
        raise IndexFolderError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or rights, "
            "or name another folder with --index"
        ) from error


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _build(
    folder: Path,
    ontology: Ontology,
    options: BuildOptions,
    encoder: Encoder,
    encoder_source: str,
    device: str,
    anew: bool,
    report: Progress,
) -> Manifest:
    build = secrets.token_hex(4)
    lexicon_file, vectors_file = f"concepts-{build}.sqlite", f"vectors-{build}.faiss"
    try:
        report("text forms", 0, 1)
        concepts, made = serialised(ontology, options)
        report("text forms", 1, 1)
        texts = sorted({form.text for form in made})
        known, step = ({}, None) if anew else _known_vectors(folder, encoder)
        # The lexical half is Python, the encoder is not: they go on side by side.
        with ThreadPoolExecutor(1) as beside:
            writing = beside.submit(
                _write_lexicon, folder / lexicon_file, ontology, options, concepts, made, texts
            )
            vectors = _encode(texts, encoder, known, report)
            report("vector index", 0, 1)
            searchable = FaissVectors.build(vectors, kind=options.kind, step=step, device=device)
            searchable.save(folder / vectors_file)
            report("vector index", 1, 1)
            report("lexical index", 0, 1)
            writing.result()
        report("lexical index", 1, 1)
        manifest = Manifest(
            encoder=encoder.identity,
            encoder_source=encoder_source,
            kind=searchable.kind.value,
            dtype="int8",
            step=searchable.step,
            templates=tuple(template.value for template in options.templates),
            templates_version=TEMPLATES_VERSION,
            vocabulary=VOCABULARY_VERSION if options.vocabulary else "",
            code_sets=tuple(map(_indexed, ontology.code_sets)),
            forms=len(made),
            vectors=len(texts),
            lexicon_file=lexicon_file,
            vectors_file=vectors_file,
            lexicon_bytes=(folder / lexicon_file).stat().st_size,
            vectors_bytes=(folder / vectors_file).stat().st_size,
        )
        for name in (lexicon_file, vectors_file):
            _flush(folder / name)
        manifest.write(folder)
    except BaseException:
        for name in (lexicon_file, vectors_file):
            (folder / name).unlink(missing_ok=True)
        raise
    _clear(folder, keep=manifest)
    return manifest


def _write_lexicon(
    path: Path,
    ontology: Ontology,
    options: BuildOptions,
    concepts: Sequence[Concept],
    made: Sequence[Form],
    texts: Sequence[str],
) -> None:
    """Write the lexical half; the vector of a form is the place of its text."""
    row_of = {text: row for row, text in enumerate(texts)}
    ids = {concept.code: number for number, concept in enumerate(concepts)}
    write_lexicon(
        path,
        concept_rows(ontology, concepts, ids),
        (
            FormRow(number, ids[form.code], form.code.system.value, form.code.value,
                    form.template.value, form.text, "", row_of[form.text])
            for number, form in enumerate(made)
        ),
        crosswalk_rows(options.systems, ids),
    )  # fmt: skip


def _indexed(item: CodeSet) -> IndexedCodeSet:
    return IndexedCodeSet(
        item.system.value, item.release, item.origin, item.sha256, len(item.concepts)
    )


def _flush(path: Path) -> None:
    """Have a file on the disk before a manifest that names it."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _known_vectors(folder: Path, encoder: Encoder) -> tuple[dict[str, Vectors], float | None]:
    """Return the vectors of the old index by text, and their step, if the encoder made them."""
    try:
        old = open_index(folder)
        if old.manifest.encoder != encoder.identity:
            return {}, None
        known = list(old.lexicon.texts())
        stored = old.vectors.vectors(np.array([row for _, row in known], dtype=np.int64))
    except IndexFolderError:
        return {}, None
    found = {text: vector for (text, _), vector in zip(known, stored, strict=True)}
    return found, old.manifest.step


def _encode(
    texts: Sequence[str], encoder: Encoder, known: dict[str, Vectors], report: Progress
) -> Vectors:
    """Return the vectors of the texts; only unknown ones are encoded."""
    vectors = np.empty((len(texts), encoder.identity.dim), dtype=np.float32)
    fresh = []
    for row, text in enumerate(texts):
        if text in known:
            vectors[row] = known[text]
        else:
            fresh.append(row)
    fresh.sort(key=lambda row: (len(texts[row]), row))
    report("encoding", 0, len(fresh))
    for start in range(0, len(fresh), _PART):
        rows = fresh[start : start + _PART]
        vectors[rows] = encoder.encode([texts[row] for row in rows])
        report("encoding", min(start + _PART, len(fresh)), len(fresh))
    return vectors


def _clear(folder: Path, *, keep: Manifest) -> None:
    """Remove the files of former builds, finished or not."""
    for path in folder.iterdir():
        stale = path.name.startswith(("concepts-", "vectors-", ".manifest.json."))
        if stale and path.name not in (keep.lexicon_file, keep.vectors_file):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
