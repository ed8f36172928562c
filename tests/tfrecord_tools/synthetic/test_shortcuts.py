"""No shortcut: nothing but the lesions tells the grade."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfrecord_tools.synthetic.camera import CAMERAS, plan_shot
from tfrecord_tools.synthetic.draw import SyntheticFundus, draw_fundus, labels_of

COUNT = 200  # pictures of each comparison


def _traits(eye: SyntheticFundus) -> dict[str, float]:
    """Measures what a lazy model could use: colour and noise of the background, frame, side, vCDR."""
    y, x = np.mgrid[: eye.image.shape[0], : eye.image.shape[1]]
    inside = np.hypot(x - eye.fov_centre[0], y - eye.fov_centre[1]) < 0.9 * eye.fov_radius
    ill = np.any(list(eye.masks.values()), axis=0)
    background = inside & ~cv2.dilate(ill.astype(np.uint8), np.ones((5, 5))).astype(bool)
    colour = eye.image[background].astype(float)
    rough = eye.image[..., 1].astype(float) - cv2.medianBlur(eye.image[..., 1], 5)
    return {
        "red": colour[:, 0].mean(),
        "green": colour[:, 1].mean(),
        "blue": colour[:, 2].mean(),
        "spread": colour[:, 1].std(),
        "noise": rough[background].std(),
        "height": eye.image.shape[0],
        "width": eye.image.shape[1],
        "off-centre": eye.fov_centre[0] / eye.image.shape[1],
        "right": float(eye.laterality == "right"),
        "vcdr": eye.vcdr,
        "border": float(eye.image[:4, :4].mean()),
    }


@pytest.fixture(scope="module")
def pairs() -> tuple[list[dict[str, float]], np.ndarray]:
    grades = np.arange(COUNT) % 2
    return [_traits(draw_fundus(5000 + i, grade=int(g), size=96)) for i, g in enumerate(grades)], grades


def test_background_does_not_tell_grade_one_from_zero(
    pairs: tuple[list[dict[str, float]], np.ndarray],
) -> None:
    traits, grades = pairs
    for name in traits[0]:
        area = roc_auc_score(grades, [trait[name] for trait in traits])
        assert abs(area - 0.5) < 0.1, f"{name}: AUC {area:.3f}"


@pytest.mark.slow
def test_background_does_not_tell_referable_from_healthy() -> None:
    grades = [0, 2, 0, 3, 0, 4] * (COUNT // 6)
    traits = [_traits(draw_fundus(7000 + i, grade=g, size=96)) for i, g in enumerate(grades)]
    for name in ("red", "green", "blue", "height", "width", "off-centre", "right", "vcdr", "border"):
        area = roc_auc_score(np.array(grades) >= 2, [trait[name] for trait in traits])
        assert abs(area - 0.5) < 0.1, f"{name}: AUC {area:.3f}"


def test_drawn_grade_is_independent_of_camera_and_glaucoma() -> None:
    seeds = range(1500)
    labels = [labels_of(seed) for seed in seeds]
    referable = np.array([grade >= 2 for grade, _ in labels])
    shots = [plan_shot(seed, 256).camera for seed in seeds]
    traits = {name: np.array([shot == name for shot in shots]) for name in CAMERAS}
    traits["glaucoma"] = np.array([glaucoma for _, glaucoma in labels])
    for name, trait in traits.items():
        assert abs(referable[trait].mean() - referable[~trait].mean()) < 0.1, name
