"""A bundle answers the kinds of photographs that its records held, and says what an answer does not cover."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import dr_edge
from tfrecord_tools.synthetic.draw import draw_fundus


def file(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def eye() -> np.ndarray:
    return np.ascontiguousarray(draw_fundus(31, size=420).image)


@pytest.fixture(scope="module")
def grey(eye) -> np.ndarray:
    return cv2.merge([cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY)] * 3)


def answer(bundle, image: np.ndarray):
    return dr_edge.open_bundle(bundle, min_quality=0.0).answer(file(image))


def test_a_model_of_photographs_in_colour_refuses_greyscale_ones(bundle_dir, changed, eye, grey):
    bundle = changed(bundle_dir, {"pictures": {"colour": 200}})
    assert answer(bundle, eye).status == "answered"
    said = answer(bundle, grey)
    assert (said.status, said.reason) == ("not_a_fundus_photograph", "greyscale")
    assert "Use the colour photograph" in said.message and said.decision is None
    few = changed(bundle_dir, {"pictures": {"colour": 200, "greyscale": 9}})  # too few to be learned
    assert answer(few, grey).reason == "greyscale"


def test_a_model_of_greyscale_photographs_answers_them_alone(bundle_dir, changed, eye, grey):
    bundle = changed(bundle_dir, {"pictures": {"greyscale": 200}})
    said = answer(bundle, grey)
    assert (said.status, said.cautions) == ("answered", [])
    assert answer(bundle, eye).reason == "another kind"


def test_a_bundle_that_does_not_say_what_its_records_held_is_answered_with_a_caution(bundle_dir, changed, eye, grey):
    bundle = changed(bundle_dir, {"pictures": None})
    assert answer(bundle, eye).cautions == []
    said = answer(bundle, grey)
    assert said.status == "answered" and len(said.cautions) == 1
    assert "greyscale" in said.cautions[0] and said.message.endswith(said.cautions[0])


def test_what_lies_over_the_retina_is_said(bundle_dir, changed, eye):
    bundle = changed(bundle_dir, {"pictures": {"colour": 200}})
    height, width = eye.shape[:2]
    labelled = eye.copy()
    cv2.putText(labelled, "OD 17", (width // 2 - 70, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (255, 255, 255), 4)
    said = answer(bundle, labelled)
    assert said.status == "answered" and said.cautions[0].startswith("Part of the retina is covered")
    assert said.message.endswith(said.cautions[0]) and said.to_json()["cautions"] == said.cautions
    assert answer(bundle, eye).cautions == []
