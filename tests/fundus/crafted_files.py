"""Files whose headers ask for far more memory, or time, than they are large; by format, name -> bytes.

Used by the tests of the readers (test_header_memory.py) and of the server (tests/serve/test_bombs.py).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from dicom_files import RGB, dicom

SIDE = 100
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
MIB = 1 << 20


def tiff(
    extra: list[tuple[int, int, int]], size: int, order: str = "<", big: bool = False, **changed: tuple[int, int, int]
) -> bytes:
    """A grey TIFF of 100 x 100, with `extra` (tag, type, count) that all point to its picture and what is behind it."""
    long, inline, head = ("Q", 8, 16) if big else ("I", 4, 8)
    entries = {256: (4, 1, SIDE), 257: (4, 1, SIDE), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    entries |= {278: (4, 1, SIDE), 279: (4, 1, SIDE * SIDE), 273: (4, 1, -1)}
    entries |= {int(name[1:]): value for name, value in changed.items()}
    rows = sorted([(tag, *value) for tag, value in entries.items()] + [(*row, -1) for row in extra])
    start = head + (8 if big else 2) + (20 if big else 12) * len(rows) + inline
    data = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    data += struct.pack(order + "HHQ", 8, 0, head) if big else struct.pack(order + "I", head)
    data += struct.pack(order + ("Q" if big else "H"), len(rows))
    for tag, kind, count, value in rows:
        code = "H" if kind == 3 and count == 1 else "I" if not big or kind == 4 else "Q"
        packed = struct.pack(order + code, start if value < 0 else value)
        data += struct.pack(order + "HH" + long, tag, kind, count) + packed.ljust(inline, b"\0")
    return (data + bytes(inline) + bytes(SIDE * SIDE)).ljust(size, b"A")


def tiffs() -> dict[str, bytes]:
    files = {}
    for name, options in (("TIFF", {}), ("BigTIFF", {"big": True}), ("big-endian TIFF", {"order": ">"})):
        for kind, width in ((1, 1), (2, 1), (3, 2), (12, 8)):
            shared = [(tag, kind, 900_000 // width) for tag in range(40000, 44000)]
            files[f"{name}, 4000 tags of type {kind}"] = tiff(shared, 1_000_000, **options)
        files[f"{name}, texts"] = tiff([(tag, 2, 900_000) for tag in (269, 270, 271, 305, 315)], 1_000_000, **options)
        files[f"{name}, profiles"] = tiff([(700, 7, 3_900_000), (34675, 7, 3_900_000)], 4_000_000, **options)
        for tag, kind in ((330, 4), (530, 3), (258, 3), (347, 7), (339, 3)):
            files[f"{name}, tag {tag}"] = tiff(
                [], 4_000_000, **options, **{f"t{tag}": (kind, 3_900_000 // (4 if kind == 4 else 2), -1)}
            )
        count = 480_000
        files[f"{name}, many strips"] = tiff([], 4_000_000, **options, t273=(4, count, -1), t279=(4, count, -1))
    files["TIFF, six million rows"] = tiff(
        [], 100_000, t256=(4, 1, 16), t257=(4, 1, 6_000_000), t278=(4, 1, 1), t279=(4, 1, 16)
    )
    files["TIFF, more bytes than there are"] = tiff([(tag, 1, 2_000_000) for tag in range(40000, 44000)], 1_000_000)
    return files


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def pngs() -> dict[str, bytes]:
    png = cv2.imencode(".png", PICTURE)[1].tobytes()
    packed, vast = zlib.compress(bytes(7_900_000), 9), zlib.compress(bytes(300 * MIB), 9)
    exif = b"MM\0*" + struct.pack(">IH", 8, 20_000)
    exif += b"".join(struct.pack(">HHII", 0x8000 + n, 2, 250_000, 0) for n in range(20_000))
    texts = {
        "zTXt": [chunk(b"zTXt", b"k%04d\0\0" % n + packed) for n in range(400)],
        "iTXt": [chunk(b"iTXt", b"k%04d\0\1\0\0\0" % n + packed) for n in range(400)],
        "iCCP": [chunk(b"iCCP", b"k\0\0" + packed)] * 200,
        "one iCCP": [chunk(b"iCCP", b"k\0\0" + vast)],
        "one zTXt": [chunk(b"zTXt", b"k\0\0" + vast)],
        "tEXt": [chunk(b"tEXt", b"k\0v")] * 50_000,
        "private": [chunk(b"prVt", b"v")] * 50_000,
        "sPLT": [chunk(b"sPLT", b"k%04d\0\x08" % n + bytes(6000)) for n in range(400)],
        "eXIf": [chunk(b"eXIf", exif.ljust(300_000, b"A"))],
    }
    files = {f"PNG, {name}": png[:33] + b"".join(chunks) + png[33:] for name, chunks in texts.items()}
    files["PNG, zTXt behind"] = png[:-12] + b"".join(texts["zTXt"]) + png[-12:]
    files["PNG, more pixels"] = png[:33] + chunk(b"IDAT", vast) + png[-12:]
    return files


def jpegs_and_webps() -> dict[str, bytes]:
    files = {}
    jpeg, webp = (cv2.imencode(suffix, PICTURE)[1].tobytes() for suffix in (".jpg", ".webp"))
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 5000)
    exif += b"".join(struct.pack(">HHII", 0x10E + n % 9, 2, 60_000, 0) for n in range(5000))
    for name, marker, content in (
        ("EXIF", 0xE1, exif), ("XMP", 0xE1, b"http://ns.adobe.com/xap/1.0/\0".ljust(65_000, b"A")),
        ("Photoshop", 0xED, b"Photoshop 3.0\0".ljust(65_000, b"A")), ("comment", 0xFE, bytes(65_000)),
        ("MPF", 0xE2, b"MPF\0".ljust(65_000, b"A")),
    ):  # fmt: skip
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        files[f"JPEG, {name}"] = jpeg[:2] + segment * 100 + jpeg[2:]
        tiny = bytes([0xFF, marker]) + struct.pack(">H", 10) + content[:8]
        files[f"JPEG, small {name}"] = jpeg[:2] + tiny * 50_000 + jpeg[2:]
    head = b"VP8X" + struct.pack("<I", 10) + b"\x2c\0\0\0" + 2 * (63).to_bytes(3, "little")
    for name, chunks in (
        ("unknown", (b"XXXX" + bytes(4)) * 100_000), ("EXIF", (b"EXIF" + bytes(4)) * 100_000),
        ("XMP", (b"XMP " + struct.pack("<I", 100_000) + bytes(100_000)) * 20),
    ):  # fmt: skip
        inner = b"WEBP" + head + webp[12:] + chunks
        files[f"WebP, {name}"] = b"RIFF" + struct.pack("<I", len(inner)) + inner
    return files


def dicoms() -> dict[str, bytes]:
    def put(data: bytes, element: bytes, before: bytes) -> bytes:
        at = data.index(before)
        return data[:at] + element + data[at:]

    rgb, grey = dicom(RGB, "RGB"), dicom(RGB[..., 0], "MONOCHROME2")
    item, end = struct.pack("<HHI", 0xFFFE, 0xE000, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    open_item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)

    def sequence(group: int, element: int, content: bytes, stated: bool, vr: bytes = b"SQ") -> bytes:
        head = struct.pack("<HH2sHI", group, element, vr, 0, len(content) if stated else 0xFFFFFFFF)
        return head + content + (b"" if stated else end)

    elements = b"".join(struct.pack("<HH2sH", 9 + n // 50_000, n % 50_000, b"LO", 0) for n in range(100_000))
    rows, pixels = b"\x28\0\x02\0US", b"\xe0\x7f\x10\0O"
    implicit = {
        f"{name} of many numbers": put(
            dicom(RGB[..., 0], "MONOCHROME2", syntax="1.2.840.10008.1.2"),
            struct.pack("<HHI", group, element, 4_000_000) + content * 2_000_000,
            before,
        )
        for name, group, element, content, before in (
            ("window", 0x28, 0x1050, b"1\\", pixels[:4]),
            ("aspect", 0x28, 0x34, b"1\\", b"\x28\0\0\x01"),
            ("kind", 0x28, 0x4, b"A\\", b"\x28\0\x10\0"),
        )
    }
    files = implicit | {
        "stated": put(rgb, sequence(8, 0x1140, item * 100_000, True), rows),
        "open": put(rgb, sequence(8, 0x1140, item * 100_000, False), rows),
        "open items": put(rgb, sequence(8, 0x1140, open_item * 60_000, False), rows),
        "unknown": put(rgb, sequence(9, 0x1010, item * 100_000, False, b"UN"), rows),
        "VOI tables": put(grey, sequence(0x28, 0x3010, item * 400_000, True), pixels),
        "open VOI tables": put(grey, sequence(0x28, 0x3010, item * 400_000, False), pixels),
        "modality tables": put(grey, sequence(0x28, 0x3000, item * 400_000, True), pixels),
        "elements": put(rgb, elements, rows),
        "nested": put(rgb, (struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + open_item[:8]) * 3000, rows),
    }  # fmt: skip
    return {f"DICOM, {name}": data for name, data in files.items()}


def heics() -> dict[str, bytes]:
    whole = next((Path(__file__).parent / "heic").glob("*.heic")).read_bytes()
    brands = whole[: int.from_bytes(whole[:4], "big")]

    def box(name: bytes, content: bytes, version: int | None = None) -> bytes:
        content = content if version is None else struct.pack(">I", version << 24) + content
        return struct.pack(">I4s", 8 + len(content), name) + content

    item = box(b"infe", struct.pack(">HH4s", 1, 0, b"hvc1") + b"\0", 2)
    common = box(b"hdlr", bytes(4) + b"pict" + bytes(13), 0) + box(b"pitm", struct.pack(">H", 1), 0)
    listed = box(b"iinf", struct.pack(">H", 1) + item, 0)
    places = b"".join(struct.pack(">HHHH", n, 0, 0, 65535) for n in range(12_000))
    metas = {
        "places without bytes": listed + box(b"iloc", b"\0\0" + struct.pack(">H", 12_000) + places, 1),
        "items": box(b"iinf", struct.pack(">H", 60_000) + item * 60_000, 0),
        "properties": listed + box(b"iprp", box(b"ipco", box(b"ispe", struct.pack(">II", 64, 64), 0) * 100_000)),
    }
    files = {
        f"HEIC, {name}": brands + box(b"meta", common + meta, 0) + box(b"mdat", bytes(99))
        for name, meta in metas.items()
    }
    files["HEIC, boxes behind"] = whole + box(b"free", b"") * 100_000
    return files
