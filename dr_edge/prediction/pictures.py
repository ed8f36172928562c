"""Pictures of an answer: the heat map or the masks over the crop, with colour bar and the answer in words."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from dr_edge.drawing import overlay
from dr_edge.drawing.overlay import Caption
from dr_edge.metrics import glaucoma
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.schema import ANSWERED, Answer, Decision
from dr_edge.verdict import with_caution, with_title

STATUS_WORDS = {"out_of_distribution": "unusual: not graded", "too_poor_to_grade": "too poor to grade"}
LEGEND_ROW = 30


def enlarge(heatmap: np.ndarray, size: int) -> np.ndarray:
    """Enlarges a heat map [h, w] bilinearly to [size, size] float32, 0..1, as metadata.json tells apps to."""
    enlarged = cv2.resize(heatmap.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(enlarged, 0, 1)  # integer artifacts may step over by a rounding


def heat_is_shown(bundle: Bundle, answer: Answer, outputs: Mapping[str, np.ndarray]) -> bool:
    """Says whether the heat map is shown that nobody asked for: where the answer is positive and the map speaks for it.

    The graph explains the likeliest class. What speaks against a disease lies over half of a healthy eye.
    """
    if answer.status != ANSWERED or "heatmap" not in outputs:
        return False
    explained = int(outputs["probabilities"].argmax())
    if answer.findings is not None:
        return answer.findings[explained].present
    if not bundle.positive:  # no class is known to be a disease
        return True
    return explained in bundle.positive and (answer.decision is None or answer.decision.positive)


def _not_explained(answer: Answer) -> tuple[str, str]:
    """Returns the likeliest class, and the disease that was decided below one half, which the map does not explain; ""
    and "" elsewhere.
    """
    if (
        answer.status != ANSWERED
        or answer.prediction is None
        or answer.decision is None
        or not answer.decision.positive
    ):
        return "", ""
    return answer.prediction.class_name, answer.decision.class_name


def sheet(
    bundle: Bundle,
    answer: Answer,
    crop: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    heat_maps: str = overlay.POSITIVE,
) -> np.ndarray:
    """Draws crop, overlay and caption side by side; for masks a third picture shows them alone.

    Args:
      bundle: names, and why a heat map is missing.
      answer: from `interpret`.
      crop: [S, S, 3] uint8 RGB.
      outputs: from `Model.run`.
      heat_maps: "positive" (`heat_is_shown`), or "all".

    Returns:
      [H, W, 3] uint8 RGB.
    """
    if "heatmap" in outputs and heat_maps != overlay.ALL and not heat_is_shown(bundle, answer, outputs):
        explains, decided = _not_explained(answer)
        title = (
            f"no heat map: it speaks for {explains} (likeliest)"
            if decided
            else "no heat map: no disease found that it speaks for"
        )
        caption = dataclasses.replace(_caption(bundle, answer, outputs), title=title)
        return overlay.panel(crop, overlay.without_heat(explains, decided), caption, False, overlay.panel_width())
    over = laid_over(bundle, crop, outputs)
    if "masks" not in outputs:
        return overlay.panel(crop, over, _caption(bundle, answer, outputs), "heatmap" in outputs)
    left = overlay.panel(crop, over, _caption(bundle, answer, outputs), colour_bar=False)
    right = np.full((left.shape[0], overlay.PANEL + overlay.MARGIN, 3), overlay.BACKGROUND, np.uint8)
    alone = mask_picture(bundle, outputs["masks"])
    alone = cv2.resize(alone, (overlay.PANEL,) * 2, interpolation=cv2.INTER_NEAREST)
    zoom = overlay.PANEL / len(crop)
    for index in _centres(bundle):
        x, y = glaucoma.heat_position(outputs["masks"][..., index])
        place = (zoom * (x + 0.5) - 0.5, zoom * (y + 0.5) - 0.5)
        alone = overlay.draw_points(alone, [place], [_colour(index)])
    right[overlay.MARGIN : overlay.MARGIN + overlay.PANEL, : overlay.PANEL] = alone
    for index, name in enumerate(bundle.class_names):
        words = f"+ {name}" if name in bundle.centres else name
        place = (0, overlay.MARGIN + overlay.PANEL + LEGEND_ROW * (index + 1))
        cv2.putText(right, words, place, _colour(index), cv2.FontFace("sans"), 17, 600)
    return np.hstack([left, right])


def laid_over(bundle: Bundle, crop: np.ndarray, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the crop with the heat map, or masks and points, over it, [S, S, 3] uint8; the crop without either."""
    if "masks" in outputs:
        return overlay.draw_found(crop, outputs["masks"], _centres(bundle))
    if "heatmap" in outputs:
        return overlay.lay_over(crop, enlarge(outputs["heatmap"], crop.shape[0]))
    return crop


def mask_picture(bundle: Bundle, masks: np.ndarray) -> np.ndarray:
    """Returns the masks alone on black, [S, S, 3] uint8, without points; later ones on top (the cup in the disc)."""
    picture = np.zeros((*masks.shape[:2], 3), np.uint8)
    for index, name in enumerate(bundle.class_names):
        if name not in bundle.centres:
            picture[masks[..., index] >= glaucoma.THRESHOLD] = _colour(index)
    return picture


def _centres(bundle: Bundle) -> list[int]:
    return [bundle.class_names.index(name) for name in bundle.centres]


def _colour(index: int) -> tuple[int, int, int]:
    return overlay.MASK_COLOURS[index % len(overlay.MASK_COLOURS)]


def data_urls(bundle: Bundle, answer: Answer, crop: np.ndarray, outputs: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Returns name -> PNG as a data URL: `crop` and `overlay`, and `heatmap` (grey, 0..255) or `masks`. The overlay
    holds heat where `heat_is_shown`; `heatmap` is there for whoever wants it all the same.
    """
    shown = "masks" in outputs or heat_is_shown(bundle, answer, outputs)
    pictures = {"crop": crop, "overlay": laid_over(bundle, crop, outputs) if shown else crop}
    if "heatmap" in outputs:
        grey = np.rint(255 * enlarge(outputs["heatmap"], crop.shape[0])).astype(np.uint8)
        pictures["heatmap"] = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if "masks" in outputs:
        pictures["masks"] = mask_picture(bundle, outputs["masks"])
    return {name: _data_url(picture) for name, picture in pictures.items()}


def _data_url(picture: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(overlay.encode_png(picture)).decode("ascii")


def _caption(bundle: Bundle, answer: Answer, outputs: Mapping[str, np.ndarray]) -> Caption:
    title = _title(bundle, answer, outputs)
    detail = "" if answer.label is None else f"labelled {answer.label.given}"
    correct = None if answer.label is None else answer.label.agrees
    name = Path(answer.file or "").name  # full paths say more about a computer than anybody needs
    if answer.status != ANSWERED:
        return Caption(title, STATUS_WORDS[answer.status], None, detail or _why(answer), None, name)
    if answer.decision is not None:
        point = answer.decision
        shown = point.probability if point.positive else 1 - point.probability
        note = f"{point.operating_point}: positive from {100 * point.threshold:.1f} %"
        explains = "this answer" if _explains_decision(bundle, point, outputs) else _likelier(bundle, outputs)
        return Caption(
            title, with_title(bundle.verdict, point.class_name), shown, detail or note, correct, name, explains
        )
    if answer.prediction is not None:
        said = with_title(bundle.verdict, answer.prediction.class_name)
        return Caption(title, said, answer.prediction.probability, detail, correct, name)
    caution = with_caution(bundle.verdict, "")
    first, _, rest = answer.message.removeprefix(caution).partition(". ")
    return Caption(title, with_title(bundle.verdict, first.rstrip(".")), None, detail or rest, correct, name)


def _title(bundle: Bundle, answer: Answer, outputs: Mapping[str, np.ndarray]) -> str:
    if "masks" in outputs:
        return overlay.found_title(bundle.class_names, bundle.centres)
    if "heatmap" not in outputs:
        return "no heat map: " + bundle.manifest.get("outputs_left_out", {}).get("heatmap", "the bundle has none")
    explained = _likelier(bundle, outputs)
    if answer.decision is not None and not _explains_decision(bundle, answer.decision, outputs):
        # The threshold is not 0.5: the graph explains the likelier class, which is not what was decided.
        return f"Grad-CAM of {explained} (likelier), not of {answer.decision.class_name}"
    return f"Grad-CAM of {explained}"


def _likelier(bundle: Bundle, outputs: Mapping[str, np.ndarray]) -> str:
    """Returns the class that the heat map explains."""
    return bundle.class_names[int(outputs["probabilities"].argmax())]


def _explains_decision(bundle: Bundle, decision: Decision, outputs: Mapping[str, np.ndarray]) -> bool:
    """Says whether the class that the heat map explains is on the side that was decided for."""
    return decision.positive == (int(outputs["probabilities"].argmax()) in bundle.positive)


def _why(answer: Answer) -> str:
    """Returns the first sentence part of the message that says why there is no answer."""
    if answer.quality is not None and not answer.quality.gradable:
        return f"quality {answer.quality.score:.2f}, {answer.quality.minimum:.2f} is needed"
    if answer.distribution is not None:
        return f"distance {answer.distribution.distance:.1f}, at most {answer.distribution.threshold:.1f}"
    return ""
