"""Clinical words to ICD codes: offline, hybrid, explained.

    from cmsearch import Index
    Index.open().search(["heart attack"], k=10)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmsearch.codes import Code, System
    from cmsearch.describe import Description, describe
    from cmsearch.errors import CmsearchError
    from cmsearch.index import BuildOptions
    from cmsearch.search import Filters, Index
    from cmsearch.types import Hit

__all__ = [
    "BuildOptions",
    "CmsearchError",
    "Code",
    "Description",
    "Filters",
    "Hit",
    "Index",
    "System",
    "describe",
]

# Names are fetched when they are first asked for, so that importing cmsearch is instant.
_HOMES = {
    "BuildOptions": "cmsearch.index",
    "CmsearchError": "cmsearch.errors",
    "Code": "cmsearch.codes",
    "Description": "cmsearch.describe",
    "Filters": "cmsearch.search",
    "Hit": "cmsearch.types",
    "Index": "cmsearch.search",
    "System": "cmsearch.codes",
    "describe": "cmsearch.describe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cmsearch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
