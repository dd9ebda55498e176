"""Numbers that codes are cut by: BMI 26.0-26.9, less than 500 grams, 45 or more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

_NUMBER = r"(?<![\w.,/-])(?P<{}>\d+(?:\.\d+)?)"
_LEAST, _MOST = _NUMBER.format("least"), _NUMBER.format("most")
_SPAN = re.compile(
    rf"{_LEAST}-(?P<to>\d+(?:\.\d+)?)(?![\w.])"
    rf"|\bless than {_NUMBER.format('below')}(?![\w.])"
    rf"|\bgreater than {_NUMBER.format('above')}(?![\w.])"
    rf"|{_MOST} or less\b"
    rf"|{_NUMBER.format('first')}[^,]{{0,14}} or (?:more|greater)\b",
    re.IGNORECASE,
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
    found = [_span(**match.groupdict()) for match in _SPAN.finditer(title)]
    return found[0] if len(found) == 1 else None


def _span(
    least: str | None, to: str | None, below: str | None, above: str | None, most: str | None,
    first: str | None,
) -> Span:  # fmt: skip
    if least is not None and to is not None:
        return Span(float(least), _after(to))
    if below is not None:
        return Span(-inf, float(below))
    if above is not None:
        return Span(_after(above), inf)
    if most is not None:
        return Span(-inf, _after(most))
    return Span(float(first or 0), inf)


def number_of(text: str) -> float | None:
    """Return the number that stands in a text; None if there is none, or more than one."""
    found = _ASKED.findall(text)
    return float(found[0].replace(",", ".")) if len(found) == 1 else None


def _after(written: str) -> float:
    """Return the number after all that round down to this one: 27.0 after 26.9."""
    _, _, decimals = written.partition(".")
    return round(float(written) + 10.0 ** -len(decimals), len(decimals))
