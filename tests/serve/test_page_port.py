"""The page's own arithmetic on a photograph (field of view, crop) against Python's, in Node.js."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from node_port import run_node

from dr_edge.fundus import appearance
from dr_edge.fundus.crop import FieldOfView, crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.locate import Located, Refusal, locate
from tfrecord_tools.synthetic.draw import draw_fundus

SIZES = (96, 224, 256)

CROP = """
const {cropPhotograph} = await import(`${root}/fundus/crop.js`);
return input.map(({file, width, height, size}) => {
  const data = new Uint8Array(fs.readFileSync(file));
  const source = {width, height, rows: (top, bottom) => data.subarray(top * width * 3, bottom * width * 3)};
  try {
    const {box, crop, covered} = cropPhotograph(() => source, 1, size);
    fs.writeFileSync(`${file}.crop`, crop.data);
    return {box, covered};
  } catch (error) {
    if (error.name !== 'NotFundusError') throw error;
    return {reason: error.reason};
  }
});
"""


def synthetic() -> dict[str, np.ndarray]:
    eye = draw_fundus(50, size=400).image
    height, width = eye.shape[:2]
    wide = np.pad(eye, ((0, 0), (200, 200), (0, 0)))
    pictures = {
        f"synthetic{seed}": draw_fundus(seed, size=size).image for seed, size in enumerate((96, 200, 320, 512, 900))
    }
    pictures |= {
        "off the middle": np.pad(eye, ((10, 200), (300, 20), (0, 0))),
        "cut above": eye[height // 5 :],
        "cut left": eye[:, width // 4 :],
        "from inside": eye[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3],
        "squashed": cv2.resize(wide, (500, 500), interpolation=cv2.INTER_AREA),
        "on a page": np.pad(eye, ((40, 40), (40, 40), (0, 0)), constant_values=255),
        "between white bars": np.pad(tight(eye), ((0, 0), (90, 90), (0, 0)), constant_values=255),
        "cut, on a page": np.pad(tight(eye)[30:-20], ((80, 80), (0, 0), (0, 0)), constant_values=255),
        "on grey": np.pad(eye, ((40, 40), (40, 40), (0, 0)), constant_values=128),
        "covered by text": cv2.putText(eye.copy(), "OD 12", (80, 190), 0, 1.6, (255, 255, 255), 4),
        "covered by a label": cv2.rectangle(eye.copy(), (120, 120), (220, 160), (0, 0, 0), -1),
        "covered by grey": cv2.rectangle(eye.copy(), (120, 120), (220, 160), (128, 128, 128), -1),
        "covered by an aslant grey": cv2.fillPoly(
            eye.copy(), [np.array([[140, 110], [230, 160], [210, 200], [120, 150]])], (150, 150, 150)
        ),
        "covered by brown": cv2.rectangle(eye.copy(), (120, 120), (220, 160), (70, 110, 150), -1),
        "covered by thin text": cv2.putText(eye.copy(), "OD 12", (120, 190), 0, 1.0, (0, 0, 0), 1),
        "noisy": cv2.imdecode(cv2.imencode(".jpg", eye, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR),
        "blurred": cv2.GaussianBlur(eye, (0, 0), 14),
        "black": np.zeros((200, 300, 3), np.uint8),
        "dark": eye // 8,
        "noise": np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8),
        "flat": np.full((200, 300, 3), (180, 90, 40), np.uint8),
        "strip": np.zeros((20, 3000, 3), np.uint8),
        "two eyes": np.hstack([eye, eye[:, ::-1]]),
        "one red-free": np.hstack([eye, np.repeat(eye[:, ::-1, 1:2], 3, axis=2)]),
        "two eyes on white": np.pad(np.hstack([eye, eye]), ((30, 30), (30, 30), (0, 0)), constant_values=255),
        "one above the other": np.vstack([eye, eye // 2]),
        "two eyes with a bar between": np.hstack(
            [tight(eye), np.full((tight(eye).shape[0], 30, 3), 255, np.uint8), tight(eye)]
        ),
        "touching": cv2.resize(np.hstack([tight(eye), tight(eye)]), (640, 320), interpolation=cv2.INTER_AREA),
        "swapped": eye[..., ::-1],
        "green first": eye[..., [1, 0, 2]],
        "inverted": 255 - eye,
        "greyscale": cv2.merge([cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY)] * 3),
        "sepia": (cv2.merge([cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY)] * 3) * [1.0, 0.9, 0.75]).astype(np.uint8),
        "red alone": eye * np.array([1, 0, 0], np.uint8),
        "normalised": preprocess(crop_square(eye, find_fov(eye), 256), "graham"),
        "half": eye[:, : width // 2],
        "half black": eye * (np.arange(width) < width // 2).astype(np.uint8)[None, :, None],
        "half aslant, without a rim": np.where(
            (np.indices((200, 200)).sum(axis=0) < 200)[..., None],
            eye[height // 2 - 100 :, width // 2 - 100 :][:200, :200],
            0,
        ).astype(np.uint8),
        "wide": cv2.resize(eye, (round(1.35 * width), height)),
        "thumbnail": cv2.resize(eye, (24, 24 * height // width), interpolation=cv2.INTER_AREA),
    }
    return pictures


def tight(image: np.ndarray) -> np.ndarray:
    lit = image.max(axis=2) > 16
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > 0.02) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def expected(picture: np.ndarray, size: int) -> tuple[Located, FieldOfView | str]:
    """Returns what Python makes of the picture, and its field of view or the reason against one."""
    located = locate(cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), size)
    return located, located.fov.reason if isinstance(located.fov, Refusal) else located.fov


def test_crops_are_those_of_python(node: str, tmp_path: Path) -> None:
    pictures, cases = synthetic(), []
    for index, (name, picture) in enumerate(pictures.items()):
        file = tmp_path / f"{index}.rgb"
        file.write_bytes(np.ascontiguousarray(picture).tobytes())
        size = SIZES[index % len(SIZES)]
        cases.append(
            {"name": name, "file": str(file), "width": picture.shape[1], "height": picture.shape[0], "size": size}
        )
    results = run_node(node, CROP, cases)
    reasons = set()
    for case, result in zip(cases, results, strict=True):
        size = case["size"]
        located, fov = expected(pictures[case["name"]], size)
        picture = located.image
        if isinstance(fov, str):
            assert result == {"reason": fov}, case["name"]
            reasons.add(fov)
            continue
        assert "box" in result, (case["name"], result)
        assert result["covered"] == located.covered == case["name"].startswith("covered"), case["name"]
        assert np.abs(np.array(result["box"]) - fov.box).max() <= 1, (case["name"], result["box"], fov.box)
        wanted = crop_square(picture, fov, size)
        crop = np.frombuffer(Path(f"{case['file']}.crop").read_bytes(), np.uint8).reshape(wanted.shape)
        if result["box"] == [round(edge) for edge in fov.box]:
            assert np.abs(crop.astype(int) - wanted).max() <= 2, case["name"]
    assert reasons == {
        "too dark", "no field of view", "blank", "more than one eye", "colours", "greyscale", "already normalised",
        "a part of the retina", "too small",
    }  # fmt: skip


def test_kinds_of_pictures_are_taken_as_by_python(node: str) -> None:
    cases = [
        [method, counts, kind]
        for method in appearance.TAKEN
        for counts in (None, {"colour": 95, "greyscale": 5}, {"normalised": 40}, {"colour": 5, "normalised": 5})
        for kind in (*appearance.KINDS, *appearance.ORDERS, appearance.RED_ALONE)
    ]
    script = """
const {checkKind, wanted} = await import(`${root}/fundus/appearance.js`);
return input.map(([method, counts, kind]) => {
  try {
    checkKind(kind, wanted(method, counts));
    return 'taken';
  } catch (error) {
    return error.reason;
  }
});
"""
    for case, result in zip(cases, run_node(node, script, cases), strict=True):
        method, counts, kind = case
        try:
            appearance.check_kind(kind, appearance.wanted(method, counts))
            said = "taken"
        except NotFundusError as err:
            said = err.reason
        assert result == said, case


def test_a_photograph_read_in_strips_gives_the_same_crop(node: str, tmp_path: Path) -> None:
    # The crop is averaged row by row; 700 rows are read in strips of 256.
    picture = np.ascontiguousarray(draw_fundus(9, size=1400).image)
    file = tmp_path / "large.rgb"
    file.write_bytes(picture.tobytes())
    height, width = picture.shape[:2]
    script = """
const {cropSquare} = await import(`${root}/fundus/square.js`);
const {file, width, height, box, size} = input;
const data = new Uint8Array(fs.readFileSync(file));
const asked = [];
const rows = (top, bottom) => { asked.push(bottom - top); return data.slice(top * width * 3, bottom * width * 3); };
const crop = cropSquare({width, height, rows}, box, size);
fs.writeFileSync(`${file}.crop`, crop.data);
return Math.max(...asked);
"""
    fov = find_fov(picture)
    values = {
        "file": str(file),
        "width": width,
        "height": height,
        "box": [round(edge) for edge in fov.box],
        "size": 160,
    }
    most = run_node(node, script, values)
    assert most <= 256
    expected = crop_square(picture, fov, 160)
    crop = np.frombuffer(Path(f"{file}.crop").read_bytes(), np.uint8).reshape(expected.shape)
    assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("below", [1, 2, 7, 777, 5000, 3_000_000_000])
def test_random_draws_are_those_of_numpy(node: str, below: int) -> None:
    script = "const {integers} = await import(`${root}/fundus/random.js`); return integers(input, 300);"
    assert run_node(node, script, below) == np.random.default_rng(0).integers(0, below, 300).tolist()
