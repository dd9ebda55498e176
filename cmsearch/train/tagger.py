"""Fitting the tagger of condition names on sentences in which people have marked them."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmsearch.errors import TrainingError, need
from cmsearch.index import open_index
from cmsearch.lexicon import Lexicon
from cmsearch.notes.mentions import Finder, words
from cmsearch.notes.shortforms import ShortForms
from cmsearch.notes.tagger import LABELS, Counts, Tagger, Token, describe, known, split, stretches


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence: its tokens as the product splits them, their labels and features."""

    tokens: tuple[Token, ...]
    labels: tuple[str, ...]
    features: tuple[tuple[str, ...], ...]


def read_marked(path: Path, lexicon: Lexicon) -> list[Marked]:
    """Return the sentences of an IOB file: a word and its label a line, blank lines between.

    Raises:
        TrainingError: the file cannot be read, or a line is no word with a label.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    found: list[Marked] = []
    finder, chapters, counts = Finder(lexicon), lexicon.chapters("icd10cm"), Counts(lexicon)
    sentence: list[tuple[str, str]] = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate([*lines, "\n"], start=1):
                if not line.strip():
                    if sentence:
                        found.append(marked(sentence, finder, chapters, counts))
                    sentence = []
                    continue
                word, _, label = line.rstrip("\n").partition("\t")
                if not word or label[:1] not in LABELS:
                    raise TrainingError(f"{path}, line {number}: no word with a label O, B or I")
                sentence.append((word, label[:1]))
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
    return found


def marked(
    sentence: Sequence[tuple[str, str]],
    finder: Finder,
    chapters: dict[int, str],
    counts: Callable[[Sequence[str]], list[int]],
) -> Marked:
    """Return a sentence with the features that the product would see."""
    text, places = "", []
    for word, label in sentence:
        places.append((len(text), len(text) + len(word), label))
        text += word + " "
    tokens = split(text, 0, len(text))
    labels = []
    row = 0
    for token in tokens:
        while places[row][1] <= token.begin:
            row += 1
        begin, _, label = places[row]
        labels.append("I" if label == "B" and token.begin > begin else label)
    spans = finder.spans(words(text, [(0, len(text))]))
    written = [token.text for token in tokens]
    features = describe(written, known(tokens, spans, chapters), counts(written))
    return Marked(tuple(tokens), tuple(labels), tuple(map(tuple, features)))


def fit(sentences: Sequence[Marked], *, rounds: int = 100, sparse: float = 0.12) -> str:
    """Return a tagger fitted on the sentences, as JSON.

    Args:
        sentences: the sentences.
        rounds: steps of L-BFGS.
        sparse: strength of the L1 penalty, which keeps the file small.
    """
    crf = need("pycrfsuite", extra="train")
    trainer = crf.Trainer(verbose=False)
    for sentence in sentences:
        trainer.append(sentence.features, sentence.labels)
    trainer.select("lbfgs")
    trainer.set_params(
        {"c1": sparse, "c2": 0.02, "max_iterations": rounds, "feature.minfreq": 2,
         "feature.possible_transitions": True}
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        path = str(Path(scratch) / "tagger.crf")
        trainer.train(path)
        tagger = crf.Tagger()
        tagger.open(path)
        info = tagger.info()
    weights: dict[str, list[int]] = {}
    for (feature, label), weight in info.state_features.items():
        hundredths = round(100 * weight)
        if hundredths:
            weights.setdefault(feature, [0, 0, 0])[LABELS.index(label)] = hundredths
    moves = [
        [round(info.transitions.get((before, after), 0.0), 4) for after in LABELS]
        for before in LABELS
    ]
    moves[0][2] = -100.0  # nothing goes on that has not begun
    values = {"transitions": moves, "weights": dict(sorted(weights.items()))}
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n"


def fit_to_file(
    paths: Sequence[Path], index: Path, out: Path, *, rounds: int, sparse: float
) -> int:
    """Fit a tagger on IOB files and write it; return how many sentences they have."""
    lexicon = open_index(index).lexicon
    sentences = [sentence for path in paths for sentence in read_marked(path, lexicon)]
    out.write_text(fit(sentences, rounds=rounds, sparse=sparse), encoding="utf-8")
    return len(sentences)


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and F1 over names with the right beginning and end."""

    precision: float
    recall: float
    f1: float


def score(tagger: Tagger, sentences: Sequence[Marked]) -> Scores:
    """Return how well a tagger marks the sentences, given in the order of their text."""
    hits = said = gold = 0
    short_forms = ShortForms()
    for sentence in sentences:
        labels = short_forms.applied(sentence.tokens, tagger.labels(sentence.features))
        mine = set(stretches(sentence.tokens, labels))
        theirs = set(stretches(sentence.tokens, sentence.labels))
        hits, said, gold = hits + len(mine & theirs), said + len(mine), gold + len(theirs)
    return Scores(hits / max(1, said), hits / max(1, gold), 2 * hits / max(1, said + gold))
