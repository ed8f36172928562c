"""Heat maps against closed forms, the completeness axiom and a drawn lesion."""

from __future__ import annotations

import numpy as np
import pytest

from dr_edge.data import pipeline
from dr_edge.explanation import heatmaps
from dr_edge.runs import load_run


@pytest.fixture(scope="module")
def run(stand_in_run):
    return load_run(stand_in_run)


@pytest.fixture(scope="module")
def batch(run):
    """Images of the test split that the model calls referable, with the square's mask."""
    from dr_edge.data.tasks import Task

    task = Task("lesions", "segmentation", ("hard exudates",), masks=("hard_exudates",))
    both = next(iter(pipeline.evaluation_batches(run.records, "test", task, 36)))
    images, masks = both["image"].numpy(), both["label"].numpy()[..., 0] > 0.5
    referable = run.probabilities(run.model.predict_on_batch(images)).argmax(axis=1) == 1
    chosen = referable & masks.any(axis=(1, 2))
    return images[chosen][:8], masks[chosen][:8]


def closed_form_gradcam(model, images, classes):
    """Grad-CAM of a head GAP -> Dense(relu) -> Dense, whose gradient is the same at each position."""
    import keras

    reader = keras.Model(model.input, [model.get_layer("cam_features").output, model.get_layer("penultimate").output])
    features, hidden = (part.numpy() for part in reader(images))
    first = model.get_layer("penultimate").get_weights()[0]  # [C, U]
    last = model.get_layer("logits").get_weights()[0]  # [U, K]
    weights = ((hidden > 0) * last[:, classes].T) @ first.T  # [B, C]
    return np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)


def test_gradcam_equals_the_closed_form(run, batch):
    images, _ = batch
    classes = np.ones(len(images), int)
    maps = heatmaps.heat_maps(run.model, "gradcam", images, classes)
    assert maps.shape == images.shape[:3] and maps.dtype == np.float32
    for heat, expected in zip(maps, closed_form_gradcam(run.model, images, classes), strict=True):
        resized = np.maximum(heatmaps._resized(expected, (64, 64)), 0)
        np.testing.assert_allclose(heat, resized / resized.max(), atol=1e-4)


@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_every_method_finds_the_drawn_lesion(run, batch, method):
    images, masks = batch
    maps = heatmaps.heat_maps(run.model, method, images, np.ones(len(images), int))
    assert maps.shape == masks.shape and maps.min() >= 0 and maps.max() == pytest.approx(1.0)
    share = (maps * masks).sum() / maps.sum()
    assert share > 2 * masks.mean()  # chance is the mask's share of the area


@pytest.mark.parametrize("method", ["gradcam", "smoothgrad"])
def test_same_input_same_map(run, batch, method):
    images, _ = batch
    ones = np.ones(2, int)
    state = np.random.get_state()[1].copy()
    first = heatmaps.heat_maps(run.model, method, images[:2], ones)
    assert (np.random.get_state()[1] == state).all()  # the caller's random numbers are left alone
    np.testing.assert_array_equal(first, heatmaps.heat_maps(run.model, method, images[:2], ones))


def test_a_batch_gives_what_single_images_give(run, batch):
    images, _ = batch
    classes = np.array([0, 1, 1])
    together = heatmaps.heat_maps(run.model, "saliency", images[:3], classes)
    for index in range(3):
        alone = heatmaps.heat_maps(run.model, "saliency", images[index : index + 1], classes[index : index + 1])
        np.testing.assert_allclose(together[index], alone[0], atol=1e-3)


def test_layercam_equals_its_definition_at_a_finer_map(run, batch):
    import keras
    import tensorflow as tf

    name = heatmaps.fine_layer(run.model)
    reader = keras.Model(run.model.input, [run.model.get_layer(name).output, run.model.output])
    with tf.GradientTape() as tape:
        features, logits = reader(batch[0][:1])
        score = logits[:, 1]
    weights = np.maximum(tape.gradient(score, features).numpy(), 0)
    expected = np.maximum((weights * features.numpy()).sum(axis=-1), 0)[0]
    assert expected.shape[0] >= 8 and expected.shape[0] > 64 // 32
    heat = heatmaps.heat_maps(run.model, "layercam", batch[0][:1], np.array([1]))[0]
    resized = np.maximum(heatmaps._resized(expected, (64, 64)), 0)
    np.testing.assert_allclose(heat, resized / resized.max(), atol=1e-4)


def test_saliency_equals_the_gradient(run, batch):
    import tensorflow as tf

    image = tf.constant(batch[0][:1])
    with tf.GradientTape() as tape:
        tape.watch(image)
        logit = run.model(image)[:, 1]
    expected = np.abs(tape.gradient(logit, image).numpy()).max(axis=-1)[0]
    heat = heatmaps.heat_maps(run.model, "saliency", batch[0][:1], np.array([1]))[0]
    np.testing.assert_allclose(heat, np.clip(expected / np.percentile(expected, 99), 0, 1), atol=1e-4)


def test_integrated_gradients_are_complete(run, batch):
    images = batch[0][:2]
    classes = np.array([1, 1])
    parts = heatmaps.attributions(run.model, images, classes, background=0.0, steps=64)
    logits = run.model(images).numpy()[:, 1] - run.model(np.zeros_like(images)).numpy()[:, 1]
    np.testing.assert_allclose(parts.sum(axis=(1, 2, 3)), logits, rtol=0.05)


def test_nothing_speaks_for_the_class_gives_an_empty_map(run):
    assert (heatmaps._normalised(np.full((4, 4), -1.0), pixelwise=False) == 0).all()


@pytest.mark.parametrize(
    ("method", "classes", "message"),
    [
        ("grad_cam", [1], "Known: gradcam"),
        ("gradcam", [2], r"0\.\.1"),
        ("gradcam", [1, 1], r"\[B\] classes"),
    ],
)
def test_bad_input_is_refused(run, method, classes, message):
    with pytest.raises(ValueError, match=message):
        heatmaps.heat_maps(run.model, method, np.zeros((1, 64, 64, 3), np.float32), np.array(classes))


def test_a_model_without_the_named_layer_is_refused(run):
    import keras

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="cam_features"):
        heatmaps.heat_maps(model, "gradcam", np.zeros((1, 8, 8, 3), np.float32), np.array([0]))


def test_weights_with_nan_are_refused(run, batch):
    import keras

    broken = keras.models.clone_model(run.model)
    broken.set_weights([weight * np.nan for weight in run.model.get_weights()])
    with pytest.raises(RuntimeError, match="not finite"):
        heatmaps.heat_maps(broken, "saliency", batch[0][:1], np.array([1]))
