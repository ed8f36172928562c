"""One named change of a photograph: an array or the bytes of a file in, the bytes of a file out.

A perturbation changes how a retina was stored, framed or lit, and leaves its disease as it is: an answer that changes
with it speaks of the file, not of the eye.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dr_edge.fundus.photograph import decode_photograph
from dr_edge.perturbations import stored

Box = tuple[float, float, float, float]  # top, left, bottom, right of the retina in pixels, as FieldOfView.box
Change = Callable[[np.ndarray, Box, np.random.Generator], np.ndarray]


def unchanged(image: np.ndarray, box: Box, rng: np.random.Generator) -> np.ndarray:
    """Returns the picture as it is: what changes is how it is stored."""
    return image


@dataclass(frozen=True)
class Perturbation:
    """A named change.

    Attributes:
      name: for programs, lower case with underscores.
      title: for tables.
      imitates: the sentence that says what does this to photographs.
      change: ([H, W, 3] uint8 RGB, box, random generator) -> [H', W', 3] uint8 RGB, or [H', W'] for grey.
      write: that picture -> the bytes of a file; JPEG of quality 95, 4:4:4, unless how it is stored is the change.
      on_crops: it means the same on a stored crop of a few hundred pixels. False for what acts on the pixels of the
        whole photograph (compression, noise, resizing, a screenshot).
    """

    name: str
    title: str
    imitates: str
    change: Change = unchanged
    write: Callable[[np.ndarray], bytes] = stored.jpeg
    on_crops: bool = True

    def __call__(self, photograph: np.ndarray | bytes, box: Box | None = None, seed: int = 0) -> bytes:
        """Returns the changed photograph as a file.

        Args:
          photograph: [H, W, 3] uint8 RGB, upright; or the bytes of a file.
          box: of the retina in pixels of the upright photograph, which sizes and places follow; None: the whole frame.
          seed: the same seed gives the same bytes.

        Raises:
          PhotographError: the bytes are no readable photograph.
          ValueError: an array of another shape or dtype.
        """
        image = decode_photograph(photograph) if isinstance(photograph, bytes) else photograph
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"{self.name} needs [H, W, 3] uint8 RGB. Received: {list(image.shape)} {image.dtype}.")
        height, width = image.shape[:2]
        place = box or (0.0, 0.0, float(height), float(width))
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return self.write(np.ascontiguousarray(self.change(image, place, rng)))
