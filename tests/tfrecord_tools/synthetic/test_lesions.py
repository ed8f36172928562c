"""Lesions: as many as the grade says, where the masks say, and visible."""

import cv2
import numpy as np
import pytest

from tfrecord_tools.synthetic import lesions
from tfrecord_tools.synthetic.draw import draw_fundus


def _difference(seed: int, grade: int, size: int) -> np.ndarray:
    """Returns how much the disease changes each pixel: the same photograph with and without it."""
    healthy, ill = draw_fundus(seed, grade=0, size=size), draw_fundus(seed, grade=grade, size=size)
    return np.abs(ill.image.astype(int) - healthy.image.astype(int)).max(axis=2)


def _union(masks: dict[str, np.ndarray]) -> np.ndarray:
    return np.any([masks[name] for name in lesions.LESIONS], axis=0)


@pytest.mark.parametrize("grade", range(5))
def test_counts_lie_within_the_table(grade: int) -> None:
    counts = [lesions.plan_counts(seed, grade) for seed in range(400)]
    for name, (least, most) in lesions.GRADE_LESIONS[grade].items():
        drawn = [count[name] for count in counts]
        assert (min(drawn), max(drawn)) == (least, most), name  # and the whole range occurs


def test_the_table_follows_icdr() -> None:
    table = lesions.GRADE_LESIONS
    assert all(most == 0 for _, most in table[0].values())
    assert [name for name, (_, most) in table[1].items() if most] == ["microaneurysms"]
    for grade in (2, 3, 4):
        assert table[grade]["haemorrhages"][0] > 0
    assert table[3]["per_quadrant"][0] * 4 <= table[3]["haemorrhages"][0]
    assert [grade for grade in table if table[grade]["neovascularisation"][0]] == [4]
    assert set(table[0]) == {*lesions.LESIONS, "per_quadrant", "preretinal"}


@pytest.mark.parametrize("grade", range(5))
def test_masks_hold_the_counted_lesions(grade: int) -> None:
    for seed in range(4):
        eye = draw_fundus(seed, grade=grade, size=512)
        for name in ("microaneurysms", "cotton_wool_spots") + (() if grade == 4 else ("haemorrhages",)):
            parts = cv2.connectedComponents(eye.masks[name].astype(np.uint8), connectivity=8)[0] - 1
            assert parts == eye.lesion_counts[name], (seed, name)
        for name in lesions.LESIONS:  # deposits and strands may touch
            assert eye.masks[name].any() == (eye.lesion_counts[name] > 0), (seed, name)


def test_grade_three_bleeds_in_all_quadrants() -> None:
    for seed in range(8):
        eye = draw_fundus(seed, grade=3, size=384)
        mask = eye.masks["haemorrhages"].astype(np.uint8)
        centres = cv2.connectedComponentsWithStats(mask, connectivity=8)[3][1:] - eye.fov_centre
        quarters = np.bincount((centres[:, 0] > 0) + 2 * (centres[:, 1] > 0), minlength=4)
        assert quarters.min() >= lesions.GRADE_LESIONS[3]["per_quadrant"][0] - 1  # one may straddle the border


@pytest.mark.parametrize("grade", [1, 2])
def test_disease_changes_the_picture_inside_its_masks_only(grade: int) -> None:
    """Same seed, same eye, camera and noise: what differs from the healthy picture is the lesions."""
    for seed in range(4):
        eye = draw_fundus(seed, grade=grade, size=384)
        near = cv2.dilate(_union(eye.masks).astype(np.uint8), np.ones((25, 25))).astype(bool)
        change = _difference(seed, grade, 384)
        assert change[~near].max() <= 1
        assert change[near].max() > 20


def test_vessels_stay_and_only_swell_in_severe_disease() -> None:
    change = _difference(2, 3, 384)
    eye = draw_fundus(2, grade=3, size=384)
    near = cv2.dilate(_union(eye.masks).astype(np.uint8), np.ones((25, 25))).astype(bool)
    assert (change[~near] > 12).mean() < 0.02  # beaded veins


@pytest.fixture(scope="module")
def contrasts_at_224() -> dict[str, list[float]]:
    """By lesion type and eye: how far its better covered pixels differ from the healthy eye's at 224 px."""
    found: dict[str, list[float]] = {name: [] for name in lesions.LESIONS}
    for seed in range(8):
        healthy = draw_fundus(seed, grade=0).image.astype(np.float32)
        for grade in (3, 4):
            eye = draw_fundus(seed, grade=grade)
            change = np.abs(eye.image.astype(np.float32) - healthy).max(axis=2)
            small = cv2.resize(change, None, fx=224 / 512, fy=224 / 512, interpolation=cv2.INTER_AREA)
            for name in lesions.LESIONS:
                mask = eye.masks[name].astype(np.float32)
                mask = cv2.resize(mask, small.shape[::-1], interpolation=cv2.INTER_AREA)
                if eye.lesion_counts[name]:
                    found[name].append(float(np.median(small[mask >= mask.max() / 2])))
    return found


@pytest.mark.parametrize("name", ["haemorrhages", "hard_exudates", "cotton_wool_spots", "neovascularisation"])
def test_lesions_of_referable_disease_survive_a_reduction_to_224(
    contrasts_at_224: dict[str, list[float]], name: str
) -> None:
    assert len(contrasts_at_224[name]) >= 6
    assert np.median(contrasts_at_224[name]) > 10  # grey levels


def test_no_lesion_on_the_fovea_or_outside_the_field() -> None:
    for seed in range(10):
        eye = draw_fundus(seed, grade=3, size=256)
        y, x = np.nonzero(_union(eye.masks))
        assert np.hypot(x - eye.fov_centre[0], y - eye.fov_centre[1]).max() <= eye.fov_radius + 1
        spots = eye.masks["microaneurysms"]
        column, row = (round(c) for c in eye.centres["fovea"])
        assert not spots[row - 2 : row + 3, column - 2 : column + 3].any()


def test_scatter_says_when_there_is_no_room() -> None:
    weights = np.zeros((lesions.MAP, lesions.MAP))
    weights[40, 40] = 1.0
    with pytest.raises(RuntimeError, match="no room for 2 spots"):
        lesions._scatter(np.random.default_rng(0), weights, np.full(2, 0.2), 0.1, [], "spots")
