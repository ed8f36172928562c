"""Where each data set is had, on what terms, how large it is, and how it lies below --data_dir.

One table for the readers (dataset.json repeats title, address and terms), `tfrecord_tools.build --help`,
docs/datasets.md and the README; a test compares them. What is not known from the publisher or a public description is
left out. Standard library only: --help needs nothing else.
"""

from __future__ import annotations

import dataclasses
import textwrap

OWN = "as stated by the owner of the files"
COMMAND = "dr-edge build --dataset=NAME --data_dir=DIR --image_size=320 --out=RECORDS"


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set, as its publisher offers it.

    Attributes:
      title: its name.
      address: where it is had; "" of own files.
      terms: licence, or how it is had.
      layout: what must lie below --data_dir.
      labels: labels, masks and centres that its records have.
      split: how it is divided.
      size: photographs, and GB where known; "" where not.
    """

    title: str
    address: str
    terms: str
    layout: str
    labels: str
    split: str
    size: str = ""

    def stated(self) -> dict[str, str]:
        """Returns what dataset.json says of it."""
        return {"title": self.title, "address": self.address, "licence": self.terms}


_IDRID = "https://ieee-dataport.org/open-access/indian-diabetic-retinopathy-image-dataset-idrid"
_IDRID_TITLE = "Indian Diabetic Retinopathy Image Dataset (IDRiD)"
_IDRID_TERMS = "CC BY 4.0 as stated by its publisher"

SOURCES = {
    "synthetic": Source(
        "drawn fundus images", "tfrecord_tools.synthetic", "Apache-2.0",
        layout="nothing: drawn, without --data_dir",
        labels="DR grade, glaucoma; disc, cup, five lesions; disc and fovea",
        split="by drawn patient", size="as many as --limit says (1,200)",
    ),
    "aptos": Source(
        "APTOS 2019 Blindness Detection", "https://www.kaggle.com/c/aptos2019-blindness-detection",
        "Kaggle competition rules",
        layout="`train_images/`, `train.csv`", labels="DR grade", split="by photograph",
        size="3,662 with grades, 10 GB",
    ),
    "eyepacs": Source(
        "EyePACS, Kaggle Diabetic Retinopathy Detection (2015)",
        "https://www.kaggle.com/c/diabetic-retinopathy-detection", "Kaggle competition rules",
        layout="`train/`, `trainLabels.csv` (`test/`, `retinopathy_solution.csv`)", labels="DR grade",
        split="by patient; official test where it is there", size="35,126 of `train/`, 35 GB",
    ),
    "messidor": Source(
        "Messidor", "https://www.adcis.net/en/third-party/messidor/",
        "research and education, on request to its publisher",
        layout="`Base11`..`Base34` with `Annotation_Base*.xls`", labels="Messidor grade 0-3, risk of macular oedema",
        split="by photograph", size="1,200",
    ),
    "messidor2": Source(
        "Messidor-2 with adjudicated grades", "https://www.adcis.net/en/third-party/messidor2/",
        "research and education, on request to its publisher",
        layout="`IMAGES/`, `messidor-2.csv`, and a second download with the grades, `messidor_data.csv`",
        labels="adjudicated DR grade, referable oedema", split="by examination",
    ),
    "idrid": Source(
        _IDRID_TITLE, _IDRID, _IDRID_TERMS,
        layout="`B. Disease Grading`", labels="DR grade, risk of macular oedema", split="official test",
        size="516, about 800 kB each",
    ),
    "idrid_segmentation": Source(
        _IDRID_TITLE, _IDRID, _IDRID_TERMS,
        layout="`A. Segmentation`", labels="four lesions, disc", split="official test", size="81",
    ),
    "idrid_localisation": Source(
        _IDRID_TITLE, _IDRID, _IDRID_TERMS,
        layout="`C. Localization`", labels="disc and fovea centres", split="official test",
    ),
    "refuge": Source(
        "REFUGE, Retinal Fundus Glaucoma Challenge (2018)", "https://refuge.grand-challenge.org/",
        "on registration with its publisher",
        layout="`Training400`, `Validation400`, `Test400`", labels="glaucoma; disc, cup; fovea",
        split="official val and test", size="1,200",
    ),
    "drishti": Source(
        "Drishti-GS1", "https://cvit.iiit.ac.in/projects/mip/drishti-gs/mip-dataset2/Home.php",
        "research, on registration with its publisher",
        layout="`Training`, `Test`", labels="disc and cup (two of four experts), disc centre, glaucoma",
        split="official test", size="101",
    ),
    "drions": Source(
        "DRIONS-DB", "http://www.ia.uned.es/~ejcarmona/DRIONS-DB.html", "none stated by its publisher",
        layout="`images`, `experts_anotation`", labels="disc (mean of two experts)", split="by photograph",
    ),
    "odir": Source(
        "ODIR-5K, Ocular Disease Intelligent Recognition (2019)", "https://odir2019.grand-challenge.org/",
        "on registration with its publisher",
        layout="photographs, `*Annotations*.xlsx`",
        labels="DR grade, DR, glaucoma of each eye, from its keywords", split="by patient",
        size="both eyes of 5,000 patients; those with annotations are read",
    ),
    "folder": Source(
        "folder per class", "local files", OWN,
        layout="folder per class, optionally under train/val/test (or with them inside)",
        labels="`class`; `dr_grade`, too, where the folders are the five grades",
        split="by patient as far as names or folders tell, or official",
    ),
    "csv": Source(
        "your table", "local files", OWN,
        layout="photographs, and a CSV or Excel table whose columns are named by flags", labels="yours",
        split="yours, or by patient as far as a column or names tell",
    ),
}  # fmt: skip


def markdown_table() -> str:
    """Returns the table of docs/datasets.md."""
    heads = (
        "`--dataset`",
        "where it is had",
        "terms",
        "photographs",
        "below `--data_dir`",
        "labels, masks, centres",
        "split",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, source in SOURCES.items():
        title = f"[{source.title}]({source.address})" if source.address.startswith("http") else source.title
        cells = (f"`{name}`", title, source.terms, source.size, source.layout, source.labels, source.split)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def readme_list() -> str:
    """Returns the sentence of the README that names the published data sets."""
    named = [name for name, source in SOURCES.items() if source.address.startswith("http")]
    text = (
        f"Published data sets are read as they are downloaded: {', '.join(f'`{name}`' for name in named)}. "
        "[Data sets](docs/datasets.md) says where to get each, on what terms, and how it must lie."
    )
    return "\n".join(textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False))


def help_text() -> str:
    """Returns the table for `tfrecord_tools.build --help`."""
    lines = ["Data sets, their terms, photographs, and what lies below --data_dir:", ""]
    for name, source in SOURCES.items():
        address = f"{source.address}; " if source.address.startswith("http") else ""
        told = f"{address}{source.terms}{f'; {source.size}' if source.size else ''}; {source.layout}".replace("`", "")
        lines += textwrap.wrap(told, 118, initial_indent=f"  {name:20}", subsequent_indent=" " * 22,
                               break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return "\n".join(lines)
