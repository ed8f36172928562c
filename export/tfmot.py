"""Imports tensorflow-model-optimization without what it does to the rest of the process.

It sets TF_USE_LEGACY_KERAS=1, which turns `tf.keras` into tf_keras in this process, if nothing has used it yet, and in
every process started from it; tf-keras-vis builds its heat maps through `tf.keras` and fails on Keras 3 models there.
"""

from __future__ import annotations

import os
from types import ModuleType

import tensorflow as tf

SWITCH = "TF_USE_LEGACY_KERAS"


def _import() -> ModuleType:
    _ = tf.keras.Model  # its first use settles which Keras it is, for good
    before = os.environ.get(SWITCH)
    import tensorflow_model_optimization

    if before is None:
        os.environ.pop(SWITCH, None)
    else:
        os.environ[SWITCH] = before
    return tensorflow_model_optimization


tfmot = _import()
