"""Heat maps: which part of a fundus image speaks for a class.

tf-keras-vis computes Grad-CAM (Selvaraju et al., 2017), Grad-CAM++ (Chattopadhay et al., 2018), saliency
(Simonyan et al., 2014), SmoothGrad (Smilkov et al., 2017) and Score-CAM (Wang et al., 2020); integrated
gradients (Sundararajan et al., 2017), which it lacks, stand below. All explain the logit of a class at the
layer `cam_features` or at the input.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

FEATURE_LAYER = "cam_features"
FINE_FRACTION = 8  # LayerCAM: the last feature map of at least this fraction of the image's side
SMOOTH_SAMPLES = 25
SMOOTH_NOISE = 0.1  # of the image's range; the paper uses 0.1 to 0.2
SCORE_CAM_CHANNELS = 64  # the most variable feature channels ("Faster Score-CAM"); all of them take minutes per image
INTEGRATION_STEPS = 32
PIXEL_PERCENTILE = 99.0  # pixel gradients have a few extreme values, which would leave the rest of the map black
SEED = 20261120


def heat_maps(
    model: Any,
    method: str,
    images: np.ndarray,
    classes: np.ndarray,
    background: float = 0.0,
) -> np.ndarray:
    """Computes one heat map per image.

    Args:
      model: flat Keras model, [B, S, S, 3] float32 0..255 -> logits [B, C], with a layer `cam_features`.
      method: a key of METHODS.
      images: [B, S, S, 3] float32 0..255, preprocessed as the model expects.
      classes: [B] int, the class to explain in each image.
      background: grey level of the image that says nothing (integrated gradients start there): 128 after
        Graham normalisation, else 0.

    Returns:
      [B, S, S] float32, 0 (nothing speaks for the class) .. 1 (the strongest place of this image); all 0
      where no place speaks for it.

    Raises:
      ValueError: an unknown method, wrong shapes, classes out of range, or a method that needs `cam_features` of a
        model without it.
      RuntimeError: the model's gradients are not finite, or `tf.keras` is not Keras 3 in this process.
    """
    if method not in METHODS:
        raise ValueError(f"Unknown heat map method {method!r}. Known: {', '.join(METHODS)}.")
    images, classes = np.asarray(images, dtype=np.float32), np.asarray(classes)
    outputs = model.output_shape[-1]
    if images.ndim != 4 or classes.shape != images.shape[:1] or len(model.output_shape) != 2:
        raise ValueError(
            "Heat maps need [B, S, S, 3] images, [B] classes and a model that gives [B, C] logits. "
            "Received: images "
            f"{images.shape}, classes {classes.shape}, output {model.output_shape}."
        )
    if classes.size and not 0 <= classes.min() <= classes.max() < outputs:
        raise ValueError(f"Classes must lie in 0..{outputs - 1}. Received: {classes.min()} to {classes.max()}.")
    if method not in methods_of(model):
        raise ValueError(
            f"The model has no layer named {FEATURE_LAYER!r}, which {TITLES[method]} needs. "
            f"Take one of {', '.join(PIXELWISE)}, which need none."
        )
    _require_keras_3()
    with _quiet():
        maps = np.asarray(METHODS[method](model, images, classes.astype(int), background), dtype=np.float32)
    if not np.isfinite(maps).all():
        raise RuntimeError(f"{method}: the heat map is not finite. The model's weights or input hold NaN.")
    size = images.shape[1:3]
    return np.stack([_normalised(_resized(heat, size), pixelwise=heat.shape == size) for heat in maps])


def _require_keras_3() -> None:
    from dr_edge.framework import keras, tf

    if tf.keras.Model is not keras.Model:
        raise RuntimeError(
            f"tf.keras is {tf.keras.Model.__module__.split('.')[0]} in this process, and tf-keras-vis builds its models"
            " by it. Start again without TF_USE_LEGACY_KERAS in the environment."
        )


def _gradcam(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    from tf_keras_vis.gradcam import Gradcam

    return _class_map(Gradcam, model, images, classes)


def _gradcam_plus_plus(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus

    return _class_map(GradcamPlusPlus, model, images, classes)


def _layercam(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    from tf_keras_vis.layercam import Layercam

    return _class_map(Layercam, model, images, classes, fine_layer(model))


def fine_layer(model: Any) -> str:
    """Returns the name of the last activation whose map is at least a FINE_FRACTION-th of the image's side.

    Raises:
      ValueError: there is none.
    """
    smallest = model.input_shape[1] / FINE_FRACTION
    for layer in reversed(model.layers):
        shape: tuple[int | None, ...] = getattr(layer.output, "shape", ())
        function = getattr(getattr(layer, "activation", None), "__name__", "linear")
        nonlinear = function != "linear" or "relu" in type(layer).__name__.lower()
        if len(shape) == 4 and (shape[1] or 0) >= smallest and nonlinear:
            return layer.name
    raise ValueError(f"The model has no activation of {smallest:.0f} cells a side or more. Take gradcam for layercam.")


def _class_map(
    visualisation: Any, model: Any, images: np.ndarray, classes: np.ndarray, layer: str = FEATURE_LAYER
) -> np.ndarray:
    """Returns the raw class activation maps [B, h, w].

    They are resized here, because tf-keras-vis' resizing is off by half a cell.
    """
    explain = visualisation(model, clone=False)
    return explain(
        _score(classes),
        images,
        penultimate_layer=layer,
        seek_penultimate_conv_layer=False,  # else it walks on to some convolution before `cam_features`
        expand_cam=False,
        normalize_cam=False,
    )


def _saliency(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    from tf_keras_vis.saliency import Saliency

    return Saliency(model, clone=False)(_score(classes), images, normalize_map=False)


def _smoothgrad(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    from tf_keras_vis.saliency import Saliency

    explain = Saliency(model, clone=False)
    with _seeded_global_numpy(SEED):
        return explain(
            _score(classes),
            images,
            smooth_samples=SMOOTH_SAMPLES,
            smooth_noise=SMOOTH_NOISE,
            normalize_map=False,
        )


def _scorecam(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    """One image at a time, because the masked copies of a batch would take gigabytes."""
    from tf_keras_vis.scorecam import Scorecam

    explain = Scorecam(model, clone=False)
    channels = min(SCORE_CAM_CHANNELS, model.get_layer(FEATURE_LAYER).output.shape[-1])
    maps = []
    for image, index in zip(images, classes, strict=True):
        with contextlib.redirect_stdout(io.StringIO()):  # it calls model.predict with Keras' own progress bar
            maps.append(
                explain(
                    _score(np.array([index])),
                    image[None],
                    penultimate_layer=FEATURE_LAYER,
                    seek_penultimate_conv_layer=False,
                    max_N=channels,
                    expand_cam=False,
                    normalize_cam=False,
                )[0]
            )
    return np.stack(maps)


def _integrated_gradients(model: Any, images: np.ndarray, classes: np.ndarray, background: float) -> np.ndarray:
    """Returns |sum over colours of the attributions|, [B, S, S]."""
    return np.abs(attributions(model, images, classes, background).sum(axis=-1))


def attributions(
    model: Any, images: np.ndarray, classes: np.ndarray, background: float, steps: int = INTEGRATION_STEPS
) -> np.ndarray:
    """Integrates gradients along the straight line from a blank image (midpoint rule).

    Args:
      model, images, classes, background: as in `heat_maps`.
      steps: points on the line.

    Returns:
      [B, S, S, 3] float32 whose sum per image approaches logit(image) - logit(blank) (completeness).
    """
    from dr_edge.framework import tf

    blank = tf.fill(tf.shape(images), tf.constant(background, tf.float32))
    difference = tf.constant(images) - blank
    total = tf.zeros_like(difference)
    for step in range(steps):
        point = blank + difference * ((step + 0.5) / steps)
        with tf.GradientTape() as tape:
            tape.watch(point)
            logits = tf.gather(model(point, training=False), classes, batch_dims=1, axis=1)
        total += tape.gradient(logits, point)
    return (difference * total / steps).numpy()


METHODS: dict[str, Callable[[Any, np.ndarray, np.ndarray, float], np.ndarray]] = {
    "gradcam": _gradcam,
    "gradcam++": _gradcam_plus_plus,
    "layercam": _layercam,
    "saliency": _saliency,
    "smoothgrad": _smoothgrad,
    "scorecam": _scorecam,
    "integrated_gradients": _integrated_gradients,
}
TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "saliency": "Saliency",
    "smoothgrad": "SmoothGrad",
    "scorecam": "Score-CAM",
    "integrated_gradients": "Integrated gradients",
}


PIXELWISE = ("saliency", "smoothgrad", "integrated_gradients")  # of the input: they need no feature map


def methods_of(model: Any) -> tuple[str, ...]:
    """Returns the keys of METHODS that can explain `model`: PIXELWISE without `cam_features` (a vision transformer)."""
    return tuple(METHODS) if FEATURE_LAYER in {layer.name for layer in model.layers} else PIXELWISE


def _score(classes: np.ndarray) -> Any:
    """Returns tf-keras-vis' score: the output of the wanted class of each image."""
    from tf_keras_vis.utils.scores import CategoricalScore

    return CategoricalScore([int(index) for index in classes])


def _resized(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a map to `size` (height, width), pixel centres kept in place."""
    return heat if heat.shape == size else cv2.resize(heat, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def _normalised(heat: np.ndarray, pixelwise: bool) -> np.ndarray:
    """Scales to 0..1 by the maximum, or by a high percentile for maps of single pixels; keeps 0 at 0."""
    heat = np.maximum(heat, 0.0)
    peak = float(np.percentile(heat, PIXEL_PERCENTILE)) if pixelwise else 0.0
    peak = peak or float(heat.max())  # a map of fewer pixels than the percentile leaves out
    return np.clip(heat / peak, 0.0, 1.0).astype(np.float32) if peak > 0 else np.zeros_like(heat, dtype=np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what tf-keras-vis 0.8.7 does on each call: scipy by an old name, one input passed as a list."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Please import `zoom`", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The structure of `inputs`", category=UserWarning)
        yield


@contextlib.contextmanager
def _seeded_global_numpy(seed: int) -> Iterator[None]:
    """SmoothGrad's noise comes from numpy's global generator: seeded for equal maps, and put back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
