"""The atlas: figures against naive counts, pictures of the small world, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny

from cmsearch import separation
from cmsearch.atlas import Atlas, Text, draw, measure, places, text_of
from cmsearch.cli.app import app
from cmsearch.codes import System
from cmsearch.errors import CodeError, MissingDependency
from cmsearch.ontology.ontology import Ontology
from cmsearch.picture import colours, page_of, write
from cmsearch.types import Vectors


def unit(rows: np.ndarray) -> Vectors:
    found: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    return unit(np.random.default_rng(3).normal(size=(60, 5)))


LABELS = [f"group {row % 4}" for row in range(58)] + ["pair", "alone"]


# Figures


@pytest.mark.parametrize("step", [7 * 60, 1 << 26])
def test_neighbours_against_a_loop(
    vectors: Vectors, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separation, "_AT_ONCE", step)
    near, distances = separation.neighbours(vectors, k=6)
    for row in range(60):
        cosine = [(-float(vectors[row] @ vectors[other]), other) for other in range(60)]
        expected = sorted(pair for pair in cosine if pair[1] != row)[:6]
        assert near[row].tolist() == [other for _, other in expected]
        assert distances[row] == pytest.approx([1 + value for value, _ in expected], abs=1e-6)


def test_equal_vectors_are_each_others_neighbours_in_order() -> None:
    same = unit(np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]))
    near, distances = separation.neighbours(same, k=2)
    assert near[:3].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert near[4, 0] == 3
    assert distances[0].tolist() == [0, 0]


@pytest.mark.parametrize("k", [0, 5])
def test_as_many_neighbours_as_there_are(k: int) -> None:
    with pytest.raises(ValueError, match="have from 1 to 4 neighbours"):
        separation.neighbours(unit(np.eye(5)), k=k)


def test_purity_against_a_loop(vectors: Vectors) -> None:
    near, _ = separation.neighbours(vectors, k=10)
    found = separation.purity(near, LABELS)
    for row, label in enumerate(LABELS):
        others = LABELS.count(label) - 1
        if not others:
            assert np.isnan(found[row])
            continue
        first = near[row][: min(10, others)]
        expected = sum(LABELS[other] == label for other in first) / len(first)
        assert found[row] == pytest.approx(expected)


def test_a_small_group_can_be_pure() -> None:
    near = np.array([[1, 2, 3], [0, 2, 3], [3, 0, 1], [2, 0, 1]])
    assert separation.purity(near, ["a", "a", "b", "b"]).tolist() == [1, 1, 1, 1]
    assert separation.purity(near, ["a", "b", "a", "b"]).tolist() == [0, 0, 0, 0]


def test_chance_is_the_purity_of_random_neighbours() -> None:
    draws = np.random.default_rng(5)
    near = np.array([draws.permutation(np.delete(np.arange(60), row))[:10] for row in range(60)])
    many = [np.nanmean(separation.purity(draws.permuted(near, axis=1), LABELS)) for _ in range(3)]
    expected = separation.chance(LABELS)
    assert expected == pytest.approx(
        np.mean([(LABELS.count(one) - 1) / 59 for one in LABELS if LABELS.count(one) > 1])
    )
    assert np.mean(many) == pytest.approx(expected, abs=0.05)
    assert np.isnan(separation.chance(["a", "b"]))


def test_silhouette_against_scikit_learn(vectors: Vectors) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="the extra bench is not installed")
    expected = metrics.silhouette_samples(vectors, LABELS, metric="cosine")
    assert separation.silhouette(vectors, LABELS) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="two labels"):
        separation.silhouette(vectors, ["one"] * 60)


# Codes and texts


def test_only_codes_without_further_codes_below(tiny_ontology: Ontology) -> None:
    found = [place.code.value for place in places(tiny_ontology, System.ICD10CM)]
    assert "I21.9" in found
    assert "S52.501" in found  # its children are 7th characters
    assert not {"I21", "I20-I25", "I00-I99", "S52.501A"} & set(found)


def test_too_few_codes_for_a_picture(tiny_ontology: Ontology) -> None:
    with pytest.raises(CodeError, match="an atlas needs 12 codes"):
        places(tiny_ontology, System.ICD9CM)


def test_no_text_but_the_numbered_one_gives_the_code_away(tiny_ontology: Ontology) -> None:
    for place in places(tiny_ontology, System.ICD10CM):
        assert text_of(place, Text.TITLE) == place.title
        assert text_of(place, Text.TEMPLATE) == f"ICD 10 code: {place.title}"
        numbered = text_of(place, Text.NUMBERED)
        assert numbered == f"ICD 10 code for {place.code.value}: {place.title}"


def test_a_perfect_encoder_has_perfect_figures(tiny_ontology: Ontology) -> None:
    found = places(tiny_ontology, System.ICD10CM)
    names = sorted({place.chapter for place in found})
    exact = unit(np.array([np.eye(len(names))[names.index(place.chapter)] for place in found]))
    near, _ = separation.neighbours(exact, k=10)
    apart, pure, _, rows = measure(found, exact, near)
    alone = sum(row.codes for row in rows if row.codes == 1)
    assert apart == pytest.approx((len(found) - alone) / len(found))
    assert pure == 1
    assert sum(row.codes for row in rows) == len(found)


# Pictures


@pytest.fixture(scope="module")
def drawn(tiny_ontology: Ontology) -> Atlas:
    pytest.importorskip("openTSNE", reason="the extra atlas is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cmsearch.atlas.open_encoder",
            lambda name, device: tiny.FakeEncoder(name or "shipped", 512 if name else 64),
        )
        return draw(tiny_ontology, System.ICD10CM, ["", "other"])


def test_a_seed_gives_one_picture(
    drawn: Atlas, tiny_ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmsearch.atlas.open_encoder", lambda name, device: tiny.FakeEncoder(name))
    again = draw(tiny_ontology, System.ICD10CM, ["other"])
    assert np.array_equal(again.panels[0].points, drawn.panels[1].points)
    assert again.panels[0].points.shape == (len(drawn.places), 2)
    assert np.isfinite(again.panels[0].points).all()


def test_the_figures_are_plain_values(drawn: Atlas) -> None:
    values = json.loads(json.dumps(drawn.figures(), allow_nan=False))
    assert list(values) == [
        "system", "release", "codes", "text", "neighbours", "seed", "chance", "encoders",
    ]  # fmt: skip
    assert [row["encoder"] for row in values["encoders"]] == ["shipped", "other"]
    assert values["codes"] == len(drawn.places)


def test_the_files(drawn: Atlas, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra atlas is not installed")
    image, page = write(drawn, tmp_path / "new" / "folder")
    assert image.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    first = image.read_bytes()
    write(drawn, tmp_path / "new" / "folder")
    assert image.read_bytes() == first
    assert page.read_text(encoding="utf-8") == page_of(drawn)


def test_the_page_holds_everything_and_fetches_nothing(drawn: Atlas) -> None:
    page = page_of(drawn)
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert held is not None
    values = json.loads(held[1])
    assert values["codes"] == [place.code.value for place in drawn.places]
    assert values["titles"] == [place.title for place in drawn.places]
    assert all(len(points) == 2 * len(drawn.places) for points in values["points"])
    assert all(0 <= place <= values["grid"] for points in values["points"] for place in points)
    assert max(values["chapter"]) < len(values["colours"])
    assert "{{" not in page
    assert not re.search(r"https?:|src=|url\(|@import|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page


def test_a_title_cannot_end_the_data(drawn: Atlas) -> None:
    from dataclasses import replace

    bad = replace(drawn.places[0], title="</script><b>")
    page = page_of(replace(drawn, places=(bad, *drawn.places[1:])))
    assert "</script><b>" not in page


def test_colours_differ() -> None:
    assert len(set(colours(24))) == 24
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours(30))


# The command


def test_the_command(drawn: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    asked: dict[str, object] = {}

    def fake(ontology: object, system: System, names: list[str], **more: object) -> Atlas:
        asked.update(system=system, names=names, **more)
        return drawn

    monkeypatch.setattr("cmsearch.atlas.draw", fake)
    monkeypatch.setattr(Ontology, "load", lambda *_, **__: None)
    options = ["atlas", "--against", "", "--text", "template", "--out", str(tmp_path)]
    ran = CliRunner().invoke(app, [*options, "--format", "json"])
    assert ran.exit_code == 0, ran.output
    values = json.loads(ran.stdout)
    assert values["files"]["html"] == str(tmp_path / "atlas-icd10cm.html")
    assert (asked["names"], asked["text"], asked["seed"]) == ([""], Text.TEMPLATE, 1)
    table = CliRunner().invoke(app, options)
    assert "at random" in table.stdout
    assert CliRunner().invoke(app, ["atlas", "--text", "sound"]).exit_code == 2


def test_the_missing_library_is_named(
    tiny_ontology: Ontology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openTSNE", None)
    with pytest.raises(MissingDependency, match=r"cmsearch\[atlas\]"):
        draw(tiny_ontology, System.ICD10CM, [""])
