"""The work on one image: file -> checked, cropped, preprocessed, encoded Record. The one code path of every engine.

Runs in worker processes: OpenCV and numpy only, no TensorFlow, no global state, and the same item gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from dr_edge.data.records import Record
from dr_edge.fundus.appearance import COLOUR, TAKEN
from dr_edge.fundus.crop import FieldOfView, crop_mask, crop_points, crop_square
from dr_edge.fundus.fov import find_fov
from dr_edge.fundus.gradability import NotFundusError
from dr_edge.fundus.graham import preprocess
from dr_edge.fundus.header_types import MAX_PIXELS, PhotographError
from dr_edge.fundus.locate import Refusal, locate
from dr_edge.fundus.quality import quality
from tfrecord_tools.duplicates import describe
from tfrecord_tools.inside import ItemFiles, Rejected, one_line
from tfrecord_tools.items import Item
from tfrecord_tools.masks import check_turns, read_masks

ENCODED_QUALITY = 95  # what a model trains on: 4:4:4, since lesions are small and red
PHOTOGRAPH_QUALITY = 90  # what overlays and calibration read


@dataclasses.dataclass(frozen=True)
class Settings:
    """What every image of a build has in common.

    Attributes:
      data_dir: absolute path, or "" where images are drawn.
      image_size: side of the crop in pixels.
      method: preprocessing, 'graham', 'crop' or 'grey'.
      min_quality: photographs below this score (0..1) are rejected.
      max_pixels: larger photographs are refused before they are decoded.
    """

    data_dir: str
    image_size: int
    method: str
    min_quality: float = 0.0
    max_pixels: int = MAX_PIXELS


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one item: a record with the facts that the split needs, or the reason of its rejection.

    Attributes:
      item: the item.
      record: None where rejected.
      reason: "" where taken.
      pixels: SHA-256 of the decoded photograph, equal for exact duplicates.
      kind: of picture, one of `appearance.KINDS`.
      enlarged: whether the photograph's field of view spans fewer pixels than the record.
      picture: small pictures of the crop by which near-duplicates are found, see `duplicates.describe`.
      empty_masks: names of the structures whose mask is empty.
      files: path -> SHA-256 of each file that was read for it, "" where that could not be; also of a rejected item.
    """

    item: Item
    record: Record | None = None
    reason: str = ""
    pixels: str = ""
    picture: bytes = b""
    kind: str = COLOUR
    enlarged: bool = False
    empty_masks: tuple[str, ...] = ()
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def process(item: Item, settings: Settings) -> Outcome:
    """Makes the record of one item; whatever is wrong with its files becomes the reason of its rejection."""
    files = ItemFiles(settings.data_dir, item.stamps)
    return dataclasses.replace(_checked(item, settings, files), files=files.digests)


def _checked(item: Item, settings: Settings, files: ItemFiles) -> Outcome:
    try:
        return _process(item, settings, files)
    except Rejected as err:
        return Outcome(item, reason=str(err))
    except (PhotographError, NotFundusError) as err:
        return Outcome(item, reason=one_line(err))
    except cv2.error as err:
        return Outcome(item, reason=f"OpenCV failed: {one_line(err)}")
    except MemoryError:
        return Outcome(item, reason="not enough memory to decode it; lower --max_megapixels or --workers")
    except Exception as err:  # noqa: BLE001 - one strange file must not end a build of many hours
        return Outcome(item, reason=f"unexpected {type(err).__name__}: {one_line(err)}")


def _process(item: Item, settings: Settings, files: ItemFiles) -> Outcome:
    source = _read(item, settings, files) if item.seed is None else _draw(item.seed, settings)
    fov = source["fov"]
    size = settings.image_size
    crop = crop_square(source["image"], fov, size)
    score = float(quality(crop).score)
    if score < settings.min_quality:
        raise Rejected(f"quality {score:.2f} is below --min_quality={settings.min_quality:g}")
    prepared = crop if settings.method == "crop" else preprocess(crop, settings.method)
    scale = source["denominator"]
    in_source = fov.scaled(scale)
    record = Record(
        encoded=_jpeg(prepared, ENCODED_QUALITY),
        photograph=b"" if settings.method == "crop" else _jpeg(crop, PHOTOGRAPH_QUALITY),
        image_id=item.image_id,
        path=item.path,
        sha256=source["sha256"],
        patient_id=item.patient,
        source_size=source["size"],
        crop_box=in_source.box,
        laterality=source["laterality"],
        quality=score,
        labels=dict(source["labels"]),
        masks={name: _png(crop_mask(mask, in_source, size)) for name, mask in sorted(source["masks"].items())},
        centres=_crop_centres(source["centres"], in_source, size),
    )
    empty = tuple(name for name, mask in sorted(source["masks"].items()) if not mask.any())
    return Outcome(
        item, record, pixels=source["pixels"], picture=describe(crop), empty_masks=empty,
        kind=source.get("kind", COLOUR), enlarged=2 * in_source.radius < size,
    )  # fmt: skip


def _crop_centres(
    centres: dict[str, tuple[float, float]], fov: FieldOfView, size: int
) -> dict[str, tuple[float, float]]:
    names = sorted(centres)
    if not names:
        return {}
    points = crop_points(np.asarray([centres[name] for name in names], np.float64), fov, size)
    # Annotations and `crop_points` put the centre of the first pixel at 0, records at 0.5.
    return {name: (float(x) + 0.5, float(y) + 0.5) for name, (x, y) in zip(names, points, strict=True)}


def _read(item: Item, settings: Settings, files: ItemFiles) -> dict[str, Any]:
    data = files.read(item.path)
    found = locate(data, settings.image_size, settings.max_pixels, TAKEN[settings.method])
    if isinstance(found.fov, Refusal):
        raise Rejected(one_line(f"{found.fov.reason}: {found.fov.detail}"))
    size = found.size
    check_turns(files.read, item.masks, size, data)
    for name, (x, y) in item.centres.items():
        if not (0 <= x < size[1] and 0 <= y < size[0]):
            raise Rejected(
                f"centre {name} ({x:g}, {y:g}) lies outside the photograph of {size[1]}x{size[0]}: another size?"
            )
    return {
        "image": found.image,
        "fov": found.fov,
        "kind": found.kind,
        "denominator": found.denominator,
        "size": size,
        "sha256": files.digests[item.path],
        "pixels": _pixels_digest(size, found.image),
        "laterality": item.laterality,
        "labels": item.labels,
        "masks": read_masks(files.read, settings.max_pixels, item.masks, size, found.fov.scaled(found.denominator)),
        "centres": dict(item.centres),
    }


def _pixels_digest(size: tuple[int, int], image: np.ndarray) -> str:
    digest = hashlib.sha256(repr(size).encode())
    digest.update(np.ascontiguousarray(image).data)  # not a copy of the pixels, which would cost as much again
    return digest.hexdigest()


def _draw(seed: int, settings: Settings) -> dict[str, Any]:
    from tfrecord_tools.synthetic.draw import SMALLEST, draw_fundus

    synthetic = draw_fundus(seed, size=max(settings.image_size, SMALLEST))
    digest = hashlib.sha256(synthetic.image.tobytes()).hexdigest()
    return {
        "image": synthetic.image,
        "fov": find_fov(synthetic.image),
        "denominator": 1,
        "size": synthetic.image.shape[:2],
        "sha256": digest,
        "pixels": digest,
        "laterality": synthetic.laterality,
        "labels": {"dr_grade": int(synthetic.dr_grade), "glaucoma": int(synthetic.glaucoma)},
        "masks": synthetic.masks,
        "centres": synthetic.centres,
    }


def _jpeg(image: np.ndarray, level: int) -> bytes:
    options = [
        cv2.IMWRITE_JPEG_QUALITY, level,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _png(mask: np.ndarray) -> bytes:
    return cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
