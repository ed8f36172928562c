"""The page's own arithmetic (crop, quality, files) against Python's, in Node.js: the same numbers, without a browser."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import with_orientation

from dr_edge.drawing import overlay
from dr_edge.drawing.field import field_of_view
from dr_edge.fundus import appearance
from dr_edge.fundus.crop import FieldOfView, crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.image_header import PhotographError, check_size, read_header
from dr_edge.fundus.locate import Refusal, locate
from dr_edge.fundus.photograph import decode_photograph, decode_scaled
from dr_edge.fundus.quality import DEFAULT_MIN_QUALITY, quality
from dr_edge.prediction import bundle
from dr_edge.serve.assets import STATIC
from tfrecord_tools.synthetic.draw import draw_fundus

JS = STATIC / "js"
SIZES = (96, 224, 256)

CROP = """
const {cropPhotograph} = await import(`${root}/fundus/crop.js`);
return input.map(({file, width, height, size}) => {
  const data = new Uint8Array(fs.readFileSync(file));
  const source = {width, height, rows: (top, bottom) => data.subarray(top * width * 3, bottom * width * 3)};
  try {
    const {box, crop, quality} = cropPhotograph(() => source, 1, size);
    fs.writeFileSync(`${file}.crop`, crop.data);
    return {box, quality};
  } catch (error) {
    if (error.name !== 'NotFundusError') throw error;
    return {reason: error.reason};
  }
});
"""


def run_node(node: str, script: str, values: Any) -> Any:
    """Returns what the body of a JavaScript function returns for `input`."""
    program = (
        "import fs from 'node:fs'; const {root, input} = JSON.parse(fs.readFileSync(0, 'utf8'));"
        f"const work = async () => {{{script}}}; console.log(JSON.stringify(await work()));"
    )
    command = [node, "--input-type=module", "--eval", program]
    data = json.dumps({"root": JS.as_uri(), "input": values})
    done = subprocess.run(command, input=data, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drawn() -> dict[str, np.ndarray]:
    eye = draw_fundus(50, size=400).image
    height, width = eye.shape[:2]
    wide = np.pad(eye, ((0, 0), (200, 200), (0, 0)))
    pictures = {f"drawn{seed}": draw_fundus(seed, size=size).image for seed, size in enumerate((96, 200, 320, 512, 900))}
    pictures |= {
        "off the middle": np.pad(eye, ((10, 200), (300, 20), (0, 0))),
        "cut above": eye[height // 5 :],
        "cut left": eye[:, width // 4 :],
        "from inside": eye[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3],
        "squashed": cv2.resize(wide, (500, 500), interpolation=cv2.INTER_AREA),
        "on a page": np.pad(eye, ((40, 40), (40, 40), (0, 0)), constant_values=255),
        "noisy": cv2.imdecode(cv2.imencode(".jpg", eye, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR),
        "blurred": cv2.GaussianBlur(eye, (0, 0), 14),
        "black": np.zeros((200, 300, 3), np.uint8),
        "dark": eye // 8,
        "noise": np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8),
        "flat": np.full((200, 300, 3), (180, 90, 40), np.uint8),
        "strip": np.zeros((20, 3000, 3), np.uint8),
        "two eyes": np.hstack([eye, eye[:, ::-1]]), "one red-free": np.hstack([eye, np.repeat(eye[:, ::-1, 1:2], 3, axis=2)]),
        "two eyes on white": np.pad(np.hstack([eye, eye]), ((30, 30), (30, 30), (0, 0)), constant_values=255),
        "one above the other": np.vstack([eye, eye // 2]),
        "two eyes with a bar between": np.hstack([tight(eye), np.full((tight(eye).shape[0], 30, 3), 255, np.uint8), tight(eye)]),
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
        "wide": cv2.resize(eye, (round(1.35 * width), height)),
        "thumbnail": cv2.resize(eye, (24, 24 * height // width), interpolation=cv2.INTER_AREA),
    }
    return pictures


def tight(image: np.ndarray) -> np.ndarray:
    lit = image.max(axis=2) > 16
    rows, columns = (np.flatnonzero(lit.mean(axis=axis) > 0.02) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def expected(picture: np.ndarray, size: int) -> FieldOfView | str:
    """Returns the field of view that Python finds for a crop of `size`, or its reason against one."""
    located = locate(cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), size)
    return located.fov.reason if isinstance(located.fov, Refusal) else located.fov


def test_crop_and_quality_are_those_of_python(node: str, tmp_path: Path) -> None:
    pictures, cases = drawn(), []
    for index, (name, picture) in enumerate(pictures.items()):
        file = tmp_path / f"{index}.rgb"
        file.write_bytes(np.ascontiguousarray(picture).tobytes())
        size = SIZES[index % len(SIZES)]
        cases.append({"name": name, "file": str(file), "width": picture.shape[1], "height": picture.shape[0], "size": size})
    results = run_node(node, CROP, cases)
    reasons = set()
    for case, result in zip(cases, results, strict=True):
        picture, size = pictures[case["name"]], case["size"]
        fov = expected(picture, size)
        if isinstance(fov, str):
            assert result == {"reason": fov}, case["name"]
            reasons.add(fov)
            continue
        assert "box" in result, (case["name"], result)
        assert np.abs(np.array(result["box"]) - fov.box).max() <= 1, (case["name"], result["box"], fov.box)
        wanted = crop_square(picture, fov, size)
        crop = np.frombuffer(Path(f"{case['file']}.crop").read_bytes(), np.uint8).reshape(wanted.shape)
        if result["box"] == [round(edge) for edge in fov.box]:
            assert np.abs(crop.astype(int) - wanted).max() <= 2, case["name"]
        for key, value in quality(wanted).as_dict().items():
            assert result["quality"][key] == pytest.approx(value, abs=0.02), (case["name"], key)
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
    values = {"file": str(file), "width": width, "height": height, "box": [round(edge) for edge in fov.box], "size": 160}
    most = run_node(node, script, values)
    assert most <= 256
    expected = crop_square(picture, fov, 160)
    crop = np.frombuffer(Path(f"{file}.crop").read_bytes(), np.uint8).reshape(expected.shape)
    assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("below", [1, 2, 7, 777, 5000, 3_000_000_000])
def test_random_draws_are_those_of_numpy(node: str, below: int) -> None:
    script = "const {integers} = await import(`${root}/fundus/random.js`); return integers(input, 300);"
    assert run_node(node, script, below) == np.random.default_rng(0).integers(0, below, 300).tolist()


HEIC = Path(__file__).parents[1] / "fundus" / "heic"
EXIF_TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def chunk(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WEBP" + chunks


def exif_png(png: bytes, orientation: int) -> bytes:
    """A PNG with an orientation behind its header."""
    body = b"eXIf" + EXIF_TURNED.replace(b"\0\x06\0\0", bytes([0, orientation, 0, 0]))
    return png[:33] + (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") + png[33:]


def test_dark_pictures_of_sixteen_bits_are_refused(node: str) -> None:
    script = """
const {checkBrightness} = await import(`${root}/photograph.js`);
return input.map((levels) => {
  const rows = (top, bottom) => Uint8Array.from({length: 3 * 20 * (bottom - top)}, (_, i) => levels[i % levels.length]);
  try {
    checkBrightness({width: 20, height: 300, rows});
    return 'taken';
  } catch (error) {
    return error.reason;
  }
});
"""
    caption = [*[9] * 4999, 255]
    said = run_node(node, script, [[0, 90, 200], [0, 64], [0, 15], [3], caption])
    assert said == ["taken", *["unsupported format"] * 4]


def test_files_are_refused_for_the_reasons_of_python(node: str, tmp_path: Path) -> None:
    eye = draw_fundus(3, size=128).image[..., ::-1]
    jpeg, png, bmp = (cv2.imencode(suffix, eye)[1].tobytes() for suffix in (".jpg", ".png", ".bmp"))
    progressive = cv2.imencode(".jpg", eye, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    bomb = bytearray(png)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    damaged = bytearray(png)
    damaged[len(damaged) // 2] ^= 1
    small = cv2.imencode(".png", eye[:8, :40])[1].tobytes()
    at = jpeg.index(b"\xff\xc0")
    frame = jpeg[at : at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")]
    files = {
        "jpeg": jpeg, "progressive": progressive, "turned": with_orientation(jpeg, 8), "png": png, "bmp": bmp, "small": small,
        "trailing": jpeg + b"\0" * 9, "two jpegs": jpeg + jpeg, "bomb": bytes(bomb), "damaged": bytes(damaged), "empty": b"",
        "text": b"no photograph", "heic": b"\0\0\0\x18ftypheic" + b"\0" * 50, "head": jpeg[:3], "no frame": b"\xff\xd8\xff\xd9",
        "lossless": jpeg.replace(b"\xff\xc0", b"\xff\xc3", 1), "no marker": jpeg[:2] + b"\xff\xe0\0\x04ab" + b"zz" + jpeg[20:],
        "second frame": jpeg[:-2] + frame + b"\xff\xd9x", "first of two frames": jpeg[:at] + frame + jpeg[at:],
        "bmp header": bmp[:16] + b"\x80" + bmp[17:], "frame behind": jpeg[:-2] + frame + b"\xff\xd9", "two jpegs and more": jpeg + jpeg + b"x",
    }  # fmt: skip
    webp = cv2.imencode(".webp", eye, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
    lossless = cv2.imencode(".webp", np.dstack([eye, eye[..., 0]]), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    heic = (HEIC / "eye.heic").read_bytes()
    extended = b"VP8X\n\0\0\0\x08\0\0\0\x7f\0\0\x7f\0\0"
    files |= {
        "webp": webp, "lossless webp": lossless, "a whole heic": heic, "tiff": cv2.imencode(".tif", eye)[1].tobytes(),
        "gif": b"GIF89a" + bytes(40), "avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1heic" + bytes(30), "two webps": riff(webp[12:] * 2),
        "webp on a canvas": riff(extended + webp[12:]), "on another canvas": riff(extended.replace(b"\x7f", b"\x3f") + webp[12:]),
        "moving webp": riff(extended.replace(b"\x08\0", b"\x02\0") + webp[12:]), "frames": riff(webp[12:] + b"ANMF\0\0\0\0"),
        "no webp": riff(b"VP8 \x0a\0\0\0" + bytes(10)), "no lossless webp": riff(b"VP8L\x06\0\0\0" + bytes(6)), "empty webp": riff(b""),
        "turned png": exif_png(png, 6), "turned webp": riff(extended + webp[12:] + chunk(b"EXIF", EXIF_TURNED)),
    }  # fmt: skip
    for code in (0, 1, 0xD0, 0xD7, 0xD8):  # the first and the last of the markers without a length
        files[f"marker {code}"] = jpeg[:2] + bytes([255, code]) + b"\xff\xe0".ljust(65504, b"\0") + jpeg[2:]
    rng = np.random.default_rng(5)
    for kind, whole in (("jpeg", jpeg), ("progressive", progressive), ("png", png), ("bmp", bmp), ("webp", webp), ("lossless webp", lossless), ("heic", heic)):
        for cut in rng.integers(1, len(whole), 12).tolist():
            files[f"{kind} cut at {cut}"] = whole[:cut]
    for index, content in enumerate(files.values()):
        (tmp_path / str(index)).write_bytes(content)
    script = """
const {readHeader} = await import(`${root}/image_header.js`);
return input.map((file) => {
  try {
    const {format, width, height, orientation} = readHeader(new Uint8Array(fs.readFileSync(file)));
    return [format, width, height, orientation];
  } catch (error) {
    if (error.name !== 'PhotographError') throw error;
    return error.reason;
  }
});
"""
    results = run_node(node, script, [str(tmp_path / str(index)) for index in range(len(files))])
    seen = set()
    for (name, content), result in zip(files.items(), results, strict=True):
        try:
            header = read_header(content)
            if header.format in ("tiff", "dicom"):
                raise PhotographError("unsupported format", "in a browser")
            if header.format != "heic":
                check_size(header.height, header.width, 100_000_000)
            expected: Any = [header.format, header.width, header.height, header.orientation]
        except PhotographError as err:
            expected = err.reason
        assert result == expected, name
        seen.add(expected if isinstance(expected, str) else "taken")
    assert seen >= {"taken", "truncated", "corrupt", "empty file", "unsupported format", "too many pixels", "too small"}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("denominator", [2, 4, 8])
def test_reduced_photographs_are_those_of_the_jpeg_decoder(node: str, tmp_path: Path, orientation: int, denominator: int) -> None:
    # 301 x 218: on each axis the last blocks are not whole, and EXIF decides at which end they lie.
    eye = cv2.resize(draw_fundus(6, size=256).image, (301, 218))[..., ::-1]
    jpeg = with_orientation(cv2.imencode(".jpg", eye, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes(), orientation)
    full, reduced = decode_photograph(jpeg), decode_scaled(jpeg, min_side=218 // denominator)
    assert reduced[1] == denominator
    (tmp_path / "eye.jpg").write_bytes(jpeg)
    (tmp_path / "eye.rgb").write_bytes(full.tobytes())
    script = """
const {averaged} = await import(`${root}/photograph.js`);
const {readHeader} = await import(`${root}/image_header.js`);
const {orientation} = readHeader(new Uint8Array(fs.readFileSync(`${input.file}.jpg`)));
const data = new Uint8Array(fs.readFileSync(`${input.file}.rgb`));
const [height, width] = input.size;
const rows = (top, bottom) => data.subarray(top * width * 3, bottom * width * 3);
const small = averaged({width, height, rows}, input.step, orientation);
return [orientation, small.height, small.width, Array.from(small.rows(0, small.height))];
"""
    values = {"file": str(tmp_path / "eye"), "size": full.shape[:2], "step": denominator}
    found, height, width, pixels = run_node(node, script, values)
    assert found == orientation and (height, width) == reduced[0].shape[:2]
    difference = np.abs(np.array(pixels).reshape(height, width, 3) - reduced[0].astype(int))
    # The blocks that are not whole hold what the encoder filled them up with.
    assert difference[1:-1, 1:-1].mean() < 1 and np.percentile(difference[1:-1, 1:-1], 99) <= 6


def test_heights_of_disc_and_cup_are_those_of_python(node: str) -> None:
    from dr_edge.metrics import glaucoma

    rng = np.random.default_rng(8)
    side, cases, expected = 48, [], []
    for box, size in (((-20.0, 30.0, 380.0, 430.0), (360, 500)), ((5.0, 5.0, 45.0, 45.0), (60, 60)), ((0.0, 0.0, 90.0, 60.0), (90, 60))):
        for _ in range(4):
            mask = cv2.GaussianBlur(rng.random((side, side)).astype(np.float32), (0, 0), 3)
            mask = np.clip((mask - mask.mean()) / (4 * mask.std()) + 0.42, 0, 1).astype(np.float32)
            cases.append({"mask": mask.ravel().tolist(), "box": box, "photograph": {"height": size[0], "width": size[1]}})
            expected.append(glaucoma.height(glaucoma.photograph_mask(mask, box, size)))
    cases.append({**cases[0], "mask": [0.0] * side**2})
    script = """
const {heightInPhotograph} = await import(`${root}/glaucoma.js`);
return input.map(({mask, box, photograph}) => heightInPhotograph(Float32Array.from(mask), 48, box, photograph));
"""
    found = run_node(node, script, cases)
    assert found.pop() == 0
    assert max(expected) > 30 and min(expected) > 0
    assert found == pytest.approx(expected, abs=1)


def test_constants_and_words_are_those_of_python(node: str) -> None:
    script = """
const answer = await import(`${root}/answer.js`);
const {MASK_COLOURS, OPACITY, heatColour} = await import(`${root}/overlay.js`);
const {MAX_PIXELS} = await import(`${root}/image_header.js`);
return {quality: answer.MIN_QUALITY, points: answer.OPERATING_POINTS, words: input.map(answer.percent),
  masks: MASK_COLOURS, opacity: OPACITY, heat: input.map(heatColour), pixels: MAX_PIXELS};
"""
    values = [0.0, 0.004, 0.01, 0.123, 0.25, 0.5, 0.777, 0.99, 0.9901, 1.0]
    found = run_node(node, script, values)
    assert found["quality"] == DEFAULT_MIN_QUALITY
    assert tuple(found["points"]) == bundle.DEFAULT_OPERATING_POINTS
    assert found["words"] == [overlay.percent(value) for value in values]
    assert found["masks"] == [list(colour) for colour in overlay.MASK_COLOURS]
    assert found["opacity"] == overlay.OPACITY
    assert np.abs(np.array(found["heat"]) - overlay.colours(np.array(values)).astype(int)).max() <= 1
    assert found["pixels"] == 100_000_000


def test_heat_is_laid_over_as_python_lays_it(node: str) -> None:
    rng = np.random.default_rng(2)
    picture, heat = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), rng.random((24, 24)).astype(np.float32)
    rgba = np.dstack([picture, np.full((24, 24), 255, np.uint8)])
    script = """
const {fieldOfView, layHeat} = await import(`${root}/overlay.js`);
const rgba = Uint8ClampedArray.from(input.rgba);
return Array.from(layHeat(rgba, Float32Array.from(input.heat), 0.6, fieldOfView(rgba, 24)));
"""
    found = run_node(node, script, {"rgba": rgba.ravel().tolist(), "heat": heat.ravel().tolist()})
    laid = np.array(found, np.uint8).reshape(24, 24, 4)[..., :3]
    assert np.abs(laid.astype(int) - overlay.lay_over(picture, heat)).max() <= 2


def test_the_field_of_view_is_that_of_python(node: str) -> None:
    """Whole, cut by the frame, a region that is all retina, black, and a lit pixel in a corner."""
    eye = crop_square(*(lambda picture: (picture, find_fov(picture)))(draw_fundus(21, size=300).image), 96)
    cut, spot = eye.copy(), eye.copy()
    cut[:14], spot[2, 2] = 0, 200
    crops = [eye, cut, np.ascontiguousarray(eye[30:70, 30:70]), np.zeros_like(eye), spot]
    script = """
const {fieldOfView} = await import(`${root}/overlay.js`);
return input.map(({rgba, size}) => Array.from(fieldOfView(Uint8ClampedArray.from(rgba), size)));
"""
    values = [{"rgba": np.dstack([crop, np.full(crop.shape[:2], 255, np.uint8)]).ravel().tolist(), "size": len(crop)} for crop in crops]
    for crop, found in zip(crops, run_node(node, script, values), strict=True):
        assert (np.array(found, bool).reshape(crop.shape[:2]) == field_of_view(crop)).all()


def test_hashes_are_those_of_python(node: str) -> None:
    contents = [bytes(range(256)) * 40 + b"x" * rest for rest in (0, 1, 54, 55, 56, 57, 63)] + [b"", b"abc"]
    script = """
const {plainSha256, sha256} = await import(`${root}/sha256.js`);
return Promise.all(input.map(async (hex) => {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  return [plainSha256(bytes), await sha256(bytes)];
}));
"""
    found = run_node(node, script, [content.hex() for content in contents])
    assert found == [[hashlib.sha256(content).hexdigest()] * 2 for content in contents]
