"""Shards to batches: complete, in order, deterministic in (seed, epoch), balanced where asked."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf

from dr_edge.data import augment, balance, pipeline, tasks
from dr_edge.data.records_info import read_info


def read(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def test_evaluation_reads_each_example_once_with_relabelled_grades(coloured_records):
    batches = read(pipeline.evaluation_batches(coloured_records, "test", tasks.referable_dr(), 6, photograph=True))
    assert [len(batch["label"]) for batch in batches] == [6, 6, 4]
    labels = {
        name.decode(): label for batch in batches for name, label in zip(batch["id"], batch["label"], strict=True)
    }
    assert labels == {f"test/{index}": int(index % 5 >= 2) for index in range(16)}
    np.testing.assert_array_equal(batches[0]["image"], batches[0]["photograph"].astype(np.float32))


def test_images_that_the_task_leaves_out_are_left_out(coloured_records):
    severe = tasks.Task("severe", "classification", ("none", "severe"), labels=("dr_grade",), mapping=(0, -1, -1, 1, 1))
    info = read_info(coloured_records)
    assert pipeline.class_counts(info, "test", severe).tolist() == [4, 6]
    labels = np.concatenate(
        [b["label"] for b in read(pipeline.evaluation_batches(coloured_records, "test", severe, 4))]
    )
    assert collections.Counter(labels.tolist()) == {0: 4, 1: 6}


def test_class_names_in_another_order_than_the_records_are_refused(coloured_records):
    info = read_info(coloured_records)
    names = info.content["labels"]["dr_grade"]
    pipeline.check_task(info, pipeline.resolve(info, tasks.label("dr_grade", names)))
    renamed = pipeline.resolve(info, tasks.label("dr_grade", rename={"0": "no DR", "1": "mild"}))
    pipeline.check_task(info, renamed)
    assert renamed.class_names == ("no DR", "mild", "2", "3", "4") and renamed.positive == (2, 3, 4)
    with pytest.raises(ValueError, match="no 'healthy'"):
        pipeline.resolve(info, tasks.label("dr_grade", ["healthy", *names[1:]]))
    with pytest.raises(ValueError, match="called by another's name"):
        pipeline.resolve(info, tasks.label("dr_grade", names[::-1]))


def test_an_epoch_is_a_function_of_seed_and_epoch(coloured_records):
    def epoch(seed, number, first_step=0):
        batches = pipeline.training_batches(
            coloured_records, tasks.dr_grade(), 8, seed, number, first_step,
            augmentation=augment.augmentation(rotation=90.0, shift=0.1, brightness=0.1),
        )  # fmt: skip
        return [batch["image"] for batch in read(batches)]

    first, again = epoch(1, 0), epoch(1, 0)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(epoch(1, 0, first_step=4), first[4:])
    assert not np.array_equal(first, epoch(1, 1)) and not np.array_equal(first, epoch(2, 0))


def test_an_epoch_holds_each_example_once_when_not_balanced(coloured_records):
    batches = pipeline.training_batches(coloured_records, tasks.dr_grade(), 8, 0, 0, augmentation=None)
    sums = [float(image.sum()) for batch in read(batches) for image in batch["image"]]
    assert len(sums) == 48 and len(set(sums)) == 48


@pytest.mark.slow
def test_oversampling_draws_each_class_alike(coloured_records):
    labels = []
    for epoch in range(20):
        batches = pipeline.training_batches(
            coloured_records, tasks.any_dr(), 48, 3, epoch, augmentation=None, balance="oversample"
        )
        labels += [batch["label"] for batch in read(batches)]
    share = np.concatenate(labels).mean()
    assert abs(share - 0.5) < 3 * np.sqrt(0.25 / 960), share  # 79 % of the records are of class 1


def test_loss_weights_make_the_classes_weigh_alike(coloured_records):
    batches = read(
        pipeline.training_batches(coloured_records, tasks.any_dr(), 48, 3, 0, augmentation=None, balance="loss_weights")
    )
    label, weight = batches[0]["label"], batches[0]["weight"]
    counts = np.bincount(label)  # 48 examples in one batch: the whole split
    np.testing.assert_allclose(weight, 48 / (2 * counts[label]), rtol=1e-6)
    assert weight[label == 0].sum() == pytest.approx(weight[label == 1].sum()) and weight.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(balance.class_weights(np.array([6, 0, 2])), [8 / 12, 0, 8 / 4])


def test_centres_are_read_and_moved_with_the_image(tmp_path):
    """A bright spot on black, its centre in the records: after augmentation the centre still lies on the spot."""
    import cv2

    from dr_edge import metadata
    from dr_edge.data import records

    size, spot = 64, (20.5, 40.5)
    image = np.zeros((size, size, 3), np.uint8)
    image[39:42, 19:22] = 250
    encoded = cv2.imencode(".png", image)[1].tobytes()
    record = records.Record(
        encoded,
        "a",
        "a.png",
        "0" * 64,
        "p",
        (size, size),
        (0, 0, size, size),
        labels={"dr_grade": 1},
        centres={"fovea": spot},
    )
    (tmp_path / "records").mkdir()
    for split in ("train", "val"):
        with tf.io.TFRecordWriter(str(tmp_path / "records" / records.shard_name(split, 0, 1))) as writer:
            for _ in range(4):
                writer.write(records.encode(record))
    counts = {"examples": 4, "classes": {"dr_grade": {"1": 4}}, "shards": []}
    content = {
        "dataset": "spot", "image_size": size, "preprocess": {"method": "crop"}, "masks": [], "centres": ["fovea"],
        "labels": {"dr_grade": ["0", "1"]}, "splits": {"train": counts, "val": counts},
    }  # fmt: skip
    metadata.write_manifest(tmp_path / "records", "dataset", content)
    task = tasks.Task("fovea", "classification", ("no", "yes"), labels=("dr_grade",), centres=("fovea",))
    plain = read(pipeline.evaluation_batches(tmp_path / "records", "val", task, 4))
    np.testing.assert_allclose(plain[0]["centres"], np.tile(spot, (4, 1, 1)))
    batch = read(
        pipeline.training_batches(
            tmp_path / "records", task, 4, 1, 0, augmentation=augment.augmentation(rotation=180.0, shift=0.1)
        )
    )[0]
    rows, columns = np.mgrid[:size, :size] + 0.5
    for picture, centre in zip(batch["image"], batch["centres"], strict=True):
        light = picture.sum(-1)
        found = [(light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()]
        np.testing.assert_allclose(centre[0], found, atol=0.3)
    missing = tasks.Task("disc", "classification", ("no", "yes"), labels=("dr_grade",), centres=("optic_disc",))
    with pytest.raises(ValueError, match=r"reads the centres \['optic_disc'\]"):
        pipeline.evaluation_batches(tmp_path / "records", "val", missing, 4)


def test_workers_share_each_global_batch(coloured_records):
    arguments = (coloured_records, tasks.dr_grade(), 8, 5, 2)
    whole = read(pipeline.training_batches(*arguments, augmentation=None))
    parts = [read(pipeline.training_batches(*arguments, augmentation=None, shard=(i, 2))) for i in range(2)]
    for batch, left, right in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch["image"][0::2], left["image"])
        np.testing.assert_array_equal(batch["image"][1::2], right["image"])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: pipeline.evaluation_batches(r, "dev", tasks.any_dr(), 4), "Unknown split 'dev'"),
        (lambda r: pipeline.evaluation_batches(r / "no", "val", tasks.any_dr(), 4), "is no directory"),
        (lambda r: pipeline.evaluation_batches(r, "val", tasks.diseases(), 4), "holds \\['dr_grade'\\]"),
        (lambda r: pipeline.training_batches(r, tasks.any_dr(), 64, 0, 0), "48 training examples for batches of 64"),
        (lambda r: pipeline.training_batches(r, tasks.any_dr(), 8, 0, 0, balance="some"), "balance must be one of"),
    ],
)
def test_bad_requests_are_refused(call, says, coloured_records):
    with pytest.raises(ValueError, match=says):
        call(coloured_records)


def test_a_missing_shard_is_named(coloured_records, tmp_path):
    import shutil

    broken = tmp_path / "records"
    shutil.copytree(coloured_records, broken)
    (broken / "val-00001-of-00002.tfrecord").unlink()
    with pytest.raises(ValueError, match="incomplete or mixed: 1 files"):
        pipeline.evaluation_batches(broken, "val", tasks.any_dr(), 4)
