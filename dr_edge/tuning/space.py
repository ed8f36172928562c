"""What is searched: gin bindings and their values, as the command line states them. Standard library only.

  --grid="schedules.constant.learning_rate=[1e-2, 1e-3]"      these values
  --search="schedules.constant.learning_rate=loguniform(1e-5, 1e-2)"   from this range

Values are gin text: numbers, strings in quotes, tuples, True, False, None, and references as '@optimizers.adamw'.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

RANGES = ("uniform", "loguniform", "int", "logint", "choice")
_NAME = re.compile(r"^[A-Za-z_][\w./]*(?:\.[A-Za-z_]\w*)?$")


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One binding that is searched.

    Attributes:
      name: of the gin binding, for example "train.batch_size", or of a macro.
      kind: one of RANGES.
      low, high: of a range, both included.
      values: gin text of each choice.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the dimension as JSON-serialisable values."""
        return dataclasses.asdict(self)


def parse_grid(text: str) -> Dimension:
    """Reads "NAME=[value, ...]".

    Raises:
      ValueError: another form, or no value.
    """
    name, values = _split(text, "--grid", "NAME=[value, ...]")
    listed = _literal(values, text)
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"--grid needs NAME=[value, ...] with one or more values. Received: {text!r}.")
    return _choice(name, listed, text)


def parse_search(text: str) -> Dimension:
    """Reads "NAME=uniform(a, b)", loguniform, int, logint or choice([value, ...]).

    Raises:
      ValueError: another form, or bounds that are no range.
    """
    forms = "NAME=uniform(a,b), loguniform(a,b), int(a,b), logint(a,b) or choice([value, ...])"
    name, expression = _split(text, "--search", forms)
    match = re.fullmatch(r"(\w+)\((.*)\)", expression.strip(), re.DOTALL)
    if not match or match[1] not in RANGES:
        raise ValueError(f"--search needs {forms}. Received: {text!r}.")
    kind, arguments = match[1], _literal(f"({match[2]},)", text)
    if kind == "choice":
        if len(arguments) != 1 or not isinstance(arguments[0], list) or not arguments[0]:
            raise ValueError(f"--search needs choice([value, ...]) with one or more values. Received: {text!r}.")
        return _choice(name, arguments[0], text)
    if len(arguments) != 2 or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in arguments):
        raise ValueError(f"--search needs two numbers for {kind}. Received: {text!r}.")
    low, high = arguments
    if not low < high or ("log" in kind and low <= 0) or ("int" in kind and (low != int(low) or high != int(high))):
        raise ValueError(
            f"--search: {kind}({low}, {high}) is no range: low < high, above 0 for log, whole numbers for int. "
            f"Received: {text!r}."
        )
    return Dimension(name, kind, low, high)


def bindings(values: Mapping[str, Any], dimensions: Sequence[Dimension]) -> list[str]:
    """Returns the gin bindings of one trial, in the order of the dimensions.

    Args:
      values: name -> number of a range, or gin text of a choice.
    """
    by_name = {dimension.name: dimension for dimension in dimensions}
    texts = {name: values[name] if by_name[name].kind == "choice" else repr(values[name]) for name in by_name}
    return [f"{name} = {text}" for name, text in texts.items()]


def trial_name(values: Mapping[str, Any], dimensions: Sequence[Dimension]) -> str:
    """Returns a directory name that these values alone decide: the same values find the run that they began."""
    text = json.dumps(bindings(values, dimensions))
    return f"trial-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _split(text: str, flag: str, form: str) -> tuple[str, str]:
    name, found, rest = text.partition("=")
    if not found or not _NAME.match(name.strip()):
        raise ValueError(f"{flag} needs {form}. Received: {text!r}.")
    return name.strip(), rest


def _literal(expression: str, text: str) -> Any:
    try:
        return ast.literal_eval(expression.strip())
    except (ValueError, SyntaxError) as err:
        reason = str(err).partition(" (<")[0]  # Python's inner name of what it read
        raise ValueError(
            f"Cannot read the values of {text!r}: {reason}. References need quotes: '@optimizers.adamw'."
        ) from err


def _choice(name: str, values: Sequence[Any], text: str) -> Dimension:
    texts = tuple(value if isinstance(value, str) and value[:1] in ("@", "%") else repr(value) for value in values)
    if len(set(texts)) != len(texts):
        raise ValueError(f"A value stands twice in {text!r}.")
    return Dimension(name, "choice", values=texts)
