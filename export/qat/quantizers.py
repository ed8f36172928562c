"""Which ranges the twin's weights and outputs are rounded in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.qat.tfmot import tf_keras, tfmot

quantizers = tfmot.quantization.keras.quantizers


class CalibratedQuantizer(quantizers.MovingAverageQuantizer):  # type: ignore[name-defined]
    """tfmot's moving average of minimum and maximum, starting at a measured range."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)
        self.low, self.high = low, high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        def variable(end: str, value: float) -> Any:
            start = tf_keras.initializers.Constant(value)
            return layer.add_weight(f"{name}_{end}", initializer=start, trainable=False)

        return {"min_var": variable("min", self.low), "max_var": variable("max", self.high)}

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


class KernelQuantizer(quantizers.LastValueQuantizer):  # type: ignore[name-defined]
    """Symmetric 8-bit weights: per channel for convolutions, per tensor for depthwise ones and dense layers.

    tfmot divides along the last axis, which a depthwise kernel does not have its channels on; the converter then stores
    depthwise kernels per channel, that is, finer than they were trained.
    """

    def __init__(self, per_axis: bool) -> None:
        super().__init__(num_bits=8, per_axis=per_axis, symmetric=True, narrow_range=True)

    def get_config(self) -> dict[str, Any]:
        return {"per_axis": self.per_axis}


class LayerConfig(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[name-defined]
    """Quantises a layer's kernel, if it has one, and its output."""

    def __init__(self, low: float | None, high: float | None) -> None:
        self.low, self.high = low, high

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            return [(layer.depthwise_kernel, KernelQuantizer(False))]
        if isinstance(layer, tf_keras.layers.Conv2D | tf_keras.layers.Dense):
            return [(layer.kernel, KernelQuantizer(isinstance(layer, tf_keras.layers.Conv2D)))]
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        if quantize_weights:
            name = "depthwise_kernel" if isinstance(layer, tf_keras.layers.DepthwiseConv2D) else "kernel"
            setattr(layer, name, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        if quantize_activations:
            raise ValueError(f"{layer.name}: activations are quantised at the output only.")

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        if self.low is None or self.high is None:
            return []
        if isinstance(layer, tf_keras.layers.Activation) and layer.activation is tf_keras.activations.sigmoid:
            # TFLite's int8 LOGISTIC has this range and no other.
            return [quantizers.FixedQuantizer(8, 0.0, 255 / 256, False)]
        return [CalibratedQuantizer(self.low, self.high)]

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}
