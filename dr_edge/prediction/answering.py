"""One photograph, whatever it is given as, to its answer and its picture: what a process does, alone or one of many."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from dr_edge.drawing.overlay import encode_png
from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import read_file
from dr_edge.prediction import pictures
from dr_edge.prediction.answer import unreadable
from dr_edge.prediction.predictor import Predictor, Result
from dr_edge.prediction.schema import Answer

Content = str | bytes | np.ndarray


class Answered(NamedTuple):
    """An answer and, where one was asked for and there is something to draw on, its picture as a PNG file."""

    answer: Answer
    picture: bytes | None = None


def read_and_predict(predictor: Predictor, photograph: Content) -> Result:
    """Answers one photograph; what cannot be read is an answer, too.

    Args:
      predictor: from a bundle.
      photograph: the path of a file; its bytes; or [H, W, 3] uint8 RGB, upright.

    Raises:
      ValueError: an array of another shape or dtype.
    """
    file = photograph if isinstance(photograph, str) else None
    try:
        result = predictor.predict(read_file(photograph) if isinstance(photograph, str) else photograph)
    except PhotographError as err:
        return Result(unreadable(file, err.reason, str(err)))
    return dataclasses.replace(result, answer=dataclasses.replace(result.answer, file=file))


def answered(predictor: Predictor, photograph: Content, heat_maps: str | None) -> Answered:
    """Answers one photograph and draws its picture.

    Args:
      predictor, photograph: as for `read_and_predict`.
      heat_maps: of the picture, "positive" or "all"; None for no picture.
    """
    result = read_and_predict(predictor, photograph)
    if heat_maps is None or result.crop is None:
        return Answered(result.answer)
    sheet = pictures.sheet(predictor.bundle, result.answer, result.crop, result.outputs, heat_maps)
    return Answered(result.answer, encode_png(sheet))
