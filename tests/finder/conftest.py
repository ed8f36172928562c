"""The finder, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

BATCH = 16


@pytest.fixture(scope="package")
def find() -> Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]:
    """find(photographs): what the graph says of each, by the names of `Location`, [N, ...]."""
    from dr_edge.finder.artifact import as_function
    from dr_edge.finder.thumbnail import thumbnail_of

    compiled = as_function(BATCH)

    def run(photographs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        thumbnails, sizes = (np.concatenate(parts) for parts in zip(*map(thumbnail_of, photographs), strict=True))
        rest = -len(photographs) % BATCH
        thumbnails, sizes = (np.concatenate([part, *[part[-1:]] * rest]) for part in (thumbnails, sizes))
        answers: list[dict[str, Any]] = []
        for start in range(0, len(thumbnails), BATCH):
            part = slice(start, start + BATCH)
            answers.append(compiled(thumbnail=thumbnails[part], size=sizes[part]))
        count = len(photographs)
        return {name: np.concatenate([a[name].numpy() for a in answers])[:count] for name in answers[0]}

    return run
