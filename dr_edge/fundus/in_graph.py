"""The preprocessing that records name, inside a graph: of deployed models, and of photographs in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_edge.framework import keras
from dr_edge.fundus.graham import PREPROCESS

FREE = ("sigma_ratio", "gain")  # constants that GrahamNormalisation takes as arguments


def prepare(pixels: keras.KerasTensor, preprocess: Mapping[str, Any], side_by_side: bool = True) -> keras.KerasTensor:
    """Applies the records' preprocessing inside the graph.

    Args:
      pixels: [B, S, S, 3] float32 0..255, the raw square crop.
      preprocess: {"method": ..., constants}.
      side_by_side: see GrahamNormalisation.

    Returns:
      [B, S, S, 3] float32 0..255, what the network was trained on.

    Raises:
      ValueError: an unknown method, or constants that the graph cannot repeat.
    """
    check_preprocess(preprocess)
    if preprocess["method"] == "crop":
        return pixels
    from dr_edge.fundus.graham_layer import GrahamNormalisation, GreyNormalisation

    if preprocess["method"] == "grey":
        return GreyNormalisation(name="grey")(pixels)
    constants = {key: preprocess[key] for key in FREE if key in preprocess}
    return GrahamNormalisation(**constants, side_by_side=side_by_side, name="graham")(pixels)


def check_preprocess(preprocess: Mapping[str, Any]) -> None:
    """Raises ValueError where the graph cannot repeat the records' preprocessing with the same constants."""
    method = preprocess.get("method")
    if method not in PREPROCESS:
        raise ValueError(f"No in-graph preprocessing for method {method!r}. Known: {', '.join(PREPROCESS)}.")
    own = PREPROCESS[method]
    changed = {key: value for key, value in preprocess.items() if key != "method" and own.get(key) != value}
    if set(changed) - set(FREE if method == "graham" else ()):
        raise ValueError(
            f"The records were preprocessed with {changed}, this release uses {own}. Build the records again."
        )
