"""What a model's outputs mean for one photograph at the bundle's thresholds, and in plain words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from dr_edge.drawing.overlay import percent
from dr_edge.fundus.appearance import COLOUR
from dr_edge.fundus.crop import FieldOfView, uncrop_points
from dr_edge.fundus.quality import Quality
from dr_edge.fundus.read_crop import Photograph
from dr_edge.metrics import glaucoma
from dr_edge.prediction.bundle import Bundle, OperatingPoint
from dr_edge.prediction.schema import (
    ANSWERED,
    NOT_A_FUNDUS,
    OUT_OF_DISTRIBUTION,
    TOO_POOR,
    UNREADABLE,
    Answer,
    CropBox,
    Decision,
    Distribution,
    Finding,
    Gradability,
    Label,
    Mask,
    Outputs,
    Point,
    Prediction,
    Size,
)
from dr_edge.verdict import with_caution

PRESENT = 0.5  # a disease of a multilabel task is called present from this calibrated probability on
DISC, CUP = "optic disc", "optic cup"
COVERED = (
    "Part of the retina is covered (a label, text, a bar or glare): nothing is known of what lies below. Use the "
    "photograph without it."
)
NOT_STATED = (
    "This photograph is {kind}, and the bundle, of an earlier release, does not say whether the model learned such "
    "ones: do not rely on the answer unless you know."
)


def refused(photograph: Photograph) -> Answer:
    """Returns the answer to a picture that shows no fundus."""
    refusal = photograph.refusal
    if refusal is None:
        raise ValueError("Only a photograph that was refused has no crop. Call `interpret` for the others.")
    return Answer(
        NOT_A_FUNDUS,
        f"Not a fundus photograph that can be graded ({refusal.reason}): {refusal.detail}",
        sha256=photograph.sha256,
        reason=refusal.reason,
        photograph=Size(photograph.size[1], photograph.size[0]),
    )


def unreadable(name: str | None, reason: str, message: str) -> Answer:
    """Returns the answer to a file that is no readable photograph."""
    return Answer(UNREADABLE, message, file=name, reason=reason)


def check_label(bundle: Bundle, label: str) -> None:
    """Raises ValueError where `label` is no class of the bundle's classification task."""
    if bundle.kind != "classification":
        raise ValueError(f"A label can be compared with a classification only; this bundle's task is {bundle.kind}.")
    if label not in bundle.class_names:
        raise ValueError(f"Unknown label {label[:80]!r}. Known: {', '.join(bundle.class_names)}.")


def interpret(
    bundle: Bundle, photograph: Photograph, outputs: Mapping[str, np.ndarray], label: str | None = None
) -> Answer:
    """Returns what the model's outputs mean for a photograph that has a crop.

    Args:
      bundle: thresholds and names.
      photograph: from `read_crop`, with a crop; its quality counts where the graph gives none.
      outputs: from `Model.run` on it.
      label: a class name that the answer is compared with; see `check_label`.
    """
    fov = photograph.fov
    if fov is None:
        raise ValueError("The photograph has no crop. Call `refused` for it.")
    quality = _quality(bundle, photograph, outputs)
    graded = Gradability(
        minimum=bundle.min_quality, gradable=quality.score >= bundle.min_quality, **_rounded(quality.as_dict())
    )
    distance = float(outputs["ood_distance"][0]) if "ood_distance" in outputs else None
    threshold = bundle.ood_threshold
    distribution = None
    if distance is not None and threshold is not None:
        distribution = Distribution(distance, threshold, distance <= threshold)
    facts = Answer(
        ANSWERED,
        "",
        sha256=photograph.sha256,
        photograph=Size(photograph.size[1], photograph.size[0]),
        crop=CropBox(fov.box, bundle.image_size),
        quality=graded,
        distribution=distribution,
        outputs=Outputs(_named(bundle, outputs), distance),
    )
    if not graded.gradable:
        message = (
            f"Too poor to grade: quality {graded.score:.2f}, {bundle.min_quality:.2f} is needed "
            f"({_worst(graded)}). Take the photograph again."
        )
        return _with_label(
            bundle, dataclasses.replace(facts, status=TOO_POOR, reason="quality", message=message), label
        )
    if distribution is not None and not distribution.inside:
        message = (
            f"Unlike the photographs that the model was trained on (distance {distribution.distance:.1f}, at most "
            f"{distribution.threshold:.1f}): not graded."
        )
        unusual = dataclasses.replace(facts, status=OUT_OF_DISTRIBUTION, reason="distance", message=message)
        return _with_label(bundle, unusual, label)
    meaning = {"classification": _classified, "multilabel": _found, "segmentation": _segmented}[bundle.kind]
    answer = meaning(facts, bundle, photograph, outputs)
    cautions = _cautions(bundle, photograph)
    message = " ".join([with_caution(bundle.verdict, answer.message), *cautions])
    return _with_label(bundle, dataclasses.replace(answer, message=message, cautions=cautions), label)


def _quality(bundle: Bundle, photograph: Photograph, outputs: Mapping[str, np.ndarray]) -> Quality:
    """Returns what the graph measured, or, of a bundle of an earlier release, what `read_crop` did."""
    if "quality" in outputs:
        values = dict(zip(bundle.manifest["quality"]["names"], np.clip(outputs["quality"], 0, 1).tolist(), strict=True))
        return Quality(**{field.name: values[field.name] for field in dataclasses.fields(Quality)})
    if photograph.quality is None:
        raise ValueError("Neither the graph nor `read_crop` has measured the photograph's quality.")
    return photograph.quality


def _cautions(bundle: Bundle, photograph: Photograph) -> list[str]:
    cautions = [COVERED] if photograph.covered else []
    if photograph.kind not in ("", COLOUR) and not bundle.states_pictures:
        cautions.append(NOT_STATED.format(kind=photograph.kind))
    return cautions


def _classified(facts: Answer, bundle: Bundle, _: Photograph, outputs: Mapping[str, np.ndarray]) -> Answer:
    probabilities = outputs["probabilities"]
    index = int(probabilities.argmax())
    prediction = Prediction(bundle.class_names[index], index, float(probabilities[index]))
    decision = None if bundle.operating_point is None else _decided(bundle, bundle.operating_point, probabilities)
    if decision is None:
        message = f"{prediction.class_name}, probability {percent(prediction.probability)}."
    else:
        side = "reaches" if decision.positive else "is below"
        message = (
            f"{decision.class_name}: the probability of {decision.positive_class}, {percent(decision.probability)}, "
            f"{side} the threshold of {100 * decision.threshold:.1f} % ({decision.operating_point})."
        )
        if len(bundle.class_names) > 2:
            message += f" Likeliest class: {prediction.class_name}, {percent(prediction.probability)}."
    return dataclasses.replace(facts, prediction=prediction, decision=decision, message=message)


def _decided(bundle: Bundle, point: OperatingPoint, probabilities: np.ndarray) -> Decision | None:
    if not bundle.positive:
        return None
    probability = float(probabilities[list(bundle.positive)].sum())
    positive = probability >= point.threshold
    return Decision(
        point.name, point.threshold, bundle.positive_name, probability, positive,
        bundle.positive_name if positive else bundle.negative_name, point.sensitivity, point.specificity,
    )  # fmt: skip


def _found(facts: Answer, bundle: Bundle, _: Photograph, outputs: Mapping[str, np.ndarray]) -> Answer:
    findings = [
        Finding(name, float(value), bool(value >= PRESENT))
        for name, value in zip(bundle.class_names, outputs["probabilities"], strict=True)
    ]
    words = [f"{'' if row.present else 'no '}{row.class_name} ({percent(row.probability)})" for row in findings]
    return dataclasses.replace(facts, findings=findings, message=f"{', '.join(words)}.")


def _segmented(facts: Answer, bundle: Bundle, photograph: Photograph, outputs: Mapping[str, np.ndarray]) -> Answer:
    if photograph.fov is None:
        raise ValueError("The photograph has no crop. Call `refused` for it.")
    carried, masks, points = {}, [], []
    for index, name in enumerate(bundle.class_names):
        values = outputs["masks"][..., index]
        if name in bundle.centres:
            points.append(_point(name, values, photograph.fov, photograph.size))
            continue
        mask = carried[name] = glaucoma.photograph_mask(values, photograph.fov.box, photograph.size)
        share = float((values >= glaucoma.THRESHOLD).mean())
        masks.append(Mask(name, bool(mask.any()), share, glaucoma.height(mask)))
    ratio = None
    if DISC in carried and CUP in carried:
        value = glaucoma.vcdr(carried[DISC], carried[CUP])
        ratio = value if math.isfinite(value) else None
    missing = [mask.class_name for mask in masks if not mask.found]
    message = f"{' and '.join(missing)} not found." if missing else f"{', '.join(carried)} found."
    if ratio is not None:
        message = f"Vertical cup-to-disc ratio {ratio:.2f}."
        if ratio > 1:
            message += " The cup reaches beyond the disc: do not rely on it."
    for point in points:
        place = f"is at x {_half_up(point.x)}, y {_half_up(point.y)}" if point.found else "was not found"
        message += f" The centre of the {point.class_name} {place}."
    return dataclasses.replace(facts, masks=masks, points=points or None, vcdr=ratio, message=message)


def _point(name: str, heat: np.ndarray, fov: FieldOfView, size: tuple[int, int]) -> Point:
    """Returns where the photograph of `size` (height, width) holds what the heat map [S, S] of its crop marks."""
    ((x, y),) = uncrop_points(np.array([glaucoma.heat_position(heat)]), fov, len(heat))
    x, y = _half_up(10 * x) / 10, _half_up(10 * y) / 10
    found = -0.5 <= x < size[1] - 0.5 and -0.5 <= y < size[0] - 0.5
    return Point(name, found, x, y, float(heat.max()))


def _half_up(value: float) -> int:
    """Rounds as browsers do, so that the page says the same."""
    return math.floor(value + 0.5)


def _with_label(bundle: Bundle, answer: Answer, label: str | None) -> Answer:
    if label is None:
        return answer
    agrees: bool | None = None
    if answer.decision is not None and len(bundle.class_names) == 2:
        agrees = answer.decision.positive == (bundle.class_names.index(label) in bundle.positive)
    elif answer.prediction is not None:  # of several classes a decision names no single one
        agrees = answer.prediction.class_name == label
    return dataclasses.replace(answer, label=Label(label, agrees))


def _named(bundle: Bundle, outputs: Mapping[str, np.ndarray]) -> dict[str, float] | None:
    if "probabilities" not in outputs:
        return None
    values = outputs["probabilities"].tolist()
    return dict(zip(bundle.class_names, values, strict=True))


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in values.items()}


def _worst(graded: Gradability) -> str:
    """Returns in words which part of the quality is lowest."""
    words = {
        "blurred": graded.focus,
        "poor in contrast": graded.contrast,
        "too dark or burnt out": graded.illumination,
        "little of the field of view is lit": graded.fov_fraction,
    }
    return min(words, key=lambda word: words[word])
