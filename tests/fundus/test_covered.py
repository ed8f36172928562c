"""What lies over the retina is seen: labels, text, bars; and nothing is said of a photograph without them."""

import cv2
import numpy as np
import pytest

from dr_edge.fundus.appearance import COLOUR, KINDS
from dr_edge.fundus.covered import is_covered
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.read_crop import Photograph, read_crop
from tfrecord_tools.synthetic.draw import draw_fundus

SEEDS = range(6)


def photograph(seed: int) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Returns a drawn photograph, and the middle and the radius of its disc in pixels."""
    image = np.ascontiguousarray(draw_fundus(seed, size=560).image)
    fov = find_fov(image)
    return image, (round(fov.centre_x), round(fov.centre_y), round(fov.radius))


def label(image: np.ndarray, disc: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    x, y, radius = disc
    image[y + radius // 4 : y + radius // 2, x - radius // 3 : x + radius // 3] = colour
    place = (x - radius // 3 + 6, y + radius // 2 - 14)
    cv2.putText(image, "OD 1234", place, cv2.FONT_HERSHEY_SIMPLEX, radius / 240, (90, 90, 90), 2)


def text(image: np.ndarray, disc: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    x, y, radius = disc
    cv2.putText(image, "OD 2021-03", (x - 3 * radius // 4, y), cv2.FONT_HERSHEY_SIMPLEX, radius / 120, colour, 4)


def bar(image: np.ndarray, disc: tuple[int, int, int], colour: tuple[int, int, int]) -> None:
    image[disc[1] - 9 : disc[1] + 9] = colour


def read(image: np.ndarray, jpeg: bool = True, quality: int = 80, pictures: tuple[str, ...] = (COLOUR,)) -> Photograph:
    options = (".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]) if jpeg else (".png", image[..., ::-1])
    return read_crop(cv2.imencode(*options)[1].tobytes(), 96, pictures=pictures)


def covered(image: np.ndarray, jpeg: bool = True, quality: int = 80) -> bool:
    found = read(image, jpeg, quality)
    assert found.crop is not None, found.refusal
    return found.covered


@pytest.mark.parametrize("jpeg", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_photograph_without_anything_over_it_is_not_covered(seed, jpeg):
    image, (x, y, radius) = photograph(seed)
    assert not covered(image, jpeg)
    assert not covered(np.ascontiguousarray(image[y - 3 * radius // 4 : y + 3 * radius // 4]), jpeg)  # cut off
    cv2.putText(image, "OD", (4, image.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)  # in a corner
    assert not covered(image, jpeg)


@pytest.mark.parametrize("draw", [label, text, bar])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 230, 60)])
def test_labels_text_and_bars_over_the_retina_are_seen_or_refused(draw, colour):
    said = []
    for seed in SEEDS:
        image, disc = photograph(seed)
        draw(image, disc, colour)
        found = read(image)
        said.append(found.covered or found.refusal is not None)  # a bar makes two eyes of one
    assert sum(said) >= len(said) - 1  # one may be too dark for it


def patch(image: np.ndarray, disc: tuple[int, int, int], colour: tuple[int, int, int], opacity: float) -> None:
    x, y, radius = disc
    window = image[y + radius // 5 : y + radius // 2, x - radius // 2 : x + radius // 4]
    window[:] = np.rint(opacity * np.array(colour) + (1 - opacity) * window)


@pytest.mark.parametrize("quality", [75, 50])
@pytest.mark.parametrize("colour", [(60,) * 3, (90,) * 3, (128,) * 3, (170,) * 3, (210,) * 3])
def test_a_colourless_patch_is_seen_at_every_level(colour, quality):
    """No edge of a mid-grey patch is steep; but nothing of a retina is even, without colour and not bright."""
    for seed in SEEDS:
        image, disc = photograph(seed)
        patch(image, disc, colour, 1.0)
        assert covered(image, quality=quality)
        turned, disc = photograph(seed)
        box = cv2.boxPoints(((disc[0], disc[1]), (disc[2] * 0.7, disc[2] * 0.35), 30)).round().astype(np.int32)
        cv2.fillPoly(turned, [box], colour)
        assert covered(turned, quality=quality)


@pytest.mark.parametrize(("colour", "opacity"), [((220, 170, 140), 1.0), ((70, 120, 160), 1.0), ((128, 128, 128), 0.8)])
def test_an_even_rectangle_of_another_colour_is_seen(colour, opacity):
    said = []
    for seed in SEEDS:
        image, disc = photograph(seed)
        patch(image, disc, colour, opacity)
        said.append(covered(image))
    assert sum(said) >= len(said) - 2  # in some its colour is too near to the retina's


@pytest.mark.parametrize("quality", [75, 50])
@pytest.mark.parametrize("colour", [(0, 0, 0), (20, 20, 20), (0, 160, 0)])
def test_thin_dark_text_and_arrows_are_seen(colour, quality):
    for seed in SEEDS:
        image, (x, y, radius) = photograph(seed)
        cv2.putText(image, "OD 2021", (x - radius // 2, y), cv2.FONT_HERSHEY_SIMPLEX, radius / 160, colour, 2)
        assert covered(image, quality=quality)
        image, _ = photograph(seed)
        cv2.arrowedLine(image, (x, y), (x + radius // 2, y - radius // 4), colour, 4, cv2.LINE_AA)
        assert covered(image, quality=quality)


def test_vessels_and_haemorrhages_are_no_strokes():
    """However dark they are in green, they take little of the red light."""
    for seed in SEEDS:
        image, (x, y, radius) = photograph(seed)
        for angle in np.linspace(0, 5, 6):
            end = (round(x + 0.7 * radius * np.cos(angle)), round(y + 0.7 * radius * np.sin(angle)))
            cv2.line(image, (x, y), end, (95, 25, 12), 4, cv2.LINE_AA)
            cv2.circle(image, end, 9, (90, 20, 10), -1, cv2.LINE_AA)
        assert not covered(cv2.GaussianBlur(image, (0, 0), 1.0))


def test_a_retina_without_colour_has_no_colourless_patch():
    image, _ = photograph(1)
    grey = cv2.merge([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)] * 3)
    found = read(grey, pictures=KINDS)
    assert found.crop is not None and not found.covered


def test_a_burnt_out_optic_disc_and_a_shadow_are_no_cover():
    image, (x, y, radius) = photograph(2)
    light = np.zeros(image.shape[:2], np.float32)
    cv2.circle(light, (x, y), radius // 6, 255.0, -1)
    light = cv2.GaussianBlur(light, (0, 0), radius / 40)[..., None]
    assert not covered(np.clip(image + light, 0, 255).astype(np.uint8))
    assert not covered(np.clip(image - 0.6 * light, 0, 255).astype(np.uint8))


def test_a_crop_of_another_size_is_named():
    with pytest.raises(ValueError, match="is_covered needs"):
        is_covered(np.zeros((96, 96, 3), np.uint8))
