"""/docs: the API on a plain page made here from its OpenAPI description; no script, nothing from elsewhere.

(FastAPI's own page loads Swagger UI from a content delivery network, which neither an offline clinic nor the content
security policy permits.)
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from dr_edge.prediction.bundle import Bundle
from dr_edge.serve.assets import Asset, load_asset

HERE = Path(__file__).parent
METHODS = ("get", "post")
# FastAPI describes them; here errors.py answers in its own form.
FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")


@functools.cache
def style() -> Asset:
    """Returns the style sheet."""
    return load_asset(HERE / "docs.css")


def page(schema: Mapping[str, Any], bundle: Bundle) -> str:
    """Returns the page as HTML.

    Args:
      schema: the application's OpenAPI description.
      bundle: named in the examples.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("docs.html.j2").render(
        info=schema["info"],
        routes=[_route(path, method, row) for path, row, method in _operations(schema)],
        models=[_model(name, row) for name, row in sorted(_models(schema).items())],
        task=bundle.manifest["task"],
        artifact=bundle.artifact,
    )


def _operations(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], str]]:
    return [
        (path, methods[method], method)
        for path, methods in schema["paths"].items()
        for method in METHODS
        if method in methods
    ]


def _route(path: str, method: str, row: Mapping[str, Any]) -> dict[str, Any]:
    body = row.get("requestBody", {}).get("content", {})
    fields = [
        {
            "name": name,
            "where": kind,
            "text": field.get("description", ""),
            "needed": name in form["schema"]["required"],
        }
        for kind, form in body.items()
        for name, field in form["schema"]["properties"].items()
    ]
    fields += [
        {
            "name": one["name"],
            "where": one["in"],
            "text": one.get("description", ""),
            "needed": one.get("required", False),
        }
        for one in row.get("parameters", [])
    ]
    answers = [
        {"status": status, "text": answer["description"], "model": _model_name(answer)}
        for status, answer in row["responses"].items()
        if _model_name(answer) not in FRAMEWORK_ERRORS
    ]
    return {
        "path": path,
        "method": method.upper(),
        "summary": row.get("summary", ""),
        "fields": fields,
        "answers": answers,
    }


def _model_name(answer: Mapping[str, Any]) -> str | None:
    for content in answer.get("content", {}).values():
        if "$ref" in content.get("schema", {}):
            return str(content["schema"]["$ref"]).rsplit("/", 1)[-1]
    return None


def _models(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the object types of answers; FastAPI's own error types are replaced by this server's."""
    found = schema.get("components", {}).get("schemas", {})
    return {name: row for name, row in found.items() if name not in FRAMEWORK_ERRORS}


def _model(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    fields = [{"name": field, "kind": _kind(value)} for field, value in row.get("properties", {}).items()]
    return {"name": name, "text": row.get("description", ""), "fields": fields}


def _kind(value: Mapping[str, Any]) -> str:
    """Returns the type of a field in words."""
    if "$ref" in value:
        return str(value["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"])
    if value.get("type") == "array":
        inside = value.get("items") or (value.get("prefixItems") or [{}])[0]
        return f"list of {_kind(inside)}"
    return str(value.get("type", "any"))
