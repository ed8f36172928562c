"""The quality score falls with blur, darkness, burnt-out light and a small field of view, and with nothing else."""

import cv2
import numpy as np
import pytest

from dr_edge.fundus.crop import disc_mask
from dr_edge.fundus.quality import Quality, quality


def vessel_crop(size: int = 384, seed: int = 0) -> np.ndarray:
    """A disc with dark branching lines on an even ground, [size, size, 3] uint8."""
    random = np.random.default_rng(seed)
    image = np.tile(np.array([170.0, 95, 50]), (size, size, 1))
    for _ in range(14):
        point, angle, width = np.array([size * 0.7, size / 2]), random.uniform(0, 6.3), size / 90
        for _ in range(60):
            step = point + size / 60 * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(
                image,
                point.astype(int).tolist(),
                step.astype(int).tolist(),
                (152, 76, 40),
                max(1, int(width)),
            )
            point, angle, width = step, angle + random.normal() * 0.25, width * 0.985
    image = cv2.GaussianBlur(image, (0, 0), size / 400) + random.normal(0, 1.5, image.shape)
    image[~disc_mask(size)] = 0
    return np.clip(image, 0, 255).astype(np.uint8)


def test_a_sharp_well_lit_crop_scores_high():
    measured = quality(vessel_crop())
    assert measured.score > 0.6
    assert measured.fov_fraction > 0.97 and measured.illumination > 0.9 and measured.colour > 0.4


def test_blur_lowers_it_step_by_step_to_nothing():
    crop = vessel_crop()
    scores = [quality(crop).score]
    scores += [quality(cv2.GaussianBlur(crop, (0, 0), sigma)).score for sigma in (1, 2, 3, 5, 8, 14)]
    assert all(earlier > later for earlier, later in zip(scores, scores[1:], strict=False) if earlier > 0)
    assert scores[-1] < 0.1


def test_darkness_lowers_it_step_by_step():
    crop = vessel_crop().astype(float)
    scores = [quality((crop * level).astype(np.uint8)).score for level in (1, 0.3, 0.2, 0.1, 0.05)]
    assert all(earlier > later for earlier, later in zip(scores, scores[1:], strict=False))
    assert scores[-1] < 0.05


def test_burnt_out_light_lowers_it():
    crop = vessel_crop().astype(int)
    burnt = np.clip(crop * 3 + 60, 0, 255).astype(np.uint8)
    assert quality(burnt).illumination < 0.4
    assert quality(burnt).score < 0.5 * quality(vessel_crop()).score


def test_little_field_of_view_lowers_it():
    crop = vessel_crop()
    crop[:, : int(0.7 * crop.shape[1])] = 0
    assert quality(crop).fov_fraction < 0.3
    assert quality(crop).score < 0.3


def test_resolution_hardly_matters():
    crop = vessel_crop(512)
    half = cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA)
    assert quality(half).score == pytest.approx(quality(crop).score, abs=0.02)


def test_grey_is_seen():
    grey = cv2.cvtColor(cv2.cvtColor(vessel_crop(), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert quality(grey).colour == 0
    assert quality(grey).score > 0.4


def test_black_is_zero_and_all_values_are_fractions():
    assert quality(np.zeros((64, 64, 3), np.uint8)) == Quality(0, 0, 0, 0, 0, 0)
    for image in (vessel_crop(), np.full((64, 64, 3), 255, np.uint8), vessel_crop(64)):
        assert all(0 <= value <= 1 for value in quality(image).as_dict().values())
        assert set(quality(image).as_dict()) == {
            "focus",
            "contrast",
            "illumination",
            "fov_fraction",
            "colour",
            "score",
        }


@pytest.mark.parametrize("shape", [(16, 16, 3), (64, 60, 3), (64, 64)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="quality needs"):
        quality(np.zeros(shape, np.uint8))
