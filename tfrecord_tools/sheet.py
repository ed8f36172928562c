"""Draws the contact sheet of a directory of records: crops in their frames, what a model sees, what is marked."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from tfrecord_tools.reading import Example

CELL = 176  # side of a picture on the sheet
GAP = 6
LEGEND_LINE = 20
BACKGROUND, INK, MUTED, BOX = (24, 24, 27), (235, 235, 235), (150, 150, 155), (255, 214, 10)
CENTRE = (255, 255, 255)
LIME, PINK = 0.22, 0.9  # hues between which marks lie: a fundus is red to orange, the crop's box yellow
CONTRAST = 6.0  # of marks to the background, which their names are written on (WCAG asks 4.5 of small letters)


def palette(names: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Returns name -> RGB colour: apart in hue, none that of a fundus, and light enough for the background."""
    hues = np.linspace(LIME, PINK, max(len(names), 2))
    apart = [*hues[::2], *hues[1::2]]  # names that follow each other, as disc and cup, often lie in each other
    return {name: _readable(float(hue)) for name, hue in zip(names, apart, strict=False)}


def _readable(hue: float) -> tuple[int, int, int]:
    """Returns the most saturated RGB colour of a hue (0..1) whose contrast to the background is at least CONTRAST."""
    for saturation in np.linspace(0.9, 0, 19):
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, 1.0))
        if contrast((red, green, blue), BACKGROUND) >= CONTRAST:
            return red, green, blue
    return CENTRE


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """Returns the contrast ratio of two sRGB colours, 1..21 (WCAG 2.2)."""
    parts = np.array([one, other]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    dark, light = sorted((linear @ (0.2126, 0.7152, 0.0722)).tolist())
    return (light + 0.05) / (dark + 0.05)


def draw_frame(example: Example) -> np.ndarray:
    """Draws the source frame with the crop laid back into it and its box: [CELL, CELL, 3] uint8."""
    height, width = example.numbers("image/source_size")
    top, left, bottom, right = example.numbers("image/crop_box")
    low, high = np.array([min(top, 0), min(left, 0)]), np.array([max(bottom, height), max(right, width)])
    scale = (CELL - 2 * GAP) / float(max(high - low))
    shift = (CELL - (low + high) * scale) / 2  # y, x

    def place(y: float, x: float) -> tuple[int, int]:
        return round(x * scale + shift[1]), round(y * scale + shift[0])

    canvas = np.full((CELL, CELL, 3), BACKGROUND, np.uint8)
    cv2.rectangle(canvas, place(0, 0), place(height, width), (0, 0, 0), cv2.FILLED)
    (x0, y0), (x1, y1) = place(top, left), place(bottom, right)
    crop = cv2.resize(
        example.picture("image/photograph"), (max(x1 - x0, 1), max(y1 - y0, 1)), interpolation=cv2.INTER_AREA
    )
    (clip_x0, clip_y0), (clip_x1, clip_y1) = (
        place(max(top, 0), max(left, 0)),
        place(min(bottom, height), min(right, width)),
    )
    canvas[clip_y0:clip_y1, clip_x0:clip_x1] = crop[clip_y0 - y0 : clip_y1 - y0, clip_x0 - x0 : clip_x1 - x0]
    cv2.rectangle(canvas, place(0, 0), place(height, width), MUTED, 1)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), BOX, 1, cv2.LINE_AA)
    return canvas


def draw_marked(example: Example, colours: Mapping[str, tuple[int, int, int]]) -> np.ndarray:
    """Draws the photograph's crop with the outlines of its masks and its centres: [CELL, CELL, 3] uint8."""
    zoom = max(1, round(2 * CELL / example.picture().shape[0]))
    photograph = example.picture("image/photograph")
    side = photograph.shape[0] * zoom
    large = cv2.resize(photograph, (side, side), interpolation=cv2.INTER_LINEAR)
    thick = max(1, round(side / CELL))
    for name in example.names("mask"):
        mask = cv2.resize(example.mask(name).astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(large, outlines, -1, colours.get(name, INK), thick, cv2.LINE_AA)
    for name in example.names("centre"):
        x, y = example.numbers(f"centre/{name}")
        if np.isfinite([x, y]).all():
            spot = (round(x * zoom - 0.5), round(y * zoom - 0.5))
            cv2.drawMarker(large, spot, CENTRE, cv2.MARKER_CROSS, 10 * thick, thick, cv2.LINE_AA)
    return cv2.resize(large, (CELL, CELL), interpolation=cv2.INTER_AREA)


def draw_seen(example: Example) -> np.ndarray:
    """Draws what a model is given: [CELL, CELL, 3] uint8."""
    return cv2.resize(example.picture(), (CELL, CELL), interpolation=cv2.INTER_AREA)


def draw_row(
    title: str, examples: Sequence[Example], colours: Mapping[str, tuple[int, int, int]], columns: int
) -> np.ndarray:
    """Draws one row of the sheet: its title, and frame, input and marks of each example."""
    width = columns * (3 * CELL + 2 * GAP) + (columns + 1) * 2 * GAP
    row = np.full((CELL + 40, width, 3), BACKGROUND, np.uint8)
    cv2.putText(row, title, (GAP, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    for index, example in enumerate(examples):
        x = 2 * GAP + index * (3 * CELL + 4 * GAP)
        for picture in (draw_frame(example), draw_seen(example), draw_marked(example, colours)):
            row[22 : 22 + CELL, x : x + CELL] = picture
            x += CELL + GAP
        quality = example.numbers("image/quality")[0]
        height, columns_px = example.numbers("image/source_size")
        caption = f"{example.text('image/id')[-44:]}  {columns_px:.0f}x{height:.0f}  quality {quality:.2f}"
        place = (2 * GAP + index * (3 * CELL + 4 * GAP), CELL + 34)
        cv2.putText(row, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, MUTED, 1, cv2.LINE_AA)
    return row


def draw_legend(colours: Mapping[str, tuple[int, int, int]], centres: Sequence[str], width: int) -> np.ndarray:
    """Draws what the columns, outlines and crosses mean, on as many lines as it takes."""
    marks = [*colours.items()]
    if centres:
        marks.append((f"+ {', '.join(centres)}", CENTRE))
    third = "photograph with marks:" if marks else "photograph"
    placed, x, line = [], GAP, 0
    for text, colour in [("frame with crop box", BOX), ("what a model sees", INK), (third, INK), *marks]:
        label = text.replace("_", " ")
        wide = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]
        if x > GAP and x + wide > width:
            x, line = GAP, line + 1
        placed.append((label, colour, (x, 18 + LEGEND_LINE * line)))
        x += wide + 4 * GAP
    strip = np.full((28 + LEGEND_LINE * line, width, 3), BACKGROUND, np.uint8)
    for label, colour, place in placed:
        cv2.putText(strip, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    return strip


def stack(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks rows of different widths, filled with the background on the right."""
    width = max(row.shape[1] for row in rows)
    filled = [
        cv2.copyMakeBorder(row, 0, 0, 0, width - row.shape[1], cv2.BORDER_CONSTANT, value=BACKGROUND) for row in rows
    ]
    return np.vstack(filled)
