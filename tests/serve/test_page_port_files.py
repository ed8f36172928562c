"""Which files the page takes, and how it reads them, against Python, in Node.js."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from node_port import run_node
from photographs import with_orientation

from dr_edge.fundus.header_types import PhotographError, check_size
from dr_edge.fundus.image_header import read_header
from dr_edge.fundus.photograph import decode_photograph, decode_scaled
from tfrecord_tools.synthetic.draw import draw_fundus

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
        "jpeg": jpeg, "progressive": progressive, "turned": with_orientation(jpeg, 8), "png": png, "bmp": bmp,
        "small": small,
        "trailing": jpeg + b"\0" * 9, "two jpegs": jpeg + jpeg, "bomb": bytes(bomb), "damaged": bytes(damaged),
        "empty": b"", "text": b"no photograph", "heic": b"\0\0\0\x18ftypheic" + b"\0" * 50, "head": jpeg[:3],
        "no frame": b"\xff\xd8\xff\xd9", "lossless": jpeg.replace(b"\xff\xc0", b"\xff\xc3", 1),
        "no marker": jpeg[:2] + b"\xff\xe0\0\x04ab" + b"zz" + jpeg[20:],
        "second frame": jpeg[:-2] + frame + b"\xff\xd9x", "first of two frames": jpeg[:at] + frame + jpeg[at:],
        "bmp header": bmp[:16] + b"\x80" + bmp[17:], "frame behind": jpeg[:-2] + frame + b"\xff\xd9",
        "two jpegs and more": jpeg + jpeg + b"x",
        "many scans": progressive[:-2] + progressive[progressive.rindex(b"\xff\xda") : -2] * 91 + b"\xff\xd9",
        "as many as are taken": progressive[:-2] + progressive[progressive.rindex(b"\xff\xda") : -2] * 90 + b"\xff\xd9",
    }  # fmt: skip
    webp = cv2.imencode(".webp", eye, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
    lossless = cv2.imencode(".webp", np.dstack([eye, eye[..., 0]]), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    heic = (HEIC / "eye.heic").read_bytes()
    extended = b"VP8X\n\0\0\0\x08\0\0\0\x7f\0\0\x7f\0\0"
    files |= {
        "webp": webp, "lossless webp": lossless, "a whole heic": heic, "tiff": cv2.imencode(".tif", eye)[1].tobytes(),
        "gif": b"GIF89a" + bytes(40), "avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1heic" + bytes(30),
        "two webps": riff(webp[12:] * 2), "webp on a canvas": riff(extended + webp[12:]),
        "on another canvas": riff(extended.replace(b"\x7f", b"\x3f") + webp[12:]),
        "moving webp": riff(extended.replace(b"\x08\0", b"\x02\0") + webp[12:]),
        "frames": riff(webp[12:] + b"ANMF\0\0\0\0"), "no webp": riff(b"VP8 \x0a\0\0\0" + bytes(10)),
        "no lossless webp": riff(b"VP8L\x06\0\0\0" + bytes(6)), "empty webp": riff(b""),
        "turned png": exif_png(png, 6), "turned webp": riff(extended + webp[12:] + chunk(b"EXIF", EXIF_TURNED)),
    }  # fmt: skip
    for code in (0, 1, 0xD0, 0xD7, 0xD8):  # the first and the last of the markers without a length
        files[f"marker {code}"] = jpeg[:2] + bytes([255, code]) + b"\xff\xe0".ljust(65504, b"\0") + jpeg[2:]
    rng = np.random.default_rng(5)
    for kind, whole in (
        ("jpeg", jpeg),
        ("progressive", progressive),
        ("png", png),
        ("bmp", bmp),
        ("webp", webp),
        ("lossless webp", lossless),
        ("heic", heic),
    ):
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
    assert "too many scans" in seen


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("denominator", [2, 4, 8])
def test_reduced_photographs_are_those_of_the_jpeg_decoder(
    node: str, tmp_path: Path, orientation: int, denominator: int
) -> None:
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
