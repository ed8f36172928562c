"""Bindings of the simple types: gin takes any value for any of them, and the text 'False' counts as true.

Looked at are parameters that are declared bool, int, float, str, None, a Sequence of these, or several of them; what
another declaration means is left to the function itself.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import gin

from dr_edge import choices

SIMPLE = {"bool": "True or False", "int": "a whole number", "float": "a number", "str": "text in quotes"}
ITEMS = {"int": "whole numbers", "float": "numbers", "str": "texts in quotes"}


def check() -> None:
    """Looks at every binding of gin's configuration.

    Raises:
      ValueError: a value is of another type than its parameter; says which it takes.
    """
    for (scope, selector), values in gin.config._CONFIG.items():
        configurable = gin.config._REGISTRY.get_match(selector)
        if configurable is None or selector == choices.MACRO:
            continue
        parameters = inspect.signature(configurable.wrapped).parameters
        for name, bound in values.items():
            value = choices.macro_value(bound)
            undefined = value is None and bound is not None  # a macro; gin says so itself
            if name not in parameters or undefined:
                continue
            types = _types(parameters[name].annotation)
            if not fits(value, types):
                where = f"{f'{scope}/' if scope else ''}{gin.config._REGISTRY.minimal_selector(selector)}.{name}"
                taken = " or ".join(_words(one) for one in types)
                raise ValueError(f"{where} = {value!r}: it takes {taken}.{_hint(where, value, types)}")


def fits(value: Any, types: list[str]) -> bool:
    """Says whether a value has one of the types; [] fits all. 0 and 1 are False and True, an int is a number."""
    if not types or isinstance(value, choices.REFERENCE):  # what a function returns is known only once it is called
        return True
    if value is None:
        return "None" in types
    if isinstance(value, list | tuple):
        return any(
            all(fits(choices.macro_value(item), _types(inner)) for item in value)
            for inner in filter(None, map(_items, types))
        )
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1) and "bool" in types):
        return "bool" in types
    if isinstance(value, int):
        return "int" in types or "float" in types
    return type(value).__name__ in types


def _types(annotation: Any) -> list[str]:
    """Returns a declaration's types, for example ["Sequence[int]", "None"]; [] where one of them is not known here."""
    found = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    types = [ast.unparse(node) for node in _alternatives(ast.parse(found or "unknown", mode="eval").body)]
    known = all(one in SIMPLE or one == "None" or (_items(one) and _types(_items(one))) for one in types)
    return types if known else []


def _alternatives(node: ast.expr) -> list[ast.expr]:
    return [*_alternatives(node.left), node.right] if isinstance(node, ast.BinOp) else [node]


def _items(one: str) -> str:
    """Returns the type of what is in a sequence, "" of no sequence."""
    return one.removeprefix("Sequence[").removesuffix("]") if one.startswith("Sequence[") else ""


def _words(one: str) -> str:
    inner = _items(one)
    return f"{' or '.join(ITEMS[item] for item in _types(inner))} in brackets" if inner else SIMPLE.get(one, one)


def _hint(where: str, value: Any, types: list[str]) -> str:
    """Returns what was probably meant, where brackets, quotes or a decimal point are all that is wrong."""
    if fits((value,), types):
        return f" Write it in brackets: {where} = {(value,)!r}."
    if isinstance(value, float) and value.is_integer() and fits(int(value), types):
        return f" Write it without a point: {where} = {int(value)}."
    if not isinstance(value, str):
        return ""
    try:
        meant = ast.literal_eval(value.strip().capitalize() if "bool" in types else value.strip())
    except (ValueError, SyntaxError):
        return ""
    return f" Write it without quotes: {where} = {meant!r}." if fits(meant, types) else ""
