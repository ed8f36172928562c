"""draw_fundus: one seed, one picture; its truth is what the picture shows."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfrecord_tools.synthetic import lesions
from tfrecord_tools.synthetic.draw import SyntheticFundus, draw_fundus, labels_of

REPOSITORY = Path(__file__).resolve().parents[3]
_DIGEST = """
import hashlib, sys
import cv2
from tfrecord_tools.synthetic.draw import draw_fundus
cv2.setNumThreads(int(sys.argv[1]))
whole = hashlib.sha256()
for seed in (0, 5, 11):
    synthetic = draw_fundus(seed, size=256)
    whole.update(synthetic.image.tobytes())
    for name in sorted(synthetic.masks):
        whole.update(synthetic.masks[name].tobytes())
print(whole.hexdigest())
"""


@pytest.fixture(scope="module")
def eyes() -> list[SyntheticFundus]:
    return [draw_fundus(seed, size=256) for seed in range(40)]


def _components(mask: np.ndarray) -> np.ndarray:
    """Returns the centres [n, 2] of a mask's connected parts, as OpenCV finds them."""
    return cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[3][1:]


def test_same_seed_same_bytes_in_two_processes_and_any_number_of_threads() -> None:
    digests = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", _DIGEST, threads]
        output = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
        digests.add(output.stdout.strip())
    assert len(digests) == 1


def test_no_global_state_is_read_or_changed() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = draw_fundus(3, size=128).image
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    assert np.array_equal(first, draw_fundus(3, size=128).image)


def test_different_seeds_differ(eyes: list[SyntheticFundus]) -> None:
    assert len({hashlib.sha256(eye.image.tobytes()).hexdigest() for eye in eyes}) == len(eyes)
    assert len({eye.camera for eye in eyes}) == 5
    assert len({eye.image.shape for eye in eyes}) > 20


def test_shapes_and_types(eyes: list[SyntheticFundus]) -> None:
    names = {"optic_disc", "optic_cup", *lesions.LESIONS}
    for eye in eyes:
        height, width, channels = eye.image.shape
        assert (eye.image.dtype, channels) == (np.uint8, 3)
        assert width >= 256 and height >= 0.79 * 256
        assert set(eye.masks) == names
        assert all(mask.shape == (height, width) and mask.dtype == bool for mask in eye.masks.values())
        assert set(eye.lesion_counts) == set(lesions.LESIONS)
        assert eye.fov_radius == 128.0


def test_fov_is_where_it_says(eyes: list[SyntheticFundus]) -> None:
    for eye in eyes:
        y, x = np.mgrid[: eye.image.shape[0], : eye.image.shape[1]]
        distance = np.hypot(x - eye.fov_centre[0], y - eye.fov_centre[1])
        brightness = eye.image.max(axis=2)
        assert np.median(brightness[distance < eye.fov_radius - 3]) > 60
        outside = distance > 1.08 * eye.fov_radius
        assert not outside.any() or np.percentile(brightness[outside], 99) < 25
        lit = (brightness > 30) & (distance < 1.02 * eye.fov_radius)
        columns = np.flatnonzero(lit.sum(axis=0) > 2)
        assert abs(columns.mean() - eye.fov_centre[0]) < 4


def test_vcdr_is_the_ratio_of_the_masks_heights(eyes: list[SyntheticFundus]) -> None:
    for eye in eyes:
        disc, cup = (cv2.boundingRect(eye.masks[name].astype(np.uint8)) for name in ("optic_disc", "optic_cup"))
        assert eye.vcdr == cup[3] / disc[3]
        assert not (eye.masks["optic_cup"] & ~eye.masks["optic_disc"]).any()
        assert (eye.vcdr > 0.59) == eye.glaucoma
        assert 0.2 < eye.vcdr < 0.92


def test_centres_and_laterality_agree_with_the_picture(eyes: list[SyntheticFundus]) -> None:
    assert {eye.laterality for eye in eyes} == {"left", "right"}
    for eye in eyes:
        disc = eye.centres["optic_disc"]
        assert np.allclose(_components(eye.masks["optic_disc"]), [disc], atol=1.0)
        assert (disc[0] > eye.centres["fovea"][0]) == (eye.laterality == "right")
        height = cv2.boundingRect(eye.masks["optic_disc"].astype(np.uint8))[3]
        away = np.hypot(*np.subtract(eye.centres["fovea"], disc)) / height
        assert 2.2 < away < 2.8  # disc diameters
        for x, y in eye.centres.values():
            assert np.hypot(x - eye.fov_centre[0], y - eye.fov_centre[1]) < 0.95 * eye.fov_radius
            assert 0 <= y < eye.image.shape[0]


def test_disc_is_bright_and_fovea_dark() -> None:
    for seed in range(8):
        eye = draw_fundus(seed, grade=0, size=256)
        green = cv2.GaussianBlur(eye.image[..., 1], (0, 0), 2).astype(float)
        around = cv2.dilate(eye.masks["optic_disc"].astype(np.uint8), np.ones((31, 31))).astype(bool)
        ring = around & ~eye.masks["optic_disc"]
        rim = eye.masks["optic_disc"] & ~eye.masks["optic_cup"]
        assert np.median(green[eye.masks["optic_disc"]]) > 1.2 * np.median(green[ring])
        assert np.percentile(green[eye.masks["optic_cup"]], 75) > np.percentile(green[rim], 75)
        x, y = (round(c) for c in eye.centres["fovea"])
        radius = round(0.2 * eye.fov_radius)
        patch = green[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius]
        assert green[y, x] < np.percentile(patch, 25)


def test_the_default_shares() -> None:
    labels = [labels_of(seed) for seed in range(1000)]
    shares = np.bincount([grade for grade, _ in labels], minlength=5) / len(labels)
    assert np.abs(shares - lesions.GRADE_SHARES).max() < 0.04
    assert sum(lesions.GRADE_SHARES) == pytest.approx(1.0)
    assert abs(np.mean([glaucoma for _, glaucoma in labels]) - lesions.GLAUCOMA_SHARE) < 0.04
    for seed in range(4):
        eye = draw_fundus(seed, size=96)
        assert (eye.dr_grade, eye.glaucoma) == labels[seed]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 0.5}, TypeError, "float"),
        ({"seed": 0, "grade": 5}, ValueError, "grade"),
        ({"seed": 0, "grade": "2"}, TypeError, "str"),
        ({"seed": 0, "size": 95}, ValueError, "96..4096"),
        ({"seed": 0, "size": 5000}, ValueError, "96..4096"),
    ],
)
def test_bad_arguments(arguments: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        draw_fundus(**arguments)


def test_numpy_integers_and_large_seeds_are_seeds() -> None:
    assert np.array_equal(draw_fundus(np.int64(4), size=96).image, draw_fundus(4, size=96).image)
    assert draw_fundus(2**70, size=96).image.any()


def test_the_same_picture_at_another_size() -> None:
    """The plan is in FOV units: a larger drawing, reduced, is the smaller one but for noise and edges."""
    small, large = draw_fundus(6, grade=3, size=256), draw_fundus(6, grade=3, size=512)
    assert small.lesion_counts == large.lesion_counts
    assert abs(small.vcdr - large.vcdr) < 0.03
    for name in ("optic_disc", "haemorrhages"):
        parts = [(_components(eye.masks[name]) - eye.fov_centre) / eye.fov_radius for eye in (small, large)]
        nearest = np.hypot(*(parts[0][:, None] - parts[1][None]).transpose(2, 0, 1)).min(axis=1)
        assert nearest.max() < 0.02
