"""Which versions of the code decide the bytes of records: raised where the same photographs give others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

BUILDER_VERSION = 1
READER_VERSION = 2  # of DICOM, TIFF and others; since 1, JPEG, PNG and BMP give the same pixels
UNCHANGED = (".jpg", ".jpeg", ".png", ".bmp")


def of_every_record() -> dict[str, Any]:
    """Returns the versions that decide the bytes of every record."""
    return {"builder": BUILDER_VERSION, "opencv": cv2.__version__, "numpy": np.__version__}


def of_records(paths: Iterable[str]) -> dict[str, Any]:
    """Returns the versions that decide the bytes of the records of these photographs (relative paths, "" if drawn).

    Where pixels never changed, they are what an earlier release stated.
    """
    found = of_every_record()
    if any(map(reader_of, paths)):
        found["reader"] = READER_VERSION
    return found


def reader_of(path: str) -> int:
    """Returns the version of the reader that a photograph's pixels depend on; 0 where they never changed."""
    return READER_VERSION if path and Path(path).suffix.lower() not in UNCHANGED else 0
