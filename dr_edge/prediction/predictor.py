"""Photographs in, answers out: the one path that the command and the server share. OpenCV and LiteRT only."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from dr_edge.fundus.header_types import MAX_PIXELS
from dr_edge.fundus.read_crop import Photograph, read_crop
from dr_edge.prediction.answer import check_label, interpret, refused
from dr_edge.prediction.bundle import Bundle
from dr_edge.prediction.model import Model
from dr_edge.prediction.schema import Answer


@dataclasses.dataclass(frozen=True)
class Result:
    """An answer with what pictures are drawn of.

    Attributes:
      answer: the answer.
      crop: [S, S, 3] uint8 RGB; None where the picture shows no fundus.
      outputs: what the graph gave; empty where it did not run.
    """

    answer: Answer
    crop: np.ndarray | None = None
    outputs: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Predictor:
    """Answers photographs with one artifact; not for two threads at the same time.

    Args:
      bundle: from `open_bundle`.
      threads: of the model's arithmetic.
      max_pixels: larger photographs are refused before they are decoded.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, max_pixels: int = MAX_PIXELS) -> None:
        self.bundle = bundle
        self._model = Model(bundle, threads)
        self._max_pixels = max_pixels

    def warm_up(self, crop: np.ndarray) -> None:
        """Runs the graph once on [S, S, 3] uint8, so that the first photograph does not wait for memory and caches."""
        self._model.run(crop)

    def predict(self, data: bytes | np.ndarray, label: str | None = None) -> Result:
        """Answers one photograph.

        Args:
          data: the whole file; or the photograph, [H, W, 3] uint8 RGB.
          label: a class name that the answer is compared with; None for none.

        Raises:
          PhotographError: the bytes are no readable photograph.
          ValueError: an unknown label, or an array of another shape or dtype.
        """
        if label is not None:
            check_label(self.bundle, label)
        start = time.perf_counter()
        photograph = self.read(data)
        cropped = time.perf_counter()
        result = self.answer(photograph, label)
        took = {"crop": _ms(cropped - start)}
        if photograph.crop is not None:
            took["model"] = _ms(time.perf_counter() - cropped)
        return dataclasses.replace(result, answer=dataclasses.replace(result.answer, milliseconds=took))

    def read(self, data: bytes | np.ndarray) -> Photograph:
        """Does the first half of `predict`: decodes, finds, crops; several threads may do so at the same time.

        Raises:
          PhotographError, ValueError: as `predict`.
        """
        bundle = self.bundle
        return read_crop(data, bundle.image_size, self._max_pixels, bundle.pictures, not bundle.measures_quality)

    def answer(self, photograph: Photograph, label: str | None = None) -> Result:
        """Does the second half of `predict`: runs the graph, and says what its outputs mean."""
        if photograph.crop is None:
            return Result(_with_pages(refused(photograph), photograph.pages))
        outputs = self._model.run(photograph.crop)
        answer = _with_pages(interpret(self.bundle, photograph, outputs, label), photograph.pages)
        return Result(answer, photograph.crop, outputs)


def _with_pages(answer: Answer, pages: int) -> Answer:
    """Says that one of several pages was taken."""
    if pages == 1:
        return answer
    return dataclasses.replace(answer, message=f"{answer.message} Of {pages} pages of the TIFF the largest was read.")


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 2)
