"""System C on the real Drishti-GS1 photographs, small and short: what a drawn disc cannot show."""

from __future__ import annotations

from pathlib import Path

import gin
import numpy as np
import pytest

from dr_edge import config  # noqa: F401  (gin names)
from dr_edge.data import augment  # noqa: F401  (gin names)
from dr_edge.evaluation import flow
from dr_edge.losses import segmentation as segmentation_losses  # noqa: F401  (gin names)
from dr_edge.models import unet  # noqa: F401  (gin names)
from dr_edge.training import loop

CONFIG = Path(__file__).resolve().parents[2] / "gin_configs" / "system_c.gin"
WEIGHTS = "mobilenet_v2_imagenet_notop.weights.h5"


@pytest.mark.slow
def test_drishti_from_download_to_report(real_data, real_weights, tmp_path):
    """system_c.gin at 128 px for 8 epochs: far from its result at 384 px, far above what an empty or full mask has."""
    from tfrecord_tools.assembly import build
    from tfrecord_tools.plan import BuildOptions

    records = tmp_path / "records"
    build(
        BuildOptions(
            dataset="drishti",
            data_dir=real_data / "drishti",
            out=records,
            image_size=128,
            preprocess="crop",
            workers=1,
            val_fraction=0.2,
        )
    )
    gin.clear_config()
    bindings = [
        f"encoders.mobilenet_v2_encoder.weights = {str(real_weights / WEIGHTS)!r}", f"train.records = {str(records)!r}",
        f"train.run_dir = {str(tmp_path / 'run')!r}", "train.epochs = 8", "schedules.cosine.warmup_epochs = 1.0",
        "schedules.cosine.learning_rate = 4e-3",
    ]  # fmt: skip
    config.parse([str(CONFIG)], bindings)
    try:
        loop.train()
        metrics = flow.evaluate(tmp_path / "run", flow.Settings(examples=1))["metrics"]
    finally:
        gin.clear_config()
    assert metrics["per_class"]["optic disc"]["images"] == metrics["per_class"]["optic cup"]["images"] == 51
    assert metrics["per_class"]["optic disc"]["dice"] > 0.7 and metrics["per_class"]["optic cup"]["dice"] > 0.5
    assert metrics["vcdr"]["images"] > 45 and metrics["vcdr"]["mean_absolute_error"] < 0.25


def test_vcdr_of_the_stored_masks_is_that_of_the_originals(real_data, tmp_path):
    """A mask that was cropped to 384 px and carried back gives the vCDR of the experts' map within a pixel or two."""
    import cv2

    from dr_edge.fundus import fov
    from dr_edge.fundus.crop import crop_mask
    from dr_edge.fundus.photograph import read_photograph
    from dr_edge.metrics import glaucoma

    errors = []
    for folder in sorted((real_data / "drishti" / "Test" / "GT").iterdir())[:8]:
        image = next((real_data / "drishti" / "Test" / "Images").rglob(f"{folder.name}.png"))
        photograph = read_photograph(image, min_side=384)
        found = fov.find_fov(photograph)
        own, stored = [], []
        for suffix in ("ODsegSoftmap", "cupsegSoftmap"):
            soft = cv2.imread(str(folder / "SoftMap" / f"{folder.name}_{suffix}.png"), cv2.IMREAD_GRAYSCALE)
            mask = soft >= 128
            own.append(mask)
            stored.append(glaucoma.photograph_mask(crop_mask(mask, found, 384), found.box, mask.shape))
        errors.append(abs(glaucoma.vcdr(*own) - glaucoma.vcdr(*stored)))
    assert np.mean(errors) < 0.015 and np.max(errors) < 0.04, errors
