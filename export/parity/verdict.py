"""The verdict on an export: what has changed by more than the settings permit, and what one can do about it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from export.formats import Format
from export.parity.statistics import metric_name
from export.settings import Settings, limits

GRAPH = "the deployable graph"
SUGGESTED_LAYERS = 3
DIFFERENCES = {"probability": "a probability", "quality": "the photograph's quality"}  # metric -> what people call it
LAYERED = ("static_int8", "onnx_static_int8")  # formats that heed float_layers


@dataclasses.dataclass(frozen=True)
class Failure:
    """One limit that is passed.

    Attributes:
      name: of the format, or GRAPH.
      metric: "auc", "dice <mask>", "probability" or "quality".
      found: the drop or difference; None where it is undefined.
      limit: what is permitted.
      sentence: says it.
    """

    name: str
    metric: str
    found: float | None
    limit: float
    sentence: str

    @property
    def setting(self) -> str:
        """Name of the setting that holds the limit."""
        if self.metric in DIFFERENCES:
            return f"max_{self.metric}_difference"
        kind = "auc" if self.metric == "auc" else "dice"
        return f"max_graph_{kind}_drop" if self.name == GRAPH else f"max_{kind}_drop"


def failures(report: Mapping[str, Any], formats: Sequence[Format], settings: Settings) -> list[Failure]:
    """Returns the limits that a row of the report passes; what is undefined passes none.

    The graph is judged against the trained network on the records, each artifact against the graph. One swapped pair of
    images is always permitted to the graph, which reads other pixels than the network (JPEG): it proves nothing.

    Args:
      report: the content of parity.json.
      formats: what was wanted; a format without a row is passed over.
      settings: with the limits.
    """
    permitted = limits(settings)
    of_graph = permitted["graph"]
    of_graph |= {"auc_drop": max(of_graph["auc_drop"], (one_pair(report) or 0.0) + 1e-9)}
    found = _drops(GRAPH, report["graph"]["drop"], of_graph, report)
    for fmt in formats:
        row = report["artifacts"].get(fmt.file)
        if row is None:
            continue
        own = {kind: permitted[kind].get(fmt.name) for kind in ("auc_drop", "dice_drop")}
        found += _drops(fmt.name, row["drop"], own, report)
        for metric, called in DIFFERENCES.items():
            difference, limit = row.get(f"max_{metric}_difference"), permitted[f"{metric}_difference"].get(fmt.name)
            if difference is not None and limit is not None and not difference <= limit:
                said = f"{fmt.name}: {called} differs by {difference:.1e} from Keras, permitted are {limit:.0e}"
                found.append(Failure(fmt.name, metric, difference, limit, said))
    return found


def _drops(
    name: str, drops: Mapping[str, float | None], permitted: Mapping[str, float | None], report: Mapping[str, Any]
) -> list[Failure]:
    """Returns the failures among the drops of one row; a metric without a limit has none, unless it is undefined."""
    found = []
    images, split = report["images"], report["split"]
    against = "the trained network's on the records" if name == GRAPH else "the deployable Keras graph's"
    for metric, drop in drops.items():
        if metric != "auc" and not metric.startswith("dice"):
            continue
        limit = permitted["auc_drop" if metric == "auc" else "dice_drop"]
        called = metric_name(metric)
        if drop is None:
            said = (
                f"{name}: the {called} is undefined on the {images} images of {split}, so nothing is proved (build "
                f"records whose {split} split holds every class)"
            )
            found.append(Failure(name, metric, None, math.nan if limit is None else limit, said))
        elif limit is not None and not drop <= limit:
            said = (
                f"{name}: the {called} falls by {drop:.4f} below {against} on {images} images of {split}, permitted are"
                f" {limit:.4g}"
            )
            found.append(Failure(name, metric, drop, limit, said))
    return found


def advice(
    found: Sequence[Failure], report: Mapping[str, Any], formats: Sequence[Format], settings: Settings
) -> list[str]:
    """Returns what one can do about failures, each with what to add to the command.

    Args:
      found: from `failures`.
      report: the content of parity.json.
      formats: what was wanted.
      settings: with the limits.
    """
    lines = []
    fallen = [failure for failure in found if failure.found is not None and math.isfinite(failure.found)]
    names = {failure.name for failure in fallen}
    pair = one_pair(report)
    if pair is not None and any(failure.metric == "auc" and failure.limit < pair for failure in fallen):
        lines.append(
            f"The {report['images']} images of {report['split']} are few: one swapped pair moves the AUC by {pair:.4f},"
            " more than is permitted. Judge on more images, or raise the limit."
        )
    if GRAPH in names:
        lines.append(
            "The graph normalises the stored photographs itself. Where that costs more than their JPEG compression "
            "does, its preprocessing is not that of the records: build them and train with this release."
        )
    layers = report.get("float_candidates", [])[:SUGGESTED_LAYERS]
    layered = [name for name in LAYERED if name in names]
    if layered and layers:
        lines.append(
            f"Leave in floating point what loses most to 8 bits ({', '.join(layered)}): "
            f"{_binding('float_layers', [*settings.float_layers, *layers])}"
        )
    plenty = report["calibration_images"] >= settings.calibration_images  # else there are no more
    if plenty and any(fmt.calibrated and fmt.name in names for fmt in formats):
        lines.append(f"Calibrate on more images: {_binding('calibration_images', 2 * settings.calibration_images)}")
    lines += [f"Permit it: {_binding(name, value)}" for name, value in _raised(fallen, settings).items()]
    kept = [fmt.name for fmt in formats if fmt.name not in {failure.name for failure in found}]
    if kept and len(kept) < len(formats):
        lines.append(f"Leave {'it' if len(formats) - len(kept) == 1 else 'them'} out: --formats={','.join(kept)}")
    return lines


def one_pair(report: Mapping[str, Any]) -> float | None:
    """Returns by how much the AUC moves where one positive and one negative image swap places.

    Of more than two classes or diseases the AUC is a mean, and the largest such step counts. None where the report
    holds no counts.
    """
    rows = report["keras"].get("per_class", {}).values()
    sides = [(row["support"], row.get("images", report["images"]) - row["support"]) for row in rows]
    steps = [1 / (one * other) for one, other in sides if one and other]
    if not steps:
        return None
    one_area = len(rows) == 2 and "mean_auc" not in report["keras"]
    return max(steps) if one_area else max(steps) / len(steps)


def _raised(fallen: Iterable[Failure], settings: Settings) -> dict[str, Any]:
    """Returns setting -> the value, whole, by which all of these failures would pass."""
    values: dict[str, Any] = {}
    for failure in fallen:
        if failure.found is None:
            continue
        enough = _above(failure.found)
        given = getattr(settings, failure.setting)
        if isinstance(given, Mapping):
            held = values.setdefault(failure.setting, dict(given))
            held[failure.name] = max(enough, held.get(failure.name, enough))
        else:
            values[failure.setting] = max(enough, values.get(failure.setting, enough))
    return values


def _above(value: float) -> float:
    """Returns the next number of two digits above a value in 0..1: 0.1250 -> 0.13, 0.0031 -> 0.0032."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1e-6
    return float(f"{(math.floor(value / unit) + 1) * unit:.2g}")


def _binding(name: str, value: Any) -> str:
    return f'--gin_param="export.settings.{name} = {value!r}"'
