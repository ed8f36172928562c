"""The work on one image: geometry carried through exactly, and every bad file set aside with its reason."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tfrecord_tools import process as process_module
from tfrecord_tools.items import Item, MaskSource
from tfrecord_tools.masks import mean_shape
from tfrecord_tools.process import Settings, process
from tfrecord_tools.reading import Example


def settings(root: Path, **rest) -> Settings:
    return Settings(**{"data_dir": str(root), "image_size": 64, "method": "crop", **rest})


def item(path: str, **rest) -> Item:
    return Item("one", path, "one", **rest)


def example(record) -> Example:
    from dr_edge.data.records import encode
    from dr_edge.data.wire import parse_example

    return Example(parse_example(encode(record)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("side", "size"), [(128, 64), (700, 96), (128, 256)])
def test_masks_and_centres_go_through_crop_and_resize_and_back(
    tmp_path: Path, save_photo, save_grey, draw, seed: int, side: int, size: int
):
    """Also where the JPEG is decoded at a part of its size (700 px to 96) and where it is enlarged (128 to 256)."""
    save_photo(tmp_path / "a.jpg", seed, side)
    truth = draw(seed, side)
    save_grey(tmp_path / "disc.png", truth.masks["optic_disc"])
    one = item("a.jpg", masks={"optic_disc": MaskSource(("disc.png",))}, centres={"fovea": truth.centres["fovea"]})
    outcome = process(one, settings(tmp_path, image_size=size))
    assert outcome.reason == ""
    record = outcome.record
    height, width = truth.image.shape[:2]
    assert record.source_size == (height, width)
    top, left, bottom, right = record.crop_box
    scale = np.array([right - left, bottom - top]) / size
    back = np.asarray(record.centres["fovea"]) * scale + (left, top) - 0.5
    np.testing.assert_allclose(back, truth.centres["fovea"], atol=0.5)
    mask = example(record).mask("optic_disc")
    ys, xs = np.nonzero(mask)
    centroid = (np.array([xs.mean(), ys.mean()]) + 0.5) * scale + (left, top) - 0.5
    ys, xs = np.nonzero(truth.masks["optic_disc"])
    half_a_pixel = 0.5 * max(1.0, float(scale.max()))  # of the coarser of the two pictures
    np.testing.assert_allclose(centroid, [xs.mean(), ys.mean()], atol=half_a_pixel)
    crop_to_fov = (np.asarray(truth.fov_centre) + 0.5 - (left, top)) / scale
    np.testing.assert_allclose(crop_to_fov, size / 2, atol=max(0.02 * size, 1.5))


def test_record_holds_both_pictures_and_what_is_known(tmp_path: Path, save_photo):
    import hashlib

    path = save_photo(tmp_path / "a.png", 3)
    one = item("a.png", labels={"dr_grade": 2}, laterality="left", split="train")
    graham = process(one, settings(tmp_path, method="graham")).record
    assert cv2.imdecode(np.frombuffer(graham.encoded, np.uint8), cv2.IMREAD_COLOR).shape == (64, 64, 3)
    assert graham.photograph and graham.photograph != graham.encoded
    assert process(one, settings(tmp_path)).record.photograph == b"", "a plain crop is stored once"
    assert graham.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (graham.laterality, graham.labels) == ("left", {"dr_grade": 2})
    assert 0 <= graham.quality <= 1


def test_jpeg_keeps_full_colour_resolution(tmp_path: Path, save_photo):
    save_photo(tmp_path / "a.png", 3)
    data = process(item("a.png"), settings(tmp_path, method="graham")).record.encoded
    start = data.index(b"\xff\xc0")
    assert [data[start + 11 + 3 * component] for component in range(3)] == [0x11, 0x11, 0x11], "4:4:4"


def test_same_item_gives_the_same_bytes(tmp_path: Path, save_photo):
    save_photo(tmp_path / "a.png", 3)
    first, second = (process(item("a.png"), settings(tmp_path, method="graham")) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["absent", "outside", "link", "absolute", "pipe", "folder", "empty", "text", "cut"])
def test_bad_files_get_a_reason(tmp_path: Path, save_photo, kind: str):
    root = tmp_path / "data"
    photo = save_photo(root / "good.jpg", 1)
    outside = save_photo(tmp_path / "secret.jpg", 2)
    path, expected = "bad.jpg", ""
    if kind == "absent":
        expected = "no such file"
    elif kind == "outside":
        path, expected = "../secret.jpg", "outside the data directory"
    elif kind == "absolute":
        path, expected = str(outside), "outside the data directory"
    elif kind == "link":
        (root / "bad.jpg").symlink_to(outside)
        expected = "outside the data directory"
    elif kind == "pipe":
        os.mkfifo(root / "bad.jpg")
        expected = "not a regular file"
    elif kind == "folder":
        (root / "bad.jpg").mkdir()
        expected = "not a regular file"
    elif kind == "empty":
        (root / "bad.jpg").touch()
        expected = "empty file"
    elif kind == "text":
        (root / "bad.jpg").write_text("hello", encoding="utf-8")
        expected = "unsupported format"
    else:
        data = photo.read_bytes()
        (root / "bad.jpg").write_bytes(data[: len(data) // 2])
        expected = "truncated"
    outcome = process(item(path), settings(root))
    assert outcome.record is None and expected in outcome.reason
    assert "\n" not in outcome.reason


def test_link_inside_the_directory_is_followed(tmp_path: Path, save_photo):
    save_photo(tmp_path / "good.jpg", 1)
    (tmp_path / "link.jpg").symlink_to("good.jpg")
    assert process(item("link.jpg"), settings(tmp_path)).reason == ""


def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, save_photo):
    save_photo(tmp_path / "a.png", 1)
    assert "pixels" in process(item("a.png"), settings(tmp_path, max_pixels=1000)).reason


def test_what_is_no_fundus_is_rejected(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((100, 120, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "paper.png"), np.full((100, 120, 3), 245, np.uint8))
    for name in ("black.png", "paper.png"):
        assert process(item(name), settings(tmp_path)).reason


def test_quality_below_the_limit_is_rejected(tmp_path: Path, save_photo, draw):
    save_photo(tmp_path / "sharp.png", 1, 256)
    blurred = cv2.GaussianBlur(cv2.cvtColor(draw(1, 256).image, cv2.COLOR_RGB2BGR), (0, 0), 9)
    cv2.imwrite(str(tmp_path / "blurred.png"), blurred)
    sharp = process(item("sharp.png"), settings(tmp_path)).record.quality
    soft = process(item("blurred.png"), settings(tmp_path)).record.quality
    assert soft < sharp
    limit = (soft + sharp) / 2
    assert process(item("sharp.png"), settings(tmp_path, min_quality=limit)).reason == ""
    assert "below --min_quality" in process(item("blurred.png"), settings(tmp_path, min_quality=limit)).reason


def test_masks_and_centres_that_do_not_fit_are_rejected(tmp_path: Path, save_photo, save_grey, draw):
    save_photo(tmp_path / "a.png", 1)
    height, width = draw(1).image.shape[:2]
    save_grey(tmp_path / "small.png", np.zeros((50, 60), np.uint8))
    (tmp_path / "two.txt").write_text("1 , 2\n3 , 4\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("x , y\n", encoding="utf-8")
    cases = {
        "mask small.png is 50x60": {"masks": {"m": MaskSource(("small.png",))}},
        "mask gone.png: no such file": {"masks": {"m": MaskSource(("gone.png",))}},
        "contour two.txt: 2 points": {"masks": {"m": MaskSource(("two.txt",), "contours")}},
        "contour words.txt": {"masks": {"m": MaskSource(("words.txt",), "contours")}},
        "centre fovea": {"centres": {"fovea": (width + 1.0, 5.0)}},
    }
    for expected, extra in cases.items():
        assert expected in process(item("a.png", **extra), settings(tmp_path)).reason


def test_exif_orientation_is_applied_to_the_recorded_size(tmp_path: Path, save_photo, draw):
    data = save_photo(tmp_path / "a.jpg", 1, 700).read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    (tmp_path / "turned.jpg").write_bytes(turned)
    height, width = draw(1, 700).image.shape[:2]
    assert process(item("a.jpg"), settings(tmp_path)).record.source_size == (height, width)
    assert process(item("turned.jpg"), settings(tmp_path)).record.source_size == (width, height)


def test_unexpected_failure_of_one_image_is_its_own(tmp_path: Path, save_photo, monkeypatch):
    save_photo(tmp_path / "a.png", 1)

    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(process_module, "locate", broken)
    assert process(item("a.png"), settings(tmp_path)).reason == "unexpected KeyError: 'surprise'"


def test_drawn_images_need_no_files_and_carry_everything():
    outcome = process(Item("d", "", "p", seed=5), Settings("", 96, "graham"))
    record = outcome.record
    assert set(record.labels) == {"dr_grade", "glaucoma"} and len(record.masks) == 7
    assert set(record.centres) == {"optic_disc", "fovea"} and record.laterality in ("left", "right")


def test_mean_shape_of_three_discs_is_the_middle_one():
    def disc(radius: float) -> np.ndarray:
        y, x = np.mgrid[:101, :101] - 50
        return x**2 + y**2 <= radius**2

    mean = mean_shape([disc(20), disc(24), disc(28)])
    assert (mean ^ disc(24)).sum() <= 0.06 * disc(24).sum()
    assert (mean_shape([disc(7)]) == disc(7)).all()
