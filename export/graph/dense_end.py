"""The dense end of a converted network: what lies behind its last map of features.

Vectors of a few hundred numbers take no time in floating point, while ratios, logarithms and gates lose much in 8 bits:
the five grades of a CORN head, which takes logarithms of probabilities, fell from AUC 0.99 to 0.85.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from export.graph.deployable import NETWORK_NAME

VECTOR_RANK = 2  # [B, C]
MOST_WEIGHTS = 1_000_000  # 4 MB; AlexNet's first dense layer alone has 38 million

INSIDE = rf"/{NETWORK_NAME}(_\d+)?/"


@dataclasses.dataclass(frozen=True)
class Node:
    """One operation of a converted graph.

    Attributes:
      name: as the converter calls it ("deployable_1/network_1/<layer>_1/...").
      inputs, outputs: of its tensors, any hashable names.
      rank: number of dimensions of its first output.
      weights: how many constants it reads.
    """

    name: str
    inputs: tuple[object, ...]
    outputs: tuple[object, ...]
    rank: int
    weights: int


def dense_end(nodes: Sequence[Node]) -> set[str]:
    """Returns the names of the network's operations on vectors behind which it has no map and no large layer.

    Args:
      nodes: all of the graph, in the order of execution.
    """
    users: dict[object, list[Node]] = {}
    inside = [node for node in nodes if re.search(INSIDE, node.name)]
    for node in inside:
        for tensor in node.inputs:
            users.setdefault(tensor, []).append(node)
    found: set[str] = set()
    for node in reversed(inside):
        later = [user.name for tensor in node.outputs for user in users.get(tensor, [])]
        if node.rank <= VECTOR_RANK and node.weights <= MOST_WEIGHTS and found.issuperset(later):
            found.add(node.name)
    return found
