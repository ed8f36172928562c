"""Strict gin: every binding must name something that exists, and says the nearest name where it does not."""

from __future__ import annotations

import difflib
import inspect
import re
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path

import gin
from absl import logging

CONFIG_DIRECTORY = Path(__file__).resolve().parent.parent


def parse(gin_files: Sequence[str], bindings: Sequence[str] = ()) -> None:
    """Reads gin files, then bindings, which win, and locks the configuration.

    The modules whose functions are named must have been imported before. Includes are looked up relative to the
    working directory and to the repository root.

    Args:
      gin_files: paths.
      bindings: for example ["train.epochs = 3"].

    Raises:
      ValueError: a file is missing, or a binding names nothing that exists; says the nearest name.
    """
    gin.add_config_file_search_path(str(CONFIG_DIRECTORY))
    # gin's second reader takes 'gin_configs/base.gin' for a Python package and fails on it where the repository root is on
    # the import path but is not the working directory; plain files are all that is read here.
    del gin.config._FILE_READERS[1:]
    for path in gin_files:
        if not Path(path).is_file() and not (CONFIG_DIRECTORY / path).is_file():
            known = sorted(str(p.relative_to(CONFIG_DIRECTORY)) for p in (CONFIG_DIRECTORY / "gin_configs").glob("*.gin"))
            raise ValueError(f"No gin file {path!r}. Known: {', '.join(known)}.")
    try:
        gin.parse_config_files_and_bindings(list(gin_files), list(bindings), finalize_config=True)
    except (ValueError, SyntaxError, AttributeError, OSError, tokenize.TokenError) as err:
        raise ValueError(f"{_first_line(err)}{_suggestion(str(err))}{_place(str(err))}") from err


def bound() -> set[str]:
    """Returns the names that are bound now, for `warn_unused`, where the command itself will bind more."""
    lines = gin.config_str().splitlines()
    return {line.split("=")[0].strip() for line in lines if "=" in line and not line.startswith(("#", " "))}


def warn_unused(names: set[str] | None = None) -> None:
    """Logs the bindings that no call has used: they did nothing, which is rarely meant.

    Args:
      names: of the bindings to look at; None for all.
    """
    used = {line.split("=")[0].strip() for line in gin.operative_config_str().splitlines() if "=" in line}
    for name in sorted((bound() if names is None else names) - used):
        logging.warning("The binding %s was not used by this run.", name)


def _first_line(err: BaseException) -> str:
    return str(err).strip().splitlines()[0]


def _place(message: str) -> str:
    """Returns " (FILE, line N)" where gin names the file of a binding, else ""."""
    found = re.search(r'In file "(.+?)", line (\d+)', message)
    return f" ({found[1]}, line {found[2]})" if found else ""


def _suggestion(message: str) -> str:
    """Returns " Did you mean ...?" for the name that gin did not know, or "" where there is none near."""
    known: dict[str, Callable] = {}
    for selector, configurable in gin.config._REGISTRY.items():  # gin has no public list of what is configurable
        known[selector] = configurable.wrapped
        known[selector.rsplit(".", 1)[-1]] = configurable.wrapped
    quoted = re.findall(r"""(?<!\w)['"`]@?([\w./]+)""", message)
    if "parameter named" in message and quoted[0] in known:
        names = list(inspect.signature(known[quoted[0]]).parameters)
        near = difflib.get_close_matches(quoted[1], names, n=1, cutoff=0.5)
        return f" Did you mean {near[0]!r}?" if near else f" {quoted[0]} takes: {', '.join(names)}."
    for word in quoted:
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        if word not in known and near:
            return f" Did you mean {near[0]!r}?"
    return ""
