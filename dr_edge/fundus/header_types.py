"""What is said of an image file before it is decoded, and the error of one not taken. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 100_000_000
SMALLEST_SIDE = 16  # below this there is no picture to speak of


class RefusedError(ValueError):
    """Why a file or a picture is not taken.

    Attributes:
      reason: short, stable text for `rejected.csv`.
      detail: what came, and what to do.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self):  # so that a worker process can hand it back
        return type(self), (self.reason, self.detail)


class PhotographError(RefusedError):
    """A file that cannot be taken as a photograph: 'truncated', 'empty file', 'unsupported format' ..."""


@dataclass(frozen=True)
class ImageHeader:
    """Type and stored size of an image file.

    Attributes:
      format: 'jpeg', 'png', 'tiff', 'bmp', 'webp', 'heic' or 'dicom'.
      height: stored rows, before any rotation; 0 for DICOM and HEIC, whose readers (`dicom.py`, `heic.py`) find it.
      width: stored columns; 0 for DICOM and HEIC.
      channels: stored channels, alpha included; 0 for DICOM and HEIC.
      alpha: True when the file carries transparency.
      orientation: 1..8, what the EXIF of a JPEG, PNG or WebP states; 1 for others, which their decoder turns.
      bits: of a sample.
      page: of a TIFF, the position of the directory of the picture that is taken; 0 for others.
      pages: how many pages a TIFF has, thumbnails and masks counted; 1 for others.
      checked: False where the decoder does not notice damaged data, so that another must look first (`tiff.py`).
    """

    format: str
    height: int
    width: int
    channels: int
    alpha: bool = False
    orientation: int = 1
    bits: int = 8
    page: int = 0
    pages: int = 1
    checked: bool = True


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Raises PhotographError when a stored size is below 16 pixels a side or above `max_pixels` in all."""
    if height * width > max_pixels:
        raise PhotographError(
            "too many pixels", f"{width}x{height} is more than the limit of {max_pixels}; it was not decoded."
        )
    if min(height, width) < SMALLEST_SIDE:
        raise PhotographError("too small", f"{width}x{height}. At least {SMALLEST_SIDE} pixels a side are needed.")
