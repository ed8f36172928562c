"""The data sets that the builder knows, each an adapter module in `tfrecord_tools/datasets/`."""

from __future__ import annotations

import difflib
import importlib

from tfrecord_tools.items import LayoutError, Listing, Request, check_listing, with_readable_names

# name on the command line -> module in tfrecord_tools/datasets
DATASETS = {
    "synthetic": "synthetic",
    "aptos": "aptos",
    "eyepacs": "eyepacs",
    "idrid": "idrid",
    "idrid_segmentation": "idrid_segmentation",
    "idrid_localisation": "idrid_localisation",
    "messidor": "messidor",
    "messidor2": "messidor2",
    "refuge": "refuge",
    "drishti": "drishti",
    "drions": "drions",
    "odir": "odir",
    "folder": "folder",
    "csv": "table",
}


def list_dataset(name: str, request: Request) -> Listing:
    """Returns the checked Listing of the data set `name`.

    Raises:
      DatasetError: the directory or its label files are not as the layout promises; names the command that reads
        another copy's.
      ValueError: an unknown data set; names the nearest.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"Unknown data set {name!r}.{hint} Known: {', '.join(sorted(DATASETS))}.")
    try:
        listing = importlib.import_module(f"tfrecord_tools.datasets.{DATASETS[name]}").listing(request)
        listing = with_readable_names(listing)
        check_listing(listing, name)
    except LayoutError as err:
        from tfrecord_tools.advice import advise

        advice = advise(request) if name != "csv" else ""
        raise LayoutError(f"{err}\n{advice}" if advice else str(err)) from err
    return listing
