"""Strict gin: every binding must name something that exists, and says the nearest name where it does not."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import tokenize
from collections.abc import Callable, Sequence

import gin
from absl import logging

from dr_edge import binding_types, choices, extras, gin_files, gin_imports

UNREADABLE = (ValueError, SyntaxError, AttributeError, OSError, tokenize.TokenError)


def parse(paths: Sequence[str], bindings: Sequence[str] = ()) -> None:
    """Reads gin files, then bindings, which win, and locks the configuration.

    The modules whose functions are named must have been imported before.

    Args:
      paths: files, or names of the ones that come with dr_edge (see `gin_files`).
      bindings: for example ["train.epochs = 3"].

    Raises:
      ValueError: a file is missing, or a binding names nothing that exists or is of another type; says the nearest
        name, or what it takes. A file imports a module that was not asked for; see `gin_imports`.
    """
    # gin's own readers take 'gin_configs/base.gin' for a Python package where one lies on the import path; plain files,
    # found by dr_edge's rules, are all that is read here.
    reader = gin_files.Reader()
    gin.config._FILE_READERS[:] = [(reader.open, reader.exists)]
    found = [os.fspath(gin_files.find(path)) for path in paths]
    try:
        with gin_imports.checked():
            gin.parse_config_files_and_bindings(found, None, finalize_config=False)
            for binding in bindings:  # one by one, so that an error can name its binding
                _parse_binding(binding)
    except UnicodeDecodeError as err:
        raise ValueError(f"{' or '.join(paths)} is no UTF-8 text ({err.reason}). Save it as UTF-8.") from err
    except gin_imports.Refused as err:
        raise ValueError(f"{_first_line(err)}{_place(str(err))}") from err
    except UNREADABLE as err:
        raise ValueError(f"{_first_line(err)}{_suggestion(str(err))}{_place(str(err))}") from err
    choices.settle()
    binding_types.check()
    try:
        gin.finalize()
    except UNREADABLE as err:
        if macro := re.search(r"No bindings specified for '(.+?)/gin\.macro'", str(err)):
            raise ValueError(_undefined(macro[1])) from err
        raise ValueError(f"{_first_line(err)}{_suggestion(str(err))}{_place(str(err))}") from err


def import_names() -> None:
    """Imports all that a gin file may name."""
    from dr_edge.data import augment  # noqa: F401
    from dr_edge.losses import multilabel, segmentation  # noqa: F401
    from dr_edge.models import registry
    from dr_edge.training import loop  # noqa: F401

    registry.load()


def require_extras() -> None:
    """Raises extras.Missing where a training of what is bound would need a package that is not installed."""
    train = gin.get_bindings("train", resolve_references=False)
    if train.get("wandb_project"):
        extras.require("train.wandb_project")
    if str(train.get("model")).removesuffix("()") == "@models.classifier":
        classifier = gin.get_bindings("models.classifier", resolve_references=False)
        if classifier.get("architecture") == "vit_b16":
            extras.require("vit_b16")


def missing_flags(message: str) -> str:
    """Returns ". Give --records=..." where gin misses a binding that is also a flag, or ""."""
    missing = re.search(r"Required bindings for `train` not provided in config: (\[.*\])", message)
    forms = [
        form
        for name, form in (("records", "--records=RECORDS"), ("run_dir", "--run_dir=RUN"))
        if missing and repr(name) in missing[1]
    ]
    return f". Give {' and '.join(forms)}." if forms else ""


def missing_bindings(message: str) -> str:
    """Returns ". Bind them: --gin_param='...'" where gin misses bindings that are no flags, or ""."""
    missing = re.search(r"Required bindings for `(.+?)` not provided in config: \[(.*)\]", message)
    if not missing:
        return ""
    names = [name for name in re.findall(r"'(\w+)'", missing[2]) if name not in ("records", "run_dir")]
    if not names:
        return ""
    return ". Bind them: " + " ".join(f"--gin_param='{missing[1]}.{name} = VALUE'" for name in names) + "."


def original(err: BaseException) -> BaseException:
    """Returns an error without what gin makes of it: a copy naming the call it passed, no longer its file."""
    while getattr(type(err).__init__, "__module__", "") == "gin.utils" and err.__context__ is not None:
        err = err.__context__
    return err


def own_message(err: BaseException) -> str:
    """Returns an error's message without what gin adds to it."""
    return str(original(err))


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


def _parse_binding(binding: str) -> None:
    """Reads one binding; raises ValueError, which names it, where it is none."""
    try:
        gin.parse_config(binding)
    except (SyntaxError, tokenize.TokenError) as err:
        raise ValueError(
            f"Cannot read the binding {binding!r} ({_first_line(err)}). It needs the form 'NAME = VALUE'; text needs "
            "quotes, as in --gin_param=\"NAME = 'text'\"; and each binding needs its own --gin_param."
        ) from err


def _undefined(macro: str) -> str:
    """Returns what is wrong with a macro that nothing defines."""
    defined = sorted(scope for scope, selector in gin.config._CONFIG if selector == choices.MACRO)
    near = difflib.get_close_matches(macro, defined, n=1, cutoff=0.6)
    hint = f" Did you mean %{near[0]}?" if near else f" Defined are: {', '.join(defined)}." if defined else ""
    return (
        f"The macro %{macro} is used and nothing defines it.{hint} Add a line to the file, or --gin_param='{macro} = "
        "VALUE'."
    )


def _first_line(err: BaseException) -> str:
    """Returns the first line of a message, without Python's inner name of what it could not read."""
    text = str(err).strip().splitlines()[0]
    unread = re.search(r"Failed to parse token (.+?) \((.*?line \d+)\)", str(err))
    if unread and text.startswith("malformed node or string"):
        return f"no value is written {unread[1]}, {unread[2]}; text needs quotes"
    return text


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
