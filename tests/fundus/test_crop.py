"""Cropping against OpenCV, against closed forms, and there and back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_edge.fundus.crop import (
    FieldOfView,
    brightest,
    crop_mask,
    crop_points,
    crop_square,
    disc_mask,
    uncrop_mask,
    uncrop_points,
)

RANDOM = np.random.default_rng(0)
FOVS = st.builds(
    FieldOfView,
    centre_x=st.floats(20, 180),
    centre_y=st.floats(20, 130),
    radius=st.floats(15, 150),
    aspect=st.floats(0.5, 1.0),
)


def test_box_and_centre_say_the_same():
    fov = FieldOfView.from_box(10, 20, 110, 95)
    assert (fov.centre_x, fov.centre_y, fov.radius, fov.radius_x, fov.aspect) == (57, 59.5, 50, 37.5, 0.75)
    assert fov.box == (10, 20, 110, 95)
    assert fov.scaled(4).box == (40, 80, 440, 380)


@pytest.mark.parametrize("values", [(0, 0, 0, 1), (0, 0, -3, 1), (np.nan, 0, 5, 1), (0, 0, 5, 0)])
def test_impossible_fields_of_view_are_refused(values):
    with pytest.raises(ValueError, match="positive radii"):
        FieldOfView(*values)


def test_whole_pixel_box_inside_the_frame_is_opencv_area():
    image = RANDOM.integers(0, 256, (150, 200, 3)).astype(np.uint8)
    fov = FieldOfView.from_box(20, 30, 140, 150)
    expected = cv2.resize(image[20:140, 30:150], (36, 36), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop_square(image, fov, 36), expected)


@pytest.mark.parametrize("size", [50, 61, 85, 119])
def test_small_reductions_are_near_to_opencv_area(size):
    image = cv2.GaussianBlur(RANDOM.integers(0, 256, (150, 200, 3)).astype(np.uint8), (0, 0), 1.0)
    fov = FieldOfView.from_box(20, 30, 140, 150)
    expected = cv2.resize(image[20:140, 30:150], (size, size), interpolation=cv2.INTER_AREA)
    got = crop_square(image, fov, size)
    assert np.abs(got.astype(int) - expected).mean() < 1.5


def test_box_beyond_the_frame_is_black_there():
    image = np.full((100, 200, 3), 200, np.uint8)
    crop = crop_square(image, FieldOfView.from_box(-50, 0, 150, 200), 100)
    assert (crop[:25] == 0).all() and (crop[75:] == 0).all() and (crop[25:75] == 200).all()
    assert (crop_square(image, FieldOfView.from_box(300, 300, 400, 400), 10) == 0).all()


def test_edges_inside_pixels_give_exact_area_averages():
    """Enlarging each pixel ninefold makes ninths of a pixel whole."""
    image = RANDOM.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    box = np.array([2, 5, 38, 41]) / 9 + np.array([0, 0, 30, 30])
    exact = cv2.resize(image, None, fx=9, fy=9, interpolation=cv2.INTER_NEAREST)
    expected = crop_square(exact, FieldOfView.from_box(*(box * 9)), 16)
    got = crop_square(image, FieldOfView.from_box(*box), 16)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_enlarging_a_ramp_keeps_it_a_ramp():
    ramp = np.dstack([np.tile(np.arange(0, 200, 4, dtype=np.uint8), (50, 1))] * 3)
    crop = crop_square(ramp, FieldOfView.from_box(10.25, 10.25, 30.25, 30.25), 80)
    expected = 4 * (10.25 + (np.arange(80) + 0.5) / 4 - 0.5)
    assert np.abs(crop[40, :, 0] - expected).max() < 1


def test_a_squashed_disc_comes_out_round():
    image = np.zeros((300, 200, 3), np.uint8)
    cv2.ellipse(image, (100, 150), (60, 100), 0, 0, 360, (255, 255, 255), -1)
    crop = crop_square(image, FieldOfView(100, 150, 100.5, aspect=60.5 / 100.5), 120)
    wrong = (crop[..., 0] > 127) != disc_mask(120)
    assert wrong.mean() < 0.01


@settings(max_examples=60, deadline=None)
@given(FOVS, st.integers(16, 200))
def test_points_go_there_and_back(fov, size):
    points = np.array([[0, 0], [12.5, 40], [199, 149]])
    np.testing.assert_allclose(uncrop_points(crop_points(points, fov, size), fov, size), points, atol=1e-9)
    corners = crop_points(np.array([[fov.box[1] - 0.5, fov.box[0] - 0.5]]), fov, size)
    np.testing.assert_allclose(corners, [[-0.5, -0.5]], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(FOVS, st.integers(64, 160))
def test_a_drawn_blob_lands_where_its_centre_says(fov, size):
    """Mask, picture and point agree within half a pixel of the crop, whatever the box."""
    scale = size / (2 * fov.radius)
    mask = np.zeros((150, 200), np.uint8)
    reach = max(6, int(4 / min(scale, 1)))
    cv2.circle(mask, (round(fov.centre_x), round(fov.centre_y)), reach, 1, -1)
    inside = crop_mask(mask, fov, size)
    x, y = crop_points(np.array([[round(fov.centre_x), round(fov.centre_y)]]), fov, size)[0]
    touches = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    rows, columns = np.nonzero(inside)
    if touches or not inside.any() or inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any():
        return
    assert abs(columns.mean() - x) < 0.5 and abs(rows.mean() - y) < 0.5
    picture = crop_square(np.dstack([mask * 255] * 3), fov, size)[..., 0].astype(float)
    grid = np.arange(size)
    assert abs((picture.sum(axis=0) * grid).sum() / picture.sum() - x) < 0.5
    assert abs((picture.sum(axis=1) * grid).sum() / picture.sum() - y) < 0.5


def test_masks_go_there_and_back():
    mask = np.zeros((300, 400), bool)
    cv2_mask = mask.astype(np.uint8)
    cv2.circle(cv2_mask, (210, 140), 60, 1, -1)
    fov = FieldOfView(200, 150, 140)
    back = uncrop_mask(crop_mask(cv2_mask, fov, 256), fov, 300, 400)
    overlap = 2 * (back & (cv2_mask > 0)).sum() / (back.sum() + cv2_mask.sum())
    assert overlap > 0.99
    assert back.shape == (300, 400) and back.dtype == bool


def test_a_reduced_picture_and_a_full_mask_are_cut_alike():
    full = np.zeros((1200, 1600), np.uint8)
    cv2.circle(full, (700, 500), 150, 255, -1)
    small = cv2.resize(full, (400, 300), interpolation=cv2.INTER_AREA)
    fov = FieldOfView.from_box(-7, 51, 301, 359)
    from_small = crop_square(np.dstack([small] * 3), fov, 128)[..., 0] >= 128
    from_full = crop_mask(full, fov.scaled(4), 128)
    assert (from_small != from_full).sum() <= 6


def test_disc_mask_has_the_area_of_the_disc():
    for size in (64, 65, 512):
        assert disc_mask(size).sum() == pytest.approx(np.pi * size**2 / 4, rel=0.01)
    assert disc_mask(100, 0.5).sum() == pytest.approx(np.pi * 25**2, rel=0.02)
    np.testing.assert_array_equal(disc_mask(64), disc_mask(64)[::-1].T)


def test_brightest_is_the_largest_channel():
    image = RANDOM.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(brightest(image), image.max(axis=2))


def test_wrong_shapes_are_named():
    fov = FieldOfView(5, 5, 5)
    for call in (
        lambda: crop_square(np.zeros((9, 9), np.uint8), fov, 4),
        lambda: crop_square(np.zeros((9, 9, 3), np.float32), fov, 4),
        lambda: crop_square(np.zeros((9, 9, 3), np.uint8), fov, 0),
        lambda: crop_mask(np.zeros((9, 9, 3)), fov, 4),
        lambda: crop_points(np.zeros((3, 3)), fov, 4),
        lambda: uncrop_mask(np.zeros((4, 5)), fov, 9, 9),
        lambda: FieldOfView.from_box(5, 0, 5, 9),
        lambda: disc_mask(0),
    ):
        with pytest.raises(ValueError, match="Received"):
            call()
