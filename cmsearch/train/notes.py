"""Fitting the choice of codes on coded notes: counts, boosted trees, a calibration.

Whatever is counted is counted across folds: the features of a note come from an experience
of other notes, so that the trees see in training what they will see in a new note. The
probabilities are calibrated on notes that neither counts nor trees have seen.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.codes import System
from cmsearch.errors import TrainingError, need
from cmsearch.index import open_index
from cmsearch.notes.choice import FEATURES, Choice
from cmsearch.notes.experience import Experience, phrases, telling
from cmsearch.notes.reading import Reader, Reading
from cmsearch.notes.trees import Matrix

_SYSTEMS = (System.ICD10CM,)


@dataclass(frozen=True, slots=True)
class NotesConfig:
    """What a fit depends on. A key that is not here is an error.

    Attributes:
        folds: how many parts the notes are cut into for counting.
        rounds: boosted trees.
        leaves: leaves of a tree.
        rate: shrinkage of each tree.
        least: fewest candidates in a leaf.
        least_share, least_surprise: which phrases are kept.
        seed: of whatever is drawn.
    """

    folds: int = 10
    rounds: int = 150
    leaves: int = 48
    rate: float = 0.05
    least: int = 100
    least_share: float = 0.1
    least_surprise: float = 2.5
    seed: int = 1

    @classmethod
    def load(cls, path: Path) -> NotesConfig:
        """Return the configuration of a TOML recipe.

        Raises:
            TrainingError: the file cannot be read or has a key that nothing reads.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: {error}") from error
        known = {field.name for field in dataclasses.fields(cls)}
        if unread := sorted(values.keys() - known):
            raise TrainingError(
                f"{path}: nothing reads {', '.join(unread)}; "
                f"the keys are {', '.join(sorted(known))}"
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class CodedNote:
    """A note as it was read, and the codes that its coder gave.

    Attributes:
        mentioned: codes whose words stand in it, each with the keys of the phrases.
    """

    id: str
    reading: Reading
    codes: frozenset[str]
    mentioned: tuple[tuple[str, frozenset[str]], ...]

    @classmethod
    def of(cls, values: dict[str, Any], reader: Reader) -> CodedNote:
        """Return the note of a line ({"id", "text", "codes"})."""
        reading = reader.read(values["text"])
        items = reader.candidates(reading, Experience.none(), _SYSTEMS)
        mentioned = tuple(
            (item.concept.code, frozenset(match.found.span.key for match in item.matches))
            for item in items
        )
        return cls(str(values["id"]), reading, frozenset(values["codes"]), mentioned)


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of a note: codes, features, and which are right."""

    codes: tuple[str, ...]
    features: Matrix
    right: Matrix


def read_coded(path: Path, reader: Reader) -> list[CodedNote]:
    """Return the coded notes of a JSONL file ({"id", "text", "codes"}), read.

    Raises:
        TrainingError: the file cannot be read, or a line is no coded note.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    found = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    found.append(CodedNote.of(json.loads(line), reader))
                except (ValueError, KeyError, TypeError) as error:
                    raise TrainingError(
                        f"{path}, line {number}: no coded note; it must hold id, text and codes"
                    ) from error
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
    return found


def count(notes: Sequence[CodedNote], config: NotesConfig) -> Experience:
    """Return the experience of having coded the notes."""
    codes: Counter[str] = Counter()
    categories: Counter[str] = Counter()
    mentioned: dict[str, list[int]] = {}
    keys: dict[str, list[int]] = {}
    of_phrase: Counter[str] = Counter()
    both: dict[str, Counter[str]] = {}
    of_category: Counter[str] = Counter()
    beside: dict[str, Counter[str]] = {}
    for note in notes:
        codes.update(note.codes)
        categories.update({code[:3] for code in note.codes})
        for phrase in phrases(note.reading.words):
            of_phrase[phrase] += 1
            both.setdefault(phrase, Counter()).update(note.codes)
        for code, phrases_of_code in note.mentioned:
            given = code in note.codes
            _tally(mentioned, code, given)
            for key in phrases_of_code:
                _tally(keys, f"{code} {key}", given)
        for category in {code[:3] for code, _ in note.mentioned}:
            of_category[category] += 1
            given_codes = [code for code in note.codes if code[:3] == category]
            beside.setdefault(category, Counter()).update(given_codes)
    priors = {code: number / len(notes) for code, number in codes.items()}
    return Experience(
        notes=len(notes),
        codes=codes,
        categories=categories,
        mentioned=_pairs(mentioned),
        related={
            category: (of_category[category], tuple(sorted(codes_of.items())))
            for category, codes_of in beside.items()
            if codes_of
        },
        keys=_pairs(keys),
        phrases=telling(
            ((phrase, of_phrase[phrase], given) for phrase, given in both.items()
             if of_phrase[phrase] > 1),
            priors,
            least_share=config.least_share,
            least_surprise=config.least_surprise,
        ),
    )  # fmt: skip


def _tally(counts: dict[str, list[int]], name: str, given: bool) -> None:
    pair = counts.setdefault(name, [0, 0])
    pair[0] += 1
    pair[1] += given


def _pairs(counts: dict[str, list[int]]) -> dict[str, tuple[int, int]]:
    return {name: (pair[0], pair[1]) for name, pair in counts.items()}


def judge(note: CodedNote, reader: Reader, experience: Experience) -> Judged:
    """Return the candidates of a note, with features from an experience."""
    items = reader.candidates(note.reading, experience, _SYSTEMS)
    codes = tuple(item.concept.code for item in items)
    return Judged(
        codes,
        reader.features(note.reading, items, experience),
        np.array([code in note.codes for code in codes], dtype=np.float32),
    )


def crossed(notes: Sequence[CodedNote], reader: Reader, config: NotesConfig) -> list[Judged]:
    """Return the notes, each judged with the experience of the other folds."""
    found: list[Judged | None] = [None] * len(notes)
    for fold in range(config.folds):
        others = [note for row, note in enumerate(notes) if row % config.folds != fold]
        experience = count(others, config)
        for row in range(fold, len(notes), config.folds):
            found[row] = judge(notes[row], reader, experience)
    return [item for item in found if item is not None]


def boost(judged: Sequence[Judged], config: NotesConfig) -> Any:
    """Return boosted trees (LightGBM) fitted on judged candidates."""
    lightgbm = need("lightgbm", extra="train")
    table = np.vstack([item.features for item in judged])
    right = np.concatenate([item.right for item in judged])
    return lightgbm.train(
        {
            "objective": "binary", "learning_rate": config.rate, "num_leaves": config.leaves,
            "min_data_in_leaf": config.least, "feature_fraction": 0.6, "lambda_l2": 5.0,
            "bagging_fraction": 0.8, "bagging_freq": 1, "seed": config.seed, "verbose": -1,
            "num_threads": 1, "deterministic": True, "force_row_wise": True,
        },
        lightgbm.Dataset(table, right, feature_name=list(FEATURES)),
        config.rounds,
    )  # fmt: skip


def out_of_fold(judged: Sequence[Judged], config: NotesConfig, *, parts: int = 5) -> list[Matrix]:
    """Return logits of each note's candidates by trees that have not seen the note."""
    found: list[Matrix | None] = [None] * len(judged)
    for part in range(parts):
        trees = boost([item for row, item in enumerate(judged) if row % parts != part], config)
        for row in range(part, len(judged), parts):
            found[row] = np.asarray(
                trees.predict(judged[row].features, raw_score=True), dtype=np.float32
            )
    return [item for item in found if item is not None]


def calibration(
    logits: Sequence[Matrix], judged: Sequence[Judged], *, corners: int = 24
) -> tuple[list[float], list[float]]:
    """Return corners of a rising curve from logits to probabilities.

    Groups of like logits, the share of right ones in each (Laplace), made to rise by
    pooling neighbours that fall (isotonic regression).
    """
    score = np.concatenate(list(logits))
    right = np.concatenate([item.right for item in judged])
    order = np.argsort(score, kind="stable")
    # Most candidates are wrong: groups of equally many right ones resolve the upper end.
    weight = np.cumsum(right[order] + 0.02)
    group = np.minimum((weight / weight[-1] * corners).astype(int), corners - 1)
    blocks: list[list[float]] = []
    for number in range(corners):
        rows = order[group == number]
        if not len(rows):
            continue
        blocks.append([float(score[rows].mean()), float(right[rows].sum()), float(len(rows))])
    merged: list[list[float]] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1 and merged[-2][1] / merged[-2][2] >= merged[-1][1] / merged[-1][2]:
            last = merged.pop()
            before = merged.pop()
            size = before[2] + last[2]
            middle = (before[0] * before[2] + last[0] * last[2]) / size
            merged.append([middle, before[1] + last[1], size])
    xs = [block[0] for block in merged]
    ys = [(block[1] + 0.5) / (block[2] + 1.0) for block in merged]
    return [xs[0] - 4.0, *xs, xs[-1] + 3.0], [0.0005, *ys, min(0.995, ys[-1] + 0.02)]


def best_threshold(
    probabilities: Sequence[Matrix], judged: Sequence[Judged], notes: Sequence[CodedNote]
) -> tuple[float, float]:
    """Return the probability from which on the micro-F1 is best, and that F1."""
    score = np.concatenate(list(probabilities))
    right = np.concatenate([item.right for item in judged])
    gold = sum(len(note.codes) for note in notes)
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + gold)
    best = int(f1.argmax())
    return float(score[order[best]]), float(f1[best])


def nodes(booster: Any) -> list[dict[str, list[float]]]:
    """Return LightGBM's trees as lists of nodes, as ``choice.Trees`` reads them."""
    return [_flat(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]


def _flat(root: dict[str, Any]) -> dict[str, list[float]]:
    tree: dict[str, list[float]] = {
        "feature": [], "threshold": [], "left": [], "right": [], "value": []
    }  # fmt: skip
    waiting = [(root, -1, "left")]
    while waiting:
        node, parent, side = waiting.pop()
        place = len(tree["feature"])
        if parent >= 0:
            tree[side][parent] = place
        leaf = "leaf_value" in node and "split_feature" not in node
        tree["feature"].append(-1 if leaf else int(node["split_feature"]))
        # float32 downwards: a value on the left of the split stays there.
        tree["threshold"].append(0.0 if leaf else float(np.float32(node["threshold"])))
        tree["value"].append(round(float(node["leaf_value"]), 6) if leaf else 0.0)
        tree["left"].append(place)
        tree["right"].append(place)
        if not leaf:
            waiting.append((node["left_child"], place, "left"))
            waiting.append((node["right_child"], place, "right"))
    return tree


def fit(notes: Sequence[CodedNote], reader: Reader, config: NotesConfig) -> tuple[str, float]:
    """Return the model of a coder as JSON, and its F1 on notes that it has not seen.

    Raises:
        TrainingError: there are fewer notes than folds.
    """
    if len(notes) < 2 * config.folds:
        raise TrainingError(
            f"{len(notes)} notes are too few for {config.folds} folds; name a file with more, "
            "or set folds in the recipe"
        )
    judged = crossed(notes, reader, config)
    logits = out_of_fold(judged, config)
    corners, heights = calibration(logits, judged)
    calibrated = [np.interp(one, corners, heights).astype(np.float32) for one in logits]
    threshold, f1 = best_threshold(calibrated, judged, notes)
    values = {
        "features": list(FEATURES),
        "threshold": round(threshold, 4),
        "calibration": {
            "logits": [round(value, 4) for value in corners],
            "probabilities": [round(value, 5) for value in heights],
        },
        "trees": nodes(boost(judged, config)),
        "experience": count(notes, config).to_json(),
    }
    Choice.from_json(values)  # what is written can be read
    return json.dumps(values, separators=(",", ":")) + "\n", f1


def fit_to_file(config: NotesConfig, coded: Path, index: Path, out: Path) -> float:
    """Fit the choice on a file of coded notes and write it; return its F1 on unseen notes."""
    reader = Reader(open_index(index).lexicon)
    text, f1 = fit(read_coded(coded, reader), reader, config)
    out.write_text(text, encoding="utf-8")
    return f1


def mean_average_precision(
    scores: Iterable[Matrix], judged: Sequence[Judged], notes: Sequence[CodedNote]
) -> float:
    """Return the mean average precision of the candidates' ranking."""
    found = []
    for score, item, note in zip(scores, judged, notes, strict=True):
        right = item.right[np.argsort(-score, kind="stable")]
        hits = np.cumsum(right)
        precision = (hits / np.arange(1, len(right) + 1))[right > 0]
        found.append(float(precision.sum()) / max(1, len(note.codes)))
    return float(np.mean(found))
