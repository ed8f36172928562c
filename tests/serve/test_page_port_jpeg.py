"""Which damaged JPEGs the page takes, against Python, in Node.js: browsers show what libjpeg only warns of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from node_port import run_node

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph
from tfrecord_tools.synthetic.draw import draw_fundus

SCRIPT = """
const {readHeader} = await import(`${root}/image_header.js`);
const {jpegDamage} = await import(`${root}/jpeg_data.js`);
return input.map((file) => {
  const bytes = new Uint8Array(fs.readFileSync(file));
  try {
    readHeader(bytes);
  } catch (error) {
    if (error.name !== 'PhotographError') throw error;
    return error.message;
  }
  return jpegDamage(bytes);
});
"""
PROGRESSIVE, RESTART = cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_RST_INTERVAL
SAMPLING, OPTIMISED = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_OPTIMIZE
FORMS = {
    "baseline": [],
    "4:4:4, optimised": [SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, OPTIMISED, 1],
    "4:2:2, restarts": [SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, RESTART, 5],
    "4:1:1": [SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411],
    "progressive": [PROGRESSIVE, 1],
    "progressive, restarts": [PROGRESSIVE, 1, RESTART, 7],
}


def jpeg(form: str, grey: bool = False) -> bytes:
    eye = draw_fundus(7, size=384).image[:301, :379, ::-1]  # no multiple of a block
    picture = cv2.cvtColor(eye, cv2.COLOR_BGR2GRAY) if grey else np.ascontiguousarray(eye)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88, *FORMS[form]])[1].tobytes()


def damaged(data: bytes, seed: int) -> bytes:
    """Returns the file with a bit or a byte changed, or a piece cut out, doubled or zeroed, drawn from a seed."""
    rng = np.random.default_rng(seed)
    at, length = int(rng.integers(2, len(data) - 2)), int(rng.integers(1, 900))
    kind = seed % 6
    if kind <= 1:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
    if kind == 3:
        return data[:at] + data[at + length :]
    if kind == 4:
        return data[: at + length] + data[at:]
    return data[:at] + bytes(length) + data[at + length :]


def python_says(data: bytes) -> str:
    try:
        decode_photograph(data, min_side=60)
    except PhotographError as err:
        return str(err)
    return ""


@pytest.mark.parametrize("form", FORMS)
def test_whole_jpegs_are_taken_and_damaged_ones_refused_as_by_python(node: str, tmp_path: Path, form: str) -> None:
    whole = {f"whole, grey {grey}": jpeg(form, grey) for grey in (False, True)}
    files = whole | {
        f"{name}, damaged {seed}": damaged(data, seed) for name, data in whole.items() for seed in range(90)
    }
    end = next(iter(whole.values()))
    files |= {"zeros behind": end + b"\0" * 9, "padded": end[:-2] + b"\0" * 50 + end[-2:], "behind": end + b"\xff\x00x"}
    files |= {"more behind": end[:-2] + bytes(range(40)) + end[-2:]}
    for index, content in enumerate(files.values()):
        (tmp_path / str(index)).write_bytes(content)
    said = run_node(node, SCRIPT, [str(tmp_path / str(index)) for index in range(len(files))])
    stricter, refused = [], 0
    for (name, content), page in zip(files.items(), said, strict=True):
        python = python_says(content)
        if name.startswith("whole, grey") and "damaged" not in name:
            assert (page, python) == ("", ""), name
        refused += bool(python)
        # What the decoder itself does not take (a table without sense), the browser's does not take either.
        if python and not python.startswith("corrupt: the jpeg of"):
            assert page, (name, python)
        if page and not python:
            stricter.append((name, page))
    assert refused > 60
    # libjpeg does not count the last bytes that it had taken up already, the page does.
    assert all("extraneous bytes before marker 0xd9" in page for _, page in stricter), stricter
    assert len(stricter) <= 5
