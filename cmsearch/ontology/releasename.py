"""Which release a file is of, by its name and version, and which of two is newer."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cmsearch.codes import System

_MONTHS = ("january", "february", "march", "april", "may", "june") + (
    ("july", "august", "september", "october", "november", "december")
)
_DATED = re.compile(
    rf"(?i)({'|'.join(_MONTHS)})[-_ ]*(?:\d{{1,2}}(?!\d))?[-_, ]*((?:19|20)\d\d)(?!\d)"
)
_FISCAL = re.compile(r"(?i)FY[-_ ]?(?:20)?(\d\d)(?!\d)")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")
_ICD9_VERSION = re.compile(r"(?i)(?:CMS|(?<![a-z])v(?:ersion)?[-_ ]?)(\d\d)(?!\d)")
# Version 32 of ICD-9-CM is that of the fiscal year 2015, its last.
_ICD9_YEAR_0 = 1983


def release_name(system: System, names: Iterable[str], *, version: str = "") -> str:
    """Return the release that file names and the <version> of a file speak of; empty if none.

    A month in any name counts first (April-1-2026: ``April 2026``), then the version, then
    a fiscal year (FY2026: ``2026``), then a year. ICD-9-CM counts versions (``v32 (2015)``).

    Args:
        system: whose release.
        names: file names, the closest first: that of the file, that of its archive.
        version: text of <version>.
    """
    names = list(names)
    if system in (System.ICD9CM, System.ICD9PROC):
        numbers = [int(match[1]) for name in names if (match := _ICD9_VERSION.search(name))]
        years = [int(match[1]) for name in names if (match := _YEAR.search(name))]
        numbers += [year - _ICD9_YEAR_0 for year in years]
        return f"v{numbers[0]} ({numbers[0] + _ICD9_YEAR_0})" if numbers else ""
    for name in names:
        dated = _DATED.search(name)
        if dated:
            return f"{dated[1].capitalize()} {dated[2]}"
    for pattern, texts in ((_YEAR, [version]), (_FISCAL, names), (_YEAR, names)):
        for text in texts:
            year = pattern.search(text)
            if year:
                return year[1] if len(year[1]) == 4 else f"20{year[1]}"
    return ""


def effective(release: str) -> tuple[int, int]:
    """Return the year and month from which a release counts, to tell which one is newer.

    A release named by a year is that of the fiscal year, from the October before.
    """
    year = _YEAR.search(release)
    if year is None:
        return (0, 0)
    month = release.split()[0].lower()
    return (int(year[1]), _MONTHS.index(month) + 1) if month in _MONTHS else (int(year[1]) - 1, 10)
