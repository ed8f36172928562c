"""Retinal screening models that run on a phone: open a bundle, read records, build a model; see dr_edge/api.py.

`import dr_edge` imports nothing else: each name is looked up when it is first used. Type checkers read __init__.pyi.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["OpenedBundle", "build_model", "open_bundle", "read_records"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    # By its name: whatever imports a module of this package imports this file first, and must not depend on api.py.
    return getattr(importlib.import_module("dr_edge.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
