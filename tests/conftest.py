"""Fixtures that several rooms share; each says what it gives."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A shell's background job, or nohup, starts the tests with signals ignored, and the commands they interrupt would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

REPOSITORY = Path(__file__).resolve().parent.parent
COLOURED_SIZE = 32


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real photographs (DR_EDGE_DATA, by default ../shared/data); the test is skipped
    without it.
    """
    directory = Path(os.environ.get("DR_EDGE_DATA", REPOSITORY / ".." / "shared" / "data")).resolve()
    if not directory.is_dir():
        pytest.skip(f"no real photographs at {directory}; set DR_EDGE_DATA to a directory that holds them")
    return directory


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The directory of ImageNet weights (DR_EDGE_WEIGHTS, by default ../shared/weights); skipped without
    it.
    """
    directory = Path(os.environ.get("DR_EDGE_WEIGHTS", REPOSITORY / ".." / "shared" / "weights")).resolve()
    if not directory.is_dir():
        pytest.skip(f"no ImageNet weights at {directory}; set DR_EDGE_WEIGHTS to a directory that holds them")
    return directory


@pytest.fixture(scope="session")
def starts() -> Callable[[Callable[[], object]], float]:
    """starts(run): the processor time of the processes that run() starts, in starts of a bare Python.

    Neither a slow processor nor a busy one changes it much: `--help` takes 3 to 6 of them, importing TensorFlow more than 100.
    """

    def seconds(run: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def measure(run: Callable[[], object]) -> float:
        bare = [seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(3)]
        return seconds(run) / max(sorted(bare)[1], 1e-3)

    return measure


STAND_IN_SIZE = 64


def _stand_in_record(rng: np.random.Generator, split: str, index: int) -> Any:
    """Draws a grey disc with, for grade >= 2, one bright square (its mask is "hard_exudates")."""
    import cv2

    from dr_edge.data.records import Record

    size, patient = STAND_IN_SIZE, index // 2
    grade = (0, 2, 1, 3, 0, 4)[index % 6]
    photograph = np.zeros((size, size, 3), np.uint8)
    cv2.circle(photograph, (size // 2, size // 2), size // 2 - 2, (60, 90, 170), -1)
    photograph = np.clip(photograph + rng.normal(0, 6, photograph.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    if grade >= 2:
        x, y = rng.integers(14, size - 24, 2)
        photograph[y : y + 10, x : x + 10], mask[y : y + 10, x : x + 10] = (120, 240, 250), 255
    disc, cup = np.zeros_like(mask), np.zeros_like(mask)
    cv2.circle(disc, (20, 32), 7, 255, -1)
    cv2.circle(cup, (20, 32), 3, 255, -1)
    preprocessed = np.clip(photograph.astype(np.float32) * 0.8 + 20, 0, 255).astype(np.uint8)
    png = {
        name: cv2.imencode(".png", image)[1].tobytes()
        for name, image in {
            "hard_exudates": mask,
            "optic_disc": disc,
            "optic_cup": cup,
            "encoded": preprocessed,
        }.items()
    }
    return Record(
        encoded=png.pop("encoded"),
        photograph=cv2.imencode(".jpg", photograph)[1].tobytes(),
        image_id=f"{split}/eye_{index:03d}",
        path=f"{split}/eye_{index:03d}.png",
        sha256=f"{index:064x}",
        patient_id=f"{split}-patient-{patient}",
        source_size=(480, 640) if patient % 3 else (960, 1280),
        crop_box=(0.0, 80.0, 480.0, 560.0),
        laterality=("left", "right")[index % 2],
        quality=float(rng.uniform(0.3, 1.0)),
        labels={"dr_grade": grade, "glaucoma": (index % 3 == 0) if index % 5 else -1},
        masks=png,
    )


@pytest.fixture(scope="session")
def stand_in_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A records directory of 64 px drawn discs (36 train, 30 val, 36 test; two eyes per patient); do not
    change it.
    """
    import tensorflow as tf

    from dr_edge import metadata
    from dr_edge.data import records as records_lib
    from dr_edge.data.tasks import GRADE_NAMES

    directory = tmp_path_factory.mktemp("stand_in") / "records"
    directory.mkdir()
    splits = {}
    for number, (split, count) in enumerate({"train": 36, "val": 30, "test": 36}.items()):
        rng = np.random.default_rng(number)
        drawn = [_stand_in_record(rng, split, index) for index in range(count)]
        path = directory / records_lib.shard_name(split, 0, 1)
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in drawn:
                writer.write(records_lib.encode(record))
        counted = {
            name: Counter(str(int(record.labels[name])) for record in drawn)
            for name in ("dr_grade", "glaucoma")
        }
        splits[split] = {
            "examples": count,
            "classes": {name: dict(values) for name, values in counted.items()},
            "shards": [
                {
                    "file": path.name,
                    "sha256": metadata.sha256_file(path),
                    "examples": count,
                    "bytes": path.stat().st_size,
                }
            ],
        }
    metadata.write_manifest(
        directory,
        "dataset",
        {
            "dataset": "stand_in",
            "image_size": STAND_IN_SIZE,
            "preprocess": {"method": "crop"},
            "labels": {"dr_grade": list(GRADE_NAMES), "glaucoma": ["absent", "present"]},
            "masks": ["hard_exudates", "optic_disc", "optic_cup"],
            "centres": [],
            "splits": splits,
        },
    )
    return directory


@pytest.fixture(scope="session")
def make_model() -> Callable[[int], Any]:
    """make_model(classes): an untrained stand-in classifier."""
    return stand_in_model


def stand_in_model(classes: int) -> Any:
    """A flat convolutional classifier of 64 px images with the named layers of dr_edge.models, 1,000
    parameters.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((STAND_IN_SIZE, STAND_IN_SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = layers.Conv2D(8, 5, strides=4, activation="relu")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="cam_features")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(8, activation="relu", name="penultimate")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


@pytest.fixture(scope="session")
def write_run(stand_in_records: Path) -> Callable[..., Path]:
    """write_run(directory, task, model): what a finished training on `stand_in_records` leaves for later
    stages.
    """
    from dr_edge import metadata

    def write(directory: Path, task: Any, model: Any) -> Path:
        directory.mkdir(parents=True)
        model.save(directory / "best.keras")
        content = {
            "status": "finished",
            "task": task.to_json(),
            "model": {"name": "stand_in", "parameters": model.count_params()},
            "records": str(stand_in_records),
            "image_size": STAND_IN_SIZE,
            "preprocess": {"method": "crop"},
            "best": {"metric": "auc", "value": 0.9, "epoch": 1, "step": 1},
        }
        metadata.write_manifest(directory, "run", content)
        return directory

    return write


@pytest.fixture(scope="session")
def stand_in_run(
    tmp_path_factory: pytest.TempPathFactory, stand_in_records: Path, write_run: Callable[..., Path]
) -> Path:
    """A finished run on `stand_in_records`, task referable_dr, trained for a few seconds; copy it before
    writing to it.
    """
    import keras

    from dr_edge.data import pipeline, tasks

    task = tasks.referable_dr()
    model = stand_in_model(2)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batch = next(iter(pipeline.evaluation_batches(stand_in_records, "train", task, 36)))
    model.fit(batch["image"], batch["label"], epochs=40, batch_size=12, verbose=0)
    return write_run(tmp_path_factory.mktemp("runs") / "referable", task, model)


@pytest.fixture
def hospital(stand_in_records: Path, tmp_path: Path) -> Path:
    """`stand_in_records` of another hospital: another name, and other photographs to validate on."""
    from dr_edge import metadata

    other = shutil.copytree(stand_in_records, tmp_path / "hospital")
    content = metadata.read_manifest(other, "dataset")
    metadata.write_manifest(other, "dataset", content | {"dataset": "hospital"})
    shutil.copy(next(other.glob("test-*")), next(other.glob("val-*")))
    return other


@pytest.fixture(scope="session")
def coloured_records(tmp_path_factory) -> Path:
    """Records of 32 px: 48 training, 16 validation and 16 test images; the grade shows as brightness with
    noise.
    """
    import tensorflow as tf

    from dr_edge import metadata
    from dr_edge.data import records

    directory = tmp_path_factory.mktemp("coloured") / "records"
    directory.mkdir()
    random = np.random.default_rng(7)
    splits = {}
    for split, count in (("train", 48), ("val", 16), ("test", 16)):
        grades = [index % 5 for index in range(count)]
        shards = []
        for shard in range(2):
            name = records.shard_name(split, shard, 2)
            with tf.io.TFRecordWriter(str(directory / name)) as writer:
                for index in range(shard, count, 2):
                    pixels = np.clip(
                        60 + 30 * grades[index] + random.normal(0, 25, (COLOURED_SIZE, COLOURED_SIZE, 3)),
                        0,
                        255,
                    )
                    encoded = cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes()
                    record = records.Record(
                        encoded, f"{split}/{index}", f"{index}.png", "0" * 64, f"{split}{index // 2}", (COLOURED_SIZE, COLOURED_SIZE),
                        (0.0, 0.0, COLOURED_SIZE, COLOURED_SIZE), labels={"dr_grade": grades[index]},
                    )  # fmt: skip
                    writer.write(records.encode(record))
            shards.append(
                {"file": name, "sha256": metadata.sha256_file(directory / name), "examples": count // 2}
            )
        counts = {str(grade): grades.count(grade) for grade in range(5)}
        splits[split] = {"examples": count, "classes": {"dr_grade": counts}, "shards": shards}
    content = {
        "dataset": "coloured", "image_size": COLOURED_SIZE, "preprocess": {"method": "crop"}, "masks": [], "centres": [],
        "labels": {"dr_grade": ["0", "1", "2", "3", "4"]}, "splits": splits, "rejected": 0,
    }  # fmt: skip
    metadata.write_manifest(directory, "dataset", content)
    return directory


@pytest.fixture
def clean_gin() -> Iterator[None]:
    """No gin binding before the test, and none left behind it."""
    import gin

    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture
def settings(clean_gin: None) -> Callable[..., dict[str, Any]]:
    """settings(name, *bindings): what gin_configs/<name>.gin binds of `train`, read strictly."""
    import gin

    from dr_edge import config

    def read(name: str, *bindings: str) -> dict[str, Any]:
        gin.clear_config()
        config.parse([f"gin_configs/{name}.gin"], ["train.records = 'r'", "train.run_dir = 'd'", *bindings])
        return gin.get_bindings("train")

    return read
