"""Cup-to-disc ratio, the way back to the photograph, fovea distance and AUC, against scipy, hand and drawn ellipses."""

from __future__ import annotations

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from dr_edge.fundus.crop import FieldOfView, crop_mask
from dr_edge.metrics import glaucoma


def ellipse(size, centre, radii):
    y, x = np.mgrid[: size[0], : size[1]]
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1


def test_the_largest_part_equals_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((23, 31)) > 0.6
        parts, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = ndimage.sum(mask, parts, range(1, count + 1))
        ours = glaucoma.largest_component(mask)
        assert ours.sum() == sizes.max() and (mask | ~ours).all()
        assert ndimage.label(ours, np.ones((3, 3)))[1] == 1


def test_ratio_of_drawn_ellipses_and_its_blindness_to_specks():
    disc, cup = ellipse((200, 300), (120, 90), (50, 60)), ellipse((200, 300), (125, 95), (20, 30))
    expected = (2 * 30 + 1) / (2 * 60 + 1)
    assert glaucoma.vcdr(disc, cup) == pytest.approx(expected)
    disc[2:4, 250], cup[190:199, 5] = True, True  # specks far away
    assert glaucoma.vcdr(disc, cup) == pytest.approx(expected)
    assert glaucoma.height(np.zeros((5, 5))) == 0


def test_an_empty_mask_has_no_ratio_and_bad_masks_are_refused():
    some, none = np.ones((8, 8), bool), np.zeros((8, 8), bool)
    assert math.isnan(glaucoma.vcdr(none, some)) and math.isnan(glaucoma.vcdr(some, none))
    with pytest.raises(ValueError, match="of one frame"):
        glaucoma.vcdr(some, np.ones((9, 8), bool))
    with pytest.raises(ValueError, match=r"must be \[H, W\]"):
        glaucoma.largest_component(np.ones((1, 8, 8)))


@pytest.mark.parametrize("as_probability", [False, True])
@pytest.mark.parametrize("box", [(-30.0, 40.0, 370.0, 440.0), (0.0, 0.0, 300.0, 600.0)])
def test_a_mask_comes_back_to_where_it_was(as_probability, box):
    """Cropped by the builder's own code and carried back: a squashed photograph's box (aspect 2) too."""
    disc = ellipse((340, 640), (250, 160), (44, 37))
    cup = ellipse((340, 640), (250, 165), (20, 22))
    size = 256
    small = [crop_mask(mask, FieldOfView.from_box(*box), size) for mask in (disc, cup)]
    if as_probability:
        small = [cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0) for mask in small]
    disc_back, cup_back = (glaucoma.photograph_mask(mask, box, disc.shape) for mask in small)
    for true, back in ((disc, disc_back), (cup, cup_back)):
        assert back.shape == true.shape and back.dtype == bool
        assert 2 * (true & back).sum() / (true.sum() + back.sum()) > 0.97
    assert glaucoma.vcdr(disc_back, cup_back) == pytest.approx(glaucoma.vcdr(disc, cup), abs=0.03)


def test_interpolated_probabilities_give_finer_outlines_than_masks():
    """A smooth edge at 40 px, carried to 16 times the size, lies nearer to the true circle than the mask's steps do."""
    y, x = np.mgrid[:40, :40]
    soft = 1 / (1 + np.exp(np.hypot(x - 19.5, y - 19.5) - 8.3))
    true = ellipse((640, 640), (319.5, 319.5), (8.3 * 16, 8.3 * 16))
    box, size = (0, 0, 640, 640), (640, 640)
    wrong = [(glaucoma.photograph_mask(mask, box, size) != true).sum() for mask in (soft, soft >= 0.5)]
    assert wrong[0] < 0.25 * wrong[1]
    with pytest.raises(ValueError, match="square"):
        glaucoma.photograph_mask(soft[:30], box, size)


def test_the_point_of_a_heat_map_is_found_between_pixels():
    y, x = np.mgrid[:96, :96]
    for at in ((40.3, 60.8), (90.9, 4.2)):
        heat = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 3.0**2))
        assert glaucoma.heat_position(heat + 0.01) == pytest.approx(at, abs=0.15)
    assert glaucoma.heat_position(np.zeros((8, 8))) == (0.0, 0.0)
    with pytest.raises(ValueError, match="finite"):
        glaucoma.heat_position(np.full((8, 8), np.nan))


def test_fovea_error_in_pixels_and_disc_diameters():
    disc = ellipse((200, 200), (50, 50), (20, 20))
    error = glaucoma.fovea_error((103.0, 54.0), (100.0, 50.0), disc)
    assert error.pixels == pytest.approx(5.0)
    assert error.disc_diameters == pytest.approx(5.0 / 40, rel=0.02)
    assert math.isnan(glaucoma.fovea_error((0, 0), (3, 4)).disc_diameters)


def test_auc_equals_scikit_learns_and_leaves_out_what_is_unknown():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 40)
    ratios = rng.normal(0.4 + 0.15 * labels, 0.1)
    assert glaucoma.glaucoma_auc(labels, ratios) == (pytest.approx(roc_auc_score(labels, ratios)), 40)
    partly, holed = labels.copy(), ratios.copy()
    partly[:5], holed[5:8] = -1, np.nan
    assert glaucoma.glaucoma_auc(partly, holed) == (pytest.approx(roc_auc_score(labels[8:], ratios[8:])), 32)
    assert glaucoma.glaucoma_auc(np.ones(4, int), np.ones(4)) == (None, 4)
    with pytest.raises(ValueError, match="-1, 0, 1"):
        glaucoma.glaucoma_auc(np.array([0, 2]), np.ones(2))


def test_it_needs_no_tensorflow():
    code = "import sys, dr_edge.metrics.glaucoma; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
