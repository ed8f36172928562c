"""Batches of masks: heat maps of points, missing masks, and the rare class drawn more often in training only."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tensorflow as tf

from dr_edge import metadata
from dr_edge.data import augment, pipeline, records, tasks
from dr_edge.data.centre_maps import centre_maps
from dr_edge.data.records_info import read_info

SIZE = 32


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """20 training images, 2 with glaucoma and 4 without that label; image 3 has no cup, image 5 no fovea."""
    directory = tmp_path_factory.mktemp("eyes") / "records"
    directory.mkdir()
    glaucoma = [1, 1, -1, -1, -1, -1] + [0] * 14
    splits = {}
    for split, labels in (("train", glaucoma), ("val", [0, 1])):
        name = records.shard_name(split, 0, 1)
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for index, label in enumerate(labels):
                picture = np.full((SIZE, SIZE, 3), 10 * index + 20, np.uint8)
                mask = cv2.circle(np.zeros((SIZE, SIZE), np.uint8), (12, 14), 6, 255, -1)
                png = cv2.imencode(".png", mask)[1].tobytes()
                masks = {"optic_disc": png} | ({} if index == 3 else {"optic_cup": png})
                centres = {} if index == 5 else {"fovea": (20.5, 9.5)}
                record = records.Record(
                    cv2.imencode(".png", picture)[1].tobytes(), f"{split}/{index}", "a.png", "0" * 64, str(index),
                    (64, 64), (0, 0, 64, 64), labels={"glaucoma": label}, masks=masks, centres=centres,
                )  # fmt: skip
                writer.write(records.encode(record))
        counts = {str(value): labels.count(value) for value in set(labels)}
        splits[split] = {"examples": len(labels), "classes": {"glaucoma": counts}, "shards": [{"file": name}]}
    content = {
        "dataset": "eyes", "image_size": SIZE, "preprocess": {"method": "crop"}, "masks": ["optic_disc", "optic_cup"],
        "labels": {"glaucoma": ["no", "yes"]}, "centres": ["fovea"], "splits": splits,
    }  # fmt: skip
    metadata.write_manifest(directory, "dataset", content)
    return directory


def test_a_point_becomes_a_gaussian():
    maps = centre_maps(tf.constant([[20.5, 9.5], [np.nan, np.nan]]), SIZE, sigma=0.1).numpy()
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    np.testing.assert_allclose(maps[..., 0], np.exp(-((x - 20.5) ** 2 + (y - 9.5) ** 2) / (2 * 3.2**2)), atol=1e-6)
    assert np.unravel_index(maps[..., 0].argmax(), (SIZE, SIZE)) == (9, 20)
    assert (maps[..., 1] == -1).all()


def test_missing_masks_and_points_stay_missing_under_augmentation(eyes):
    """The warp fills what comes from outside with 0, which must not turn a missing mask into an absent structure."""
    strong = augment.augmentation(rotation=90.0, shift=0.3, zoom=0.5)
    plain = list(pipeline.evaluation_batches(eyes, "train", tasks.optic_disc_cup_and_fovea(), 20))[0]
    batch = next(iter(pipeline.training_batches(eyes, tasks.optic_disc_cup_and_fovea(), 20, 0, 0, augmentation=strong)))
    for label in (plain["label"].numpy(), batch["label"].numpy()):
        missing = (label == -1).all((1, 2))
        assert missing.sum(0).tolist() == [0, 1, 1] and ((label == -1).any((1, 2)) == missing).all()
    assert set(plain) >= {"crop_box", "centres"}


def test_the_heat_map_moves_with_the_image(eyes):
    strong = augment.augmentation(rotation=180.0, shift=0.1)
    batch = next(iter(pipeline.training_batches(eyes, tasks.optic_disc_cup_and_fovea(), 20, 1, 0, augmentation=strong)))
    checked = 0
    for label, (x, y) in zip(batch["label"].numpy(), batch["centres"].numpy()[:, 0], strict=True):
        if 0 <= x < SIZE and 0 <= y < SIZE:
            row, column = np.unravel_index(label[..., 2].argmax(), (SIZE, SIZE))
            assert np.hypot(column + 0.5 - x, row + 0.5 - y) < 0.75
            checked += 1
    assert checked > 10


@pytest.mark.slow
def test_the_rare_class_is_oversampled_by_its_label(eyes):
    """Glaucoma is 2 of 20; drawn alike, it is half. Images without the label count to the healthy, and are drawn."""
    task, rare, total, seen = tasks.optic_disc_and_cup(), 0, 0, set()
    for epoch in range(8):
        batches = pipeline.training_batches(eyes, task, 20, 0, epoch, balance="oversample", balance_label="glaucoma")
        for batch in batches:
            shades = batch["image"].numpy()[:, 0, 0, 0]
            rare, total = rare + int((shades < 35).sum()), total + len(shades)
            seen |= set(shades.tolist())
    assert abs(rare / total - 0.5) < 3 * np.sqrt(0.25 / total) and len(seen) == 20
    with pytest.raises(ValueError, match="balance_label needs balance = 'oversample'"):
        pipeline.training_batches(eyes, task, 20, 0, 0, balance_label="glaucoma")
    with pytest.raises(ValueError, match="a label of the records"):
        pipeline.training_batches(eyes, task, 20, 0, 0, balance="oversample", balance_label="grade")
    with pytest.raises(ValueError, match="oversample has a balance_label"):
        pipeline.training_batches(eyes, task, 20, 0, 0, balance="oversample")


def test_extra_labels_are_read_beside_the_masks(eyes):
    (batch,) = list(pipeline.evaluation_batches(eyes, "val", tasks.optic_disc_and_cup(), 4, extra_labels=("glaucoma",)))
    assert batch["label/glaucoma"].numpy().tolist() == [0, 1] and batch["crop_box"].shape == (2, 4)


def test_a_grade_is_a_disease_that_is_present(coloured_records):
    """For several diseases at once, DR grades 1 to 4 are 1."""
    task = tasks.diseases(labels=("dr_grade",), class_names=("diabetic retinopathy",))
    (batch,) = list(pipeline.evaluation_batches(coloured_records, "test", task, 16))
    grades = [int(name.decode().rpartition("/")[2]) % 5 for name in batch["id"].numpy()]
    assert batch["label"].numpy()[:, 0].tolist() == [float(grade > 0) for grade in grades]
    counts = pipeline.class_counts(read_info(coloured_records), "test", task)
    assert counts.tolist() == [[grades.count(0), 16 - grades.count(0)]] and task.class_names == (
        "diabetic retinopathy",
    )
