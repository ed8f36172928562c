"""MODEL_CARD.md: what the model is for, what it was measured on, and where its limits lie (Mitchell et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_edge.calibration.fit import Fit
from dr_edge.data.known_patients import counted
from dr_edge.data.tasks import Task
from dr_edge.evaluation.heatmap_checks.verdict import DRAWN
from dr_edge.evaluation.number_text import interval, number
from dr_edge.runs import TrainedRun
from dr_edge.verdict import BETTER, UNRELIABLE
from export.bundle.manifest import SYNTHETIC_WARNING, positive_words
from export.parity.statistics import change_name, metric_name, shown_metrics, shown_value

PREPROCESSING = {
    "graham": "Graham normalisation (local average colour subtracted; inside the graph)",
    "grey": "greyscale, zero mean and unit variance inside the field of view (inside the graph)",
    "crop": "none beyond cropping",
}


def model_card(run: TrainedRun, fit: Fit, report: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Returns the model card of a bundle.

    Args:
      run: what was exported.
      fit: temperature, thresholds and operating points.
      report: the content of parity.json.
      training: what it was trained on, from `manifest.training_facts`.
    """
    task = run.task
    lines = [
        f"# Model card: {' or '.join(task.class_names) if task.name == 'class' else task.name}",
        "",
        "**Research software. Not a medical device; not for diagnosis or treatment decisions.**",
        "",
        *_verdict(report["verdict"]),
        "## What it does",
        "",
        f"- Task: {task.name} ({task.kind}); outputs in this order: {', '.join(task.class_names)}.",
        *_disease(task),
        (
            f"- Network: {run.content['model']['name']}, {run.content['model']['parameters']:,} parameters, "
            f"{run.image_size} x {run.image_size} pixels."
        ),
        (
            "- Input: the square crop around the field of view of a colour fundus photograph, RGB, 8 bits. "
            f"Preprocessing: {PREPROCESSING[run.preprocess['method']]}."
        ),
        "- Intended use: research on screening with phones, by people who can judge a fundus photograph themselves.",
        (
            "- Not intended: any decision about a person; photographs of other body parts, OCT, or angiography; cameras"
            " and populations unlike those below, until measured there."
        ),
        "",
        "## Data",
        "",
        *([f"- **{SYNTHETIC_WARNING}**"] if training["dataset"] == DRAWN else []),
        *_sources(report, training),
        "",
        *_classes(training, task),
        "",
        "## Measured",
        "",
        *_measured(report),
        "",
        "## Artifacts",
        "",
        (
            "Each drop is from the same network in Keras, in the same deployable graph on the same stored photographs "
            f"({_graph(report)}); 95 % intervals from paired bootstrap draws of "
            f"{'photographs' if report['patients'] is None else 'whole patients'}. Latency is the median on the "
            "exporting host; it says nothing of a phone."
        ),
        "",
        *_artifacts(report),
        "",
        "## Reading the outputs",
        "",
        *_reading(fit, report, task.positive_name),
        "",
        "## Limits",
        "",
        *_limits(task.kind, report["records"]["fit"], report["calibration_caution"]),
        "- Subgroups (age, ethnicity, camera, pupil dilation) were not measured unless the evaluation report says so.",
        "",
    ]
    return "\n".join(lines)


def _verdict(verdict: Mapping[str, Any]) -> list[str]:
    """Returns the lines that say whether the model is better than guessing, above everything else."""
    if verdict["status"] == BETTER:
        return [verdict["text"], ""]
    lines = [f"**{verdict['text']}**", ""]
    return [*lines, "**Do not rely on an answer of this model.**", ""] if verdict["status"] in UNRELIABLE else lines


def _disease(task: Task) -> list[str]:
    """Says which outputs mean the disease."""
    if task.kind != "classification":
        return []
    lines = [f"- {positive_words(task)}"]
    return lines + ([] if task.caution is None else [f"- **{task.caution}**"])


def _sources(report: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Says what the model was trained, fitted and judged on."""
    used = report["records"]
    parity, fit = used["parity"], used["fit"]
    of = "" if parity["trained_on"] else f" of {parity['dataset']}, other records than those that it was trained on"
    lines = [
        (
            f"- Trained on the data set: {training['dataset']}. "
            f"{training.get('patients', 'How its patients were divided is not known here.')}"
        ),
        (
            f"- The figures below are from the {report['split']} split{of}: "
            f"{counted(report['images'], report['patients'], 'photographs')}."
        ),
    ]
    if not parity["trained_on"]:
        lines.append("- Nobody checked that no patient of these is among those of training.")
    if not fit["trained_on"]:
        lines.append(
            "- Temperature, thresholds and distance were fitted on the validation and training photographs of "
            f"{fit['dataset']}, other records than those that it was trained on, which were not there."
        )
    if used["int8_ranges"] is not None and not used["int8_ranges"]["trained_on"]:
        lines.append(
            "- The ranges of integer formats were measured on training photographs of "
            f"{used['int8_ranges']['dataset']}."
        )
    return lines


def _limits(kind: str, fit: Mapping[str, Any], caution: str | None) -> list[str]:
    if kind == "segmentation":
        return ["- A mask is drawn on any photograph; that it lies on a disc or a cup nobody checks but you."]
    known = "the data set above" if fit["trained_on"] else fit["dataset"]
    calibrated = f"A probability is calibrated for {known} and its share of disease; elsewhere it is not."
    return [
        f"- **{caution}**" if caution else f"- {calibrated}",
        "- The heat map shows what raised the answer, not where the lesions are.",
        "- A small distance from the training photographs does not prove that an answer is right.",
    ]


def _classes(training: Mapping[str, Any], task: Task) -> list[str]:
    """Returns the table of photographs per split and class, or says what is known of them."""
    counted = training["classes"]
    if not counted:
        known = f"Trained on {training['splits']['train']} photographs. " if training["splits"] else ""
        return [f"{known}How many there were of each class is not known: the records are gone."]
    named = [name for name in task.class_names if all(name in counts for counts in counted.values())]
    lines = [" | ".join(["| split", "photographs", *named]) + " |", "|---" * (2 + len(named)) + "|"]
    for split, counts in counted.items():
        cells = [str(training["splits"][split])]
        for name in named:
            cell = counts[name]
            cells.append(f"{cell['present']} of {sum(cell.values())}" if isinstance(cell, Mapping) else str(cell))
        lines.append(" | ".join([f"| {split}", *cells]) + " |")
    return lines


def _measured(report: Mapping[str, Any]) -> list[str]:
    row = report["keras"]
    names = {
        "auc": "AUC",
        "accuracy": "accuracy",
        "qwk": "quadratic weighted kappa",
        "mean_auc": "mean AUC",
        "mean_f1": "mean F1",
    }
    lines = [f"- {name}: {_value(row, key)}" for key, name in names.items() if row.get(key) is not None]
    lines += [f"- {metric_name(key)}: {_value(row, key)}" for key in row if _is_dice(key)]
    if "vcdr_accuracy" in row:
        lines += _ratio(row)
    for name, values in row.get("per_class", {}).items():
        if values.get("recall") is not None and values.get("precision") is not None:
            area = f"AUC {_value(values, 'auc')}, " if values.get("auc_interval") else ""
            lines.append(
                f"- {name}: {area}precision {number(values['precision'], 3)}, recall {number(values['recall'], 3)}, "
                f"{values['support']} photographs"
            )
    return lines + _points(report)


def _is_dice(key: str) -> bool:
    return key.startswith("dice ") and not key.endswith("_interval")


def _value(row: Mapping[str, Any], key: str) -> str:
    """Returns "0.912 (95 % interval 0.840 to 0.960)"."""
    bounds = interval(row.get(f"{key}_interval"), 3)
    return number(row[key], 3) + (f" (95 % interval {bounds})" if bounds else "")


def _ratio(row: Mapping[str, Any]) -> list[str]:
    """Returns the line of the vertical cup-to-disc ratio."""
    name = "vertical cup-to-disc ratio (height of the cup / height of the disc)"
    if row["vcdr_accuracy"] is None:
        return [f"- {name}: no photograph has both labelled"]
    bounds = row["vcdr_accuracy_interval"]
    error = {"error": 1 - row["vcdr_accuracy"], "error_interval": bounds and [1 - bounds[1], 1 - bounds[0]]}
    return [
        f"- {name}: mean absolute error {_value(error, 'error')}; found on {100 * row['vcdr_found']:.1f} % of the "
        "photographs with a labelled one, and an error of 1 where it is not"
    ]


def _points(report: Mapping[str, Any]) -> list[str]:
    """Returns the table of sensitivity and specificity at each operating point, of the network and of the graph."""
    rows = list(zip(report["keras"]["operating_points"], report["graph"]["operating_points"], strict=True))
    if not rows:
        return []
    lines = [
        "",
        (
            f"At the operating points, whose thresholds were chosen on other photographs, on {report['split']}. The "
            "deployable graph, which the artifacts follow, normalises the stored JPEG photographs itself:"
        ),
        "",
        (
            "| operating point | threshold | sensitivity | specificity | sensitivity of the graph | specificity of the "
            "graph |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for one, other in rows:
        cells = [_value(row, key) for row in (one, other) for key in ("sensitivity", "specificity")]
        lines.append(f"| {one['name']} | {number(one['threshold'], 3)} | {' | '.join(cells)} |")
    return lines


def _graph(report: Mapping[str, Any]) -> str:
    """Says how far the deployable graph is from the training pipeline, whose figures stand above."""
    metric = "auc" if "auc" in report["graph"] else next(iter(report["graph"]["drop"]))
    return (
        f"{metric_name(metric)} {number(report['graph'][metric], 3)} there; a probability differs from the training "
        f"pipeline's by {number(report['graph']['mean_difference'], 3)} on average, since photographs are stored as "
        "JPEG"
    )


def _limit(row: Mapping[str, Any]) -> str:
    """Returns two cells: the artifact's own threshold of the distance, and the share of the judged photographs beyond
    it.
    """
    ood = row.get("ood", {})
    if "threshold" not in ood:
        return "– | –"
    return f"{number(ood['threshold'])} | {100 * row['ood_beyond']:.1f} %"


def _artifacts(report: Mapping[str, Any]) -> list[str]:
    shown = shown_metrics(report["graph"]["drop"])
    measured = "".join(f" {metric_name(key)} | {change_name(key)} |" for key in shown)
    lines = [
        f"| file | kB | ms |{measured} agreement | `ood_distance` up to | beyond it |",
        "|---" * (6 + 2 * len(shown)) + "|",
    ]
    for name, row in report["artifacts"].items():
        cells = ""
        for key in shown:
            bounds = interval(row["drop_interval"][key], 4)
            cells += (
                f" {number(shown_value(row, key), 3)} | "
                f"{number(row['drop'][key], 4)}{f' ({bounds})' if bounds else ''} |"
            )
        lines.append(
            f"| {name} | {row['bytes'] / 1e3:.0f} | {row['latency_ms']['median']:.1f} |{cells} "
            f"{100 * row['agreement']:.1f} % | {_limit(row)} |"
        )
    return lines + [f"\n{name} could not be made: {reason}." for name, reason in report["not_made"].items()]


def _reading(fit: Fit, report: Mapping[str, Any], disease: str) -> list[str]:
    lines = []
    if report["calibration_caution"]:
        lines.append(f"- **{report['calibration_caution']}**")
    if fit.calibration.get("temperature") is not None:
        lines.append(
            f"- `probabilities`: {'temperature fitted' if report['calibration_caution'] else 'calibrated'} on the "
            f"{fit.calibration['split']} split ({fit.calibration['images']} photographs), temperature "
            f"{fit.temperature:.3f}"
            + (
                f"; expected calibration error there {fit.calibration['ece_before']:.3f} before, "
                f"{fit.calibration['ece_after']:.3f} after."
                if "ece_after" in fit.calibration
                else "."
            )
        )
    for point in fit.operating_points:
        lines.append(
            f"- Operating point {point['name']}: {disease} from a probability of {point['threshold']:.3f} on; on "
            f"{point['split']} sensitivity {point['sensitivity']:.3f}, specificity {point['specificity']:.3f}."
        )
    if "threshold" in fit.ood:
        lines.append(
            f"- `ood_distance`: above the artifact's own threshold (99 % of the {fit.ood['split']} photographs lie "
            "below; the table of the artifacts and metadata.json have it) the photograph is unlike those of training: "
            "do not trust the answer."
        )
        reasons = {row["ood"]["reason"]: None for row in report["artifacts"].values() if "reason" in row.get("ood", {})}
        lines += [f"- Where the table has no threshold: {reason}." for reason in reasons]
    lines += [f"- No `{name}`: {reason}." for name, reason in report["outputs_left_out"].items()]
    return lines
