"""Fixtures of the tests of own data: a table with empty photographs beside it, and workbooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from tfrecord_tools.catalogue import list_dataset
from tfrecord_tools.items import Listing, Request

FLAGS = {"csv": "t.csv", "image_column": "image", "label_columns": ["level"]}


@pytest.fixture(scope="session")
def listed() -> Callable[..., Listing]:
    """listed(root, table, names, **flags): lists empty photographs so named by t.csv; None: by what lies there."""

    def listing(
        root: Path, table: str | bytes | None = None, names: tuple[str, ...] = ("a.png", "b.png"), **flags
    ) -> Listing:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        if table is not None:
            (root / "t.csv").write_bytes(table.encode() if isinstance(table, str) else table)
        return list_dataset("csv", Request(root, table={**FLAGS, **flags}, out=root / "records"))

    return listing


@pytest.fixture(scope="session")
def labels() -> Callable[..., dict[str, str | None]]:
    """labels(listing, name="level"): photograph -> its class, None where the label is missing."""

    def of(listing: Listing, name: str = "level") -> dict[str, str | None]:
        return {
            item.image_id: listing.labels[name][item.labels[name]] if item.labels[name] >= 0 else None
            for item in listing.items
        }

    return of


@pytest.fixture(scope="session")
def workbook() -> Callable[..., Path]:
    """workbook(path, **sheets): writes rows of cells as an .xlsx file."""

    def save(path: Path, **sheets: list[list]) -> Path:
        book = openpyxl.Workbook()
        book.remove(book.active)
        for name, rows in sheets.items():
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
        book.save(path)
        return path

    return save
