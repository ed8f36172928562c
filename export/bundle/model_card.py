"""MODEL_CARD.md: what the model is for, what it was measured on, and where its limits lie (Mitchell et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_edge.calibration.fit import Fit
from dr_edge.data.known_patients import counted
from dr_edge.data.tasks import Task
from dr_edge.evaluation.heatmap_checks.verdict import SYNTHETIC
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY
from dr_edge.fundus.quality_layer import NAMES
from dr_edge.markdown import escaped
from dr_edge.runs import TrainedRun
from dr_edge.verdict import BETTER, UNRELIABLE
from export.bundle import card_figures, card_stability
from export.bundle.manifest import SYNTHETIC_WARNING, positive_words
from export.graph.deployable import QUALITY

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
    task, names = run.task, [escaped(name) for name in run.task.class_names]
    lines = [
        f"# Model card: {escaped(' or '.join(task.class_names) if task.name == 'class' else task.name)}",
        "",
        "**Research software. Not a medical device; not for diagnosis or treatment decisions.**",
        "",
        *_verdict(report["verdict"]),
        "## What it does",
        "",
        f"- Task: {escaped(task.name)} ({task.kind}); outputs in this order: {', '.join(names)}.",
        *_disease(task),
        (
            f"- Network: {escaped(run.content['model']['name'])}, {run.content['model']['parameters']:,} parameters, "
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
        *([f"- **{SYNTHETIC_WARNING}**"] if training["dataset"] == SYNTHETIC else []),
        *_sources(report, training),
        "",
        *_classes(training, task),
        "",
        "## Measured",
        "",
        *card_figures.measured(report),
        "",
        "## Stability",
        "",
        *card_stability.lines(run),
        "",
        "## Artifacts",
        "",
        (
            "Each drop is from the same network in Keras, in the same deployable graph on the same stored photographs "
            f"({card_figures.graph(report)}); 95 % intervals from paired bootstrap draws of "
            f"{'photographs' if report['patients'] is None else 'whole patients'}. Latency is the median on the "
            "exporting host; it says nothing of a phone."
        ),
        "",
        *card_figures.artifacts(report),
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
        return [escaped(verdict["text"]), ""]
    lines = [f"**{escaped(verdict['text'])}**", ""]
    return [*lines, "**Do not rely on an answer of this model.**", ""] if verdict["status"] in UNRELIABLE else lines


def _disease(task: Task) -> list[str]:
    """Says which outputs mean the disease."""
    if task.kind != "classification":
        return []
    lines = [f"- {escaped(positive_words(task))}"]
    return lines + ([] if task.caution is None else [f"- **{escaped(task.caution)}**"])


def _sources(report: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Says what the model was trained, fitted and judged on."""
    used = report["records"]
    parity, fit = used["parity"], used["fit"]
    of = (
        ""
        if parity["trained_on"]
        else f" of {escaped(parity['dataset'])}, other records than those that it was trained on"
    )
    lines = [
        (
            f"- Trained on the data set: {escaped(training['dataset'])}. "
            f"{escaped(training.get('patients', 'How its patients were divided is not known here.'))}"
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
            f"{escaped(fit['dataset'])}, other records than those that it was trained on, which were not there."
        )
    if used["int8_ranges"] is not None and not used["int8_ranges"]["trained_on"]:
        lines.append(
            "- The ranges of integer formats were measured on training photographs of "
            f"{escaped(used['int8_ranges']['dataset'])}."
        )
    return lines


def _limits(kind: str, fit: Mapping[str, Any], caution: str | None) -> list[str]:
    if kind == "segmentation":
        return ["- A mask is drawn on any photograph; that it lies on a disc or a cup nobody checks but you."]
    known = "the data set above" if fit["trained_on"] else escaped(fit["dataset"])
    calibrated = f"A probability is calibrated for {known} and its share of disease; elsewhere it is not."
    return [
        f"- **{escaped(caution)}**" if caution else f"- {calibrated}",
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
    lines = [" | ".join(["| split", "photographs", *map(escaped, named)]) + " |", "|---" * (2 + len(named)) + "|"]
    for split, counts in counted.items():
        cells = [str(training["splits"][split])]
        for name in named:
            cell = counts[name]
            cells.append(f"{cell['present']} of {sum(cell.values())}" if isinstance(cell, Mapping) else str(cell))
        lines.append(" | ".join([f"| {split}", *cells]) + " |")
    return lines


def _reading(fit: Fit, report: Mapping[str, Any], disease: str) -> list[str]:
    lines = []
    if report["calibration_caution"]:
        lines.append(f"- **{escaped(report['calibration_caution'])}**")
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
            f"- Operating point {escaped(point['name'])}: {escaped(disease)} from a probability of "
            f"{point['threshold']:.3f} on; on {point['split']} sensitivity {point['sensitivity']:.3f}, specificity "
            f"{point['specificity']:.3f}."
        )
    if "threshold" in fit.ood:
        lines.append(
            f"- `ood_distance`: above the artifact's own threshold (99 % of the {fit.ood['split']} photographs lie "
            "below; the table of the artifacts and metadata.json have it) the photograph is unlike those of training: "
            "do not trust the answer."
        )
        reasons = {row["ood"]["reason"]: None for row in report["artifacts"].values() if "reason" in row.get("ood", {})}
        lines += [f"- Where the table has no threshold: {escaped(reason)}." for reason in reasons]
    if QUALITY not in report["outputs_left_out"]:
        lines.append(
            f"- `quality`: {', '.join(NAMES)} of the photograph, each 0 to 1. Below a score of {DEFAULT_MIN_QUALITY:g} "
            "(`quality.minimum` of metadata.json) no vessel can be followed: give no answer, and ask for another "
            "photograph."
        )
    lines += [f"- No `{name}`: {escaped(reason)}." for name, reason in report["outputs_left_out"].items()]
    return lines
