"""Formats in the browser: WebP is answered as Python answers it, HEIC refused plainly, 12 bits in 16 never answered."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from page_actions import compare, complaints, grade, opened, python_answers

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
