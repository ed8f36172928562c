"""Damaged, disguised and hostile uploads, drawn from a seed: the same seed gives the same bytes."""

from __future__ import annotations

import functools
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

HEIC = Path(__file__).parents[1] / "fundus" / "heic" / "eye.heic"


def originals() -> dict[str, bytes]:
    """Returns one small readable photograph in each format that the server reads, by name."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    synthetic = cv2.resize(draw_fundus(41, size=512).image, (144, 112), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(synthetic[..., ::-1])
    alpha = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])

    def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
        return cv2.imencode(suffix, image, list(options))[1].tobytes()

    return {
        "jpeg": encoded(".jpg", bgr),
        "progressive": encoded(".jpg", bgr, cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        "png": encoded(".png", bgr),
        "png16": encoded(".png", bgr.astype(np.uint16) * 257),
        "png_alpha": encoded(".png", alpha),
        "tiff": encoded(".tif", bgr),
        "tiff_plain": encoded(".tif", bgr, cv2.IMWRITE_TIFF_COMPRESSION, 1),
        "bmp": encoded(".bmp", bgr),
        "tiff_lzw": encoded(".tif", bgr, cv2.IMWRITE_TIFF_COMPRESSION, 5),
        "webp": encoded(".webp", bgr, cv2.IMWRITE_WEBP_QUALITY, 90),
        "webp_lossless": encoded(".webp", alpha, cv2.IMWRITE_WEBP_QUALITY, 101),
        "heic": HEIC.read_bytes(),
        "dicom": _dicom(synthetic),
        "dicom_jpeg": _dicom(synthetic, encoded(".jpg", bgr)),
    }


def _dicom(image: np.ndarray, jpeg: bytes | None = None) -> bytes:
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian,
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",
    )
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fixed"])
    content = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    content.Rows, content.Columns, content.SamplesPerPixel = image.shape[0], image.shape[1], 3
    content.PhotometricInterpretation, content.PlanarConfiguration = "RGB", 0
    content.BitsAllocated, content.BitsStored, content.HighBit, content.PixelRepresentation = 8, 8, 7, 0
    if jpeg:
        content.PhotometricInterpretation = "YBR_FULL_422"
    content.PixelData = encapsulate([jpeg]) if jpeg else image.tobytes()
    out = io.BytesIO()
    content.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_head(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        changed[rng.randrange(min(200, len(changed)))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _scramble(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + rng.randbytes(rng.randint(1, 400)) + data[start + rng.randint(0, 400) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.randint(1, 2000)
    return data[:start] + data[start : start + length] * rng.randint(2, 30) + data[start:]


def _drop(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, 500) :]


def _other_magic(data: bytes, rng: random.Random) -> bytes:
    magic = rng.choice(
        (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM", b"GIF89a", b"RIFF", b"%PDF-1.7")
    )
    return magic + data[len(magic) :]


def _huge(data: bytes, rng: random.Random) -> bytes:
    """Writes an enormous size where formats keep theirs; a PNG's checksum is made right again."""
    side = rng.choice((65535, 65500, 40000, 2**31 - 1, 20000))
    changed = bytearray(data)
    if data.startswith(b"\x89PNG"):
        changed[16:24] = struct.pack(">II", side, rng.choice((side, 1, 16)))
        changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    elif data.startswith(b"\xff\xd8"):
        frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        changed[frame + 5 : frame + 9] = struct.pack(">HH", min(side, 65535), min(side, 65535))
    elif data.startswith(b"BM"):
        changed[18:26] = struct.pack("<ii", min(side, 2**31 - 1), rng.choice((1, -side, side)))
    elif data[4:8] == b"ftyp":
        at = data.index(b"ispe") + 8
        changed[at : at + 8] = struct.pack(">II", side, side)
    else:
        for size in (112, 144):
            changed = bytearray(bytes(changed).replace(struct.pack("<H", size), struct.pack("<H", min(side, 65535))))
    return bytes(changed)


@functools.cache
def _bomb(mebibytes: int) -> bytes:
    return zlib.compress(bytes(mebibytes << 20), 9)


def _zlib_bomb(data: bytes, rng: random.Random) -> bytes:
    """A small PNG whose compressed data (or text chunk) unpack to many times what its size needs."""
    bomb = _bomb(rng.choice((1, 8, 30)))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    text = rng.choice((b"", chunk(b"zTXt", b"x\0\0" + bomb), chunk(b"iCCP", b"x\0\0" + bomb)))
    pixels = bomb if not text else zlib.compress(rng.randbytes(16) + bytes(64 * (1 + 64 * 3)))
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _contradict(data: bytes, rng: random.Random) -> bytes:
    """A file that says its size twice, or keeps back what a reader must know; none of them may be answered."""
    if data.startswith(b"\xff\xd8"):
        return _second_frame(data, rng)
    if data.startswith(b"II*\0"):
        return _doubled_tag(data, rng)
    if data[128:132] == b"DICM":
        return _deflated_far_back(rng) if rng.random() < 0.2 else _odd_dicom(data, rng)
    if data.startswith(b"RIFF"):
        return b"RIFF" + struct.pack("<I", 2 * len(data) - 20) + data[8:] + data[12:]  # two pictures
    if data[4:8] == b"ftyp":
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", *_sides(rng)) + data[at + 8 :]
    if data.startswith(b"\x89PNG"):
        at = 33 if rng.random() < 0.5 else len(data) - 12
        head = b"IHDR" + struct.pack(">II", *_sides(rng)) + data[24:29]
        return data[:at] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + data[at:]
    return data[:18] + struct.pack("<i", rng.randint(1000, 9000)) + data[22:]  # a BMP without the pixels it names


def _sides(rng: random.Random) -> tuple[int, int]:
    return rng.randint(16, 9000), rng.randint(16, 9000)


def _second_frame(data: bytes, rng: random.Random) -> bytes:
    start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    frame = bytearray(data[start : start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")])
    frame[5:9] = struct.pack(">HH", *_sides(rng))
    if rng.random() < 0.5:
        return data[:start] + bytes(frame) + data[start:]
    return data[:-2] + bytes(frame) + b"\xff\xd9" + rng.randbytes(rng.randint(1, 9)) + b"x"


def _doubled_tag(data: bytes, rng: random.Random) -> bytes:
    """Writes the width or the height a second time, before or behind the first, into a new directory at the end."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [data[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(count)]
    tag = rng.choice((256, 257))
    index = next(i for i, entry in enumerate(entries) if entry.startswith(struct.pack("<H", tag)))
    second = struct.pack("<HHII", tag, rng.choice((4, 9)), 1, rng.randint(16, 9000))
    entries.insert(index + rng.choice((0, 1)), second)
    return (
        data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    )


_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated")
_NEEDED += ("BitsStored", "PixelRepresentation", "PixelData")
_SAID_BY_A_JPEG = ("PlanarConfiguration", "BitsAllocated", "PixelRepresentation")


def _odd_dicom(data: bytes, rng: random.Random) -> bytes:
    """Holds more frames than it states, or lacks an attribute without which its pixels mean nothing."""
    import pydicom

    content = pydicom.dcmread(io.BytesIO(data))
    jpeg = content.file_meta.TransferSyntaxUID.is_compressed
    if rng.random() < 0.4 and not jpeg:
        content.PixelData = content.PixelData * rng.randint(2, 9)
    else:
        del content[rng.choice([name for name in _NEEDED if not jpeg or name not in _SAID_BY_A_JPEG])]
    content.PatientComments = str(rng.getrandbits(64))
    out = io.BytesIO()
    content.save_as(out)
    return out.getvalue()


def _deflated_far_back(rng: random.Random) -> bytes:
    """A compressed bomb whose transfer syntax stands behind an element that pushes it away."""
    padding = 2 * rng.randint(1, 40_000)
    version = struct.pack("<HH2sHI", 2, 1, b"OB", 0, padding) + bytes(padding)
    syntax = struct.pack("<HH2sH", 2, 16, b"UI", 22) + b"1.2.840.10008.1.2.1.99"
    return bytes(128) + b"DICM" + version + syntax + _bomb(rng.choice((1, 8, 30)))[2:-4]


def _polyglot(data: bytes, rng: random.Random) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        # A ZipInfo has a fixed date; a bare name would take today's.
        file.writestr(zipfile.ZipInfo("payload.html"), "<script>alert(1)</script>")
    tails = (
        b"<script>alert(1)</script>",
        archive.getvalue(),
        b"%PDF-1.7\n1 0 obj<<>>endobj",
        b"#!/bin/sh\nid\n",
        b"MZ" + bytes(64),
    )
    return rng.choice(
        (lambda: data + rng.choice(tails), lambda: rng.choice(tails) + data, lambda: tails[1][:40] + data)
    )()


def _foreign(_: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"", b"\0", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"GIF89a\1\0\1\0\0\0\0;",
            b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0" + rng.randbytes(24), b"\0\0\0\x20ftypavif" + rng.randbytes(90),
            b"\0\0\0\x0cjP  \r\n\x87\n" + rng.randbytes(90), rng.randbytes(rng.randint(1, 3000)),
            b"P6\n9999 9999\n255\n", b"\x76\x2f\x31\x01" + rng.randbytes(80), b"#?RADIANCE\n\n-Y 99999 +X 99999\n",
            b"../../../etc/passwd\n", bytes(128) + b"DICM" + rng.randbytes(400),
            b"II*\0\x08\0\0\0\xff\xff" + rng.randbytes(600),
        )
    )  # fmt: skip


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut,
    "flip": _flip,
    "flip_head": _flip_head,
    "scramble": _scramble,
    "repeat": _repeat,
    "drop": _drop,
    "other_magic": _other_magic,
    "huge": _huge,
    "zlib_bomb": _zlib_bomb,
    "contradict": _contradict,
    "polyglot": _polyglot,
    "foreign": _foreign,
}


def mutated(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yields `count` uploads, no two alike, with a name that says how each was made."""
    rng = random.Random(seed)
    bases = originals()
    seen: set[bytes] = set()
    while len(seen) < count:
        base, mutation = rng.choice(sorted(bases)), rng.choice(sorted(MUTATIONS))
        data = MUTATIONS[mutation](bases[base], rng)
        if rng.random() < 0.15:  # twice hurt
            second = rng.choice(("cut", "flip", "flip_head", "scramble"))
            data, mutation = (MUTATIONS[second](data, rng) if data else data), f"{mutation}+{second}"
        if data in seen:
            continue
        seen.add(data)
        yield f"{len(seen)}:{base}:{mutation}", data
