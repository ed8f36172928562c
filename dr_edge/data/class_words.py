"""How the name of a class reads: without the disease, with one, or neither.

Nothing is guessed: a name that may mean both says nothing.
Standard library only, so that `build`, `train` and the readers of bundles share it.
"""

from __future__ import annotations

import re
import unicodedata


def words_of(text: str) -> frozenset[str]:
    """Returns the words of a text with blanks between, as a set."""
    return frozenset(text.split())


# Two words of one line are one answer. A letter is never more than that: "n" may be no, and normal.
YES = words_of("yes y ja j oui o si s sim true t positive pos present")
NO = words_of("no n nein nej nei nee non nao false f negative neg absent")
# "no" alone, or at the end: "glaucoma no", "glaukom_nein".
OUTRIGHT_NO = (
    "no|nein|nej|nei|nee|non|nao|kein|keine|keiner|ninguno|ninguna|aucun|aucune|nessuno|nessuna|nenhum|nenhuma"
)
HEALTHY = words_of(
    "normal normals healthy control controls negative negatives neg absent absence unaffected undiseased false none wnl"
    " nrg nrdr gesund gesunde unauffallig unauffaellig normalbefund regelrecht unremarkable sano sana sanos sanas sain "
    "saine sains saines 正常 健康"
)
# Words beside those above that change nothing: "normal fundus images". Not "tension": normal tension glaucoma is one.
FILLERS = words_of(
    "a the eye eyes fundus fundi retina retinas retinal macula disc image images img imgs photo photos photograph "
    "photographs picture pictures scan scans sample samples subject subjects patient patients case cases class group "
    "volunteer volunteers folder data dataset left right od os is are has label flag auge augen bild bilder ojo ojos "
    "oeil yeux"
)
# Neither healthy nor ill: beside them nobody can say which of the other classes are the disease.
UNCLEAR = words_of(
    "ungradable ungradeable ungraded gradable gradeable unknown unlabelled unlabeled unclassified unsure uncertain "
    "unclear undetermined indeterminate equivocal borderline missing artifact artifacts artefact artefacts quality "
    "blurred blurry reject rejected excluded invalid unusable usable unreadable misc miscellaneous rest good bad poor "
    "fair treatment pending tbd todo na nd skip ignore assessable unassessable interpretable uninterpretable duplicate "
    "discarded beurteilbar unbeurteilbar auswertbar unklar unbekannt fraglich new neu unsorted unsortiert sonstige "
    "sonstiges duplicates duplikate doppelt tmp temp inbox illisible incertain indetermine inconnu inclassable "
    "evaluable desconocido dudoso ilegible indeterminado"
)
# Of a class with words of its own beside one of these nobody can say it ("normal variant", "healthy with drusen") ...
HALF_SAID = words_of("normal normals healthy gesund gesunde normalbefund unauffallig unauffaellig sano sana sain saine")
# ... but for these diseases.
NORMAL_DISEASE = re.compile(r"\bnormal (tension|pressure)\b")
# What "no ..." may lack without being healthy.
NO_FINDING = words_of(
    "image images photo photograph fundus view label labels grade data diagnosis information light consent known sure "
    "certain idea answer opinion consensus result results treatment treated therapy surgery operation laser lasered "
    "medication drops insulin vegf glasses flash crop cropped mask masked smoker smoking smokers"
)
# "non-..." of these names another disease (non-proliferative DR, non-exudative AMD) or says nothing.
SUBTYPES = (
    "prolif", "exud", "neovasc", "isch", "arter", "perfus", "infect", "granul", "rhegm", "cent", "clinical", "cystoid",
    "severe", "advanced", "sight", "vision", "mydri", "insulin", "specific", "penetr", "macula", "high risk", "active",
    "age", "diabetic ", "standard", "stereo", "compress",
)  # fmt: skip
_DENIED = re.compile(
    r"(?:(no|not|non|without|w o|free of|free from|absence of|ohne|keine?|sin|sans|senza|sem) "
    r"|(non)(?!e\b)(?=[a-z]))(.+)"
)
_FUSED = re.compile(
    r"^no(dr|rdr|dme|rop|amd|armd|glaucoma|cataract|retinopathy|disease|findings?|patholog\w*|lesions?)\b"
)


def reads_healthy(name: str) -> bool | None:
    """Says whether a class name means "without the disease"; None where it means neither that nor a disease."""
    return reads_plain(plain_name(name))


def plain_name(name: str) -> str:
    """Returns a name in small letters without accents, signs and the number that orders it: "1_NoDR" -> "no dr"."""
    text = "".join(
        sign
        for sign in unicodedata.normalize("NFKD", str(name))
        if not unicodedata.combining(sign) and unicodedata.category(sign) != "Cf"
    )
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold()
    text = re.sub(r"[\W_]+", " ", text).strip()
    return re.sub(r"^\d+ (?=\D)", "", text)


def reads_plain(plain: str) -> bool | None:
    """Returns what `reads_healthy` says of a name that `plain_name` gave."""
    text = re.sub(r"(?<=\D) \d+$", "", plain)
    words = set(text.split())
    if not text or words & UNCLEAR or all(len(word) == 1 and word.isascii() for word in words):  # "x", "k.A."
        return None
    if text == "not" or (words & HEALTHY and words <= HEALTHY | FILLERS):
        return True
    if re.search(rf"\b({OUTRIGHT_NO}|negative|neg|absent|free|not (present|detected|found|seen))$", text):
        return True
    while text.partition(" ")[0] in FILLERS | {"with"}:  # "eyes without glaucoma"
        text = text.partition(" ")[2]
    denied = _DENIED.match(text)
    if denied:
        rest = denied[3].strip()
        if set(rest.split()) & NO_FINDING or rest.isdecimal():
            return None
        if (denied[1] in ("non", "not") or denied[2]) and rest.startswith(SUBTYPES):
            return False
        return not reads_plain(rest)  # "not normal"
    if words & HALF_SAID and not NORMAL_DISEASE.search(text):
        return None
    return bool(_FUSED.match(text))
