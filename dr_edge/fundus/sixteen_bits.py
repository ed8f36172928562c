"""Pictures whose 16-bit samples use 10, 12 or 14 bits, as cameras store them: decoders give a black picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dr_edge.fundus.header_types import PhotographError

_QUARTER = 64  # of 256 levels: what 14 of 16 bits reach, or a level more where a decoder rounds
_SIXTEENTH = 16
_BRIGHT_SHARE = 1e-3  # of the samples that are not black: a caption burnt into a picture of 12 bits is white


def check_brightness(image: np.ndarray, name: str, read_deep: Callable[[], np.ndarray | None]) -> None:
    """Refuses a picture that would come out nearly black because its 16-bit samples hold 14 bits or fewer.

    Whether it holds 12 bits or was taken in the dark, its file does not say; scaled by a guess, the darkness of a poor
    photograph would be taken away.

    Args:
      image: [H, W, 3] uint8 of 16-bit samples.
      name: of the format, for the message.
      read_deep: returns the picture with its 16-bit samples; called where `image` is that dark.

    Raises:
      PhotographError: no sample reaches a quarter of the range, or hardly any a sixteenth.
    """
    brightest = int(image.max())
    if brightest <= _QUARTER:
        deep = read_deep()
        most = 0 if deep is None else int((deep[..., :3] if deep.ndim == 3 else deep).max())
        if most == 0 or most >= 1 << 14:  # black in any depth, or dark and no more than that
            return
        bits = next(bits for bits in (8, 9, 10, 12, 14) if most < 1 << bits)
        said = f"no sample of this 16-bit {name} is above {most}"
    elif np.count_nonzero(image > _SIXTEENTH) < _BRIGHT_SHARE * np.count_nonzero(image):
        bits, said = 12, f"hardly a sample of this 16-bit {name} is above {(1 << 12) - 1}"
    else:
        return
    raise PhotographError(
        "unsupported format",
        f"{said}: {bits} bits stored in 16, which would come out nearly black. Save it as 8-bit, from "
        f"0..{(1 << bits) - 1}.",
    )
