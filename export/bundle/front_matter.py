"""What opens MODEL_CARD.md for machines: the YAML that the Hugging Face hub reads of a model card.

Its fields are those of the hub's specification (hub-docs, modelcard.md). The hub shows the file README.md of a
repository, so that the same text stands in a bundle under that name, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dr_edge.data.tasks import Task
from dr_edge.runs import TrainedRun
from export import licences
from export.parity.statistics import dice_metrics, metric_name, ratio_error
from export.settings import Settings, is_number

PIPELINES = {"classification": "image-classification", "multilabel": "image-classification",
             "segmentation": "image-segmentation"}  # fmt: skip
# Key of the network's row in parity.json -> identifier of the metric (hf.co/metrics where it has one), name.
METRICS = {
    "auc": ("roc_auc", "AUC"),
    "accuracy": ("accuracy", "accuracy"),
    "qwk": ("quadratic_weighted_kappa", "quadratic weighted kappa"),
    "mean_auc": ("roc_auc", "mean AUC over the diseases"),
    "mean_f1": ("f1", "mean F1 over the diseases"),
}
_NO_LICENCE = (
    "# Nobody stated a licence of these weights: whoever publishes them must (export.settings.license), and has to ask "
    "what\n# the terms of the data set permit.\n"
)
_OF_WHAT = "# The figures are of the trained network; MODEL_CARD.md compares each artifact with it.\n"


def front_matter(run: TrainedRun, report: Mapping[str, Any], training: Mapping[str, Any], settings: Settings) -> str:
    """Returns the front matter, between two lines of ---.

    Args:
      run: what was exported.
      report: the content of parity.json.
      training: what it was trained on, from `manifest.training_facts`.
      settings: has the licence that whoever exports states.
    """
    import yaml

    licence = licences.stated(settings.license, settings.license_link)
    verdict = report["verdict"]
    content: dict[str, Any] = {
        **licence,
        "library_name": "litert" if any(name.endswith(".tflite") for name in report["artifacts"]) else "onnx",
        "pipeline_tag": PIPELINES[run.task.kind],
        "tags": _tags(run.task, report),
        "verdict": {"status": verdict["status"], "text": verdict["text"]},
        "training_data": _training_data(training),
    }
    results = _results(run.task, report)
    if results:  # the specification knows no result without a metric
        name = f"{run.content['model']['name']}, {run.task.name}"
        content["model-index"] = [{"name": name, "results": results}]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    head = _NO_LICENCE if licence["license"] == licences.UNKNOWN else ""
    return f"---\n{head}{_OF_WHAT if results else ''}{text}---\n\n"


def _tags(task: Task, report: Mapping[str, Any]) -> list[str]:
    """Returns the words that the hub finds the model by."""
    formats = sorted({name.rpartition(".")[2] for name in report["artifacts"]})
    return ["dr-edge", "medical", "ophthalmology", "fundus", "retina", _identifier(task.name), *formats]


def _training_data(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns name, terms and counts of what the model was trained on, as far as they are known."""
    source = training.get("source") or {}
    stated = {"name": training["dataset"], "title": source.get("title"), "terms": source.get("licence"),
              "address": source.get("address"), "photographs": dict(training["splits"])}  # fmt: skip
    return {key: value for key, value in stated.items() if value}


def _results(task: Task, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the network's figures on the records of the parity report; [] where none is a number."""
    row, dataset = report["keras"], report["records"]["parity"]["dataset"]
    named = METRICS | {key: ("dice", metric_name(key)) for key in dice_metrics(row)}
    found = [(kind, name, row.get(key), row.get(f"{key}_interval")) for key, (kind, name) in named.items()]
    found.append(("mae", "vertical cup-to-disc ratio, mean absolute error", *ratio_error(row)))
    metrics = [_metric(kind, name, value, bounds) for kind, name, value, bounds in found if is_number(value)]
    if not metrics:
        return []
    counts = {"images": report["images"]} | ({"patients": report["patients"]} if report["patients"] else {})
    return [
        {
            "task": {"type": PIPELINES[task.kind], "name": task.name},
            "dataset": {"type": _identifier(dataset), "name": dataset, "split": report["split"], "args": counts},
            "metrics": metrics,
        }
    ]


def _metric(kind: str, name: str, value: float, bounds: Any) -> dict[str, Any]:
    """Returns one metric, with its 95 % interval where there is one."""
    stated: dict[str, Any] = {"type": kind, "name": name, "value": round(float(value), 4)}
    if bounds is not None and all(is_number(bound) for bound in bounds):
        stated["args"] = {"interval_95": [round(float(bound), 4) for bound in bounds]}
    return stated


def _identifier(text: str) -> str:
    """Returns a name as hub identifiers are written: "referable-dr"."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "own"
