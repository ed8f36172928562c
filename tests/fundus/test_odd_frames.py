"""More than one eye, a part of one, a stretched one, a thumbnail: refused for that reason, and the nearest legitimate
cases are not.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from dr_edge.fundus.fov import find, find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.read_crop import read_crop
from dr_edge.perturbations import framing
from tfrecord_tools import process
from tfrecord_tools.items import Item
from tfrecord_tools.synthetic.draw import draw_fundus


@functools.cache
def eye(seed: int, size: int = 300) -> np.ndarray:
    return np.ascontiguousarray(draw_fundus(seed, size=size).image)


def fitted(image: np.ndarray, height: int) -> np.ndarray:
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)


def tight(image: np.ndarray) -> np.ndarray:
    """Returns the picture without its black margins."""
    lit = image.max(axis=2) > 16
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > 0.02) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def grey(image: np.ndarray) -> np.ndarray:
    """Returns the green channel as a greyscale picture: what a red-free photograph shows."""
    return np.repeat(image[..., 1:2], 3, axis=2)


def laid(
    pictures: list[np.ndarray], colour: tuple[int, int, int], size: tuple[int, int], at: list[tuple[int, int]]
) -> np.ndarray:
    out = np.full((*size, 3), colour, np.uint8)
    for picture, (y, x) in zip(pictures, at, strict=True):
        out[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return out


def pairs(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    a, b, small = fitted(a, 300), fitted(b, 300), fitted(b, 130)
    wide = a.shape[1] + b.shape[1]
    green = grey(b)
    touching = np.hstack([fitted(tight(a), 300), fitted(tight(b), 300)])
    return {
        "side by side": np.hstack([a, b]),
        "one above the other": laid([a, b], (0, 0, 0), (600, wide), [(0, 0), (300, 30)]),
        "unequal": laid([a, small], (0, 0, 0), (300, wide), [(0, 0), (160, a.shape[1] + 9)]),
        "offset": laid([a, b], (0, 0, 0), (480, wide), [(0, 0), (180, a.shape[1])]),
        "touching": touching,
        "on white": laid([a, b], (255, 255, 255), (380, wide + 90), [(40, 30), (40, 60 + a.shape[1])]),
        "on blue": laid([a, b], (60, 90, 180), (380, wide + 90), [(40, 30), (40, 60 + a.shape[1])]),
        "montage": np.vstack([np.hstack([a, b]), np.hstack([b, a])]),
        "a white bar between": np.hstack(
            [touching[:, : fitted(tight(a), 300).shape[1]], np.full((300, 24, 3), 255, np.uint8), fitted(tight(b), 300)]
        ),
        "a bar between rows": np.vstack(
            [a, np.full((20, a.shape[1], 3), (120, 120, 130), np.uint8), cv2.resize(b, (a.shape[1], 300))]
        ),
        "three": np.hstack([a, b, a]),
        "one dark": np.hstack([a, b // 2]),
        "one red-free": np.hstack([a, green]),
        "both red-free": np.hstack([grey(a), green]),
    }


@pytest.mark.parametrize("seed", range(0, 12, 2))
def test_two_eyes_are_refused_in_any_arrangement(seed):
    for name, picture in pairs(eye(seed), eye(seed + 1)).items():
        with pytest.raises(NotFundusError) as caught:
            find_fov(picture)
        assert caught.value.reason == "more than one eye", name


def beside(image: np.ndarray) -> dict[str, np.ndarray]:
    """One eye with what cameras and people put beside it."""
    room = np.zeros((image.shape[0] + 140, image.shape[1] + 260, 3), np.uint8)
    room[:] = image[2, 2]
    room[40 : 40 + image.shape[0], : image.shape[1]] = image
    left = image.shape[1] + 30
    label, bar, chart, logo, ramp = (room.copy() for _ in range(5))
    for line in range(4):
        cv2.putText(label, "OD 2021-03", (left, 80 + 40 * line), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 3)
    bar[-60:] = 90
    cv2.putText(
        bar, "Patient 0042  f  1961", (20, room.shape[0] - 20), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2
    )
    patches = np.random.default_rng(0).integers(40, 240, (4, 6, 3), np.uint8)
    patches[0, :, 0], patches[0, :, 2] = 230, 30
    chart[60:180, left : left + 180] = cv2.resize(patches, (180, 120), interpolation=cv2.INTER_NEAREST)
    cv2.circle(logo, (left + 90, 130), 80, (220, 120, 40), -1)
    cv2.putText(logo, "EYE", (left + 40, 145), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (250, 250, 250), 5)
    ramp[60:200, left : left + 160] = np.repeat(np.linspace(30, 240, 8).astype(np.uint8), 20)[None, :, None]
    smooth, scan = room.copy(), room.copy()
    smooth[60:200, left : left + 160] = np.linspace(30, 240, 160).astype(np.uint8)[None, :, None]
    speckle = (
        cv2.GaussianBlur(np.random.default_rng(1).normal(90, 60, (140, 180)), (0, 0), 1.5)
        .clip(20, 240)
        .astype(np.uint8)
    )
    scan[60:200, left : left + 180] = speckle[..., None]
    return {
        "label": label,
        "bar": bar,
        "chart": chart,
        "logo": logo,
        "grey ramp": ramp,
        "smooth ramp": smooth,
        "OCT scan": scan,
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_label_a_bar_a_chart_and_a_logo_are_no_second_eye(seed):
    alone = find_fov(eye(seed))
    for name, picture in beside(eye(seed)).items():
        assert find_fov(picture).radius == pytest.approx(alone.radius, rel=0.03), name


def halves(image: np.ndarray) -> dict[str, np.ndarray]:
    fov = find_fov(image)
    x, y = round(fov.centre_x), round(fov.centre_y)
    black = image.copy()
    black[:, x:] = 0
    return {"left": image[:, :x], "right": image[:, x:], "upper": image[:y], "lower": image[y:], "black": black}


@pytest.mark.parametrize("seed", range(6))
def test_half_an_eye_is_refused(seed):
    for name, picture in halves(eye(seed)).items():
        with pytest.raises(NotFundusError) as caught:
            find_fov(np.ascontiguousarray(picture))
        assert caught.value.reason == "a part of the retina", name


def square_out_of_the_middle(image: np.ndarray) -> np.ndarray:
    fov = find_fov(image)
    side = round(0.82 * fov.radius)
    x, y = round(fov.centre_x), round(fov.centre_y)
    return np.ascontiguousarray(image[max(0, y - side) : y + side, max(0, x - side) : x + side])


def test_square_crops_out_of_the_middle_stay_accepted():
    """EyePACS is often passed on as such: of the disc 0.70 to 0.85 is left."""
    assert [find(square_out_of_the_middle(eye(seed))).kind for seed in range(12)] == ["colour"] * 12


@pytest.mark.parametrize("cut", [eye, lambda seed: square_out_of_the_middle(eye(seed))], ids=["whole", "square"])
@pytest.mark.parametrize("degrees", [25, 45, 65, 120])
def test_half_an_eye_cut_aslant_is_refused(degrees, cut):
    """Without a rim, as in a square out of the middle, its height and width alone do not tell half an eye."""
    for seed in range(6):
        image = cut(seed)
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        angle = np.deg2rad(degrees)
        away = (columns - image.shape[1] / 2) * np.cos(angle) + (rows - image.shape[0] / 2) * np.sin(angle)
        with pytest.raises(NotFundusError) as caught:
            find_fov(np.where((away > 0)[..., None], 0, image).astype(np.uint8))
        assert caught.value.reason == "a part of the retina"


@pytest.mark.parametrize("degrees", [5, 30, 45])
def test_a_square_that_was_turned_in_its_frame_stays_accepted(degrees):
    for seed in range(6):
        image = square_out_of_the_middle(eye(seed))
        whole = (0, 0, *image.shape[:2])
        assert find(framing.turned(degrees)(image, whole, np.random.default_rng(0))).kind == "colour"


@pytest.mark.parametrize("stretch", [1.2, 1.35, 1.5])
def test_a_stretched_disc_in_a_wide_frame_gets_the_right_box(stretch):
    for seed in range(6):
        image = eye(seed)
        fov = find_fov(image)
        stretched = cv2.resize(image, (round(stretch * image.shape[1]), image.shape[0]), interpolation=cv2.INTER_LINEAR)
        found = find_fov(stretched)
        assert found.radius == pytest.approx(fov.radius, rel=0.05)
        assert found.radius_x == pytest.approx(stretch * fov.radius, rel=0.05)


def test_thumbnails_are_refused_below_a_third_of_the_size_and_enlarged_ones_are_counted(tmp_path):
    data = {size: cv2.imencode(".png", fitted(eye(2), size)[..., ::-1])[1].tobytes() for size in (24, 80, 200)}
    refusal = read_crop(data[24], 320).refusal
    assert refusal.reason == "too small" and "320 px" in refusal.detail
    assert read_crop(data[80], 320).refusal.reason == "too small"
    assert read_crop(data[200], 320).crop is not None
    for size, content in data.items():
        (tmp_path / f"{size}.png").write_bytes(content)
    settings = process.Settings(str(tmp_path), 320, "graham")
    outcomes = {size: process.process(Item("eye", f"{size}.png", "p"), settings) for size in data}
    assert outcomes[24].reason.startswith("too small: the field of view spans")
    assert outcomes[200].record is not None and outcomes[200].enlarged
    assert not process.process(Item("eye", "200.png", "p"), process.Settings(str(tmp_path), 96, "graham")).enlarged
