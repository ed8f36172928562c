"""Pictures to look at: a photograph beside itself with the heat map on it, a colour bar and the answer in words.

numpy and OpenCV only, so that a phone-side tool can draw the same picture without TensorFlow. OpenCV 5 brings
its own scalable font, so that the pictures look the same everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from dr_edge.drawing.field import field_of_view
from dr_edge.metrics import glaucoma

PANEL = 448  # side of each picture in pixels
MARGIN = 20
BAR_WIDTH = 16
BAR_TEXT = 52
CAPTION = 112
OPACITY = 0.6
MUTING = 0.6
BACKGROUND, WITHHELD = (17, 19, 24), (34, 38, 46)
NO_HEAT = ("No heat map: it would speak for", "no disease that was found.", "--heatmaps=all draws it all the same.")
POSITIVE, ALL = "positive", "all"  # for which answers a heat map is shown
TEXT, MUTED = (238, 240, 244), (160, 166, 178)
# Whether an answer is its label. Green would read as "healthy", also where the answer is a disease.
RIGHT, WRONG = (108, 190, 240), (255, 158, 128)
HEAT_COLOURS = ((24, 22, 92), (28, 72, 190), (30, 140, 236), (92, 208, 250), (244, 254, 255))
MASK_COLOURS = ((120, 220, 255), (255, 214, 92), (255, 130, 190), (150, 235, 140))


@dataclasses.dataclass(frozen=True)
class Caption:
    """The words under a picture.

    Attributes:
      title: what is shown, for example "Grad-CAM of referable", or of one disease among several "Grad-CAM of
        glaucoma, probability 20 %".
      answer: what the model says, for example "referable".
      confidence: its probability, 0..1; None where the answer has none (masks).
      detail: the second line, for example "labelled non-referable" or "no label given".
      correct: the answer is the label; None where that is not known.
      name: the image's id or file name.
      explains: what the heat speaks for; not the answer where that is "no glaucoma".
    """

    title: str
    answer: str
    confidence: float | None
    detail: str
    correct: bool | None = None
    name: str = ""
    explains: str = "this answer"

    @property
    def headline(self) -> str:
        """The answer with its confidence: "referable · 87 %"."""
        return self.answer if self.confidence is None else f"{self.answer} · {percent(self.confidence)}"


def colours(heat: np.ndarray) -> np.ndarray:
    """Maps heat [...] in 0..1 to [..., 3] uint8 RGB, from deep blue over cyan to white.

    Lightness rises evenly, and no retina is blue: jet's red and inferno's yellow vanish on an orange fundus.
    """
    stops = np.linspace(0, 1, len(HEAT_COLOURS))
    channels = [np.interp(heat, stops, values) for values in np.array(HEAT_COLOURS, np.float32).T]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def lay_over(photograph: np.ndarray, heat: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Lays a heat map over a photograph whose own colours are muted, so that the heat's can be told from
    them. Outside the field of view none is drawn: what spoke for an answer there is no part of the eye.

    Args:
      photograph: [S, S, 3] uint8 RGB.
      heat: [S, S] float in 0..1.
      opacity: of the hottest place, 0..1.

    Returns:
      [S, S, 3] uint8 RGB.

    Raises:
      ValueError: the shapes differ or the heat leaves 0..1.
    """
    if photograph.shape != (*heat.shape, 3) or photograph.dtype != np.uint8:
        raise ValueError(
            f"lay_over needs [H, W, 3] uint8 and [H, W] heat of one size. Received: {photograph.shape} "
            f"{photograph.dtype}, {heat.shape}."
        )
    if not (np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1):
        raise ValueError(f"Heat must lie in 0..1. Received: {heat.min()} to {heat.max()}.")
    weight = (opacity * heat * field_of_view(photograph))[..., None]
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[..., None]
    muted = (1 - MUTING) * photograph + MUTING * 0.85 * grey
    return np.rint(muted * (1 - weight) + colours(heat) * weight).astype(np.uint8)


def draw_masks(photograph: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Draws the outline and a light tint of each mask.

    Args:
      photograph: [H, W, 3] uint8 RGB.
      masks: [H, W, M] bool; the colours are MASK_COLOURS in this order.

    Returns:
      [H, W, 3] uint8 RGB.
    """
    if masks.shape[:2] != photograph.shape[:2] or masks.ndim != 3:
        raise ValueError(f"draw_masks needs [H, W, M] masks of the photograph's size. Received: {masks.shape}.")
    picture = photograph.astype(np.float32)
    thickness = max(1, round(photograph.shape[0] / 256))
    for index in range(masks.shape[-1]):
        colour = MASK_COLOURS[index % len(MASK_COLOURS)]
        inside = masks[..., index]
        picture[inside] = 0.82 * picture[inside] + 0.18 * np.array(colour, np.float32)
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, thickness, cv2.LINE_AA)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def draw_points(
    picture: np.ndarray, points: Sequence[tuple[float, float]], shades: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """Draws a cross at each point, dark around, so that it shows on bright and on dark places.

    Args:
      picture: [H, W, 3] uint8 RGB.
      points: (x, y) in its pixels, the centre of the first one being (0, 0).
      shades: RGB of each.

    Returns:
      [H, W, 3] uint8 RGB.
    """
    drawn = np.ascontiguousarray(picture).copy()
    thickness = max(1, round(picture.shape[0] / 256))
    reach = max(3, round(picture.shape[0] / 32))
    for (x, y), colour in zip(points, shades, strict=True):
        place = round(x), round(y)
        cv2.drawMarker(drawn, place, (0, 0, 0), cv2.MARKER_CROSS, 2 * reach + 2, thickness + 2)
        cv2.drawMarker(drawn, place, colour, cv2.MARKER_CROSS, 2 * reach, thickness)
    return drawn


def draw_found(picture: np.ndarray, maps: np.ndarray, centres: Sequence[int] = ()) -> np.ndarray:
    """Draws what a segmentation found over a crop: outlines of masks, crosses at the points that heat maps mark.

    Args:
      picture: [S, S, 3] uint8 RGB.
      maps: [S, S, M] probabilities 0..1.
      centres: which of the M are heat maps of one point.

    Returns:
      [S, S, 3] uint8 RGB; the colours are MASK_COLOURS in the order of the M.
    """
    masks = maps >= glaucoma.THRESHOLD
    masks[..., list(centres)] = False
    points = [glaucoma.heat_position(maps[..., index]) for index in centres]
    shades = [MASK_COLOURS[index % len(MASK_COLOURS)] for index in centres]
    return draw_points(draw_masks(picture, masks), points, shades)


def without_heat(explains: str = "", decided: str = "") -> np.ndarray:
    """Returns what stands in the place of a heat map that is not shown, [PANEL, PANEL, 3] uint8 RGB.

    Args:
      explains: the likeliest class, which the map would explain, where another is the answer.
      decided: the disease that is the answer; "" where no disease was found.
    """
    said = (
        (f"No heat map: it would speak for {explains},", f"the likeliest class, not for {decided}.", NO_HEAT[-1])
        if decided
        else NO_HEAT
    )
    picture = np.full((PANEL, PANEL, 3), WITHHELD, np.uint8)
    for line, words in enumerate(said):
        _write(picture, words, (2 * MARGIN, PANEL // 2 + 28 * line - 14), 17, MUTED, PANEL - 4 * MARGIN)
    return picture


def panel(
    photograph: np.ndarray, overlay: np.ndarray, caption: Caption, colour_bar: bool = True, width: int | None = None
) -> np.ndarray:
    """Puts the photograph, the overlay, the colour bar and the caption on one picture.

    Args:
      photograph, overlay: [S, S, 3] uint8 RGB.
      caption: the words below.
      colour_bar: draw the scale of the heat map (not for masks).
      width: of the picture in pixels, where it is to be that of others; None for `panel_width`.

    Returns:
      [H, W, 3] uint8 RGB.
    """
    canvas = np.full((MARGIN + PANEL + CAPTION, width or panel_width(colour_bar), 3), BACKGROUND, np.uint8)
    for column, picture in enumerate((photograph, overlay)):
        left = MARGIN + column * (PANEL + MARGIN)
        canvas[MARGIN : MARGIN + PANEL, left : left + PANEL] = _scaled(picture)
    right = 2 * (MARGIN + PANEL)
    if colour_bar:
        left = right + MARGIN // 2
        scale = np.linspace(1, 0, PANEL)[:, None].repeat(BAR_WIDTH, axis=1)
        canvas[MARGIN : MARGIN + PANEL, left : left + BAR_WIDTH] = colours(scale)
        for words, y in (("high", MARGIN + 13), ("low", MARGIN + PANEL - 2)):
            _write(canvas, words, (left + BAR_WIDTH + 6, y), 14, MUTED, BAR_TEXT - 8)
    first, second, third = (MARGIN + PANEL + offset for offset in (32, 62, 92))
    mark = {None: TEXT, True: RIGHT, False: WRONG}[caption.correct]
    _write(canvas, caption.headline, (MARGIN, first), 24, mark, PANEL, weight=600)
    _write(canvas, caption.detail, (MARGIN, second), 17, TEXT, PANEL)
    _write(canvas, caption.name, (MARGIN, third), 14, MUTED, PANEL)
    _write(canvas, caption.title, (2 * MARGIN + PANEL, first), 19, TEXT, PANEL)
    if colour_bar:
        note = f"lighter places speak more for {caption.explains}"
        _write(canvas, note, (2 * MARGIN + PANEL, second), 14, MUTED, PANEL)
    return canvas


def panel_width(colour_bar: bool = True) -> int:
    """Returns the width of a picture of `panel` in pixels."""
    return 2 * (MARGIN + PANEL) + (MARGIN // 2 + BAR_WIDTH + BAR_TEXT if colour_bar else MARGIN)


def found_title(class_names: Sequence[str], centres: Sequence[str] = ()) -> str:
    """Returns what `draw_found` shows, in words: "outlines: optic disc, optic cup; cross: fovea"."""
    title = "outlines: " + ", ".join(name for name in class_names if name not in centres)
    return f"{title}; cross: {', '.join(centres)}" if centres else title


def percent(probability: float) -> str:
    """Returns a probability in words that never claim certainty: "87 %", "> 99 %", "< 1 %"."""
    if probability > 0.99:
        return "> 99 %"
    return "< 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def encode_png(picture: np.ndarray) -> bytes:
    """Returns [H, W, 3] uint8 RGB as PNG bytes."""
    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise ValueError(f"OpenCV could not write a PNG of shape {picture.shape}, {picture.dtype}.")
    return data.tobytes()


def encode_jpeg(picture: np.ndarray, side: int, quality: int = 86) -> bytes:
    """Returns [H, W, 3] uint8 RGB, scaled to `side` x `side` pixels, as JPEG bytes."""
    done, data = cv2.imencode(".jpg", _scaled(picture, side)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV could not write a JPEG of shape {picture.shape}, {picture.dtype}.")
    return data.tobytes()


def _scaled(picture: np.ndarray, side: int = PANEL) -> np.ndarray:
    """Scales a square picture; areas are averaged on the way down."""
    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_CUBIC
    return cv2.resize(picture, (side, side), interpolation=how)


def _write(
    canvas: np.ndarray,
    words: str,
    place: tuple[int, int],
    size: int,
    colour: tuple[int, int, int],
    width: int,
    weight: int = 400,
) -> None:
    """Writes one line of text at the baseline `place`, in place; letters shrink until it fits, then the end is cut."""
    words = words.encode(
        "utf-8", "replace"
    ).decode()  # a file name that is no text stops OpenCV with a segmentation fault
    font = cv2.FontFace("sans")

    def measured() -> int:
        return cv2.getTextSize((0, 0), words, (0, 0), font, size, weight)[2]

    while measured() > width and size > 11:
        size -= 1
    while measured() > width and len(words) > 4:
        words = words[:-2].rstrip("…") + "…"
    cv2.putText(canvas, words, place, colour, font, size, weight)
