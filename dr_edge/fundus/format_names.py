"""Which format a file is of, by its first bytes: those that are read, and those that are refused by their name.

Standard library only.
"""

from __future__ import annotations

import os

HEAD_BYTES = 160  # so many tell
SUPPORTED = "JPEG, PNG, TIFF, BMP, WebP, HEIC, DICOM"
_READ = (
    (b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"II*\x00", "tiff"), (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"), (b"MM\x00+", "tiff"), (b"BM", "bmp"),
)  # fmt: skip
_PICTURES = (
    (b"GIF87a", "GIF, which holds 256 colours at most"), (b"GIF89a", "GIF, which holds 256 colours at most"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"), (b"8BPS", "Photoshop"), (b"\x76\x2f\x31\x01", "OpenEXR"), (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"), (b"P4\n", "PBM"), (b"P5\n", "PGM"), (b"P6\n", "PPM"), (b"P6 ", "PPM"), (b"P5 ", "PGM"),
    (b"\x00\x00\x01\x00", "an icon"), (b"FUJIFILM", "a camera's raw file"), (b"IIRS", "a camera's raw file"),
    (b"IIU\x00", "a camera's raw file"), (b"IIRO", "a camera's raw file"),
)  # fmt: skip
_OTHERS = (
    (b"%PDF", "a PDF"), (b"PK\x03\x04", "a ZIP archive, or a document of Word, Excel or PowerPoint"),
    (b"\x1f\x8b", "a gzip archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0", "an old document of Word or Excel"), (b"<?xml", "XML"), (b"<svg", "SVG"),
    (b"<!DOCTYPE html", "a web page"), (b"<html", "a web page"), (b"{", "JSON"),
)  # fmt: skip
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevm", b"hevs"}
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_AVIF_BRANDS = {b"avif", b"avis"}


def read_format(head: bytes) -> str | None:
    """Returns 'jpeg', 'png', 'tiff', 'bmp', 'webp', 'heic' or 'dicom'; None for what is not read.

    Args:
      head: the first `HEAD_BYTES` of the file, or more.
    """
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return "heic" if _brands(head) & _HEIC_BRANDS and not _brands(head) & _AVIF_BRANDS else None
    return next((name for magic, name in _READ if head.startswith(magic)), None)


def picture_name(head: bytes) -> str | None:
    """Returns the name of a picture format that is not read; None for one that is, and for what is no picture."""
    if head[4:8] == b"ftyp" and read_format(head) is None:
        return "AVIF" if _brands(head) & _AVIF_BRANDS else "a film, or a camera's raw file"
    return next((name for magic, name in _PICTURES if head.startswith(magic)), None)


def file_name(head: bytes) -> str:
    """Returns in words what a file is that is no photograph."""
    known = picture_name(head) or next((name for magic, name in _OTHERS if head.startswith(magic)), None)
    if known:
        return known
    if not head:
        return "an empty file"
    text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head[:HEAD_BYTES])
    return "a text" if text else f"a file that begins with {head[:8].hex()}"


def is_picture(path: str | os.PathLike) -> bool:
    """Tells by its first bytes whether a regular file is a picture, of a format read or refused by name."""
    try:
        if not os.path.isfile(path):  # a pipe would block for ever
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return looks_like_picture(head)


def looks_like_picture(head: bytes) -> bool:
    """Tells whether the first bytes of a file are those of a picture."""
    if head.startswith(b"BM"):  # so may a text begin: "BMI;age"
        return len(head) > 18 and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return read_format(head) is not None or picture_name(head) is not None


def _brands(head: bytes) -> set[bytes]:
    """Returns the brands of an ISO base media file, the major one and the compatible ones."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
