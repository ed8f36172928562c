"""IDRiD, C. Localization: centres of the optic disc and the fovea, four CSV files `*_Center_*Set_Markups.csv`.

The coordinates count the first pixel as 1 and refer to photographs of 4288x2848. The files end in empty columns and
rows.
"""

from __future__ import annotations

from pathlib import Path

from tfrecord_tools.datasets.idrid import SOURCE, official_parts
from tfrecord_tools.items import DatasetError, Item, Listing, Request
from tfrecord_tools.layout import checked_directory, column, find_one, read_table, relative
from tfrecord_tools.matching import index_images

# centre name -> (folder, part of the file's name)
CENTRES = {
    "optic_disc": ("1. Optic Disc Center Location", "OD_Center"),
    "fovea": ("2. Fovea Center Location", "Fovea_Center"),
}


def listing(request: Request) -> Listing:
    """Lists the photographs of the official training and test sets with their centres."""
    root = checked_directory(request.data_dir, "idrid_localisation")
    items: list[Item] = []
    rejected: list[tuple[str, str]] = []
    for split, folder, base in official_parts(root, "C. Localization"):
        images = index_images([folder])
        centres: dict[str, dict[str, tuple[float, float]]] = {key: {} for key in images}
        for centre, (truth, part) in CENTRES.items():
            pattern = f"2. Groundtruths/{truth}/*{part}*{'Training' if split == 'train' else 'Testing'}*.csv"
            table = find_one(base, (pattern,), f"centres of {folder.name}")
            for name, point in read_points(table).items():
                if name.lower() in images:
                    centres[name.lower()][centre] = point
                else:
                    rejected.append(
                        (f"{relative(folder, root)}/{name}.jpg", f"{table.name}: the photograph is missing")
                    )
        for key, path in images.items():
            if not centres[key]:
                rejected.append((relative(path, root), "no centre in the CSV files"))
                continue
            image_id = f"{split}/{path.stem}"
            items.append(Item(image_id, relative(path, root), image_id, split=split, centres=centres[key]))
    return Listing(labels={}, items=items, centres=tuple(CENTRES), rejected=sorted(set(rejected)), source=SOURCE)


def read_points(table: Path) -> dict[str, tuple[float, float]]:
    """Returns photograph name -> (x, y), the first pixel counted as 0.

    Raises:
      DatasetError: a coordinate that is no number.
    """
    points = {}
    for number, row in enumerate(read_table(table), 2):
        name = column(row, ("Image No",), table)
        cells = (
            column(row, ("X- Coordinate",), table),
            column(row, ("Y - Coordinate", "Y- Coordinate"), table),
        )
        if not name:
            continue
        try:
            x, y = (float(cell) for cell in cells)
        except ValueError as err:
            raise DatasetError(
                f"{table.name}, row {number} ({name}): no coordinates: {cells}. Correct the file."
            ) from err
        points[name] = (x - 1, y - 1)
    return points
