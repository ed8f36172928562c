"""Retinal screening models that run on a phone: open a bundle, read records, build a model; see dr_edge/api.py.

`import dr_edge` imports nothing else: each name is looked up when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dr_edge.api import OpenedBundle as OpenedBundle
    from dr_edge.api import build_model as build_model
    from dr_edge.api import open_bundle as open_bundle
    from dr_edge.api import read_records as read_records

__all__ = ["OpenedBundle", "build_model", "open_bundle", "read_records"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    from dr_edge import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
