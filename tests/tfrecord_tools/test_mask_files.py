"""What is inside in a mask that somebody drew."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_pictures import CUP, DISC, GREY, LABELS, MOST, REFUGE, SIDE, as_pillow, disc, encoded, inside

from tfrecord_tools import lossy_levels
from tfrecord_tools.mask_checks import check_masks
from tfrecord_tools.mask_files import half, named_levels, parse_values
from tfrecord_tools.mask_levels import MaskError, read_levels


def test_black_is_an_empty_mask_and_white_is_none():
    assert inside(encoded(np.zeros_like(GREY))) == 0
    with pytest.raises(MaskError, match="one grey level, 255, everywhere"):
        inside(encoded(np.full_like(GREY, 255)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encoded(LABELS), r"levels 0 \(98 %\), 1 .*, 2 .*which are inside\? .*--mask_values=\"optic_disc=2\""),
        (encoded(LABELS * 127), "levels 0 .*, 127 .*, 254 .*which are inside"),
        (encoded(REFUGE), "In REFUGE 0 is cup, 128"),
        (encoded(REFUGE, ".bmp"), "In REFUGE"),
        (encoded(REFUGE, ".jpg"), "third level near 1[23]"),
        (encoded(LABELS * 127, ".jpg"), "third level near 1[23]"),
        (encoded(cv2.GaussianBlur(LABELS * 127, (0, 0), 0.7)), "which are inside"),
        (encoded((np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 240).astype(np.uint8)), "neither bright nor dark"),
        (encoded(DISC.astype(np.uint8) * 3, ".jpg"), "levels 0 to .* Save it as PNG"),
        (encoded(np.dstack([CUP * 255, np.zeros_like(GREY), (DISC & ~CUP) * 255]).astype(np.uint8)), "several colours"),
        (as_pillow(LABELS, "P", palette=[0, 0, 0, 128, 0, 0, 0, 128, 0]), "which are inside"),
        (encoded(LABELS.astype(np.uint16)), "which are inside"),
    ],
)
def test_more_than_two_levels_are_asked_about(data: bytes, message: str):
    with pytest.raises(MaskError, match=message):
        inside(data)


def test_values_by_the_flag():
    assert parse_values(["optic_disc>=1", "optic_cup=2", " a<=128", "b = 3-5"]) == {
        "optic_disc": (1, 65535), "optic_cup": (2, 2), "a": (0, 128), "b": (3, 5),
    }  # fmt: skip
    for wrong in ("optic_cup", "optic_cup=x", "=2", "a=5-3", "a>2"):
        with pytest.raises(MaskError, match="--mask_values holds"):
            parse_values([wrong])


def test_named_levels():
    levels, lossy = read_levels(encoded(LABELS), MOST)
    assert (named_levels(levels, lossy, 1, 65535) == DISC).all() and (named_levels(levels, lossy, 2, 2) == CUP).all()
    coloured, lossy = read_levels(as_pillow(LABELS, "P", palette=[0, 0, 0, 128, 0, 0, 0, 128, 0]), MOST)
    assert (named_levels(coloured, lossy, 2, 2) == CUP).all()
    levels, lossy = read_levels(encoded(REFUGE), MOST)
    assert (named_levels(levels, lossy, 0, 128) == DISC).all() and (named_levels(levels, lossy, 0, 0) == CUP).all()
    levels, lossy = read_levels(encoded(REFUGE, ".jpg"), MOST)
    with pytest.raises(MaskError, match="=128 is too narrow"):
        named_levels(levels, lossy, 128, 128)
    assert named_levels(levels, lossy, 0, 0).sum() == pytest.approx(CUP.sum(), rel=0.1)


def test_a_disc_without_its_cup_is_refused():
    levels, lossy = read_levels(encoded(REFUGE), MOST)
    with pytest.raises(MaskError, match="optic_disc is a ring: .*optic_disc<=128"):
        check_masks({"optic_disc": named_levels(levels, lossy, 128, 128)}, float(disc(100).sum()))


@pytest.mark.parametrize("faint", [1, 3, 12, 25, 30, 240])
def test_a_third_level_close_to_one_of_the_two_is_asked_about(faint: int):
    levels = np.where(CUP, 255, np.where(DISC, faint, 0)).astype(np.uint8)
    with pytest.raises(MaskError, match="which are inside"):
        half(levels, False, "optic_cup")
    edge = np.where(DISC, 255, 0).astype(np.uint8)
    edge[SIDE // 2, :3] = faint  # specks are no level
    assert (half(edge, False, "optic_disc") != DISC).sum() <= 3


@pytest.mark.parametrize("name", ["optic_disc", "optic_cup"])
def test_outlines_and_second_regions_are_no_disc_and_no_cup(name: str):
    field = float(disc(100).sum())
    outline = DISC & ~cv2.erode(DISC.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    with pytest.raises(MaskError, match=f"{name} is a ring: .*[Ff]ill (an|the) outline"):
        check_masks({name: outline}, field)
    two = CUP | np.roll(CUP, 60, axis=1)
    with pytest.raises(MaskError, match=f"{name} lies in several places: 50%"):
        check_masks({name: two}, field)
    check_masks({"vessels": two, "haemorrhages": outline}, field)
    specks = DISC.copy()
    specks[2, 2:5] = True
    check_masks({name: specks}, field)


def test_masks_that_cannot_be_true():
    field = float(disc(100).sum())
    check_masks({"optic_disc": DISC, "optic_cup": CUP, "vessels": disc(60)}, field)
    with pytest.raises(MaskError, match="covers .* inverted"):
        check_masks({"optic_disc": ~DISC}, field)
    with pytest.raises(MaskError, match="100% of optic_cup lies outside optic_disc.*optic_disc>=1,optic_cup=2"):
        check_masks({"optic_disc": DISC & ~CUP, "optic_cup": CUP}, field)
    with pytest.raises(MaskError, match="the same pixels"):
        check_masks({"optic_disc": DISC, "optic_cup": DISC}, field)
    check_masks({"optic_disc": DISC, "optic_cup": np.zeros_like(DISC)}, field)
    check_masks({"optic_disc": np.zeros_like(DISC)}, field)


def test_experts_of_drishti_at_half(real_data: Path):
    """202 averaged maps of four experts, none refused, each as the adapter reads it."""
    paths = sorted((real_data / "drishti").glob("**/SoftMap/*.png"))
    assert paths
    for path in paths:
        levels, lossy = read_levels(path.read_bytes(), 10**8)
        assert (half(levels, lossy, path.stem) == (levels >= 128)).all(), path
    for path in paths[::5]:  # saved as JPEG, no step between experts is taken for a faint level
        levels, _ = read_levels(path.read_bytes(), 10**8)
        lossy, _ = read_levels(encoded(levels, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 75), 10**8)
        assert lossy_levels.close_levels(lossy, lossy >= 128) is None, path
