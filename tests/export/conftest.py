"""Drawn photographs as records of 96 px, and networks of the phone's family with them: one as it begins, one trained
for seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from dr_edge import metadata

SIZE = 96
MadeOnce = Callable[[str, Callable[[Path], object]], Path]


def write_records(directory: Path, size: int, counts: Mapping[str, int], method: str = "graham") -> Path:
    """Writes drawn fundus photographs as records of `size` px; alternating grades 0 and 3, masks of disc and cup."""
    import tensorflow as tf

    from dr_edge.data import records
    from dr_edge.fundus.crop import FieldOfView, crop_mask, crop_square
    from dr_edge.fundus.graham import PREPROCESS, preprocess
    from tfrecord_tools.synthetic.draw import draw_fundus

    def png(image: np.ndarray) -> bytes:
        return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()

    directory.mkdir(parents=True)
    splits, seed = {}, 0
    for split, count in counts.items():
        name = records.shard_name(split, 0, 1)
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for index in range(count):
                seed += 1
                synthetic = draw_fundus(seed, grade=3 * (index % 2), size=2 * size)
                fov = FieldOfView(*synthetic.fov_centre, synthetic.fov_radius)
                crop = crop_square(synthetic.image, fov, size)
                masks = {
                    key: png(crop_mask(synthetic.masks[key], fov, size).astype(np.uint8) * 255)
                    for key in ("optic_disc", "optic_cup")
                }
                record = records.Record(
                    encoded=png(preprocess(crop, method)),
                    photograph=b"" if method == "crop" else png(crop),
                    image_id=f"{split}/{index}",
                    path=f"{seed}.png",
                    sha256="0" * 64,
                    patient_id=f"p{seed}",
                    source_size=synthetic.image.shape[:2],
                    crop_box=fov.box,
                    labels={"dr_grade": synthetic.dr_grade, "glaucoma": int(synthetic.glaucoma)},
                    masks=masks,
                )
                writer.write(records.encode(record))
        grades = {"0": count - count // 2, "3": count // 2}
        splits[split] = {
            "examples": count,
            "classes": {"dr_grade": grades, "glaucoma": {"0": count // 2, "1": count // 2}},
            "masks": {"optic_disc": count, "optic_cup": count},
            "shards": [{"file": name, "sha256": "", "examples": count, "bytes": 0}],
        }
    content = {
        "dataset": "drawn",
        "image_size": size,
        "preprocess": {"method": method, **PREPROCESS[method]},
        "labels": {"dr_grade": ["0", "1", "2", "3", "4"], "glaucoma": ["no", "yes"]},
        "masks": ["optic_disc", "optic_cup"],
        "centres": [],
        "splits": splits,
    }
    metadata.write_manifest(directory, "dataset", content)
    return directory


def write_run(directory: Path, records: Path, model, task, size: int) -> Path:
    """Writes a finished run directory around a Keras model."""
    info = metadata.read_manifest(records, "dataset")
    directory.mkdir(parents=True)
    model.save(directory / "best.keras")
    content = {
        "status": "finished",
        "task": task.to_json(),
        "model": {"name": model.name, "parameters": model.count_params()},
        "records": str(records),
        "image_size": size,
        "preprocess": info["preprocess"],
        "best": {"metric": "auc", "value": 0.5, "epoch": 1, "step": 1},
    }
    metadata.write_manifest(directory, "run", content)
    return directory


def settle(model, records: Path, task) -> None:
    """Gives batch normalisation the statistics of the training photographs, as training would."""
    import keras

    from dr_edge.data import pipeline

    images = next(iter(pipeline.evaluation_batches(records, "train", task, 24)))["image"]
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)


@pytest.fixture(scope="session")
def records(made_once: MadeOnce) -> Path:
    """Records of 24 training, 12 validation and 16 test photographs, drawn, 96 px, Graham-normalised."""
    counts = {"train": 24, "val": 12, "test": 16}
    return made_once("records", lambda directory: write_records(directory, SIZE, counts))


@pytest.fixture(scope="session")
def run_dir(made_once: MadeOnce, records: Path) -> Path:
    """A finished run of MobileNetV3-Small + CBAM at 96 px, referable DR, with weights that nobody trained."""
    return made_once("untrained_run", lambda directory: _untrained(directory, records))


def _untrained(directory: Path, records: Path) -> None:
    import keras

    from dr_edge.data import tasks
    from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam

    keras.utils.set_random_seed(0)
    task = tasks.referable_dr()
    model = mobilenet_v3_cbam(image_size=SIZE, outputs=2, variant="small")
    settle(model, records, task)
    write_run(directory, records, model, task, SIZE)


@pytest.fixture(scope="session")
def trained_run_dir(made_once: MadeOnce, records: Path) -> Path:
    """A finished run as `run_dir`, trained for seconds until it tells the training photographs apart.

    Weights that nobody trained give answers and heat maps out of small differences of small numbers, which 8 bits turn
    into others: what a kernel may do to them says nothing of a network that people use.
    """
    return made_once("trained_run", lambda directory: _trained(directory, records))


def _trained(directory: Path, records: Path) -> None:
    import keras

    from dr_edge.data import pipeline, tasks
    from dr_edge.models.mobilenet_v3_cbam import mobilenet_v3_cbam

    keras.utils.set_random_seed(0)
    task = tasks.referable_dr()
    model = mobilenet_v3_cbam(image_size=SIZE, outputs=2, variant="small", batch_norm_momentum=0.8)
    batch = next(iter(pipeline.evaluation_batches(records, "train", task, 24)))
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(batch["image"].numpy(), batch["label"].numpy(), batch_size=8, epochs=30, verbose=0).history
    assert history["loss"][-1] < 0.1
    settle(model, records, task)
    write_run(directory, records, model, task, SIZE)


@pytest.fixture(scope="session")
def run_on_synthetic(records):
    """run_on_synthetic(directory, task, model): a finished run on `records` around a network that nobody trained."""

    def make(directory: Path, task, model) -> Path:
        settle(model, records, task)
        return write_run(directory, records, model, task, SIZE)

    return make
