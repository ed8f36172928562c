"""Bundles of three kinds, exported from networks of a thousand parameters; each is made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from resealed import reseal
from stand_in import STAND_IN_SIZE, export

SIDE = STAND_IN_SIZE
DISC_FROM, CUP_FROM = 130.0, 215.0  # red level from which the segmentation stand-in sees disc and cup


@pytest.fixture(scope="session")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """changed(bundle, {path: value ...}): a copy exported with another metadata.json, "artifacts.float32~tflite.note"
    for nested keys ("~": a dot); "*" for all keys that there are.
    """

    def change(bundle: Path, values: dict[str, Any]) -> Path:
        copy = shutil.copytree(bundle, tmp_path_factory.mktemp("changed") / "bundle")
        content = json.loads((copy / "metadata.json").read_text())
        for path, value in values.items():
            *above, last = (part.replace("~", ".") for part in path.split("."))
            places = [content]
            for key in above:
                places = [inner for place in places for inner in (place.values() if key == "*" else [place[key]])]
            for place in places:
                place[last] = value
        return reseal(copy, content)

    return change


@pytest.fixture(scope="session")
def bundle_dir(stand_in_bundle: Path, changed: Callable[..., Path]) -> Path:
    """As `stand_in_bundle`, but no photograph is too unlike the stand-in's training discs."""
    return changed(stand_in_bundle, {"artifacts.*.ood.threshold": 1e6})


@pytest.fixture(scope="session")
def mask_bundle(write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optic disc and cup wherever red is above DISC_FROM and CUP_FROM: masks whose truth a test can draw."""
    import keras

    from dr_edge.data import tasks

    image = keras.Input((SIDE, SIDE, 3), name="image")
    layer = keras.layers.Conv2D(2, 1, name="logits")
    model = keras.Model(image, layer(image))
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[0, 0, 0] = 0.2
    layer.set_weights([kernel, -0.2 * np.array([DISC_FROM, CUP_FROM], np.float32)])
    directory = tmp_path_factory.mktemp("masks")
    return export(write_run(directory / "run", tasks.optic_disc_and_cup(), model), directory / "bundle")


@pytest.fixture(scope="session")
def fovea_bundle(
    write_run: Callable[..., Path], changed: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """As `mask_bundle`, and the fovea where green is far above red: a spot that a test can paint. The records that it
    is exported with know no fovea, so that the manifest is told of it afterwards.
    """
    import keras

    from dr_edge.data import tasks

    image = keras.Input((SIDE, SIDE, 3), name="image")
    layer = keras.layers.Conv2D(3, 1, name="logits")
    model = keras.Model(image, layer(image))
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 0, :2], kernel[0, 0, :2, 2] = 0.2, (-0.05, 0.05)
    layer.set_weights([kernel, np.array([-0.2 * DISC_FROM, -0.2 * CUP_FROM, -2.0], np.float32)])
    directory = tmp_path_factory.mktemp("fovea")
    names = tasks.optic_disc_cup_and_fovea().class_names
    task = tasks.Task("disc_cup_and_fovea", "segmentation", names, masks=("optic_disc", "optic_cup", "optic_cup"))
    bundle = export(write_run(directory / "run", task, model), directory / "bundle")
    return changed(bundle, {"task.centres": ["fovea"]})


@pytest.fixture(scope="session")
def disease_bundle(write_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One disease of a multilabel task, from a head for which there is no heat map in closed form."""
    import keras
    from keras import layers

    from dr_edge.data import tasks

    keras.utils.set_random_seed(3)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(6, 5, strides=4, activation="relu", name="cam_features")(layers.Rescaling(1 / 255)(image))
    x = layers.Dense(6, activation="relu", name="penultimate")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(image, layers.Dense(1, name="logits")(x))
    directory = tmp_path_factory.mktemp("diseases")
    return export(write_run(directory / "run", tasks.diseases(("glaucoma",)), model), directory / "bundle")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn photographs (a.jpg, b.png, c.tif), a blurred one (blurred.png), a black frame and a letter."""
    from tfrecord_tools.synthetic.draw import draw_fundus

    directory = tmp_path_factory.mktemp("photographs")
    for seed, name in ((11, "a.jpg"), (12, "b.png"), (13, "c.tif")):
        cv2.imwrite(str(directory / name), draw_fundus(seed, size=512).image[..., ::-1])
    blurred = cv2.GaussianBlur(draw_fundus(14, size=512).image, (0, 0), 24)
    cv2.imwrite(str(directory / "blurred.png"), blurred[..., ::-1])
    cv2.imwrite(str(directory / "black.png"), np.full((300, 400, 3), 4, np.uint8))
    letter = np.full((400, 300, 3), 250, np.uint8)
    for row in range(40, 360, 20):
        letter[row : row + 6, 30:260:2] = 30
    cv2.imwrite(str(directory / "letter.png"), letter)
    return directory
