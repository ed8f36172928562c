"""A margin around a photograph (a white page, bars, grey) does not reach the model: its crop shows black there."""

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.read_crop import read_crop
from tfrecord_tools.synthetic.draw import draw_fundus

SIZE = 160
MARGINS = {
    "a page": (60, 60, 60, 60),
    "a narrow border": (8, 8, 8, 8),
    "a wide page": (300, 200, 250, 400),
    "bars at the sides": (0, 0, 120, 120),
    "bars above and below": (120, 120, 0, 0),
    "a strip below": (0, 90, 0, 0),
}


def photograph(seed: int, cut: float = 0.0) -> np.ndarray:
    """Returns a drawn photograph without the black around it, `cut` of its height off at the top and at the bottom."""
    image = draw_fundus(seed, size=640).image
    top, left, bottom, right = (round(edge) for edge in find_fov(image).box)
    off = round(cut * (bottom - top))
    return np.ascontiguousarray(image[max(top, 0) + off : bottom - off, max(left, 0) : right])


def framed(image: np.ndarray, margin: tuple[int, int, int, int], level: int) -> np.ndarray:
    above, below, left, right = margin
    return np.pad(image, ((above, below), (left, right), (0, 0)), constant_values=level)


def crop_of(image: np.ndarray, jpeg: bool) -> np.ndarray:
    options = (".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]) if jpeg else (".png", image[..., ::-1])
    found = read_crop(cv2.imencode(*options)[1].tobytes(), SIZE)
    assert found.crop is not None, found.refusal
    return found.crop


def corners(crop: np.ndarray) -> np.ndarray:
    side = round(0.12 * SIZE)
    return np.concatenate([crop[:side, :side], crop[:side, -side:], crop[-side:, :side], crop[-side:, -side:]])


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("cut", [0.0, 0.08])
@pytest.mark.parametrize("jpeg", [False, True])
def test_a_white_margin_shows_black(name, cut, jpeg):
    for seed in (1, 4):
        image = photograph(seed, cut)
        white = crop_of(framed(image, MARGINS[name], 255), jpeg)
        black = crop_of(framed(image, MARGINS[name], 0), jpeg)
        assert np.abs(corners(white).astype(int) - corners(black)).max() <= 10
        assert np.abs(white.astype(int) - black).mean() < 3


def test_white_above_a_part_of_the_side_shows_black():
    image = photograph(6, 0.1)
    height, width = image.shape[:2]
    half = framed(image, (60, 0, 40, 40), 0)
    half[:60, width // 8 : -width // 8] = 255
    white, black = crop_of(half, jpeg=True), crop_of(framed(image, (60, 0, 40, 40), 0), jpeg=True)
    assert np.abs(corners(white).astype(int) - corners(black)).max() <= 10
    assert np.abs(white.astype(int) - black).mean() < 3


def test_a_burnt_out_side_is_retina():
    image = photograph(6, 0.15).astype(np.float32)
    image += (
        420
        * np.exp(-np.arange(image.shape[0], dtype=np.float32) / 90)[:, None, None]
        * (image.max(axis=2, keepdims=True) > 20)
    )
    burnt = np.clip(image, 0, 255).astype(np.uint8)
    assert (burnt[0].min(axis=1) >= 245).mean() > 0.5
    crop = crop_of(burnt, jpeg=False)
    assert (crop.min(axis=2) >= 245).mean() > 0.02


def test_grey_around_a_photograph_shows_black():
    grey, black = (framed(photograph(2), (40, 40, 40, 40), level) for level in (128, 0))
    assert np.abs(crop_of(grey, False).astype(int) - crop_of(black, False)).mean() < 2


def test_burnt_out_places_of_the_retina_stay_white():
    image = photograph(3)
    height, width = image.shape[:2]
    cv2.circle(image, (width // 2, height // 2), 30, (255, 255, 255), -1)
    crop = crop_of(framed(image, MARGINS["a page"], 255), jpeg=False)
    assert crop[SIZE // 2, SIZE // 2].min() == 255


def test_a_photograph_without_a_margin_is_cut_as_it_is():
    image = draw_fundus(5, size=400).image
    found = read_crop(image, SIZE)
    assert (found.crop == crop_square(image, find_fov(image), SIZE)).all()
