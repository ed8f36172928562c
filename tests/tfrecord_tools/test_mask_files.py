"""What is inside in a mask that somebody drew."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dr_edge.fundus.jpeg import upright
from dr_edge.fundus.photograph import PhotographError
from tfrecord_tools import mask_files
from tfrecord_tools.mask_checks import check_masks
from tfrecord_tools.mask_files import MaskError, half, named_levels, parse_values, read_levels

SIDE = 240


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.hypot(x - 120, y - 110) < radius


DISC, CUP = disc(20), disc(11)
PIXELS = int(DISC.sum())
MOST = 10**6


def encoded(picture: np.ndarray, suffix: str = ".png", *options: int) -> bytes:
    done, data = cv2.imencode(suffix, picture, list(options))
    assert done
    return data.tobytes()


def inside(data: bytes) -> int:
    return int(half(*read_levels(data, MOST), "optic_disc").sum())


def as_pillow(picture: np.ndarray, mode: str, form: str = "PNG", palette: list[int] | None = None) -> bytes:
    image = (
        Image.fromarray(picture)
        if palette is None
        else Image.frombytes("P", picture.shape[::-1], picture.astype(np.uint8).tobytes())
    )
    if palette is not None:
        image.putpalette(palette)
    buffer = io.BytesIO()
    (image.convert(mode) if palette is None else image).save(buffer, form)
    return buffer.getvalue()


GREY = DISC.astype(np.uint8) * 255
COLOUR = np.dstack([np.zeros_like(GREY), np.zeros_like(GREY), GREY])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("png", encoded(GREY)),
        ("0 and 1", encoded(DISC.astype(np.uint8))),
        ("16 bit", encoded(DISC.astype(np.uint16) * 65535)),
        ("16 bit of 0 and 1", encoded(DISC.astype(np.uint16))),
        ("1 bit", as_pillow(GREY, "1")),
        ("bmp", encoded(GREY, ".bmp")),
        ("tiff", encoded(GREY, ".tif")),
        ("jpeg 95", encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)),
        ("jpeg 60", encoded(GREY, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 60)),
        ("colour jpeg", encoded(np.dstack([GREY] * 3), ".jpg")),
        ("red", encoded(COLOUR)),
        ("dark grey", encoded(GREY // 3)),
        ("blurred", encoded(cv2.GaussianBlur(GREY, (0, 0), 2))),
        ("very soft", encoded(cv2.GaussianBlur(GREY, (0, 0), 4))),
        ("antialiased",
        encoded(cv2.resize(cv2.resize(GREY, (960, 960), interpolation=cv2.INTER_LINEAR), (SIDE, SIDE),
        interpolation=cv2.INTER_AREA))),
        ("palette", as_pillow(DISC.astype(np.uint8), "P", palette=[0, 0, 0, 128, 0, 0])),
        ("grey palette", as_pillow(DISC.astype(np.uint8), "P", palette=[0, 0, 0, 255, 255, 255])),
        ("opacity", encoded(np.dstack([np.full_like(GREY, 255)] * 3 + [GREY]))),
        ("black with opacity", encoded(np.dstack([np.zeros_like(GREY)] * 3 + [GREY]))),
        ("opaque", encoded(np.dstack([GREY] * 3 + [np.full_like(GREY, 255)]))),
        ("four experts",
        encoded(sum((disc(r).astype(int) for r in (19, 20, 20, 21)),
        np.zeros((SIDE, SIDE), int)).astype(np.uint8) * 63)),
        ("a stray third level",
        encoded(np.where(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) == 7, 128, GREY).astype(np.uint8))),
    ],
)  # fmt: skip
def test_about_the_same_pixels_in_every_form(name: str, data: bytes):
    assert inside(data) == pytest.approx(PIXELS, rel=0.05), name


def in_corner() -> np.ndarray:
    """A mask that no turn leaves as it is."""
    mask = np.zeros((40, 60), np.uint8)
    mask[3:15, 5:25] = 1
    return mask


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_mask_lies_as_its_exif_turns_it_in_every_form(turn: int):
    """Opacity and palettes were read as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = turn
    grey = Image.fromarray(in_corner() * 255)
    indexed = Image.frombytes("P", (60, 40), in_corner().tobytes())
    indexed.putpalette([0, 0, 0, 128, 0, 0])
    for picture in (grey, indexed, Image.merge("LA", (Image.new("L", (60, 40), 255), grey))):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", exif=exif)
        found = half(*read_levels(buffer.getvalue(), MOST), "optic_disc")
        assert (found == upright(in_corner(), turn).astype(bool)).all(), picture.mode


def test_of_a_tiff_the_photographs_page_is_the_mask_and_a_damaged_one_is_refused():
    pages = [Image.fromarray(cv2.resize(GREY, (60, 60))), Image.fromarray(GREY)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    assert (
        half(*read_levels(buffer.getvalue(), MOST), "optic_disc") == DISC
    ).all()  # the thumbnail came first, and was taken
    data = bytearray(as_tiff_lzw(GREY))
    data[60:80] = bytes(20)
    with pytest.raises(PhotographError, match="damaged TIFF data"):
        read_levels(bytes(data), MOST)


def as_tiff_lzw(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "TIFF", compression="tiff_lzw")
    return buffer.getvalue()


def test_black_is_an_empty_mask_and_white_is_none():
    assert inside(encoded(np.zeros_like(GREY))) == 0
    with pytest.raises(MaskError, match="one grey level, 255, everywhere"):
        inside(encoded(np.full_like(GREY, 255)))


LABELS = DISC.astype(np.uint8) + CUP
REFUGE = np.where(CUP, 0, np.where(DISC, 128, 255)).astype(np.uint8)


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
)  # fmt: skip
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


def test_a_disc_without_its_cup_is_refused():
    levels, lossy = read_levels(encoded(REFUGE), MOST)
    with pytest.raises(MaskError, match="optic_disc is a ring: .*optic_disc<=128"):
        check_masks({"optic_disc": named_levels(levels, lossy, 128, 128)}, float(disc(100).sum()))


def test_the_advice_for_a_jpeg_can_be_followed():
    levels, lossy = read_levels(encoded(REFUGE, ".jpg"), MOST)
    with pytest.raises(
        MaskError,
        match='--mask_columns="optic_disc=COLUMN,optic_cup=COLUMN" --mask_values="optic_disc<=168,optic_cup<=40"',
    ):
        half(levels, lossy, "mask")


@pytest.mark.parametrize("faint", [1, 3, 12, 25, 30, 240])
def test_a_third_level_close_to_one_of_the_two_is_asked_about(faint: int):
    levels = np.where(CUP, 255, np.where(DISC, faint, 0)).astype(np.uint8)
    with pytest.raises(MaskError, match="which are inside"):
        half(levels, False, "optic_cup")
    edge = np.where(DISC, 255, 0).astype(np.uint8)
    edge[SIDE // 2, :3] = faint  # specks are no level
    assert (half(edge, False, "optic_disc") != DISC).sum() <= 3


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
@pytest.mark.parametrize("faint", [10, 15, 22, 30])
@pytest.mark.parametrize("size", [1, 3])
def test_a_faint_level_of_a_jpeg_is_not_taken_for_the_background(size: int, faint: int, quality: int):
    """One file with the disc's rim at 15 beside a cup of 255 gave the cup alone for the disc, in silence."""
    drawn = np.where(CUP, 255, np.where(DISC, faint, 0)).astype(np.uint8)
    large = cv2.resize(drawn, None, fx=size, fy=size, interpolation=cv2.INTER_NEAREST)
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
        assert mask_files._close_levels(lossy, lossy >= 128) is None, path
