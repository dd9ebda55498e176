"""Search: a phrase, a code or a concept in, ranked and explained hits out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from cmsearch import paths
from cmsearch.arrange import (
    by_quantity,
    exact_first,
    hit,
    only_billable,
    sided,
    with_episode,
)
from cmsearch.candidates import Candidates, gather
from cmsearch.codes import Code, System, is_dotted
from cmsearch.contents import BuildOptions
from cmsearch.encoder import open_encoder
from cmsearch.errors import CodeError
from cmsearch.filters import Filters, Gate
from cmsearch.fusion import FEATURES, Fusion
from cmsearch.index import (
    OpenIndex,
    Progress,
    build_index,
    check_encoder,
    open_index,
    silent,
)
from cmsearch.manifest import MANIFEST_FILE, Manifest
from cmsearch.nocode import no_code
from cmsearch.ontology.library import code_sets
from cmsearch.ontology.ontology import Ontology
from cmsearch.quantities import number_of
from cmsearch.query import Query, understand
from cmsearch.rows import ConceptRow
from cmsearch.types import Encoder, Hit, Vectors
from cmsearch.vectors import Rows

_log = logging.getLogger(__name__)
_LONGEST_QUERY = 100_000
_WIDEST = 16


class Index:
    """An open index with its encoder: what ``search`` and ``nearest`` are asked of.

    Args:
        files: the open index folder.
        encoder: the encoder that made it.
        fusion: the model that makes one score of two.
    """

    def __init__(self, files: OpenIndex, encoder: Encoder, fusion: Fusion) -> None:
        self.files = files
        self.encoder = encoder
        self.fusion = fusion

    @classmethod
    def open(
        cls,
        folder: Path | str | None = None,
        *,
        encoder: Encoder | None = None,
        device: str = "cpu",
    ) -> Self:
        """Return the index of a folder; the default index is built if there is none.

        Args:
            folder: an index folder; ``default`` in the user's data folder if left out.
            encoder: the encoder that made it; the one named in its manifest by default.
            device: ``cpu`` or ``cuda``: where vectors are compared, and texts encoded unless
                an encoder is given.

        Raises:
            IndexFolderError: a named folder holds no index, an index is damaged, or the
                device cannot hold it.
            IndexMismatch: another encoder made the index.
        """
        folder = Path(folder) if folder is not None else None
        if folder is None and not (paths.index_folder() / MANIFEST_FILE).is_file():
            _log.warning("building the default index in %s (once)", paths.index_folder())
            cls.build()
        files = open_index(paths.index_folder(folder), device=device)
        encoder = encoder or open_encoder(files.manifest.encoder_source, device=device)
        check_encoder(files.folder, files.manifest, encoder)
        return cls(files, encoder, Fusion.load())

    @staticmethod
    def build(
        folder: Path | None = None,
        *,
        options: BuildOptions | None = None,
        encoder: str = "",
        device: str = "cpu",
        anew: bool = False,
        ontology: Path | None = None,
        progress: Progress | None = None,
    ) -> Manifest:
        """Build an index from the packaged code sets and the user's release files.

        Args:
            folder: the index folder; ``default`` in the user's data folder if left out.
            options: code systems, text forms, kind of vector index.
            encoder: path or name of an encoder; the shipped one by default.
            device: ``cpu`` or ``cuda``: where the texts are encoded and cells are found.
            anew: encode every text again, also those that the old index holds.
            ontology: the folder of release files.
            progress: called with a stage's name, how much is done, how much there is.
        """
        options = options or BuildOptions()
        if encoder and Path(encoder).expanduser().is_dir():
            encoder = str(Path(encoder).expanduser().resolve())
        report = progress or silent
        report("code sets", 0, 1)
        opened = open_encoder(encoder, device=device)
        extra = code_sets(paths.ontology_folder(ontology))
        loaded = Ontology.load(options.systems, extra=extra)
        report("code sets", 1, 1)
        return build_index(
            paths.index_folder(folder),
            loaded,
            options=options,
            encoder=opened,
            encoder_source=encoder,
            device=device,
            anew=anew,
            progress=progress,
        )

    @property
    def manifest(self) -> Manifest:
        """What the index says of itself."""
        return self.files.manifest

    def release(self, systems: Sequence[System] = ()) -> str:
        """Return the releases that a search over these systems answers from."""
        releases = self.manifest.releases
        wanted = systems or self._current()
        return "; ".join(
            f"{system.label} {releases[system.value]}"
            for system in wanted
            if system.value in releases
        )

    def search(
        self, queries: Sequence[str], *, k: int = 10, filters: Filters | None = None
    ) -> list[list[Hit]]:
        """Return the best hits for each query, in the order of the queries.

        A query that is a code or a title has that concept first; what stands beside a code is
        found by its title, and so is all where the code is of another code system than those
        searched. A blank query has no hits, nor has one that is spelled as a code and is none.
        The same queries give the same hits on every run.

        Args:
            queries: words, phrases or codes; longer ones are cut at 100,000 characters.
            k: how many hits at most; at least 1.
            filters: which concepts may be hits.

        Raises:
            CodeError: a filter names a system or prefix that the index does not hold.
            TypeError: one text was given instead of a list.
            ValueError: ``k`` is less than 1.
        """
        if isinstance(queries, str):
            raise TypeError("queries is one text; search takes a list of them: [text]")
        if k < 1:
            raise ValueError(f"k is {k}; at least one hit must be asked for")
        filters = filters or Filters()
        self._check(filters)
        gate = Gate.of(filters.systems or self._current(), filters.prefix)
        within = self._within(gate, filters.prefix)
        return [
            self._answer(" ".join(text[:_LONGEST_QUERY].split()), k, filters, gate, within)
            for text in queries
        ]

    def nearest(self, code: Code | str, *, k: int = 10, to: System | None = None) -> list[Hit]:
        """Return the concepts nearest in meaning to a code, best first.

        Args:
            code: a code, or what people type for one.
            k: how many at most.
            to: the code system to look in; the code's own by default.

        Raises:
            CodeError: the index does not hold the code, or the system.
        """
        source = self.concept(code)
        own = Code(source.code, System(source.system))
        target = to or own.system
        filters = Filters(systems=(target,), billable=source.billable and target is not own.system)
        hits = self.search([source.title], k=k + 24, filters=filters)[0]
        kept = [hit for hit in hits if not (hit.code.is_under(own) or own.is_under(hit.code))]
        return [replace(hit, rank=rank) for rank, hit in enumerate(kept[:k], start=1)]

    def concept(self, code: Code | str) -> ConceptRow:
        """Return the indexed concept of a code, or of what people type for one.

        Raises:
            CodeError: no code of the index is spelled so (near ones are named), or it
                is a code of more than one system (both are named).
        """
        rows = self.files.lexicon.named(code)
        if len(rows) == 1:
            return rows[0]
        if rows:
            names = " and ".join(
                f"{System(row.system).label} {row.code} ({row.title})" for row in rows
            )
            raise CodeError(f"{code} is {names}; say which with --system")
        raise CodeError(self.no_code(str(code)))

    def no_code(self, text: str) -> str:
        """Return a sentence that says what to do about a text that is no code of the index."""
        held = frozenset(self.manifest.releases)
        return no_code(text, self.files.lexicon, held=held, folder=self.files.folder)

    def _current(self) -> tuple[System, ...]:
        """Return the systems that are searched when none is named: those in force."""
        held = [System(name) for name in self.manifest.releases]
        return tuple(system for system in held if system.version == 10) or tuple(held)

    def _check(self, filters: Filters) -> None:
        held = self.manifest.releases
        for system in filters.systems:
            if system.value not in held:
                raise CodeError(
                    f"this index holds {', '.join(held)}, not {system.value}; add it with: "
                    f"{paths.index_command(self.files.folder, '--add', system.value)}"
                )

    def _within(self, gate: Gate, prefix: str) -> Rows | None:
        """Return the rows of vectors that a prefix leaves; None where there is none.

        Raises:
            CodeError: no code of the index lies under the prefix.
        """
        if not prefix.strip():
            return None
        rows = {
            row
            for system in sorted(gate.systems)
            for row in self.files.lexicon.vectors_under(system, gate.first, gate.last)
        }
        if not rows:
            raise CodeError(
                f"no code of this index lies under {prefix.strip()[:40]!r}; give a code, the "
                "beginning of one, or a range such as I20-I25"
            )
        return np.array(sorted(rows), dtype=np.int64)

    def _answer(
        self, text: str, k: int, filters: Filters, gate: Gate, within: Rows | None
    ) -> list[Hit]:
        """Return the hits of one text."""
        lexicon = self.files.lexicon
        named = lexicon.named(text)
        if not named and is_dotted(text):
            return []
        named.sort(key=gate, reverse=True)
        query = understand(named[0].title if named else text, lexicon)
        if not query.terms:
            return []
        here = [row for row in named if gate(row)]
        # Each query is encoded on its own: in int8 its neighbours in a batch would show.
        vectors = self.encoder.encode(query.variants)
        return self._one(query, vectors, here, k, filters, gate, within)

    def _one(
        self,
        query: Query,
        vectors: Vectors,
        named: Sequence[ConceptRow],
        k: int,
        filters: Filters,
        gate: Gate,
        within: Rows | None,
    ) -> list[Hit]:
        """Return the hits of one query; looks wider while filters leave too few."""
        lexicon = self.files.lexicon
        for wider in (1, 4, _WIDEST):
            found = gather(
                query,
                vectors,
                lexicon=lexicon,
                index=self.files.vectors,
                allowed=gate.forms,
                within=within,
                wider=wider,
            )
            scores = np.round(self.fusion.probabilities(found.features).astype(np.float64), 4)
            order = np.lexsort((found.codes, -scores))
            everything = filters.billable or filters.expand or number_of(query.text) is not None
            chosen = order if everything else _front(found, order, k)
            ranked = [
                (candidate, float(scores[place]))
                for place, candidate in zip(
                    chosen, found.rows(chosen.tolist(), lexicon), strict=True
                )
            ]
            ranked = exact_first(query, by_quantity(query, ranked), named, lexicon)
            ranked = sided(query, ranked, gate, lexicon)
            ranked = with_episode(query, ranked, lexicon)
            ranked = only_billable(query, ranked, named, filters, lexicon)
            if len(ranked) >= k:
                break
        releases = self.manifest.releases
        return [
            hit(rank, candidate, score, releases)
            for rank, (candidate, score) in enumerate(ranked[:k], start=1)
        ]


def _front(found: Candidates, order: Rows, k: int) -> Rows:
    """Return the first k places of the order and those of which a form may be the query."""
    worded = found.features[order, FEATURES.index("same_words")] > 0
    chosen: Rows = order[(np.arange(len(order)) < k) | worded]
    return chosen
