"""The grade of diabetic retinopathy in a name: "2", "grade 2", "moderate NPDR", "No_DR". Standard library only.

The International Clinical DR scale (ICDR), Wilkinson et al., 2003. `build` reads the cells of a column and the names of
folders with it, `train` the names that records hold.
"""

from __future__ import annotations

import re

from dr_edge.data.class_words import FILLERS, HEALTHY, plain_name, reads_plain, words_of

# Without spaces; "dr" and its long forms are taken out before the look-up.
_WORDS = {
    "": None, "no": 0, "none": 0, "absent": 0, "normal": 0, "healthy": 0, "without": 0, "noapparent": 0, "negative": 0,
    "mild": 1, "mildnp": 1, "npmild": 1, "moderate": 2, "moderatenp": 2, "npmoderate": 2, "severe": 3, "severenp": 3,
    "npsevere": 3, "p": 4, "proliferative": 4, "proliferate": 4,
}  # fmt: skip
# Beside words for healthy and nothing else these deny a retinopathy; "no cataract" denies another disease and is no
# grade.
_DENYING = words_of(
    "no not non without free of from absence any apparent visible sign signs evidence detected present found seen dr "
    "diabetic retinopathy disease finding findings lesion lesions pathology abnormality abnormalities ohne kein keine "
    "sin sans senza"
)


def grade_of(name: str) -> int | None:
    """Returns the grade that a class name states in number or words; None where it states none. It may exceed 4."""
    plain = plain_name(name)
    number = re.fullmatch(r"(?:[a-z ]*\b)?(\d+)", plain) or re.match(r"(\d+)\b", plain)
    return int(number[1]) if number else grade_in_words(name)


def grade_in_words(name: str) -> int | None:
    """Returns the grade 0..4 that words such as "Moderate NPDR", "No_DR" or "proliferative" state; else None."""
    plain = plain_name(name)
    words = set(plain.split())
    if reads_plain(plain) and words <= HEALTHY | FILLERS | _DENYING:
        return 0
    text = "".join(word for word in plain.split() if word not in FILLERS)
    text = re.sub(r"non(?=prolifer)", "np", text)
    text = re.sub(r"np(?:proliferative|proliferate)", "np", text)
    text = re.sub(r"diabetic|retinopathy|grade|stage", "", text)
    text = re.sub(r"dr$|^dr(?=[a-z])", "", text)
    return _WORDS.get(text)
