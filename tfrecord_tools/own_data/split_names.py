"""The split that a folder, a table or a cell is named after: "Training Set", "valid", "test_images", "Validierung"."""

from __future__ import annotations

import re
import unicodedata

_WORDS = {
    "train": "train training trainings entrenamiento entrainement apprentissage addestramento treino treinamento",
    "val": (
        "val valid validation validate validate dev development validierung validierungs validacion validazione "
        "validacao tuning"
    ),
    "test": "test testing tests prueba pruebas teste testes",
}
# What may follow: "test_images", "Testdaten", "train_1".
_REST = (
    r"set|sets|data|daten|dataset|datensatz|satz|menge|images?|imgs?|photos?|fotos?|photographs?|bilder|labels?|split|"
    r"teil|part|\d+"
)
_NAMED = "|".join(f"(?P<{split}>{words.replace(' ', '|')})" for split, words in _WORDS.items())
_SPLIT = re.compile(rf"(?:[a-z0-9]\W+)?(?:{_NAMED})(?:[\W_]*(?:{_REST}))*")


def split_of(name: str) -> str | None:
    """Returns "train", "val" or "test" where a name says one of them, else None."""
    letters = (
        sign for sign in unicodedata.normalize("NFKD", name.strip().casefold()) if not unicodedata.combining(sign)
    )
    found = _SPLIT.fullmatch("".join(letters))
    return found.lastgroup if found else None


def split_within(name: str) -> str | None:
    """Returns the split that words of a longer name say ("IDRiD_Training Labels"); None where none or two are said."""
    whole = split_of(name)
    found = {split for word in re.split(r"[\W_]+", name) if (split := split_of(word))}
    return whole or (found.pop() if len(found) == 1 else None)
