"""System C: a UNet (Ronneberger et al., 2015) that draws one sigmoid mask per structure, for servers and phones.

  plain encoder    depth x (2 convolutions, max pool), output at full resolution: the network of the report
  mobile encoders  MobileNetV2 or V3 bottlenecks (ImageNet weights) from S/2 to S/32, output computed at S/2

Every upsampling is bilinear and doubles a fixed size, so that the converted graph holds no dynamic shape.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import gin

from dr_edge.framework import keras, layers
from dr_edge.models.backbones import Encoder, mobilenet_v2_encoder, mobilenet_v3_encoder
from dr_edge.models.registry import ENCODER, KERAS, PHONE, register

NORMALISATIONS = ("batch", "group", "none")
CONVOLUTIONS = ("plain", "separable")


@gin.configurable(module="models")
class ConvolutionBlock:
    """Two times convolution, normalisation, ReLU; the one kind of block that encoder and decoder are made of."""

    def __init__(
        self,
        normalisation: str = "batch",
        convolution: str = "plain",
        batch_norm_momentum: float = 0.9,
        groups: int = 8,
    ) -> None:
        """Says how blocks are made.

        Args:
          normalisation: "batch"; "group" (Wu & He, 2018), for batches too small for statistics, which runs in floating
            point only; or "none".
          convolution: "plain" 3x3, or "separable": 3x3 per channel, then 1x1, about 8 times cheaper.
          batch_norm_momentum: of the moving averages; Keras's 0.99 lags on data sets of a few dozen images.
          groups: of group normalisation; every width must be a multiple of it.

        Raises:
          ValueError: an unknown kind.
        """
        for name, value, known in (
            ("normalisation", normalisation, NORMALISATIONS), ("convolution", convolution, CONVOLUTIONS),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"ConvolutionBlock.{name} must be one of {known}. Received: {value!r}.")
        self._normalisation, self._convolution = normalisation, convolution
        self._momentum, self._groups = batch_norm_momentum, groups

    def __call__(self, x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
        """Maps [B, H, W, C] to [B, H, W, width]."""
        kind = layers.Conv2D if self._convolution == "plain" else layers.SeparableConv2D
        for number in (1, 2):
            has_bias = self._normalisation == "none"  # a normalisation has its own
            x = kind(width, 3, padding="same", use_bias=has_bias, name=f"{name}_conv{number}")(x)
            if self._normalisation == "batch":
                x = layers.BatchNormalization(momentum=self._momentum, name=f"{name}_norm{number}")(x)
            elif self._normalisation == "group":
                if width % self._groups:
                    raise ValueError(
                        f"Group normalisation divides each width by groups = {self._groups}. Received a width of "
                        f"{width}. Bind ConvolutionBlock.groups or the widths."
                    )
                x = layers.GroupNormalization(self._groups, name=f"{name}_norm{number}")(x)
            x = layers.ReLU(name=f"{name}_relu{number}")(x)
        return x


@register("plain_encoder", kind=ENCODER, image_size=256)
@gin.configurable(module="encoders")
def plain_encoder(
    inputs: keras.KerasTensor, depth: int = 4, width: int = 16, block: ConvolutionBlock | None = None
) -> list[keras.KerasTensor]:
    """The UNet's own encoder, from random weights.

    Args:
      inputs: [B, S, S, 3] float32, 0..255.
      depth: how often the resolution is halved.
      width: channels at full resolution; each level has twice those of the one before.
      block: how the blocks are made; None: @models.ConvolutionBlock().

    Returns:
      depth + 1 maps, [B, S, S, width] to [B, S / 2^depth, S / 2^depth, width 2^depth].
    """
    block = block or ConvolutionBlock()
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(inputs)
    maps = []
    for level in range(depth + 1):
        if level:
            x = layers.MaxPooling2D(2, name=f"encoder{level}_pool")(x)
        x = block(x, width * 2**level, f"encoder{level}")
        maps.append(x)
    return maps


@register("unet", image_size=256, backbone="plain_encoder", task="segmentation", formats=PHONE)
@register(
    "unet_mobilenet_v2", image_size=384, backbone="mobilenet_v2_encoder", weights=KERAS, task="segmentation",
    formats=PHONE, arguments={"encoder": mobilenet_v2_encoder},
)  # fmt: skip
@register(
    "unet_mobilenet_v3_large", image_size=384, backbone="mobilenet_v3_large_encoder", weights=KERAS,
    task="segmentation", formats=PHONE, arguments={"encoder": mobilenet_v3_encoder},
)  # fmt: skip
@register(
    "unet_mobilenet_v3_small", image_size=384, backbone="mobilenet_v3_small_encoder", weights=KERAS,
    task="segmentation", formats=PHONE, arguments={"encoder": functools.partial(mobilenet_v3_encoder, variant="small")},
)  # fmt: skip
@gin.configurable(module="models")
def unet(
    image_size: int,
    outputs: int,
    encoder: Encoder = plain_encoder,
    decoder_width: int = 16,
    widest: int = 128,
    dropout: float = 0.0,
    prior: float = 0.02,
    block: ConvolutionBlock | None = None,
) -> keras.Model:
    """Builds the network.

    Args:
      image_size: side of the square input in pixels, a multiple of the encoder's coarsest stride.
      outputs: number of masks.
      encoder: a gin reference: @plain_encoder, @mobilenet_v2_encoder or @mobilenet_v3_encoder.
      decoder_width: channels of the decoder's finest map; each coarser one has twice as many, up to `widest`.
      widest: the most channels of a decoder map.
      dropout: rate per channel (spatial dropout) at the bottleneck.
      prior: probability that the untrained network gives to every pixel. From 0.5 Adam needs hundreds of steps to take
        the background, 98 % of a photograph, down (Lin et al., 2017, section 3.3).
      block: how the decoder's blocks are made; None: @models.ConvolutionBlock().

    Returns:
      A flat functional model from [B, S, S, 3] float32 0..255 to logits [B, S, S, outputs], with the layers
      `penultimate` (global averages of the encoder's maps, [B, C], which gate the bottleneck's channels), `bottleneck`
      and `logits`. An encoder whose finest map is S/2 gives logits of S/2, doubled bilinearly.

    Raises:
      ValueError: the image size does not fit the encoder, outputs < 1, or prior outside 0..1.
    """
    if not 0 < prior < 1:
        raise ValueError(f"unet.prior must be within 0..1. Received: {prior!r}.")
    if outputs < 1 or image_size < 32:
        raise ValueError(f"unet needs image_size >= 32 and outputs >= 1. Received: {image_size} and {outputs}.")
    inputs = keras.Input((image_size, image_size, 3), name="image")
    maps = encoder(inputs)
    sides = [features.shape[1] for features in maps]
    coarsest = 2 ** (len(sides) - 1) * (1 if sides[0] == image_size else 2)
    if image_size % coarsest:
        raise ValueError(
            f"unet's encoder halves the resolution to 1/{coarsest}: image_size must be a multiple of that. "
            f"Received: {image_size}."
        )
    block = block or ConvolutionBlock()
    encoder_layers = [layer.name for layer in keras.Model(inputs, maps).layers]
    x = _with_context(maps)
    if dropout:
        x = layers.SpatialDropout2D(dropout, name="dropout")(x)
    for level in reversed(range(len(maps) - 1)):
        x = _doubled(x, f"decoder{level}_up")
        x = layers.Concatenate(name=f"decoder{level}_skip")([x, maps[level]])
        x = block(x, min(decoder_width * 2**level, widest), f"decoder{level}")
    bias = keras.initializers.Constant(math.log(prior / (1 - prior)))
    if sides[0] == image_size:
        logits = layers.Conv2D(outputs, 1, bias_initializer=bias, name="logits")(x)
    else:
        logits = _doubled(layers.Conv2D(outputs, 1, bias_initializer=bias, name="logits_half")(x), "logits")
    model = keras.Model(inputs, logits, name="unet")
    if sides[0] != image_size:  # a backbone that can carry ImageNet weights
        model.backbone_layers = encoder_layers  # training/freezing.py freezes these
    return model


def _with_context(maps: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Weighs the bottleneck's channels by what is seen in the whole image: squeeze and excitation (Hu et al., 2018).

    The squeezed features are `penultimate`. They come from every resolution: training may switch the bottleneck off,
    for the maps behind its skips can say it all, and features of a dead map would tell no photograph from another.

    Args:
      maps: of the encoder, fine to coarse; the last one is the bottleneck.

    Returns:
      The weighted bottleneck, [B, h, w, C].
    """
    channels = maps[-1].shape[-1]
    squeezed = [layers.GlobalAveragePooling2D(name=f"context{level}_pool")(x) for level, x in enumerate(maps)]
    seen = layers.Concatenate(name="penultimate")(squeezed)  # [B, sum of the maps' channels]
    gate = layers.Dense(channels, activation="sigmoid", name="context_gate")(seen)
    gate = layers.Reshape((1, 1, channels), name="context_shape")(gate)
    return layers.Multiply(name="bottleneck")([maps[-1], gate])


def _doubled(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.UpSampling2D(2, interpolation="bilinear", name=name)(x)
