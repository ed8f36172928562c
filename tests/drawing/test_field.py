"""Where heat may be drawn: on the retina, and not on the black around it."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.drawing import overlay
from dr_edge.drawing.field import field_of_view
from dr_edge.fundus.crop import crop_square, disc_mask
from dr_edge.fundus.fov import find_fov
from tfrecord_tools.synthetic.draw import draw_fundus

SIDE = 160


@pytest.fixture(scope="module")
def eye() -> np.ndarray:
    image = draw_fundus(21, size=400).image
    return crop_square(image, find_fov(image), SIDE)


def test_heat_on_the_corners_is_not_drawn(eye):
    hot, cold = (overlay.lay_over(eye, np.full((SIDE, SIDE), value, np.float32)) for value in (1.0, 0.0))
    changed = (hot != cold).any(axis=-1)
    disc = disc_mask(SIDE)
    assert not changed[~disc].any()
    assert changed[disc].mean() > 0.93  # the drawn camera cuts a little off above and below


def test_what_the_frame_cut_off_is_outside_and_dark_vessels_are_inside(eye):
    cut = eye.copy()
    cut[:30], cut[60:70, 60:70] = 0, 0  # cut above; a black spot amid the retina
    field = field_of_view(cut)
    assert not field[:30].any() and field[60:70, 60:70].all() and field[31, SIDE // 2]
    assert abs(field[40:120].mean() - field_of_view(eye)[40:120].mean()) < 0.01


def test_a_crop_that_is_all_retina_is_all_inside(eye):
    region = eye[50:110, 50:110]
    assert field_of_view(region).all()


def test_a_black_picture_has_no_field_and_noise_in_a_corner_makes_none(eye):
    assert not field_of_view(np.zeros((SIDE, SIDE, 3), np.uint8)).any()
    noisy = eye.copy()
    noisy[~disc_mask(SIDE)] = np.random.default_rng(1).integers(0, 14, (int((~disc_mask(SIDE)).sum()), 3))
    assert not field_of_view(noisy)[~disc_mask(SIDE)].any()
