"""What lies over the retina is seen: labels, text, bars; and nothing is said of a photograph without them."""

import cv2
import numpy as np
import pytest

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


def read(image: np.ndarray, jpeg: bool = True) -> Photograph:
    options = (".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80]) if jpeg else (".png", image[..., ::-1])
    return read_crop(cv2.imencode(*options)[1].tobytes(), 96)


def covered(image: np.ndarray, jpeg: bool = True) -> bool:
    found = read(image, jpeg)
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
