"""The atlas as a picture file and as one page that needs nothing else."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.atlas import Atlas, Panel
from cmsearch.errors import need
from cmsearch.projection import EXTRA, Points

TEMPLATE = "atlas.html"
_MARK = "{{atlas}}"
# Places of the page are whole numbers up to this: finer than any screen.
_GRID = 8192
_TONES = ((0.50, 0.15), (0.66, 0.15), (0.78, 0.11))  # OKLCH lightness and chroma
_HUES = 8
_EXPLAINED = {
    "title": "Each code by its title alone.",
    "template": "Each code by the published template, its number left out.",
    "numbered": "Each code by the published template with its number, which gives chapters away.",
}  # fmt: skip


def write(atlas: Atlas, folder: Path) -> tuple[Path, Path]:
    """Write ``atlas-SYSTEM.png`` and ``atlas-SYSTEM.html`` to a folder; return their paths.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / f"atlas-{atlas.system.value}.png"
    page = image.with_suffix(".html")
    write_png(atlas, image)
    page.write_text(page_of(atlas), encoding="utf-8")
    return image, page


def write_png(atlas: Atlas, path: Path) -> None:
    """Write the panels side by side with one legend, 200 dots an inch.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    figure = need("matplotlib.figure", extra=EXTRA).Figure(
        figsize=(7.2 * len(atlas.panels), 9.4), layout="constrained"
    )
    chapters = [row.chapter for row in atlas.panels[0].chapters]
    shades = dict(zip(chapters, colours(len(chapters)), strict=True))
    shade = [shades[place.chapter] for place in atlas.places]
    # Drawn in a mixed order, or the last chapters would lie over the first.
    order = np.random.default_rng(atlas.seed).permutation(len(shade))
    figure.suptitle(_headline(atlas), fontsize=15)
    for axes, panel in zip(figure.subplots(1, len(atlas.panels), squeeze=False)[0],
                           atlas.panels, strict=True):  # fmt: skip
        axes.scatter(
            panel.points[order, 0], panel.points[order, 1], s=3.5, linewidths=0,
            c=[shade[row] for row in order],
        )  # fmt: skip
        axes.set_title(f"{panel.encoder}\n{_line(panel)}", fontsize=11)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_color("#bbbbbb")
    dots = need("matplotlib.lines", extra=EXTRA).Line2D
    figure.legend(
        handles=[
            dots([], [], marker="o", linestyle="", markersize=6, color=shades[name], label=name)
            for name in chapters
        ],
        loc="outside lower center", ncols=len(atlas.panels), fontsize=8, frameon=False,
    )  # fmt: skip
    figure.savefig(path, dpi=200, metadata={"Software": None})


def page_of(atlas: Atlas) -> str:
    """Return the page: points, titles, figures, style and script in one file."""
    chapters = [row.chapter for row in atlas.panels[0].chapters]
    number = {name: at for at, name in enumerate(chapters)}
    values: dict[str, Any] = {
        "headline": _headline(atlas),
        "explained": _EXPLAINED[atlas.text.value],
        "grid": _GRID,
        "figures": atlas.figures(),
        "colours": colours(len(chapters)),
        "codes": [place.code.value for place in atlas.places],
        "titles": [place.title for place in atlas.places],
        "chapter": [number[place.chapter] for place in atlas.places],
        "points": [_whole(panel.points) for panel in atlas.panels],
    }
    data = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    template = files("cmsearch").joinpath(TEMPLATE).read_text(encoding="utf-8")
    # A title that held "</script>" would end the data.
    return template.replace(_MARK, data.replace("<", "\\u003c"))


def colours(count: int) -> list[str]:
    """Return so many colours, those that follow each other far apart, as ``#rrggbb``.

    Eight hues in three tones, all readable on white and on near-black; from the 25th on
    they repeat. Source of the conversion: Ottosson, OKLab, 2020.
    """
    made = []
    for at in range(count):
        at %= _HUES * len(_TONES)
        tone = at % len(_TONES)
        # Steps of three eighths go through all hues; the tones lie between each other's.
        hue = 2 * math.pi * ((3 * at + tone) % _HUES + tone / len(_TONES)) / _HUES
        made.append(_hex(*_TONES[tone], hue))
    return made


def _hex(lightness: float, chroma: float, hue: float) -> str:
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(1, max(0, part)))):02x}" for part in linear)


def _gamma(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055


def _whole(points: Points) -> list[int]:
    """Return x, y, x, y, ... on a square grid, y downwards as screens have it."""
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - (low + high) / 2) / max(float((high - low).max()), 1e-9)
    scaled[:, 1] *= -1
    found: list[int] = np.rint((scaled + 0.5) * _GRID).astype(int).ravel().tolist()
    return found


def _headline(atlas: Atlas) -> str:
    return f"{len(atlas.places):,} codes of {atlas.system.label} {atlas.release}, by chapter"


def _line(panel: Panel) -> str:
    return (
        f"10 nearest in the same chapter {panel.chapter_purity:.1%}, in the same category "
        f"{panel.category_purity:.1%}; silhouette {panel.silhouette:.3f}"
    )
