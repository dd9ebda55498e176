"""Numbers that codes are cut by: BMI 26.0-26.9, less than 500 grams, 45 or more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

_NUMBER = r"(?<![\w.,/-])(\d+(?:\.\d+)?)"
_SPANS = (
    (re.compile(rf"{_NUMBER}-(\d+(?:\.\d+)?)(?![\w.])"), lambda a, b: (float(a), _after(b))),
    (re.compile(rf"\b[Ll]ess than {_NUMBER}(?![\w.])()"), lambda a, _: (-inf, float(a))),
    (re.compile(rf"\b[Gg]reater than {_NUMBER}(?![\w.])()"), lambda a, _: (_after(a), inf)),
    (re.compile(rf"{_NUMBER}() or less\b"), lambda a, _: (-inf, _after(a))),
    (re.compile(rf"{_NUMBER}()[^,]{{0,14}} or (?:more|greater)\b"), lambda a, _: (float(a), inf)),
)
_ASKED = re.compile(r"(?<![\w.,/-])\d+(?:[.,]\d{1,2})?(?![\w.,]*\d|[a-z-])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from ``least`` to below ``end``."""

    least: float
    end: float

    def __contains__(self, number: float) -> bool:
        return self.least <= number < self.end


def span_of(title: str) -> Span | None:
    """Return the numbers that a title is for; None if it gives none, or more than one span."""
    found = [
        Span(*limits(*match.groups()))
        for pattern, limits in _SPANS
        for match in pattern.finditer(title)
    ]
    return found[0] if len(found) == 1 else None


def number_of(text: str) -> float | None:
    """Return the number that stands in a text; None if there is none, or more than one."""
    found = _ASKED.findall(text)
    return float(found[0].replace(",", ".")) if len(found) == 1 else None


def _after(written: str) -> float:
    """Return the number after all that round down to this one: 27.0 after 26.9."""
    _, _, decimals = written.partition(".")
    return round(float(written) + 10.0 ** -len(decimals), len(decimals))
