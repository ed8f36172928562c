"""Tells whether the coded picture of a HEIC is whole: libheif passes over what its HEVC decoder, libde265, warns of, so
that a garbled file gives a garbled picture.

The library that pi-heif brings is asked a second time, directly; it was seen to notice 89 of 90 damages, a single
flipped bit among them. Called only after libheif has decoded the file within its limits.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import struct
from pathlib import Path

from dr_edge.fundus.header_types import PhotographError
from dr_edge.fundus.heif_boxes import coded_pictures

# Of a whole stream none of these is said: the slice ends early, late or between pictures, or names tables that are not
# there.
_DAMAGE = {1002, 1003, 1004, 1005, 1006, 1007, 1009, 1010, 1017, 1020, 1021}
_FIRST_WARNING = 1000  # below are errors
_MAX_STEPS = 10_000


def check_whole(data: bytes) -> None:
    """Raises PhotographError where a part of the primary picture of a HEIC is garbled, or cannot be checked.

    Args:
      data: the whole file.
    """
    library = _library()
    try:
        for number, units in enumerate(coded_pictures(data), 1):
            if library is not None and not _is_whole(library, units):  # None: built without bundled libraries
                raise PhotographError(
                    "damaged HEIC data",
                    f"part {number} of its picture is missing or garbled. Copy or fetch the file again.",
                )
    except (struct.error, IndexError, KeyError, OverflowError, StopIteration, RuntimeError) as err:
        raise PhotographError("corrupt", "the HEIC's boxes contradict each other. Store it anew.") from err


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Returns libde265 as pi-heif brings it, or as the system has it; None where there is none."""
    import pi_heif

    package = Path(pi_heif.__file__).parent
    places = [*package.parent.glob("pi_heif.libs/*de265*"), *package.glob(".dylibs/*de265*"), *package.glob("*de265*")]
    name = str(places[0]) if places else ctypes.util.find_library("de265")
    if not name:
        return None
    try:
        library = ctypes.CDLL(name)
        library.de265_new_decoder.restype = ctypes.c_void_p
        library.de265_free_decoder.argtypes = [ctypes.c_void_p]
        library.de265_push_NAL.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_void_p,
        ]
        library.de265_flush_data.argtypes = [ctypes.c_void_p]
        library.de265_decode.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        library.de265_get_warning.argtypes = [ctypes.c_void_p]
        library.de265_get_next_picture.argtypes, library.de265_get_next_picture.restype = (
            [ctypes.c_void_p],
            ctypes.c_void_p,
        )
    except (OSError, AttributeError):
        return None
    return library


def _is_whole(library: ctypes.CDLL, units: list[bytes]) -> bool:
    decoder = library.de265_new_decoder()
    if not decoder:
        raise MemoryError("libde265 gives no decoder.")
    try:
        if any(library.de265_push_NAL(decoder, unit, len(unit), 0, None) for unit in units):
            return False
        library.de265_flush_data(decoder)
        more = ctypes.c_int(1)
        for _ in range(_MAX_STEPS):
            failed = library.de265_decode(decoder, ctypes.byref(more))
            while warning := library.de265_get_warning(decoder):
                if warning in _DAMAGE or warning < _FIRST_WARNING:
                    return False
            if failed:
                return False
            if library.de265_get_next_picture(decoder):
                return True
            if not more.value:
                return False
        return False
    finally:
        library.de265_free_decoder(decoder)
