"""A JPEG of a mask: its noise is no third level, and none hides behind it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mask_pictures import CUP, DISC, MOST, REFUGE, disc, encoded

from tfrecord_tools.mask_files import half, named_levels
from tfrecord_tools.mask_levels import MaskError, read_levels


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_levels_of_a_jpeg_are_not_cut_in_half(quality):
    """REFUGE's files saved as JPEG: <=128 gave 60 to 80 % of the disc, in silence."""
    levels, lossy = read_levels(encoded(REFUGE, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), MOST)
    with pytest.raises(
        MaskError, match=r"<=128 cuts through the region near 1\d\d\. Go between two levels \(<=1[67]\d\)"
    ):
        named_levels(levels, lossy, 0, 128)
    for low, high, truth in ((0, 168, DISC), (0, 40, CUP), (88, 168, DISC & ~CUP)):
        assert named_levels(levels, lossy, low, high).sum() == pytest.approx(truth.sum(), rel=0.05)
    two = np.where(DISC, 255, 0).astype(np.uint8)
    for picture in (two, cv2.GaussianBlur(two, (0, 0), 4)):
        levels, lossy = read_levels(encoded(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), MOST)
        assert named_levels(levels, lossy, 128, 65535).sum() == pytest.approx(DISC.sum(), rel=0.1)
        for bound, better in ((1, ">=4"), (255, ">=21")):
            with pytest.raises(MaskError, match=f">={bound} cuts through .*{better}"):
                named_levels(levels, lossy, bound, 65535)


def test_the_advice_for_a_jpeg_can_be_followed():
    levels, lossy = read_levels(encoded(REFUGE, ".jpg"), MOST)
    with pytest.raises(
        MaskError,
        match='--mask_columns="optic_disc=COLUMN,optic_cup=COLUMN" --mask_values="optic_disc<=168,optic_cup<=40"',
    ):
        half(levels, lossy, "mask")


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
@pytest.mark.parametrize("faint", [10, 15, 22, 30])
@pytest.mark.parametrize("size", [1, 3])
def test_a_faint_level_of_a_jpeg_is_not_taken_for_the_background(size: int, faint: int, quality: int):
    """One file with the disc's rim at 15 beside a cup of 255 gave the cup alone for the disc, in silence."""
    faded = np.where(CUP, 255, np.where(DISC, faint, 0)).astype(np.uint8)
    large = cv2.resize(faded, None, fx=size, fy=size, interpolation=cv2.INTER_NEAREST)
    for picture in (large, 255 - large):
        levels, lossy = read_levels(encoded(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), MOST)
        with pytest.raises(MaskError, match="[cC]annot be told apart. Save it as PNG|third level near"):
            half(levels, lossy, "optic_disc")
    levels, lossy = read_levels(encoded(large, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), MOST)
    with pytest.raises(MaskError, match="Save it as PNG"):  # and no bound that leads to the cup
        named_levels(levels, lossy, 1, 65535)
    assert named_levels(levels, lossy, 128, 65535).sum() == pytest.approx(size**2 * CUP.sum(), rel=0.1)


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
@pytest.mark.parametrize("blur", [0, 1, 2, 4, 8, 12])
def test_a_jpeg_of_two_levels_has_no_faint_third_one(blur: int, quality: int):
    for dark, bright in ((0, 255), (16, 235)):
        picture = np.where(disc(60), bright, dark).astype(np.uint8)
        picture = cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture
        for turned in (picture, 255 - picture):
            found = half(*read_levels(encoded(turned, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), MOST), "optic_disc")
            assert np.count_nonzero(found ^ (turned[110, 120] < turned[0, 0])) == pytest.approx(
                disc(60).sum(), rel=0.05
            )
