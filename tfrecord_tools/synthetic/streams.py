"""Random streams of a drawn fundus image: one per part of the picture, all derived from one seed.

A part draws from its own stream only, so that a change in one part (a new lesion type, say) leaves every
other part of every picture as it was. The numbers below are part of the picture: never renumber, only append.
"""

import enum

import numpy as np


class Stream(enum.IntEnum):
    """Parts of a drawn fundus image that have a random stream of their own."""

    GRADE = 1
    GLAUCOMA = 2
    GEOMETRY = 3
    DISC = 4
    CUP = 5
    VESSELS = 6
    TEXTURE = 7
    COLOUR = 8
    MIMICS = 9
    CAMERA = 10
    NOISE = 11
    DISC_COLOUR = 12
    VESSEL_COLOUR = 13
    LESION_COUNTS = 20
    MICROANEURYSMS = 21
    HAEMORRHAGES = 22
    HARD_EXUDATES = 23
    COTTON_WOOL_SPOTS = 24
    NEOVASCULARISATION = 25
    PRERETINAL = 26
    BEADING = 27


def generator(seed: int, stream: Stream) -> np.random.Generator:
    """Makes the generator of one stream of one picture.

    Args:
      seed: any integer >= 0.
      stream: the part of the picture that draws from it.

    Returns:
      A PCG64 generator that depends on the two arguments and on nothing else.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(stream)])))
