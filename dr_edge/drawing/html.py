"""The frame of every report: one base template and style, the same strictness."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

# A blank between a number and its unit, or between "<" or ">" and a number.
_BINDING_BLANK = re.compile(r"(?<=[0-9]) (?=(?:%|px|pixels|kB|MB|ms|s)(?![A-Za-z0-9_]))|(?<=[<>]) (?=[0-9])")


def unbroken(text: str) -> str:
    """Keeps a number and its unit on one line, with a no-break space; as serve/static/js/answer_words.js does."""
    return _BINDING_BLANK.sub("\u00a0", text)


def environment(
    *directories: Path, filters: Mapping[str, Callable[..., Any]] | None = None, values: Mapping[str, Any] | None = None
) -> jinja2.Environment:
    """Returns a Jinja environment that escapes, and in which an unknown name is an error.

    Args:
      directories: where templates are looked for; `base.html.j2` and `style.css` are found without being named.
      filters: what the templates may write after a bar, beside `unbroken`.
      values: what all of them know.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*directories, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"unbroken": unbroken} | dict(filters or {})
    made.globals |= values or {}
    return made
