"""A whole tuning run on tables of 200 rows: it learns, it stops, it goes on."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("datasets", reason=REASON)
zstandard = pytest.importorskip("zstandard", reason=REASON)

from safetensors.torch import load_file  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import ModernBertForMaskedLM, ModernBertModel  # noqa: E402

from cmsearch.codes import Code, System  # noqa: E402
from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.ontology.vocabulary import Entry  # noqa: E402
from cmsearch.train import tables as terms_module  # noqa: E402
from cmsearch.train import tune as module  # noqa: E402
from cmsearch.train.config import TuneConfig  # noqa: E402
from cmsearch.train.model import (  # noqa: E402
    Shape,
    as_sentence_transformer,
    load_tokenizer,
    new_config,
    new_model,
    shape_of,
)
from cmsearch.train.tokenizer import train_tokenizer  # noqa: E402
from cmsearch.train.tune import Sources, tune  # noqa: E402

pytestmark = [
    pytest.mark.train,
    # A loader asks for pinned memory where there is no accelerator.
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]

SAFE = "model.safetensors"
CONDITIONS = {
    "infection": "sepsis", "fracture": "broken bone", "swelling": "oedema", "pain": "ache",
    "cancer": "malignancy", "bleeding": "haemorrhage", "burn": "scald", "weakness": "palsy",
}  # fmt: skip
SITES = {
    "lung": "pulmonary", "heart": "cardiac", "liver": "hepatic", "kidney": "renal",
    "stomach": "gastric", "brain": "cerebral", "skin": "cutaneous", "eye": "ocular",
    "ear": "aural", "knee": "genual", "foot": "pedal", "bladder": "vesical",
}  # fmt: skip
CODED = {
    f"{chr(65 + row)}{column + 10}.0": (condition, site)
    for row, condition in enumerate(CONDITIONS)
    for column, site in enumerate(SITES)
}
TABULAR = """<ICD10CM.tabular><version>2026</version><chapter><name>1</name>
<desc>All (A00-B99)</desc><section id="A00-B99"><desc>All (A00-B99)</desc>
<diag><name>A10</name><desc>lung infection</desc>
<inclusionTerm><note>infected lung</note></inclusionTerm></diag></section></chapter>
</ICD10CM.tabular>"""


def title(code: str) -> str:
    return "{} of {}".format(*CODED[code])


def asked(code: str) -> str:
    condition, site = CODED[code]
    return f"{SITES[site]} {CONDITIONS[condition]}"


def write(path: Path, header: str, rows: list[tuple[str, ...]]) -> None:
    lines = ["\t".join(header.split()), *("\t".join(row) for row in rows)]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Tables of 192 rows, and a corpus of 40 documents in two shards."""
    terms = tmp_path_factory.mktemp("terms")
    write(
        terms / "icd10cm_titles_fy2026.tsv.gz",
        "code billable short_title long_title",
        [(code, "1", f"{CODED[code][0]} {CODED[code][1]}", title(code)) for code in CODED],
    )
    write(
        terms / "icd10cm_index.tsv.gz",
        "index path code",
        [("main", f"{asked(code).replace(' ', ' > ', 1)}", code) for code in CODED],
    )
    corpus = tmp_path_factory.mktemp("corpus")
    documents = [
        f"The patient had {title(code)} for days. It was {asked(code)} after all, we think."
        for code in list(CODED)[:40]
    ]
    for shard in (0, 1):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in documents[shard::2])
        packed = zstandard.ZstdCompressor().compress(lines.encode())
        (corpus / f"part-{shard:04}.jsonl.zst").write_bytes(packed)
    return Sources(terms, corpus)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers model of one layer, to be asked as a teacher is."""
    folder = tmp_path_factory.mktemp("teacher")
    texts = [text for code in CODED for text in (title(code), asked(code))]
    train_tokenizer(texts * 2, size=300).save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    torch.manual_seed(5)
    model = new_model(Shape(layers=1, width=256, inner=64, heads=4), tokenizer)
    model.save_pretrained(folder / "core")
    tokenizer.save_pretrained(folder / "core")
    whole = as_sentence_transformer(folder / "core", max_tokens=32, device="cpu")
    whole.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module", autouse=True)
def small_ontology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The packaged vocabulary and tabular list would be most of the data."""
    tabular = tmp_path_factory.mktemp("tabular") / "tabular.xml"
    tabular.write_text(TABULAR, encoding="utf-8")
    entry = Entry(Code.of(System.ICD10CM, "A10.0"), "bug on the lungs", "lay")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "tabular_file", lambda: tabular)
        patch.setattr(terms_module, "read_vocabulary", lambda: iter([entry]))
        yield


def tiny(teacher: Path | str = "", **changes: Any) -> TuneConfig:
    return dataclasses.replace(
        TuneConfig(
            size="tiny", vocabulary_size=400, max_tokens=16, bag_steps=10, steps=24, batch=16,
            dims=(256, 64), teacher=str(teacher), snippets=60, teacher_every=4, save_steps=10,
        ),
        **changes,
    )  # fmt: skip


class Stopped(Exception):
    """What a test raises in the middle of a run."""


def counting(steps: list[int], stop: bool) -> Callable[..., None]:
    """Return a callback for saved checkpoints that notes the step, and may stop there."""

    def on_save(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        steps.append(state.global_step)
        if stop:
            raise Stopped

    return on_save


@pytest.fixture(scope="module")
def run(sources: Sources, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a teacher and a corpus, without a break."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert tune(tiny(teacher), sources, out) == out / "model"
    return out


def recall(model: SentenceTransformer) -> float:
    """Return how often the nearest title is that of the index term asked for."""
    codes = list(CODED)
    encode = lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)  # noqa: E731
    scores = encode([asked(code) for code in codes]) @ encode([title(code) for code in codes]).T
    return float((scores.argmax(axis=1) == np.arange(len(codes))).mean())


# A run


def test_a_run_leaves_a_modernbert_that_anybody_can_open(run: Path) -> None:
    model = SentenceTransformer(str(run / "model"), device="cpu")
    core = model[0].auto_model
    assert type(core) is ModernBertModel
    assert len(core.layers) == 4
    assert core.config.hidden_size == 256
    assert model.max_seq_length == 16
    vectors = model.encode(["lung infection", "pain"], show_progress_bar=False)
    assert vectors.shape == (2, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_every_stage_leaves_its_result(run: Path) -> None:
    for name in ("config.json", "tokenizer.json", "pieces.npy", "snippets.npy"):
        assert (run / name).is_file()
    assert json.loads((run / "config.json").read_text())["save_steps"] == 10
    assert load_file(run / "bag" / "model.safetensors").keys() == {
        "embeddings.tok_embeddings.weight", "embeddings.norm.weight", "final_norm.weight",
    }  # fmt: skip
    checkpoints = sorted(path.name for path in (run / "run").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-20", "checkpoint-24"]
    logged = [json.loads(line) for line in (run / "run" / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 24
    assert logged[-1]["train_loss"] > 0


def test_the_teacher_is_seen_in_unit_vectors(run: Path) -> None:
    snippets = np.load(run / "snippets.npy")
    assert snippets.shape == (60, 256)
    assert np.allclose(np.linalg.norm(snippets, axis=1), 1, atol=1e-4)
    pieces = len(load_tokenizer(run / "tokenizer.json"))
    assert np.load(run / "pieces.npy").shape == (pieces, 256)


def test_the_layers_and_the_embeddings_were_trained(run: Path) -> None:
    before = load_file(run / "start" / "model.safetensors")
    after = load_file(run / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    unchanged = [name for name in after if torch.equal(before[name], after[name])]
    assert unchanged == []


def test_training_teaches(sources: Sources, tmp_path: Path) -> None:
    config = tiny(bag_steps=40, steps=40, augment_share=0.0)
    model = tune(config, sources, tmp_path / "run")
    untrained = as_sentence_transformer(tmp_path / "run" / "bag-start", max_tokens=16, device="cpu")
    assert recall(untrained) < 0.3
    assert recall(SentenceTransformer(str(model), device="cpu")) > 0.8


def test_tuning_starts_from_a_pretrained_model(
    run: Path, sources: Sources, teacher: Path, tmp_path: Path
) -> None:
    """Its tokenizer and layers are taken; there is no stage for the embeddings alone."""
    given = tmp_path / "pretrained"
    tokenizer = load_tokenizer(run / "tokenizer.json")
    config = new_config(shape_of("tiny"), tokenizer)
    torch.manual_seed(9)
    ModernBertForMaskedLM(config).save_pretrained(given)
    tokenizer.save_pretrained(given)
    out = tmp_path / "run"
    tune(tiny(teacher, start=str(given), steps=4), sources, out)
    assert not (out / "bag").exists()
    taken, first = (json.loads((at / "tokenizer.json").read_text("utf-8")) for at in (out, given))
    assert taken["model"] == first["model"]
    assert taken["post_processor"] is None  # no [CLS] and no [SEP]
    masked, start = load_file(given / "model.safetensors"), load_file(out / "start" / SAFE)
    assert all(torch.equal(start[name], masked[f"model.{name}"]) for name in start)
    after = load_file(out / "model" / SAFE)
    assert not torch.equal(after["layers.0.mlp.Wi.weight"], start["layers.0.mlp.Wi.weight"])


def test_rounds_look_for_near_misses_anew_and_go_on_after_a_break(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(steps=8, rounds=2, near_share=0.5, micro=8)
    seen: list[tuple[int, list[list[int]]]] = []
    looked_for = module.near_misses

    def noted(model: Any, pairs: Any, **options: Any) -> list[list[int]]:
        seen.append((len(pairs), looked_for(model, pairs, **options)))
        return seen[-1][1]

    monkeypatch.setattr(module, "near_misses", noted)
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(module._Journal, "on_save", counting([], stop=True))
        with pytest.raises(Stopped):
            tune(config, sources, out)
    tune(config, sources, out)
    first, again, second = seen[-3:]
    assert first == again
    assert [count for count, _ in (first, second)] == [64, 63]
    assert first[1] != second[1]
    assert sum(map(len, second[1])) == 32
    one, two = (load_file(at / SAFE) for at in (out / "round-1", out / "model"))
    assert not torch.equal(one["layers.0.mlp.Wi.weight"], two["layers.0.mlp.Wi.weight"])


def test_a_start_that_does_not_fit_is_refused(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no tokenizer\.json; name the folder of a pretrained"):
        tune(tiny(start=str(tmp_path)), sources, tmp_path / "out")


# Stopping and going on


def test_a_stopped_run_goes_on_to_the_same_weights(
    run: Path, sources: Sources, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, saved = tmp_path / "stopped", list[int]()
    out.mkdir()
    # Two trainings of a tokenizer may break ties differently: take the same one.
    shutil.copy(run / "tokenizer.json", out)
    with monkeypatch.context() as patch:
        patch.setattr(module._Journal, "on_save", counting(saved, stop=True))
        with pytest.raises(Stopped):
            tune(tiny(teacher), sources, out)
    assert saved == [10]
    assert not (out / "model").exists()
    done = {name: (out / name).stat().st_mtime_ns for name in ("tokenizer.json", "snippets.npy")}
    with monkeypatch.context() as patch:
        patch.setattr(module._Journal, "on_save", counting(saved, stop=False))
        tune(tiny(teacher), sources, out)
    assert saved == [10, 20, 24]  # the first ten steps were not taken again
    assert done == {name: (out / name).stat().st_mtime_ns for name in done}
    whole = load_file(run / "model" / "model.safetensors")
    resumed = load_file(out / "model" / "model.safetensors")
    tolerance = 1e-5 if module.device() == "cpu" else 1e-2
    for name, weights in whole.items():
        assert torch.allclose(weights, resumed[name], atol=tolerance), name
    early = load_file(run / "run" / "checkpoint-20" / "model.safetensors")
    moved = max(float((whole[name] - early[name]).abs().max()) for name in whole)
    assert moved > 10 * tolerance  # else equal weights would say nothing


def test_another_configuration_is_refused(run: Path, sources: Sources, teacher: Path) -> None:
    with pytest.raises(TrainingError, match=r"another configuration \(rate, steps\); name a new"):
        tune(tiny(teacher, steps=25, rate=1e-4), sources, run)
    assert json.loads((run / "config.json").read_text())["steps"] == 24


def test_a_run_from_before_a_key_existed_goes_on(tmp_path: Path) -> None:
    values = dataclasses.asdict(TuneConfig())
    del values["save_steps"]
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    TuneConfig().record(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["save_steps"] == 200
    with pytest.raises(TrainingError, match=r"\(save_steps\)"):
        TuneConfig(save_steps=5).record(tmp_path)


def test_no_terms(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of the terminology tables"):
        tune(tiny(), Sources(tmp_path / "terms"), tmp_path / "out")


# Recipes


def test_a_recipe_is_read(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'size = "tiny"\nrate = 1\ndims = [256, 64]\n[weights]\nindex = 0.5\nvocabulary = 2\n',
        encoding="utf-8",
    )
    config = TuneConfig.load(recipe)
    assert config.dims == (256, 64)
    assert config.weights == {"index": 0.5, "vocabulary": 2}
    assert config == TuneConfig(
        size="tiny", rate=1, dims=(256, 64), weights={"index": 0.5, "vocabulary": 2}
    )


RECIPES = sorted(
    path
    for kind in ("version", "tune-")
    for path in (Path(__file__).parents[1] / "recipes").glob(f"{kind}*.toml")
)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_of_the_checkout_are_read(recipe: Path) -> None:
    assert TuneConfig.load(recipe).size in ("tiny", "small", "base")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1", "nothing reads learning_rate; the keys are augment_share, bag_rate"),
        (
            "[weights]\nindx = 1",
            r"nothing reads indx; the sources in \[weights\] are abbreviations",
        ),
        ('steps = "many"', "steps = 'many' should be like steps = 1500"),
        ("steps = 1.5", "steps = 1.5 should be like"),
        ("steps = true", "steps = True should be like"),
        ("dims = 256", "dims = 256 should be like"),
        ("weights = 3", "weights = 3 should be like"),
        ("steps = ", "Invalid value"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=message) as caught:
        TuneConfig.load(recipe)
    assert str(recipe) in str(caught.value)


def test_every_known_key_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text("colour = 1", encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        TuneConfig.load(recipe)
    for item in dataclasses.fields(TuneConfig):
        assert item.name in str(caught.value)


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"none\.toml"):
        TuneConfig.load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError, match=r"binary\.toml"):
        TuneConfig.load(tmp_path / "binary.toml")
