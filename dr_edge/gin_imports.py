"""Which modules a gin file may import: those of dr_edge, and those that the command line names with --gin_import.

An import runs the module's code, from the working directory, too, and gin files come from strangers. So one that was
not asked for is refused, an installed module as well as one of the working directory. gin is imported where it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

HELP = (
    "Module with networks, losses ... of your own that gin files may name, installed or of the working directory. It "
    "is imported, which runs its code; where a gin file imports a module that is not named so, it is refused. May be "
    "repeated."
)
OWN = "dr_edge"
_allowed: set[str] = set()


class Refused(ValueError):
    """A gin file imports a module that nobody asked for."""


def allow(modules: Sequence[str]) -> None:
    """Imports what --gin_import names, and lets gin files import it.

    Args:
      modules: names as Python imports them, for example "my_networks" or "lab.losses".

    Raises:
      ValueError: one cannot be imported; says why.
    """
    if modules and os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # an installed command does not look there
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as err:
            missing = f"no module of that name is installed or lies in {os.getcwd()}"
            reason = missing if (module + ".").startswith(f"{err.name}.") else str(err)
            raise ValueError(f"--gin_import={module} cannot be imported: {reason}.") from err
        except Exception as err:
            raise ValueError(f"--gin_import={module} cannot be imported: {type(err).__name__}: {err}") from err
        _allowed.add(module)


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """Refuses, while gin reads text inside the block, the import of a module that nobody allowed.

    Raises:
      Refused: there is one; says what to do.
    """
    import gin

    context = gin.config.ParseContext  # gin offers no hook
    process = context.process_import

    def check(self: Any, statement: Any) -> None:
        if not _is_allowed(statement.module):
            raise Refused(_refusal(statement))
        process(self, statement)

    context.process_import = check
    try:
        yield
    finally:
        context.process_import = process


def _is_allowed(module: str) -> bool:
    return any((module + ".").startswith(f"{name}.") for name in (OWN, *_allowed))


def _refusal(statement: Any) -> str:
    if statement.module.startswith("__gin__."):
        return f"{statement.format()!r}: dynamic registration is off, since it runs any function. Take that line out."
    return (
        f"{statement.format()!r} would run the code of that module, which is off unless asked for. If you trust it, "
        f"give --gin_import={statement.module}, else take that line out."
    )
