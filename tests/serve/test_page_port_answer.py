"""What the page makes of an answer (heights, words, colours, heat) against Python, in Node.js."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from node_port import run_node

from dr_edge.drawing import overlay
from dr_edge.drawing.field import field_of_view
from dr_edge.drawing.html import unbroken
from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.prediction import bundle
from tfrecord_tools.synthetic.draw import draw_fundus

UNITS = ("77.6 % of", "> 99 %", "< 1 %.", "640 x 480 px", "2048 pixels wide", "in 0.31 s.", "12 ms", "3 kB, 4 MB",
         "7 %s", "a 5 sided box", "3 pxl", "type > 2 and < b", "30 photographs", "95\u00a0% interval", "")  # fmt: skip


def test_heights_of_disc_and_cup_are_those_of_python(node: str) -> None:
    from dr_edge.metrics import glaucoma

    rng = np.random.default_rng(8)
    side, cases, expected = 48, [], []
    for box, size in (
        ((-20.0, 30.0, 380.0, 430.0), (360, 500)),
        ((5.0, 5.0, 45.0, 45.0), (60, 60)),
        ((0.0, 0.0, 90.0, 60.0), (90, 60)),
    ):
        for _ in range(4):
            mask = cv2.GaussianBlur(rng.random((side, side)).astype(np.float32), (0, 0), 3)
            mask = np.clip((mask - mask.mean()) / (4 * mask.std()) + 0.42, 0, 1).astype(np.float32)
            cases.append(
                {"mask": mask.ravel().tolist(), "box": box, "photograph": {"height": size[0], "width": size[1]}}
            )
            expected.append(glaucoma.height(glaucoma.photograph_mask(mask, box, size)))
    cases.append({**cases[0], "mask": [0.0] * side**2})
    script = """
const {heightInPhotograph} = await import(`${root}/glaucoma.js`);
return input.map(({mask, box, photograph}) => heightInPhotograph(Float32Array.from(mask), 48, box, photograph));
"""
    found = run_node(node, script, cases)
    assert found.pop() == 0
    assert max(expected) > 30 and min(expected) > 0
    assert found == pytest.approx(expected, abs=1)


def test_constants_and_words_are_those_of_python(node: str) -> None:
    script = """
const answer = await import(`${root}/answer.js`);
const {MASK_COLOURS, OPACITY, heatColour} = await import(`${root}/overlay.js`);
const {MAX_PIXELS} = await import(`${root}/image_header.js`);
return {points: answer.OPERATING_POINTS, words: input.map(answer.percent),
  masks: MASK_COLOURS, opacity: OPACITY, heat: input.map(heatColour), pixels: MAX_PIXELS};
"""
    values = [0.0, 0.004, 0.01, 0.123, 0.25, 0.5, 0.777, 0.99, 0.9901, 1.0]
    found = run_node(node, script, values)
    assert tuple(found["points"]) == bundle.DEFAULT_OPERATING_POINTS
    assert found["words"] == [overlay.percent(value) for value in values]
    assert found["masks"] == [list(colour) for colour in overlay.MASK_COLOURS]
    assert found["opacity"] == overlay.OPACITY
    assert np.abs(np.array(found["heat"]) - overlay.colours(np.array(values)).astype(int)).max() <= 1
    assert found["pixels"] == 100_000_000


def test_heat_is_laid_over_as_python_lays_it(node: str) -> None:
    rng = np.random.default_rng(2)
    picture, heat = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), rng.random((24, 24)).astype(np.float32)
    rgba = np.dstack([picture, np.full((24, 24), 255, np.uint8)])
    script = """
const {fieldOfView, layHeat} = await import(`${root}/overlay.js`);
const rgba = Uint8ClampedArray.from(input.rgba);
return Array.from(layHeat(rgba, Float32Array.from(input.heat), 0.6, fieldOfView(rgba, 24)));
"""
    found = run_node(node, script, {"rgba": rgba.ravel().tolist(), "heat": heat.ravel().tolist()})
    laid = np.array(found, np.uint8).reshape(24, 24, 4)[..., :3]
    assert np.abs(laid.astype(int) - overlay.lay_over(picture, heat)).max() <= 2


def test_the_field_of_view_is_that_of_python(node: str) -> None:
    """Whole, cut by the frame, a region that is all retina, black, and a lit pixel in a corner."""
    eye = crop_square(*(lambda picture: (picture, find_fov(picture)))(draw_fundus(21, size=300).image), 96)
    cut, spot = eye.copy(), eye.copy()
    cut[:14], spot[2, 2] = 0, 200
    crops = [eye, cut, np.ascontiguousarray(eye[30:70, 30:70]), np.zeros_like(eye), spot]
    script = """
const {fieldOfView} = await import(`${root}/overlay.js`);
return input.map(({rgba, size}) => Array.from(fieldOfView(Uint8ClampedArray.from(rgba), size)));
"""
    values = [
        {"rgba": np.dstack([crop, np.full(crop.shape[:2], 255, np.uint8)]).ravel().tolist(), "size": len(crop)}
        for crop in crops
    ]
    for crop, found in zip(crops, run_node(node, script, values), strict=True):
        assert (np.array(found, bool).reshape(crop.shape[:2]) == field_of_view(crop)).all()


def test_a_number_stays_on_the_line_of_its_unit_as_in_a_report(node):
    script = "const {unbroken} = await import(`${root}/answer_words.js`); return input.map(unbroken);"
    expected = [unbroken(text) for text in UNITS]
    assert run_node(node, script, UNITS) == expected
    assert expected[:4] == ["77.6\u00a0% of", ">\u00a099\u00a0%", "<\u00a01\u00a0%.", "640 x 480\u00a0px"]
    assert sum("\u00a0" in text for text in expected) == 10  # the eighth to the last but one hold no unit
