"""The wire formats against TensorFlow's own reader and writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dr_edge.data.records import Record, encode, parse
from dr_edge.data.wire import WireError, frame, parse_example, read_frames, serialise_example

FEATURES = {
    "image/id": [b"train/IDRiD_007"],
    "several": [b"", b"\x00\xff", b"x" * 300],
    "label/dr_grade": [4],
    "label/missing": [-1],
    "large": [0, 127, 128, 2**31, 2**63 - 1, -(2**63)],
    "image/crop_box": np.asarray([-3.5, 0.0, 1e-30, np.nan], np.float32),
    "z\u00fcrich": [b"name beyond ASCII"],
}


def tensorflow_example(features: dict) -> bytes:
    import tensorflow as tf

    def feature(values: list | np.ndarray) -> tf.train.Feature:
        if isinstance(values, np.ndarray):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    table = {name: feature(values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=table)).SerializeToString(deterministic=True)


def test_example_is_byte_for_byte_what_tensorflow_writes():
    assert serialise_example(FEATURES) == tensorflow_example(FEATURES)


def test_example_comes_back():
    found = parse_example(tensorflow_example(FEATURES))
    assert sorted(found) == sorted(FEATURES)
    for name, values in FEATURES.items():
        np.testing.assert_array_equal(found[name], values)


def test_frames_are_what_tensorflow_writes_and_reads(tmp_path: Path):
    import tensorflow as tf

    payloads = [b"", b"a", bytes(range(256)) * 400]
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for data in payloads:
            writer.write(data)
    ours.write_bytes(b"".join(frame(data) for data in payloads))
    assert ours.read_bytes() == theirs.read_bytes()
    assert [data for _, data in read_frames(theirs)] == payloads
    assert [data.numpy() for data in tf.data.TFRecordDataset(str(ours))] == payloads


def test_any_flipped_byte_is_seen(tmp_path: Path):
    path = tmp_path / "shard"
    data = frame(b"0123456789" * 20) + frame(b"second")
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(WireError, match="example [01] at byte"):
            list(read_frames(path))


def test_cut_file_is_seen(tmp_path: Path):
    path = tmp_path / "shard"
    data = frame(b"0123456789")
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(WireError, match="ends inside a frame|checksum"):
            list(read_frames(path))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"\x08\x01", b"\x0a\x02\x0a\x09"])
def test_what_is_no_example_is_refused(data: bytes):
    with pytest.raises(WireError, match=r"not a tf\.train\.Example"):
        parse_example(data)


@pytest.mark.parametrize("values", [["text"], [1, b"mixed"], np.zeros(2), np.zeros((1, 2), np.float32)])
def test_values_of_no_feature_kind_are_refused(values):
    with pytest.raises(ValueError, match="feature"):
        serialise_example({"name": values})


def test_record_is_read_by_the_pipeline_as_it_was_written():
    record = Record(
        encoded=b"\x89PNG", image_id="\u00e9t\u00e9/1", path="a b.png", sha256="0" * 64, patient_id="p",
        source_size=(2848, 4288), crop_box=(-1.5, 2.0, 3.0, 4.0), laterality="left", quality=0.25,
        labels={"dr_grade": 3, "glaucoma": -1}, masks={"optic_disc": b"mask"}, centres={"fovea": (1.5, 2.5)},
    )  # fmt: skip
    parsed = parse(encode(record), labels=["dr_grade", "glaucoma"], masks=["optic_disc", "none"], centres=["fovea"])
    assert parsed["id"].numpy().decode() == record.image_id
    assert parsed["source_size"].numpy().tolist() == [2848, 4288]
    assert parsed["crop_box"].numpy().tolist() == [-1.5, 2.0, 3.0, 4.0]
    assert (int(parsed["label/dr_grade"]), int(parsed["label/glaucoma"])) == (3, -1)
    assert (parsed["mask/optic_disc"].numpy(), parsed["mask/none"].numpy()) == (b"mask", b"")
    assert parsed["centre/fovea"].numpy().tolist() == [1.5, 2.5]
