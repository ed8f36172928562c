"""The schema of metadata.json, version 1: which fields there are, what each may hold, and what must agree.

One table for all who read a bundle. Fields that it does not name are left alone: a later release of the same version
may add some, and whatever changes the meaning of a field that is here gets another version, which is refused. Fields
that an earlier release did not write may be missing; no field may hold something else than its row says, and null only
where the row says so. What a table cannot see, such as two class names that were swapped, `digests` sees.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dr_edge import metadata
from dr_edge.bundle_files.rules import (
    COUNT,
    FILE,
    FLAG,
    LIST,
    NAMES,
    NOT_EMPTY,
    OBJECT,
    SHA256,
    SHARE,
    TEXT,
    TIME,
    Rule,
    all_are,
    integer,
    keys_and,
    number,
    one_of,
)
from dr_edge.bundle_files.together import CHECKS
from dr_edge.verdict import STATUSES

VERSION = 1
KINDS = ("classification", "multilabel", "segmentation")
PREPROCESS = ("graham", "crop", "grey")
SMALLEST, LARGEST = 8, 4096  # side of the crop in pixels
DIGESTS = "bundle.sha256"  # beside metadata.json, with the SHA-256 of every file
ADVICE = "Get the bundle again, or export it again."


@dataclasses.dataclass(frozen=True)
class Field:
    """A row of the table.

    Attributes:
      path: of the field; `*` stands for every key of an object, `[]` for every item of a list.
      rule: what it may hold.
      needed: it must be there wherever the object is that it belongs to.
      null: it may be null.
    """

    path: str
    rule: Rule
    needed: bool = False
    null: bool = False


def _needed(path: str, rule: Rule, null: bool = False) -> Field:
    return Field(path, rule, True, null)


def _nullable(path: str, rule: Rule) -> Field:
    return Field(path, rule, False, True)


_NUMBERS = all_are(number(), "finite numbers")
_COUNTS = keys_and(COUNT, "numbers")
_COUNTED = Rule("a number of photographs, or some by name", lambda value: COUNT.holds(value) or _COUNTS.holds(value))
_INTERVAL = Rule("a list of two finite numbers", lambda value: _NUMBERS.holds(value) and len(value) == 2)
_SHAPE = Rule(
    "a list of whole numbers from 1 on, the first of them 1",
    lambda value: isinstance(value, list) and all(map(integer(1).holds, value)) and value[:1] == [1],
)


def _ood(at: str) -> tuple[Field, ...]:
    """The rows of a threshold of the distance, which the bundle and each artifact have."""
    return (
        Field(at, OBJECT),
        Field(f"{at}.threshold", number(0)),
        Field(f"{at}.reason", TEXT),
        Field(f"{at}.quantiles", keys_and(number(0), "numbers from 0 on")),
        Field(f"{at}.shrinkage", SHARE),
        *(Field(f"{at}.{name}", COUNT) for name in ("images", "photographs")),
        *(Field(f"{at}.{name}", TEXT) for name in ("method", "unit", "split")),
    )


def _points(at: str) -> tuple[Field, ...]:
    """The rows of operating points, which the bundle and a fine-tuned artifact have."""
    return (
        Field(at, LIST),
        Field(f"{at}[]", OBJECT),
        _needed(f"{at}[].name", TEXT),
        *(_needed(f"{at}[].{name}", SHARE) for name in ("threshold", "sensitivity", "specificity")),
        Field(f"{at}[].split", TEXT),
    )


# Above a field stands what it belongs to: the first row that does not hold is the one that is said.
FIELDS: tuple[Field, ...] = (
    _needed("version", integer(VERSION, VERSION)),
    Field("digests", one_of(DIGESTS)),
    _needed("task", OBJECT),
    _needed("task.kind", one_of(*KINDS)),
    _needed("task.class_names", NAMES),
    _needed("task.name", TEXT),
    *(_nullable(f"task.{name}", TEXT) for name in ("positive_class", "negative_class")),
    _nullable("task.positive_index", COUNT),
    Field(
        "task.positive_indices", all_are(COUNT, "the places, counted from 0, of the class_names that are the disease")
    ),
    Field("task.centres", NAMES),
    _needed("image_size", integer(SMALLEST, LARGEST)),
    _needed("preprocess", OBJECT),
    _needed("preprocess.method", one_of(*PREPROCESS)),
    *(Field(f"preprocess.{name}", number(above=0)) for name in ("sigma_ratio", "gain", "lit_to", "disc")),
    *(Field(f"preprocess.{name}", number(0)) for name in ("lit_from", "rim_cells")),
    _nullable("pictures", keys_and(COUNT, "kinds of pictures with their numbers")),
    _needed("inputs", LIST),
    Field("inputs[]", OBJECT),
    _needed("outputs", LIST),
    Field("outputs[]", OBJECT),
    *(_needed(f"{at}[].name", TEXT) for at in ("inputs", "outputs")),
    *(_needed(f"{at}[].shape", _SHAPE) for at in ("inputs", "outputs")),
    _needed("inputs[].dtype", one_of("uint8")),
    _needed("outputs[].dtype", one_of("float32")),
    *(Field(f"{at}[].unit", TEXT) for at in ("inputs", "outputs")),
    Field("outputs_left_out", keys_and(TEXT, "reasons")),
    _needed("files", NOT_EMPTY),
    _needed("files.*", SHA256),
    _needed("artifacts", NOT_EMPTY),
    Field("artifacts.*", OBJECT),
    _needed("artifacts.*.file", FILE),
    _needed("artifacts.*.sha256", SHA256),
    _needed("artifacts.*.bytes", integer(1)),
    *(_needed(f"artifacts.*.{name}", TEXT) for name in ("variant", "format")),
    *(Field(f"artifacts.*.{name}", TEXT) for name in ("minimum_runtime", "note")),
    Field("artifacts.*.temperature", number(above=0)),
    *_ood("ood"),
    *_ood("artifacts.*.ood"),
    *_points("operating_points"),
    *_points("artifacts.*.operating_points"),
    Field("quality", OBJECT),
    _needed("quality.minimum", SHARE),
    _needed("quality.names", NAMES),
    Field("calibration", OBJECT),
    Field("calibration.temperature", number(above=0)),
    _nullable("calibration.caution", TEXT),
    *(Field(f"calibration.{name}", SHARE) for name in ("ece_before", "ece_after")),
    *(Field(f"calibration.{name}", TEXT) for name in ("method", "reason", "split")),
    Field("calibration.images", COUNT),
    _nullable("warning", TEXT),
    Field("verdict", OBJECT),
    _needed("verdict.status", one_of(*STATUSES)),
    _needed("verdict.title", TEXT),
    _needed("verdict.text", Rule("a text", lambda value: isinstance(value, str))),
    Field("verdict.baseline", TEXT),
    _nullable("verdict.caution", Rule("a text", lambda value: isinstance(value, str))),
    _nullable("verdict.split", TEXT),
    _nullable("verdict.value", number()),
    _nullable("verdict.interval", _INTERVAL),
    *(_nullable(f"verdict.{name}", COUNT) for name in ("images", "patients")),
    Field("verdict.parts", all_are(OBJECT, "objects")),
    Field("training", OBJECT),
    Field("training.model", OBJECT),
    Field("training.model.name", TEXT),
    Field("training.model.parameters", COUNT),
    Field("training.best", OBJECT),
    Field("training.best.metric", TEXT),
    _nullable("training.best.value", number()),
    *(Field(f"training.best.{name}", COUNT) for name in ("epoch", "step")),
    Field("training.dataset", TEXT),
    Field("training.splits", keys_and(COUNT, "splits with their photographs")),
    Field("training.classes", keys_and(OBJECT, "splits with their classes")),
    Field("training.classes.*.*", _COUNTED),
    Field("training.patients", TEXT),
    _nullable("training.source", OBJECT),
    *(_nullable(f"training.source.{name}", TEXT) for name in ("title", "address", "licence")),
    Field("records", OBJECT),
    *(_nullable(f"records.{name}", OBJECT) for name in ("fit", "int8_ranges", "parity")),
    Field("records.*.dataset", TEXT),
    Field("records.*.trained_on", FLAG),
    Field("parity", OBJECT),
    Field("parity.split", TEXT),
    Field("parity.images", integer(1)),
    *(Field(name, keys_and(TEXT, "names with their versions")) for name in ("oldest_runtime_tested", "made_with")),
    Field("created", TIME),
)


def check(path: Path, manifest: Mapping[str, Any]) -> None:
    """Checks the content of a metadata.json: types, ranges, and what must agree.

    Args:
      path: of the file, for messages.
      manifest: its content, as `json` reads it.

    Raises:
      ManifestError: the first thing that is wrong, in one sentence, and what to do.
    """
    for field in FIELDS:
        for place, holder, key in _places(manifest, field.path.replace("[]", ".[]").split("."), ""):
            if isinstance(holder, dict) and key not in holder:
                if field.needed:
                    of = f" of {place}" if place else ""
                    raise metadata.ManifestError(f"{path} lacks {key}{of}: {field.rule.words}. {ADVICE}")
                continue
            value = holder[key]
            if not field.rule.holds(value) and not (field.null and value is None):
                shown = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}".lstrip(".")
                raise metadata.ManifestError(
                    f"{path} says {shown} = {_shown(value)}; {field.rule.words} is needed. {ADVICE}"
                )
    for agree in CHECKS:
        said = agree(manifest)
        if said is not None:
            raise metadata.ManifestError(f"{path} says {said} {ADVICE}")


Places = Iterator[tuple[str, Any, Any]]


def _places(holder: Any, parts: Sequence[str], at: str) -> Places:
    """Yields (path of the holder, holder, key) of each field that a path stands for; none below what holds nothing."""
    first, *rest = parts
    if first == "[]":
        keys: Sequence[Any] = range(len(holder)) if isinstance(holder, list) else ()
    elif not isinstance(holder, dict):
        return
    else:
        keys = list(holder) if first == "*" else [first]
    for key in keys:
        if not rest:
            yield at, holder, key
        elif isinstance(key, int) or key in holder:
            inner = f"{at}[{key}]" if isinstance(key, int) else f"{at}.{key}".lstrip(".")
            yield from _places(holder[key], rest, inner)


def _shown(value: Any) -> str:
    """Returns a value as JSON, its middle left out where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-12:]}"
