"""Every perturbation by name, in the order of reports."""

from __future__ import annotations

from functools import partial

from dr_edge.perturbations import covers, framing, light, stored
from dr_edge.perturbations.perturbation import Perturbation


def _jpeg(quality: int, imitates: str) -> Perturbation:
    write = partial(stored.jpeg, quality=quality, half_colour=True)
    return Perturbation(f"jpeg_{quality}", f"JPEG, quality {quality}", imitates, write=write, on_crops=False)


def _exif(orientation: int, imitates: str) -> Perturbation:
    write = partial(stored.turned_by_exif, orientation=orientation)
    return Perturbation(f"exif_{orientation}", f"EXIF turn {orientation}", imitates, write=write)


_ALL = (
    Perturbation(
        "jpeg_95", "Stored again", "A program opens the photograph and stores it again, as JPEG of quality 95: every "
        "other change but those of storing ends so, too.",
    ),
    _jpeg(75, "A camera or an archive stores JPEG of its usual quality."),
    _jpeg(50, "A messenger or a mail program makes the file small."),
    _jpeg(20, "The file was made very small, perhaps several times."),
    _exif(3, "The camera stood on its head; the pixels lie turned and the EXIF says so: nothing may change."),
    _exif(6, "The phone was held upright; the pixels lie turned and the EXIF says so: nothing may change."),
    _exif(8, "The phone was held upright the other way; the EXIF says so: nothing may change."),
    Perturbation("turned_5", "Turned by 5 degrees", "The patient's head is a little tilted.", framing.turned(5)),
    Perturbation("turned_30", "Turned by 30 degrees", "A handheld camera is held aslant.", framing.turned(30)),
    Perturbation("turned_90", "A quarter turn", "Someone turned the picture, and no EXIF says so.", framing.quarter),
    Perturbation("mirrored", "Mirrored", "A lens held by hand, or a program, swaps left and right.", framing.mirrored),
    Perturbation("white_margin", "White margin", "A scanned print, or a page of a document.", framing.with_margin(255)),
    Perturbation("black_margin", "Black margin", "A viewer fits the photograph into a screen.", framing.with_margin(0)),
    Perturbation("shifted", "Shifted", "The retina lies off the middle; its edge leaves the frame.", framing.shifted),
    Perturbation(
        "side_300", "Resized to 300 px", "A thumbnail, or a picture from a web page.", framing.longer_side(300),
        on_crops=False,
    ),
    Perturbation(
        "side_1500", "Resized to 1500 px", "An archive brings all photographs to one size.", framing.longer_side(1500),
        on_crops=False,
    ),
    Perturbation(
        "squeezed", "Squeezed", "A program fits the photograph into a shape that is not its own.", framing.squeezed
    ),
    Perturbation("gamma_0.8", "Gamma 0.8", "A screen or a program with brighter middle tones.", light.gamma(0.8)),
    Perturbation("gamma_1.25", "Gamma 1.25", "A screen or a program with darker middle tones.", light.gamma(1.25)),
    Perturbation("darker", "Darker", "A weaker flash: four fifths of the light.", light.times(0.8, 0.8, 0.8)),
    Perturbation("brighter", "Brighter", "A stronger flash: a fifth more light.", light.times(1.2, 1.2, 1.2)),
    Perturbation("warmer", "Warmer", "A warmer lamp, or white balance towards red.", light.times(1.1, 1.0, 0.85)),
    Perturbation("cooler", "Cooler", "A cooler lamp, or white balance towards blue.", light.times(0.9, 1.0, 1.15)),
    Perturbation("blurred", "Blurred", "The focus is a little off, or the eye moved.", light.blurred),
    Perturbation("sharpened", "Sharpened", "The camera or a program sharpens edges.", light.sharpened),
    Perturbation("noisy", "Noisy", "Little light and a high sensitivity of the sensor.", light.noisy, on_crops=False),
    Perturbation("greyscale", "Greyscale", "Printed or stored without colour.", light.greyscale),
    Perturbation(
        "channels_swapped", "Channels swapped", "A program mistook BGR for RGB: red and blue are swapped.",
        light.channels_swapped,
    ),
    Perturbation("clahe", "CLAHE", "A viewer or a paper's recipe enhances local contrast.", light.clahe),
    Perturbation(
        "label_in_corner", "Label in a corner", "The camera writes the patient's number into the photograph.",
        covers.label_in_corner,
    ),
    Perturbation(
        "label_over_retina", "Label over the retina", "A sticker or a caption lies over part of the retina.",
        covers.label_over_retina,
    ),
    Perturbation(
        "half_retina", "Half a retina", "A lid, a finger or a cut leaves half of the retina in the dark.",
        covers.half_dark,
    ),
    Perturbation(
        "screenshot", "Phone screenshot", "The photograph was opened on a phone, and its screen stored.",
        framing.screenshot, stored.png, on_crops=False,
    ),
)  # fmt: skip

PERTURBATIONS: dict[str, Perturbation] = {each.name: each for each in _ALL}
