"""What a value of metadata.json may be: rules of one value each, with the words that say them."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is asked of a value.

    Attributes:
      words: what is needed, for example "a number from 0 to 1".
      holds: whether a value, as `json` reads it, is that.
    """

    words: str
    holds: Callable[[Any], bool]


def integer(low: int, high: int | None = None) -> Rule:
    """A whole number; True and 1.0 are none."""
    words = f"a whole number from {low} {'on' if high is None else f'to {high}'}"
    return Rule(words, lambda value: _is_integer(value) and low <= value and (high is None or value <= high))


def number(low: float | None = None, high: float | None = None, above: float | None = None) -> Rule:
    """A finite number, from `low` on, in low..high, or above a bound that it may not reach; True is none."""
    if above is not None:
        return Rule(f"a number above {above:g}", lambda value: _is_number(value) and value > above)
    if low is None:
        return Rule("a finite number", _is_number)
    words = f"a number from {low:g} {'on' if high is None else f'to {high:g}'}"
    return Rule(words, lambda value: _is_number(value) and low <= value and (high is None or value <= high))


def one_of(*texts: str) -> Rule:
    """One of these texts."""
    return Rule(f"one of {', '.join(texts)}", lambda value: isinstance(value, str) and value in texts)


def all_are(rule: Rule, many: str) -> Rule:
    """A list of values that each follow a rule; `many`: what they are, in words."""
    return Rule(f"a list of {many}", lambda value: isinstance(value, list) and all(map(rule.holds, value)))


def keys_and(rule: Rule, many: str) -> Rule:
    """An object with any keys whose values follow a rule; `many`: what they are, in words."""
    return Rule(f"an object of {many}", lambda value: isinstance(value, dict) and all(map(rule.holds, value.values())))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_file(value: Any) -> bool:
    """Tells whether a text is the plain name of a file: beside metadata.json, and not metadata.json itself."""
    return is_path(value) and "/" not in value


def is_path(value: Any) -> bool:
    """Tells whether a text is a path below the directory, with / between its parts, that leads nowhere else."""
    if not isinstance(value, str) or set(value) & set("\\:\0\n\r"):
        return False
    return not {"", ".", ".."} & set(value.split("/"))


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.datetime.fromisoformat(value))
    except ValueError:
        return False


def _are_names(value: Any) -> bool:
    texts = isinstance(value, list) and bool(value) and all(map(TEXT.holds, value))
    return texts and len({name.strip() for name in value}) == len(value)


TEXT = Rule("a text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()))
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
NOT_EMPTY = Rule("an object that is not empty", lambda value: isinstance(value, dict) and bool(value))
LIST = Rule("a list", lambda value: isinstance(value, list))
SHA256 = Rule(
    "a SHA-256 of 64 hexadecimal digits in lower case",
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
)
FILE = Rule("the name of a file beside metadata.json", _is_file)
NAMES = Rule("a list of names, none empty and none twice", _are_names)
TIME = Rule("a time such as 2026-11-30T07:01:50+00:00", _is_time)
SHARE = number(0, 1)
COUNT = integer(0)
