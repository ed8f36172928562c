"""What an answer holds, as JSON gives it. Standard dataclasses, so that a web framework can derive a schema from them.

`prediction`, `decision`, `findings`, `masks`, `points` and `vcdr` are there only where `status` is "answered": a
program that looks at nothing else cannot take a blurred photograph or a building for a healthy eye. What the graph gave
stands in `outputs` whenever it ran.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dr_edge import metadata

SCHEMA = "dr_edge.prediction"
SCHEMA_VERSION = 1
ANSWERED = "answered"
OUT_OF_DISTRIBUTION = "out_of_distribution"
TOO_POOR = "too_poor_to_grade"
NOT_A_FUNDUS = "not_a_fundus_photograph"
UNREADABLE = "unreadable"


@dataclasses.dataclass(frozen=True)
class Size:
    """Size of the upright photograph in pixels."""

    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class CropBox:
    """Where the crop was cut: (top, left, bottom, right) as slice bounds in pixels of the upright photograph; may
    exceed it. `size`: side of the crop in pixels.
    """

    box: tuple[float, float, float, float]
    size: int


@dataclasses.dataclass(frozen=True)
class Gradability:
    """Quality of the crop, each 0..1 (higher is better); `gradable`: `score` reaches `minimum`."""

    score: float
    minimum: float
    gradable: bool
    focus: float
    contrast: float
    illumination: float
    fov_fraction: float
    colour: float


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Mahalanobis distance from the training images; `inside`: it does not exceed `threshold`."""

    distance: float
    threshold: float
    inside: bool


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The most probable class; `probability` is calibrated, 0..1."""

    class_name: str
    index: int
    probability: float


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is decided at an operating point; its sensitivity and specificity are those on the validation images.

    `probability` is that of `positive_class`, the disease: of several classes the sum. `positive`: it reaches
    `threshold`. `class_name`: the answer; of several classes on its side their names together.
    """

    operating_point: str
    threshold: float
    positive_class: str
    probability: float
    positive: bool
    class_name: str
    sensitivity: float
    specificity: float


@dataclasses.dataclass(frozen=True)
class Finding:
    """One disease of a task with several; `probability` is calibrated, 0..1."""

    class_name: str
    probability: float
    present: bool


@dataclasses.dataclass(frozen=True)
class Mask:
    """One segmented structure; `area_fraction` is its share of the crop, `height` its extent in photograph pixels."""

    class_name: str
    found: bool
    area_fraction: float
    height: int


@dataclasses.dataclass(frozen=True)
class Point:
    """One place that was looked for, such as the fovea, in pixels of the upright photograph; the centre of its first
    pixel is (0, 0). `found`: it lies in the photograph. `peak`: of the heat map there, 0..1; low where the model is not
    sure.
    """

    class_name: str
    found: bool
    x: float
    y: float
    peak: float


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What the graph gave: calibrated probabilities by class name (None for masks) and the distance."""

    probabilities: dict[str, float] | None
    ood_distance: float | None


@dataclasses.dataclass(frozen=True)
class Label:
    """The label that was given with the photograph; `agrees`: the answer is the same; None where there is no answer."""

    given: str
    agrees: bool | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one photograph.

    Attributes:
      file: as it was named; None for an upload.
      sha256: of its bytes; None where they could not be read, and of an array.
      status: "answered", "out_of_distribution", "too_poor_to_grade", "not_a_fundus_photograph" or "unreadable".
      reason: short and stable, where the status is not "answered"; else None.
      message: one or two sentences for people.
      photograph, crop, quality, distribution, outputs: facts, None where they could not be found.
      prediction: classification tasks. decision: those with an operating point. findings: multilabel tasks.
      masks, points, vcdr: segmentation tasks; points is None where the task has none; vcdr is the vertical cup-to-disc
        ratio, None where disc or cup was not found.
      cautions: sentences that stand at the end of `message` where the status is "answered": what the answer does not
        cover, or stands on; empty where there is nothing to say.
      label: None where none was given.
      overlay: name of the picture that was written; None where there is none.
      milliseconds: of decoding and cropping, and of the model.
    """

    status: str
    message: str
    file: str | None = None
    sha256: str | None = None
    reason: str | None = None
    photograph: Size | None = None
    crop: CropBox | None = None
    quality: Gradability | None = None
    distribution: Distribution | None = None
    outputs: Outputs | None = None
    prediction: Prediction | None = None
    decision: Decision | None = None
    findings: list[Finding] | None = None
    masks: list[Mask] | None = None
    points: list[Point] | None = None
    vcdr: float | None = None
    cautions: list[str] = dataclasses.field(default_factory=list)
    label: Label | None = None
    overlay: str | None = None
    milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the answer as JSON-serialisable values; of a name that is no UTF-8 the bytes stand as \\x.."""
        values = dataclasses.asdict(self)
        for name in ("file", "message"):  # which a strict reader of JSON would refuse, and the document with it
            values[name] = values[name] and metadata.readable(values[name])
        return values
