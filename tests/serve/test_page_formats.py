"""Formats in the browser: WebP is answered as Python answers it, HEIC refused plainly, 12 bits in 16 never answered.

What EXIF turns is turned, and a damaged JPEG is refused, though the browser would show it.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_actions import compare, complaints, grade, opened, python_answers
from PIL import Image

from tfrecord_tools.synthetic.draw import draw_fundus

pytestmark = pytest.mark.usefixtures("vendored")
HEIC = Path(__file__).parents[1] / "fundus" / "heic" / "eye.heic"


def test_other_formats(server, bundle_dir, browser, tmp_path: Path) -> None:
    eye = draw_fundus(11, size=512).image[..., ::-1]
    lossy, lossless, deep = tmp_path / "a.webp", tmp_path / "b.webp", tmp_path / "deep.png"
    lossy.write_bytes(cv2.imencode(".webp", eye, [cv2.IMWRITE_WEBP_QUALITY, 95])[1].tobytes())
    lossless.write_bytes(cv2.imencode(".webp", eye, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())
    deep.write_bytes(cv2.imencode(".png", eye.astype(np.uint16) * 16)[1].tobytes())
    heic = tmp_path / "eye.heic"
    heic.write_bytes(HEIC.read_bytes())
    with opened(browser, server.url) as tab:
        answers = {answer["file"]: answer for answer in grade(tab, lossy, lossless, heic, deep)}
        for path, other in zip((lossy, lossless), python_answers(bundle_dir, [lossy, lossless]), strict=True):
            assert answers[path.name]["status"] == "answered"
            compare(answers[path.name], other)
        for name, words in ((heic.name, "this browser cannot show HEIC"), (deep.name, "bits stored in 16")):
            assert (answers[name]["status"], answers[name]["reason"]) == ("unreadable", "unsupported format")
            assert words in answers[name]["message"]
        assert complaints(tab) == []


def test_png_and_webp_are_turned_as_their_exif_says(server, bundle_dir, browser, tmp_path: Path) -> None:
    eye = draw_fundus(12, size=500).image[60:, 90:]  # no turn of it lies like another
    paths = []
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[274] = orientation
        form = "WEBP" if orientation in (3, 6) else "PNG"
        options = {"lossless": True} if form == "WEBP" else {}
        content = io.BytesIO()
        Image.fromarray(eye).save(content, form, exif=exif, **options)
        paths.append(tmp_path / f"{orientation}.{form.lower()}")
        paths[-1].write_bytes(content.getvalue())
    with opened(browser, server.url) as tab:
        answers = {answer["file"]: answer for answer in grade(tab, *paths)}
        assert complaints(tab) == []
    turned = set()
    for path, other in zip(paths, python_answers(bundle_dir, paths), strict=True):
        assert answers[path.name]["status"] == "answered"
        compare(answers[path.name], other)
        turned.add(tuple(answers[path.name]["crop"]["box"]))
    assert len(turned) > 3  # the photograph lies in as many ways


def test_a_jpeg_that_the_browser_would_show_with_a_hole_is_refused(server, bundle_dir, browser, tmp_path: Path) -> None:
    eye = draw_fundus(13, size=512).image[..., ::-1]
    labelled = cv2.putText(eye.copy(), "OD 17", (180, 220), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 4)
    data = cv2.imencode(".jpg", eye)[1].tobytes()
    middle = len(data) // 2
    files = {
        "whole.jpg": data,
        "labelled.jpg": cv2.imencode(".jpg", labelled)[1].tobytes(),
        "hole.jpg": data[:middle] + data[middle + 900 :],
        "zeroed.jpg": data[:middle] + bytes(600) + data[middle + 600 :],
        "marker.jpg": data[:middle] + b"\xff\x31" + data[middle:],
    }
    paths = [tmp_path / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    with opened(browser, server.url) as tab:
        answers = {answer["file"]: answer for answer in grade(tab, *paths)}
    for path, other in zip(paths, python_answers(bundle_dir, paths), strict=True):
        compare(answers[path.name], other)
    assert [answers[path.name]["reason"] for path in paths] == [None, None, *["damaged JPEG data"] * 3]
    assert "Part of the retina is covered" in answers["labelled.jpg"]["message"]
