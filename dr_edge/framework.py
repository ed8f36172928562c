"""Keras 3 on TensorFlow, as this project uses it, whatever the environment says.

A KERAS_BACKEND, a TF_USE_LEGACY_KERAS or a keras.json left by other work (channels first, float16) would change or
break every model here. So the settings are pinned where the two libraries are first imported, and all modules take them
from here:

  from dr_edge.framework import keras, tf

`import tensorflow` imports Keras, too, and Keras reads its environment only then.
"""

from __future__ import annotations

import os
import sys

BACKEND, DATA_FORMAT, FLOAT, EPSILON = "tensorflow", "channels_last", "float32", 1e-7
DROPPED = (
    "TF_USE_LEGACY_KERAS",  # `tf.keras`, by which tf-keras-vis builds its models, must be Keras 3
    "KERAS_MAX_EPOCHS",  # these two cut every fit and predict short, in silence
    "KERAS_MAX_STEPS_PER_EPOCH",
)

if not {"keras", "tensorflow"} & set(sys.modules):  # else they have read it already
    os.environ["KERAS_BACKEND"] = BACKEND
    for _name in DROPPED:
        os.environ.pop(_name, None)

try:
    import keras as keras
    import tensorflow as tf  # noqa: F401
except ValueError as err:
    raise ValueError(
        f"Keras cannot read its settings: {err} Correct or remove ~/.keras/keras.json (or unset KERAS_HOME)."
    ) from err
from keras import layers as layers  # noqa: E402
from keras import ops as ops  # noqa: E402

if keras.config.backend() != BACKEND:
    raise RuntimeError(
        f"Keras was imported with the backend {keras.config.backend()!r} before dr_edge, which needs {BACKEND!r}. Set "
        f"KERAS_BACKEND={BACKEND} before the first import of keras."
    )
keras.config.set_image_data_format(DATA_FORMAT)
keras.config.set_floatx(FLOAT)
keras.config.set_epsilon(EPSILON)
