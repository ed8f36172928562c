"""The one TFRecord schema: what an example of a fundus image holds, how it is written and how it is read.

Feature                 type            meaning
image/encoded           bytes           JPEG or PNG, [S, S, 3] RGB: the square crop after preprocessing, what a model
trains on image/photograph        bytes           JPEG, [S, S, 3] RGB: the same crop before normalisation; absent where
they are the same image/id                bytes           unique in the data set, for example "test/IDRiD_007"
image/path              bytes           path of the source file relative to the data directory
image/sha256            bytes           of the source file, 64 hexadecimal digits
image/source_size       2 int64         height, width of the source photograph in pixels
image/crop_box          4 float         top, left, bottom, right of the square crop in source pixels; may exceed the
frame image/quality           1 float         0 (ungradable) .. 1
patient/id              bytes           both eyes of a person share it
eye/laterality          bytes           "left", "right" or ""
label/<name>            1 int64         class index of the label <name>; -1 where it is missing
mask/<name>             bytes           PNG, [S, S] 0 or 255, in crop pixels; absent where it is missing
centre/<name>           2 float         x, y in crop pixels (pixel centres at .5); NaN where it is missing
"""

from __future__ import annotations

import dataclasses
import glob
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dr_edge.data.wire import Values, serialise_example

SPLITS = ("train", "val", "test")
SHARD_PATTERN = re.compile(r"^(train|val|test)-(\d{5})-of-(\d{5})\.tfrecord$")
MISSING_LABEL = -1


@dataclasses.dataclass(frozen=True)
class Record:
    """One example before serialisation; see the table above for the meaning of each field.

    Attributes:
      encoded: JPEG or PNG bytes of the preprocessed crop.
      photograph: JPEG bytes of the crop before normalisation, or b"" where `encoded` is that crop.
      labels: label name -> class index; a missing name is written as -1 by `encode` when it is listed there as -1.
      masks: mask name -> PNG bytes.
      centres: centre name -> (x, y) in crop pixels.
    """

    encoded: bytes
    image_id: str
    path: str
    sha256: str
    patient_id: str
    source_size: tuple[int, int]
    crop_box: tuple[float, float, float, float]
    photograph: bytes = b""
    laterality: str = ""
    quality: float = 1.0
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    masks: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    centres: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def encode(record: Record) -> bytes:
    """Serialises a Record as a tf.train.Example, without TensorFlow; the same Record gives the same bytes.

    Raises:
      ValueError: no image bytes, an empty id, or a label that is no integer >= -1.
    """
    if not record.encoded or not record.image_id or not record.patient_id:
        raise ValueError(
            f"A record needs image bytes, an image id and a patient id. Received: {len(record.encoded)} bytes, "
            f"image id {record.image_id!r}, patient id {record.patient_id!r}."
        )
    features: dict[str, Values] = {
        "image/encoded": [record.encoded],
        "image/id": [record.image_id.encode("utf-8")],
        "image/path": [record.path.encode("utf-8")],
        "image/sha256": [record.sha256.encode("utf-8")],
        "image/source_size": [int(side) for side in record.source_size],
        "image/crop_box": np.asarray(record.crop_box, np.float32),
        "image/quality": np.asarray([record.quality], np.float32),
        "patient/id": [record.patient_id.encode("utf-8")],
        "eye/laterality": [record.laterality.encode("utf-8")],
    }
    if record.photograph:
        features["image/photograph"] = [record.photograph]
    for name, value in record.labels.items():
        if int(value) != value or value < MISSING_LABEL:
            raise ValueError(
                f"{record.image_id}: label {name!r} must be an integer >= -1 (-1: missing). Received: {value!r}."
            )
        features[f"label/{name}"] = [int(value)]
    for name, data in record.masks.items():
        features[f"mask/{name}"] = [data]
    for name, centre in record.centres.items():
        features[f"centre/{name}"] = np.asarray(centre, np.float32)
    return serialise_example(features)


def parse(
    serialized: Any,
    *,
    labels: Sequence[str] = (),
    masks: Sequence[str] = (),
    centres: Sequence[str] = (),
    photograph: bool = False,
) -> dict[str, Any]:
    """Reads one serialised example inside a tf.data graph; image bytes stay encoded (see `decode_image`).

    Args:
      serialized: [] string tensor.
      labels, masks, centres: names to read.
      photograph: also give "photograph", the crop before normalisation.

    Returns:
      "encoded" [] string, "id" [] string, "patient" [] string, "laterality" [] string, "quality" [] float32,
      "source_size" [2] int64 (height, width), "crop_box" [4] float32, "label/<name>" [] int32 (-1: missing),
      "mask/<name>" [] string ("" : missing), "centre/<name>" [2] float32 (NaN: missing), and, if asked for,
      "photograph" [] string.
    """
    from dr_edge.framework import tf

    text = tf.io.FixedLenFeature([], tf.string)
    maybe_text = tf.io.FixedLenFeature([], tf.string, default_value="")
    spec = {
        "image/encoded": text,
        "image/id": text,
        "patient/id": text,
        "eye/laterality": maybe_text,
        "image/quality": tf.io.FixedLenFeature([], tf.float32, default_value=1.0),
        "image/source_size": tf.io.FixedLenFeature([2], tf.int64),
        "image/crop_box": tf.io.FixedLenFeature([4], tf.float32),
    }
    if photograph:
        spec["image/photograph"] = maybe_text
    for name in labels:
        spec[f"label/{name}"] = tf.io.FixedLenFeature([], tf.int64, default_value=MISSING_LABEL)
    for name in masks:
        spec[f"mask/{name}"] = maybe_text
    for name in centres:
        spec[f"centre/{name}"] = tf.io.FixedLenFeature([2], tf.float32, default_value=[math.nan, math.nan])
    features = tf.io.parse_single_example(serialized, spec)
    parsed = {
        "encoded": features["image/encoded"],
        "id": features["image/id"],
        "patient": features["patient/id"],
        "laterality": features["eye/laterality"],
        "quality": features["image/quality"],
        "source_size": features["image/source_size"],
        "crop_box": features["image/crop_box"],
    }
    if photograph:
        crop = features["image/photograph"]
        parsed["photograph"] = tf.where(tf.strings.length(crop) > 0, crop, features["image/encoded"])
    for name in labels:
        parsed[f"label/{name}"] = tf.cast(features[f"label/{name}"], tf.int32)
    parsed |= {f"mask/{name}": features[f"mask/{name}"] for name in masks}
    parsed |= {f"centre/{name}": features[f"centre/{name}"] for name in centres}
    return parsed


def decode_image(encoded: Any, image_size: int) -> Any:
    """Decodes "encoded" or "photograph" to [image_size, image_size, 3] uint8 RGB.

    The accurate DCT is asked for, so that the pixels equal those that OpenCV and phones decode (within 1 grey level).
    """
    from dr_edge.framework import tf

    is_jpeg = tf.io.is_jpeg(encoded)
    image = tf.cond(
        is_jpeg,
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE", fancy_upscaling=True),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
    return tf.ensure_shape(image, [image_size, image_size, 3])


def decode_mask(encoded: Any, image_size: int) -> Any:
    """Decodes "mask/<name>" to [image_size, image_size] float32 of 0 or 1; a missing mask ("") gives -1 everywhere."""
    from dr_edge.framework import tf

    def present() -> Any:
        return tf.cast(tf.io.decode_png(encoded, channels=1)[..., 0] > 127, tf.float32)

    def missing() -> Any:
        return tf.fill([image_size, image_size], -1.0)

    return tf.ensure_shape(tf.cond(tf.strings.length(encoded) > 0, present, missing), [image_size, image_size])


def shard_name(split: str, index: int, count: int) -> str:
    """Returns the file name of a shard, for example 'train-00000-of-00004.tfrecord'."""
    if split not in SPLITS or not 0 <= index < count:
        raise ValueError(
            f"A shard needs a split of {SPLITS} and 0 <= index < count. Received: {split!r}, {index}, {count}."
        )
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def as_text(values: np.ndarray) -> np.ndarray:
    """Returns ids [N] bytes of TensorFlow's reader as [N] str; numpy's own astype(str) takes ASCII only."""
    return np.array([value.decode("utf-8") for value in values], dtype=str)


def shard_paths(records: str | os.PathLike, split: str) -> list[str]:
    """Returns the sorted shard paths of `split`, having checked that none is missing.

    Raises:
      ValueError: an unknown split, no shards, or an incomplete set of shards.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}. Known: {', '.join(SPLITS)}.")
    paths = sorted(glob.glob(os.path.join(glob.escape(str(records)), f"{split}-*.tfrecord")))
    matches = [SHARD_PATTERN.match(Path(path).name) for path in paths]
    found = {(int(match[2]), int(match[3])) for match in matches if match}
    if not found:
        raise ValueError(
            f"{records} holds no shards of split {split!r}. Build them: python -m tfrecord_tools.build --out={records} "
            "(a split that --val_fraction or --test_fraction left empty has none)."
        )
    counts = {count for _, count in found}
    if len(counts) != 1 or {index for index, _ in found} != set(range(next(iter(counts)))):
        raise ValueError(
            f"{records}: the shards of split {split!r} are incomplete or mixed: {len(found)} files, "
            f"-of- {sorted(counts)}. Check: python -m tfrecord_tools.verify {records}"
        )
    return paths
