"""Clinical words to ICD codes: offline, hybrid, explained.

from cmsearch import Index
Index.open().search(["heart attack"], k=10)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmsearch.codes import Code, System
    from cmsearch.contents import BuildOptions
    from cmsearch.description import Description, describe
    from cmsearch.errors import CmsearchError
    from cmsearch.filters import Filters
    from cmsearch.notes.index import Index
    from cmsearch.types import Hit, Suggestion

__all__ = [
    "BuildOptions",
    "CmsearchError",
    "Code",
    "Description",
    "Filters",
    "Hit",
    "Index",
    "Suggestion",
    "System",
    "describe",
]

# Names are fetched when they are first asked for, so that importing cmsearch is instant.
_HOMES = {
    "BuildOptions": "cmsearch.contents",
    "CmsearchError": "cmsearch.errors",
    "Code": "cmsearch.codes",
    "Description": "cmsearch.description",
    "Filters": "cmsearch.filters",
    "Hit": "cmsearch.types",
    "Index": "cmsearch.notes.index",
    "Suggestion": "cmsearch.types",
    "System": "cmsearch.codes",
    "describe": "cmsearch.description",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cmsearch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
