"""What dataset.json says of a records directory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from dr_edge import metadata
from dr_edge.fundus import graham


@dataclasses.dataclass(frozen=True)
class RecordsInfo:
    """What dataset.json says that a model needs to know.

    Attributes:
      directory: the records directory.
      image_size: side of the stored crops in pixels.
      preprocess: {"method": ..., constants} as tfrecord_tools wrote them.
      content: the whole of dataset.json.
    """

    directory: str
    image_size: int
    preprocess: Mapping[str, Any]
    content: Mapping[str, Any]

    @property
    def background(self) -> float:
        """Grey level outside the field of view."""
        return graham.background(self.preprocess["method"])


def read_info(records: str | os.PathLike) -> RecordsInfo:
    """Reads dataset.json.

    Raises:
      ManifestError: the directory holds no finished records.
    """
    content = metadata.read_manifest(records, "dataset")
    return RecordsInfo(str(records), content["image_size"], content["preprocess"], content)
