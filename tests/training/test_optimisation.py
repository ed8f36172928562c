"""What can be added to a training, each by its formula and resumed exactly.

Clipping, EMA, weight decay, consistency, 16-bit arithmetic, XLA and a second stage.
"""

from __future__ import annotations

import functools
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from dr_edge.data import augment, pipeline, tasks
from dr_edge.losses import classification as classification_losses
from dr_edge.losses import consistency as consistency_losses
from dr_edge.models.resnet_v2_slim import resnet_v2_slim
from dr_edge.training import averaging, checkpoints, epoch, loop, optimizers, precision, step, trainer
from dr_edge.training.metrics_log import read_metrics

SMALL = functools.partial(resnet_v2_slim, channels=(4,), stem_channels=4)


def arguments(records, run_dir, **changes):
    settings = {
        "records": str(records), "run_dir": str(run_dir), "task": tasks.referable_dr(), "model": SMALL, "epochs": 2,
        "batch_size": 16, "learning_rate": optimizers.constant(learning_rate=0.01),
    }  # fmt: skip
    return {**settings, **changes}


def newest(run_dir) -> dict[str, np.ndarray]:
    with np.load(checkpoints.existing(run_dir / "checkpoints")[-1] / "variables.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def test_clipping_scales_all_gradients_by_one_factor():
    gradients = [tf.constant([3.0, 0.0]), None, tf.constant([[4.0]])]
    clipped = step.clip_global_norm(gradients, 1.0, replicas=1)
    np.testing.assert_allclose(clipped[0], [0.6, 0.0], rtol=1e-6)
    assert clipped[1] is None and clipped[2].numpy() == pytest.approx(0.8)
    np.testing.assert_array_equal(step.clip_global_norm(gradients, 5.0, replicas=1)[2], [[4.0]])
    assert np.isnan(step.clip_global_norm([tf.constant([np.inf, 1.0])], 1.0, replicas=1)[0]).all()


def test_consistency_adds_the_divergence_of_two_views_to_their_mean_loss():
    """Logits are the mean of an image, so that both views' answers are known: value and gradient by hand."""
    network = keras.Sequential(
        [
            keras.Input((2, 2, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, kernel_initializer="ones"),
        ]
    )
    network.layers[-1].set_weights([np.array([[0.0, 1.0]] * 3, np.float32), np.zeros(2, np.float32)])
    first, second = (
        np.array([0.0, 0.5, -1.0, 0.2]),
        np.array([0.4, 0.5, 1.0, -0.3]),
    )  # logit of class 1, over 3 channels
    label = np.array([0, 1, 1, 0])
    view = {
        name: tf.constant(np.broadcast_to(values[:, None, None, None] / 3, (4, 2, 2, 3)), tf.float32)
        for name, values in (("image", first), ("second_view", second))
    }

    def by_hand(scale: float) -> float:
        p, q = (1 / (1 + np.exp(-values * scale)) for values in (first, second))
        entropy = -np.log(np.where(label, [p, q], [1 - p, 1 - q])).mean(0)
        divergence = (p - q) * (np.log(p / (1 - p)) - np.log(q / (1 - q))) / 2
        return float((entropy + 0.7 * divergence).mean())

    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)
    function = step.build_train_step(
        network, optimizer, classification_losses.cross_entropy(), tf.distribute.get_strategy(), 4,
        consistency=consistency_losses.consistency("classification", 0.7),
    )  # fmt: skip
    assert float(function({**view, "label": tf.constant(label)})) == pytest.approx(by_hand(1.0), rel=1e-5)
    # All three weights of class 1 move alike; together they scale both logits.
    slope = (by_hand(1.0 + 1e-5) - by_hand(1.0 - 1e-5)) / 2e-5
    moved = np.asarray(network.trainable_variables[0])[:, 1] - 1.0
    np.testing.assert_allclose(moved, -0.1 * slope / 3, rtol=1e-3)


def test_a_consistency_of_0_changes_nothing_and_more_changes_the_weights(coloured_records, tmp_path, monkeypatch):
    batches = functools.partial(pipeline.training_batches, augmentation=augment.augmentation(brightness=0.2))
    monkeypatch.setattr(pipeline, "training_batches", batches)
    for name, changes in (("plain", {}), ("none", {"consistency": 0.0}), ("some", {"consistency": 1.0})):
        loop.train(**arguments(coloured_records, tmp_path / name, epochs=1, **changes))
    plain, none, some = (newest(tmp_path / name) for name in ("plain", "none", "some"))
    for key, value in plain.items():
        np.testing.assert_array_equal(none[key], value, err_msg=key)
    assert any(not np.array_equal(some[key], value) for key, value in plain.items())


def test_a_clipped_sgd_step_moves_the_weights_by_the_clip_norm_times_the_rate(coloured_records):
    keras.utils.set_random_seed(0)
    network = SMALL(32, 2)
    batch = next(iter(pipeline.training_batches(coloured_records, tasks.referable_dr(), 16, 0, 0, augmentation=None)))
    before = [np.asarray(v) for v in network.trainable_variables]
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(network.trainable_variables)
    strategy = tf.distribute.get_strategy()
    step.build_train_step(network, optimizer, classification_losses.cross_entropy(), strategy, 16, clip_norm=0.01)(
        batch
    )
    moved = np.sqrt(
        sum(((np.asarray(v) - b) ** 2).sum() for v, b in zip(network.trainable_variables, before, strict=True))
    )
    assert moved == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_example_weights_multiply_the_loss(coloured_records):
    batch = next(iter(pipeline.training_batches(coloured_records, tasks.referable_dr(), 16, 0, 0, augmentation=None)))
    weight = tf.constant(np.random.default_rng(0).uniform(0, 2, 16), tf.float32)
    keras.utils.set_random_seed(0)
    network = SMALL(32, 2)
    expected = tf.reduce_mean(
        weight * classification_losses.cross_entropy()(batch["label"], network(batch["image"], training=True))
    )
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(network.trainable_variables)
    function = step.build_train_step(
        network, optimizer, classification_losses.cross_entropy(), tf.distribute.get_strategy(), 16
    )
    assert float(function({**batch, "weight": weight})) == pytest.approx(float(expected), rel=1e-5)


def test_the_average_follows_its_formula():
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.BatchNormalization()])
    average = averaging.WeightAverage(network, 0.6)
    sources = [v for v in network.variables if keras.backend.is_float_dtype(v.dtype)]
    expected = [np.asarray(v).astype(np.float64) for v in sources]
    random = np.random.default_rng(0)
    for t in range(12):
        for variable in sources:
            variable.assign(random.normal(size=variable.shape))
        average.update(tf.distribute.get_strategy())
        decay = min(0.6, (1 + t) / (10 + t))
        expected = [decay * e + (1 - decay) * np.asarray(v) for e, v in zip(expected, sources, strict=True)]
    twin = precision.float32_twin(network)
    average.copy_to(twin)
    for value, variable in zip(expected, twin.variables, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-5)
    assert int(average.variables[0]) == 12


def test_the_saved_model_is_the_averaged_one_and_was_validated(coloured_records, tmp_path):
    run = loop.train(**arguments(coloured_records, tmp_path / "run", epochs=1, ema_decay=0.9))
    arrays = newest(tmp_path / "run")
    averages = [value for key, value in arrays.items() if key.endswith("/average")]
    saved = keras.models.load_model(tmp_path / "run" / "best.keras")
    for value, weight in zip(averages, saved.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), value)
    raw = [value for key, value in arrays.items() if key.endswith("stem_conv/kernel")]
    assert np.abs(raw[0] - np.asarray(saved.get_layer("stem_conv").kernel)).max() > 1e-5
    logits, labels = [], []
    for batch in pipeline.evaluation_batches(coloured_records, "val", tasks.referable_dr(), 16):
        logits.append(saved(batch["image"]))
        labels.append(batch["label"])
    loss = classification_losses.cross_entropy()(tf.concat(labels, 0), tf.concat(logits, 0))
    row = [row for row in read_metrics(tmp_path / "run") if row["split"] == "val"][0]
    assert row["loss"] == pytest.approx(float(tf.reduce_mean(loss)), rel=1e-4) and run["best"]["epoch"] == 1


def test_weight_decay_leaves_biases_and_normalisation_alone(coloured_records, tmp_path, monkeypatch):
    """With a loss of 0 nothing moves but what decays, by lr * decay per step."""
    made = []

    def model(size, outputs):
        made.append(SMALL(size, outputs))
        for variable in made[0].trainable_variables:
            variable.assign(tf.ones_like(variable))
        return made[0]

    def nothing(label, logits):
        return 0.0 * tf.reduce_sum(logits, -1)

    settings = arguments(coloured_records, tmp_path / "run", epochs=1, model=model, loss=nothing)
    loop.train(**settings, optimizer=functools.partial(optimizers.adamw, weight_decay=0.1))
    for variable in made[0].trainable_variables:
        expected = (1 - 0.01 * 0.1) ** 3 if len(variable.shape) > 1 else 1.0
        np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-6, err_msg=variable.path)


def test_checkpoints_are_due_after_minutes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(epoch.time, "monotonic", lambda: now[0])
    timer, never = epoch.Timer(2.0), epoch.Timer(None)
    answers = []
    for seconds in (60, 59, 2, 60, 61):
        now[0] += seconds
        answers.append(timer.due())
        assert not never.due()
    assert answers == [False, False, True, False, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        {"ema_decay": 0.9, "clip_norm": 0.5},
        {"precision": "float16", "clip_norm": 0.5, "ema_decay": 0.9},
        {"precision": "bfloat16", "xla": True},
    ],
    ids=str,
)
def test_each_setting_learns_and_resumes_bit_for_bit_in_mid_epoch(setting, coloured_records, tmp_path, monkeypatch):
    """Saved each step (`checkpoint_minutes` near 0), cut off in the second epoch, it ends as the uninterrupted run."""
    settings = arguments(coloured_records, tmp_path / "whole", optimizer=functools.partial(optimizers.adamw), **setting)
    loop.train(**settings)
    whole = newest(tmp_path / "whole")
    assert read_metrics(tmp_path / "whole")[-1]["auc"] > 0.7
    assert keras.config.dtype_policy().name == "float32"

    cut = tmp_path / "cut"
    real, calls = trainer.build_train_step, [0]

    def fragile(*args, **kwargs):
        function = real(*args, **kwargs)

        def counted(batch):
            calls[0] += 1
            if calls[0] == 6:
                raise KeyboardInterrupt
            return function(batch)

        return counted

    monkeypatch.setattr(trainer, "build_train_step", fragile)
    again = {**settings, "run_dir": str(cut), "checkpoint_minutes": 1e-9}
    with pytest.raises(KeyboardInterrupt):
        loop.train(**again)
    monkeypatch.setattr(trainer, "build_train_step", real)
    assert checkpoints.existing(cut / "checkpoints")[-1].name == "step-00000005"
    loop.train(**again)
    for key, value in newest(cut).items():
        np.testing.assert_array_equal(value, whole[key], err_msg=key)
    assert (cut / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    saved = keras.models.load_model(cut / "best.keras")
    assert {layer.dtype_policy.name for layer in saved.layers} == {"float32"}


def test_the_optimizers_step_is_left_out_where_float16_overflows(coloured_records):
    keras.utils.set_random_seed(0)
    with precision.policy("float16"):
        network = SMALL(32, 2)
    optimizer = precision.scaled(keras.optimizers.SGD(0.1), "float16")
    optimizer.build(network.trainable_variables)
    optimizer.dynamic_scale.assign(1e30)
    batch = next(iter(pipeline.training_batches(coloured_records, tasks.referable_dr(), 16, 0, 0, augmentation=None)))
    before = [np.asarray(v) for v in network.trainable_variables]
    function = step.build_train_step(
        network, optimizer, classification_losses.cross_entropy(), tf.distribute.get_strategy(), 16, clip_norm=1.0
    )
    assert np.isfinite(float(function(batch)))
    for variable, value in zip(network.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert float(optimizer.dynamic_scale) == pytest.approx(5e29, rel=1e-3)


def test_a_second_stage_starts_from_the_first_runs_best_model(coloured_records, tmp_path):
    loop.train(**arguments(coloured_records, tmp_path / "first", epochs=1))
    settings = arguments(
        coloured_records, tmp_path / "second", epochs=1, initial_weights=str(tmp_path / "first"), seed=5, ema_decay=0.5,
        learning_rate=optimizers.constant(learning_rate=0.0), loss=classification_losses.cross_entropy(),
    )  # fmt: skip
    run = loop.train(**settings)
    first = keras.models.load_model(tmp_path / "first" / "best.keras")
    second = keras.models.load_model(tmp_path / "second" / "best.keras")
    for left, right in zip(first.trainable_weights, second.trainable_weights, strict=True):
        np.testing.assert_allclose(np.asarray(right), np.asarray(left), atol=1e-7)
    assert run["initial_weights"]["run"] == str(tmp_path / "first") and len(run["initial_weights"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": functools.partial(resnet_v2_slim, channels=(8,), stem_channels=4)}, "holds another network"),
        ({"initial_weights": "/nowhere"}, "/nowhere is no directory"),
        ({"consistency": -0.5}, "train.consistency must be a number of at least 0. Received: -0.5"),
        ({"consistency": float("inf")}, "train.consistency must be a number of at least 0. Received: inf"),
        ({"consistency": 0.5}, "train.consistency compares two augmented views of an image, and there is no augm"),
        ({"precision": "int8"}, "train.precision must be one of float32, bfloat16, float16. Received: 'int8'"),
        ({"ema_decay": 1.0}, "train.ema_decay must lie between 0 and 1"),
        ({"clip_norm": 0.0}, "train.clip_norm must be None or a number above 0. Received: 0.0"),
        ({"checkpoint_minutes": "5"}, "train.checkpoint_minutes must be None or a number above 0"),
    ],
)
def test_bad_settings_are_refused(changes, says, coloured_records, tmp_path):
    if "model" in changes:
        loop.train(**arguments(coloured_records, tmp_path / "first", epochs=1))
        changes = {**changes, "initial_weights": str(tmp_path / "first")}
    with pytest.raises(ValueError, match=says):
        loop.train(**arguments(coloured_records, tmp_path / "run", **changes))
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
