"""DICOM files for the tests of `test_dicom.py` and `test_dicom_headers.py`, and why they are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.photograph import decode_photograph

DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT, JPEG, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
OPHTHALMIC = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def dicom(pixels: np.ndarray, photometric: str, bits: int = 8, syntax: str = EXPLICIT, data: bytes | None = None):
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = OPHTHALMIC
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    dataset.PixelRepresentation = 0
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = pixels.tobytes() if data is None else data
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reason(data: bytes, **options) -> str:
    with pytest.raises(PhotographError) as caught:
        decode_photograph(data, **options)
    return caught.value.reason
