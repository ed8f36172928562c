"""Imports tensorflow-model-optimization, and the tf_keras it works on, without what they do to the rest of the process.

It sets TF_USE_LEGACY_KERAS=1, which turns `tf.keras` into tf_keras in this process, if nothing has used it yet, and in
every process started from it; tf-keras-vis builds its heat maps through `tf.keras` and fails on Keras 3 models there.

Both packages are an extra: pip install "dr_edge[qat]".
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from dr_edge import extras
from dr_edge.framework import DATA_FORMAT, EPSILON, FLOAT, tf

SWITCH = "TF_USE_LEGACY_KERAS"


def _import() -> tuple[ModuleType, ModuleType]:
    if said := extras.sentence("qat_int8"):
        raise extras.Missing(f"{said}. Or name the other formats in --formats.")
    _ = tf.keras.Model  # its first use settles which Keras it is, for good
    before = os.environ.get(SWITCH)
    try:
        import tensorflow_model_optimization
        import tf_keras
    finally:
        if before is None:
            os.environ.pop(SWITCH, None)
        else:
            os.environ[SWITCH] = before
    # It reads the same keras.json as Keras 3.
    tf_keras.backend.set_image_data_format(DATA_FORMAT)
    tf_keras.backend.set_floatx(FLOAT)
    tf_keras.backend.set_epsilon(EPSILON)
    return tensorflow_model_optimization, tf_keras


if TYPE_CHECKING:
    import tensorflow_model_optimization as tfmot
    import tf_keras as tf_keras
else:
    tfmot, tf_keras = _import()
