"""Draws fundus photographs with known truth: grade, glaucoma, masks, centres and lesion counts.

    from tfrecord_tools.synthetic.draw import draw_fundus
    photograph = draw_fundus(7)                      # grade and glaucoma drawn as well
    severe = draw_fundus(7, grade=3, size=1024)      # the same eye, severely ill, at twice the resolution

One seed gives one picture: each part of it has its own random stream (streams.py), and nothing global is
read or changed. Bit for bit on one set of versions and x86-64 with AVX2 (AVX-512 or not); on a processor
without AVX2 and FMA a few of its values in a million differed by 1.
"""

import dataclasses
import operator

import numpy as np

from tfrecord_tools.synthetic import camera, lesion_paint, lesions, retina, vessels
from tfrecord_tools.synthetic.anatomy import Anatomy, plan_anatomy
from tfrecord_tools.synthetic.camera import Shot
from tfrecord_tools.synthetic.canvas import to_pixels
from tfrecord_tools.synthetic.streams import Stream, generator

SMALLEST, LARGEST = 96, 4096  # px of `size`


@dataclasses.dataclass(frozen=True)
class SyntheticFundus:
    """A drawn fundus photograph and all that is known about it. Pixel centres are whole numbers.

    Attributes:
      image: [H, W, 3] uint8 RGB, a lit disc on a black frame as a camera gives it.
      fov_centre: (x, y) px; the disc of the field of view may be cut off above and below.
      fov_radius: px.
      laterality: 'left' or 'right'.
      dr_grade: ICDR grade, 0..4.
      glaucoma: whether the cup is enlarged.
      vcdr: height of the cup's mask over height of the disc's mask.
      masks: [H, W] bool each: optic_disc, optic_cup, microaneurysms, haemorrhages, hard_exudates,
        cotton_wool_spots, neovascularisation.
      centres: (x, y) px of optic_disc and fovea.
      lesion_counts: number of lesions drawn, by the mask's name.
      camera: a key of camera.CAMERAS.
    """

    image: np.ndarray
    fov_centre: tuple[float, float]
    fov_radius: float
    laterality: str
    dr_grade: int
    glaucoma: bool
    vcdr: float
    masks: dict[str, np.ndarray]
    centres: dict[str, tuple[float, float]]
    lesion_counts: dict[str, int]
    camera: str


def draw_fundus(
    seed: int, *, grade: int | None = None, glaucoma: bool | None = None, size: int = 512
) -> SyntheticFundus:
    """Draws one fundus photograph.

    The same seed keeps the eye, the camera and the light, whatever the grade and with or without glaucoma.

    Args:
      seed: any integer >= 0.
      grade: ICDR grade 0..4; None draws it by lesions.GRADE_SHARES.
      glaucoma: None draws it by lesions.GLAUCOMA_SHARE.
      size: diameter of the field of view, px, 96..4096. The frame is larger or smaller, as the camera has it.

    Returns:
      The photograph and its truth.

    Raises:
      ValueError: an argument is out of range.
      TypeError: seed, grade or size is no whole number.
    """
    seed, size = operator.index(seed), operator.index(size)
    if seed < 0:
        raise ValueError(f"A seed is an integer >= 0. Received: {seed}.")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size is the field of view's diameter, {SMALLEST}..{LARGEST} px. Received: {size}.")
    own_grade, own_glaucoma = labels_of(seed)
    grade = own_grade if grade is None else operator.index(grade)
    if grade not in lesions.GRADE_LESIONS:
        raise ValueError(f"An ICDR grade is 0, 1, 2, 3 or 4. Received: {grade}.")
    glaucoma = own_glaucoma if glaucoma is None else bool(glaucoma)

    eye = plan_anatomy(seed, glaucoma)
    shot = camera.plan_shot(seed, size)
    tree = vessels.plan_vessels(seed, eye)
    counts = lesions.plan_counts(seed, grade)
    weights = lesions.placement_map(eye, vessels.occupancy(tree, lesions.MAP), shot.span)
    if grade in lesions.BEADED_GRADES:
        tree = vessels.bead_veins(seed, eye, tree)
    layers = vessels.draw_vessels(tree, size)

    planes = retina.paint_background(seed, eye, size)
    retina.paint_disc(seed, eye, planes)
    retina.paint_mimics(seed, eye, planes)
    square = _paint_eye(seed, eye, weights, counts, layers, planes)
    square["optic_disc"], square["optic_cup"] = retina.outline_masks(eye, size)
    lit = camera.fov_mask(shot, size)
    masks = {name: _framed(mask & lit, shot) for name, mask in square.items()}
    corner = np.array(shot.corner, dtype=float)
    return SyntheticFundus(
        image=camera.expose(seed, shot, lit, planes),
        fov_centre=_point(corner + to_pixels(np.zeros(2), size)),
        fov_radius=size / 2.0,
        laterality=eye.laterality,
        dr_grade=grade,
        glaucoma=glaucoma,
        vcdr=_height(masks["optic_cup"]) / _height(masks["optic_disc"]),
        masks=masks,
        centres={
            "optic_disc": _point(corner + to_pixels(np.array(eye.disc.centre), size)),
            "fovea": _point(corner + to_pixels(np.array(eye.fovea), size)),
        },
        lesion_counts={name: counts[name] for name in lesions.LESIONS},
        camera=shot.camera,
    )


def labels_of(seed: int) -> tuple[int, bool]:
    """Returns the grade and the glaucoma label that a seed has when none is asked for, without drawing it."""
    shares = lesions.GRADE_SHARES
    grade = int(generator(seed, Stream.GRADE).choice(len(shares), p=shares))
    return grade, bool(generator(seed, Stream.GLAUCOMA).random() < lesions.GLAUCOMA_SHARE)


def _paint_eye(
    seed: int,
    eye: Anatomy,
    weights: np.ndarray,
    counts: dict[str, int],
    layers: vessels.VesselLayers,
    planes: list[np.ndarray],
) -> dict[str, np.ndarray]:
    """Paints lesions and vessels in their order of depth; returns the lesions' masks in the FOV's square."""
    masks = {}
    spots = lesions.plan_hard_exudates(seed, eye, weights, counts["hard_exudates"])
    masks["hard_exudates"] = lesion_paint.paint_hard_exudates(seed, spots, planes)
    spots = lesions.plan_microaneurysms(seed, eye, weights, counts["microaneurysms"])
    masks["microaneurysms"] = lesion_paint.paint_microaneurysms(seed, spots, planes)
    retina.paint_vessels(seed, eye, layers, planes)
    spots = lesions.plan_cotton_wool_spots(seed, eye, weights, counts["cotton_wool_spots"])
    masks["cotton_wool_spots"] = lesion_paint.paint_cotton_wool_spots(seed, spots, planes)
    intraretinal = counts["haemorrhages"] - counts["preretinal"]
    spots = lesions.plan_haemorrhages(seed, eye, weights, intraretinal, counts["per_quadrant"])
    masks["haemorrhages"] = lesion_paint.paint_haemorrhages(seed, spots, planes)
    masks["neovascularisation"] = lesion_paint.paint_neovascularisation(
        seed, eye, weights, counts["neovascularisation"], planes
    )
    if counts["preretinal"]:
        masks["haemorrhages"] |= lesion_paint.paint_preretinal(seed, eye, weights, planes)
    return masks


def _framed(mask: np.ndarray, shot: Shot) -> np.ndarray:
    width, height = shot.frame_size
    frame = np.zeros((height, width), dtype=bool)
    first, last = shot.visible
    top, left = shot.corner[1] + first, shot.corner[0]
    frame[top : top + last - first, left : left + mask.shape[1]] = mask[first:last]
    return frame


def _height(mask: np.ndarray) -> int:
    rows = np.flatnonzero(mask.any(axis=1))
    return int(rows[-1] - rows[0] + 1)


def _point(xy: np.ndarray) -> tuple[float, float]:
    return float(xy[0]), float(xy[1])
