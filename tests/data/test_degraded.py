"""What phones and archives do to photographs: each kind against NumPy or OpenCV, and before normalisation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from dr_edge import metadata
from dr_edge.data import augment, degrade, degraded, pipeline, records, tasks
from dr_edge.fundus.graham import GRAHAM, graham_normalise

SIZE = 64
NONE = dict.fromkeys(degraded.ORDER, 0.0)


def fundus(number: int) -> np.ndarray:
    """A lit disc that fills its square, [64, 64, 3] uint8."""
    image = np.random.default_rng(number).uniform(30, 220, (SIZE, SIZE, 3)).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    image[rows**2 + columns**2 > (SIZE / 2) ** 2] = 0.0
    return np.rint(image).astype(np.uint8)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return fundus(0).astype(np.float32)


def draw_of(seed: int, name: str) -> float:
    """The number -1..1 by which a kind happens, as the seed draws it."""
    own = tf.random.experimental.stateless_fold_in(tf.constant([seed, 3]), degraded.OWN_DRAWS)
    draws = tf.random.stateless_uniform([7], tf.random.experimental.stateless_fold_in(own, 1), -1.0, 1.0)
    return float(draws[degraded.ORDER.index(name)])


def only(**strengths: float) -> degraded.Photograph:
    return degraded.photograph(**{**NONE, **strengths}, share=1.0)


def degrade_one(crop: np.ndarray, seed: int, **strengths: float) -> np.ndarray:
    return only(**strengths)(tf.constant(crop), tf.constant([seed, 3])).numpy()


@pytest.mark.parametrize("seed", range(4))
def test_light_and_tone_change_as_in_numpy(seed, crop):
    factor = 1.3 ** draw_of(seed, "brightness")
    expected = np.rint(np.clip(crop * factor, 0, 255))
    np.testing.assert_allclose(degrade_one(crop, seed, brightness=0.3), expected, atol=1)
    exponent = 1.4 ** draw_of(seed, "gamma")
    assert 0.71 < exponent < 1.4
    np.testing.assert_allclose(degrade_one(crop, seed, gamma=0.4), np.rint(255 * (crop / 255) ** exponent), atol=1)
    warmth = 1.2 ** draw_of(seed, "temperature")
    expected = np.rint(np.clip(crop * [warmth, 1.0, 1 / warmth], 0, 255))
    found = degrade_one(crop, seed, temperature=0.2)
    np.testing.assert_allclose(found, expected, atol=1)
    np.testing.assert_array_equal(found[..., 1], crop[..., 1])


@pytest.mark.parametrize("seed", range(4))
def test_focus_size_and_compression_change_as_in_opencv(seed, crop):
    sigma = abs(draw_of(seed, "blur")) * 0.02 * SIZE
    blurred = cv2.GaussianBlur(crop, (9, 9), sigma, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(degrade_one(crop, seed, blur=0.02), np.rint(blurred), atol=1)
    side = round(SIZE * (1 - 0.5 * abs(draw_of(seed, "rescale"))))
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(degrade_one(crop, seed, rescale=0.5), np.rint(large), atol=1)
    quality = round(100 * (1 - 0.6 * abs(draw_of(seed, "jpeg"))))
    assert 40 <= quality <= 100
    expected = degrade.recompress(tf.constant(crop), tf.constant(quality)).numpy()
    np.testing.assert_array_equal(degrade_one(crop, seed, jpeg=0.6), expected)


def test_noise_has_the_deviation_that_is_drawn():
    grey = np.full((SIZE, SIZE, 3), 128.0, np.float32)
    for seed in range(4):
        noise = degrade_one(grey, seed, noise=0.1) - 128.0
        deviation = 255 * 0.1 * abs(draw_of(seed, "noise"))
        assert noise.std() == pytest.approx(np.hypot(deviation, 12**-0.5), rel=0.05)  # and that of rounding
        assert abs(noise.mean()) < 4 * deviation / SIZE + 0.05
        assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.05


def test_each_kind_happens_to_a_share_of_the_examples(crop):
    function = degraded.photograph(**{**NONE, "gamma": 0.4}, share=0.25)
    untouched = [np.array_equal(function(tf.constant(crop), tf.constant([number, 0])), crop) for number in range(200)]
    assert 0.65 < np.mean(untouched) < 0.85
    none = degraded.photograph(share=0.0)(tf.constant(crop), tf.constant([1, 1]))
    np.testing.assert_array_equal(none, crop)


def test_the_same_seed_gives_the_same_photograph_eagerly_and_in_tf_data(crop):
    function = degraded.photograph()
    seeds = tf.stack([tf.range(20), tf.zeros(20, tf.int32)], 1)
    found = list(
        tf.data.Dataset.from_tensor_slices(seeds)
        .map(lambda seed: function(tf.constant(crop), seed))
        .as_numpy_iterator()
    )
    for seed, inside in zip(seeds, found, strict=True):
        again = function(tf.constant(crop), seed).numpy()
        assert again.min() >= 0 and again.max() <= 255
        np.testing.assert_array_equal(again, np.rint(again))
        assert np.mean(np.abs(inside - again) > 0) < 0.01 and np.abs(inside - again).max() <= 8  # a rounding in a JPEG
    assert len({one.tobytes() for one in found}) == 20


@pytest.mark.parametrize(("name", "value"), [("gamma", -0.1), ("jpeg", 1.0), ("share", 1.5), ("noise", 2.0)])
def test_a_strength_outside_its_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"degrade.photograph.{name} must be within 0..{degraded.LIMITS[name]}. Rec"):
        degraded.photograph(**{name: value})


def test_only_what_degrades_photographs_is_taken():
    with pytest.raises(ValueError, match="augmentation.photograph must be None or what degrade.photograph"):
        augment.augmentation(photograph=0.4)


def write_records(directory: Path, photographs: bool = True) -> Path:
    """Eight training and four validation images, Graham-normalised by OpenCV, with the photographs beside them."""
    directory.mkdir()
    for split, count in (("train", 8), ("val", 4)):
        with tf.io.TFRecordWriter(str(directory / records.shard_name(split, 0, 1))) as writer:
            for number in range(count):
                plain = fundus(number)
                normal = graham_normalise(plain, sigma_ratio=GRAHAM["sigma_ratio"])
                stored = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in (normal, plain)]
                record = records.Record(
                    stored[0], f"{split}/{number}", "a.png", "0" * 64, f"{split}{number}", (SIZE, SIZE),
                    (0.0, 0.0, SIZE, SIZE), photograph=stored[1] if photographs else b"",
                    labels={"dr_grade": 4 * (number % 2)},
                )  # fmt: skip
                writer.write(records.encode(record))
    counts = {"0": 4, "1": 0, "2": 0, "3": 0, "4": 4}
    splits = {
        split: {"examples": count, "classes": {"dr_grade": counts}} for split, count in (("train", 8), ("val", 4))
    }
    content = {
        "dataset": "drawn", "image_size": SIZE, "preprocess": {"method": "graham", **GRAHAM}, "masks": [],
        "centres": [], "labels": {"dr_grade": ["0", "1", "2", "3", "4"]}, "splits": splits, "rejected": 0,
    }  # fmt: skip
    metadata.write_manifest(directory, "dataset", content)
    return directory


@pytest.fixture(scope="module")
def normalised_records(tmp_path_factory) -> Path:
    return write_records(tmp_path_factory.mktemp("normalised") / "records")


def epoch_of(directory: Path, first_step: int = 0, views: int = 1, **augmentation) -> list[dict[str, np.ndarray]]:
    batches = pipeline.training_batches(
        directory, tasks.referable_dr(), 4, 5, 1, first_step, views=views,
        augmentation=augment.augmentation(**augmentation),
    )  # fmt: skip
    return list(batches.as_numpy_iterator())


def test_the_photograph_is_degraded_first_and_normalised_then(normalised_records):
    """A gamma of the photograph, then OpenCV's Graham: what the training step gets, image by image."""
    batches = epoch_of(normalised_records, rotation=0.0, flip=False, photograph=only(gamma=0.4))
    images = np.concatenate([batch["image"] for batch in batches])
    assert len(images) == 8
    exponents = np.linspace(1 / 1.4, 1.4, 60)
    for image in images:
        nearest = min(
            np.abs(
                image
                - graham_normalise(
                    np.rint(255 * (fundus(number) / 255.0) ** exponent).astype(np.uint8),
                    sigma_ratio=GRAHAM["sigma_ratio"],
                )
            ).mean()
            for number in range(8)
            for exponent in exponents
        )
        assert nearest < 1.5  # grey levels; the step between two of these exponents alone makes 0.7


def test_without_a_change_the_graph_normalises_as_the_records_are(normalised_records):
    plain = epoch_of(normalised_records, rotation=0.0, flip=False)
    through_the_graph = epoch_of(normalised_records, rotation=0.0, flip=False, photograph=only())
    for stored, made in zip(plain, through_the_graph, strict=True):
        np.testing.assert_array_equal(stored["label"], made["label"])
        assert np.abs(stored["image"] - made["image"]).mean() < 0.5


def test_an_epoch_repeats_from_any_step(normalised_records):
    settings = {"zoom": 0.1, "photograph": degraded.photograph()}
    whole = epoch_of(normalised_records, views=2, **settings)
    again = epoch_of(normalised_records, first_step=1, views=2, **settings)
    for key in ("image", "second_view", "label"):
        np.testing.assert_array_equal(again[0][key], whole[1][key])


def test_two_views_are_the_same_eyes_by_other_draws(normalised_records):
    first = epoch_of(normalised_records, views=1, rotation=0.0, flip=False, photograph=only(gamma=0.2))
    both = epoch_of(normalised_records, views=2, rotation=0.0, flip=False, photograph=only(gamma=0.2))
    for one, two in zip(first, both, strict=True):
        assert "second_view" not in one
        np.testing.assert_array_equal(one["image"], two["image"])
        left, right = (two[key].reshape(4, -1) for key in ("image", "second_view"))
        assert not np.array_equal(left, right)
        alike = np.corrcoef(left, right)[:4, 4:]
        assert (alike.argmax(1) == np.arange(4)).all() and np.diag(alike).min() > 0.9


def test_healthy_photographs_are_left_alone_where_asked(normalised_records):
    batches = epoch_of(
        normalised_records, rotation=0.0, flip=False, only_unhealthy=True,
        photograph=only(jpeg=0.9),
    )  # fmt: skip
    plain = epoch_of(normalised_records, rotation=0.0, flip=False, photograph=only())
    for changed, same in zip(batches, plain, strict=True):
        difference = np.abs(changed["image"] - same["image"]).mean((1, 2, 3))
        np.testing.assert_array_equal(difference > 1e-3, changed["label"] == 1)


def test_normalised_records_without_their_photographs_are_refused_and_not_normalised_twice(tmp_path):
    directory = write_records(tmp_path / "records", photographs=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="without their photographs.*bind it to None"):
        epoch_of(directory, photograph=degraded.photograph(gamma=0.4))
    assert len(epoch_of(directory)) == 2


@pytest.mark.parametrize("views", [0, 3, -1, None])
def test_an_image_has_one_view_or_two(normalised_records, views):
    """Another number gave one view in silence."""
    with pytest.raises(ValueError, match="views must be 1 or 2"):
        epoch_of(normalised_records, views=views, rotation=0.0)


def test_two_views_need_augmentation(normalised_records):
    with pytest.raises(ValueError, match="train.consistency compares two augmented views"):
        pipeline.training_batches(normalised_records, tasks.referable_dr(), 4, 5, 1, views=2)
