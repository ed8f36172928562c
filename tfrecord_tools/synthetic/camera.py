"""The camera: frame and cut, colour cast, uneven light, haze, blur, noise. None of it depends on disease."""

import dataclasses
import math

import cv2
import numpy as np

from tfrecord_tools.synthetic import canvas
from tfrecord_tools.synthetic.streams import Stream, generator

_COARSE = 192  # px on which light, which varies slowly, is computed


@dataclasses.dataclass(frozen=True)
class CameraStyle:
    """What photographs of one camera have in common.

    Attributes:
      gain: multiplier of red, green, blue.
      haze: colour of stray light at the edge, 0..1.
      haze_chance: how often there is any.
      noise: standard deviation of the sensor noise at mid grey, 0..1.
      blur: standard deviation of the optics' blur, share of the FOV's diameter.
      cut: share of photographs whose disc is cut off above and below.
      tab: whether the edge of the lit disc carries the small tab that tells the image's orientation.
      frame: least and most frame width over FOV diameter.
    """

    gain: tuple[float, float, float]
    haze: tuple[float, float, float]
    haze_chance: float
    noise: float
    blur: float
    cut: float
    tab: bool
    frame: tuple[float, float]


CAMERAS = {
    "amber": CameraStyle((1.08, 0.95, 0.46), (0.50, 0.36, 0.20), 0.3, 0.010, 0.0011, 0.8, True, (1.15, 1.45)),
    "neutral": CameraStyle((0.98, 1.02, 1.05), (0.45, 0.42, 0.38), 0.3, 0.012, 0.0012, 0.3, False, (1.02, 1.5)),
    "salmon": CameraStyle((1.14, 0.92, 1.0), (0.75, 0.52, 0.45), 0.5, 0.010, 0.0014, 0.7, True, (1.02, 1.2)),
    "pale": CameraStyle((0.90, 1.10, 1.40), (0.55, 0.62, 0.50), 0.3, 0.014, 0.0013, 0.2, True, (1.25, 1.6)),
    "handheld": CameraStyle((0.86, 0.90, 0.95), (0.55, 0.75, 0.75), 0.7, 0.015, 0.0019, 0.1, False, (1.0, 1.35)),
}


@dataclasses.dataclass(frozen=True)
class Shot:
    """One photograph's framing and light, planned before anything is drawn.

    Attributes:
      camera: a key of CAMERAS.
      frame_size: (width, height), px.
      corner: (x, y), px of the frame at which the FOV's square begins; y < 0 where the disc is cut off.
      visible: (first, last) row of the FOV's square that is in the frame (last excluded).
      span: (least, most) y in the frame, FOV units, before rounding to pixels.
      light: parameters of the uneven light (FOV units and shares).
    """

    camera: str
    frame_size: tuple[int, int]
    corner: tuple[int, int]
    visible: tuple[int, int]
    span: tuple[float, float]
    light: dict[str, float]


def plan_shot(seed: int, size: int) -> Shot:
    """Chooses camera, frame and light of one photograph.

    Args:
      seed: the picture's seed.
      size: diameter of the FOV, px.

    Returns:
      The plan; at least 0.80 of the FOV's height is visible, and all of its width.
    """
    rng = generator(seed, Stream.CAMERA)
    camera = list(CAMERAS)[int(rng.integers(len(CAMERAS)))]
    style = CAMERAS[camera]
    is_cut = rng.random() < style.cut
    height_share = rng.uniform(0.80, 0.95) if is_cut else rng.uniform(1.0, 1.12)
    width_share = rng.uniform(*style.frame)
    if not is_cut and width_share < height_share:
        width_share = height_share  # a square frame
    width, height = max(size, round(size * width_share)), round(size * height_share)
    drift_x, drift_y = rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 0.4)
    corner_x = round((width - size) / 2 * (1 + drift_x))
    corner_y = round((height - size) / 2 * (1 + drift_y))
    visible = (max(0, -corner_y), min(size, height - corner_y))
    middle = (height_share - 1.0) * (1 + drift_y)  # of the FOV below the frame's upper edge
    span = (max(-1.0, -1.0 - middle), min(1.0, 2.0 * height_share - 1.0 - middle))
    angle, haze_angle = rng.uniform(0, 2 * np.pi, 2)
    light = {
        "level": rng.uniform(0.80, 1.12),
        "fall_off": rng.uniform(0.10, 0.42),
        "tilt": rng.uniform(0.0, 0.16),
        "tilt_angle": angle,
        "haze": rng.uniform(0.15, 0.6) if rng.random() < style.haze_chance else 0.0,
        "haze_angle": haze_angle,
        "haze_ring": rng.uniform(0.0, 0.3),
        "cast_red": rng.normal(0, 0.03),
        "cast_blue": rng.normal(0, 0.06),
        "focus": rng.uniform(0.7, 1.5),
        "noise": rng.uniform(0.6, 1.4),
        "black": rng.uniform(0.0, 0.014),
        "tab_angle": rng.choice([-0.75, 0.75]) + rng.normal(0, 0.03),
    }
    light = {name: float(value) for name, value in light.items()}
    return Shot(camera, (width, height), (corner_x, corner_y), visible, span, light)


def fov_mask(shot: Shot, size: int) -> np.ndarray:
    """Returns [size, size] bool: lit pixels of the FOV's square, before the frame cuts it."""
    x, y = canvas.pixel_axes(size)
    lit = (x * x + y * y <= 1.0).astype(np.uint8)
    if CAMERAS[shot.camera].tab:
        angle = shot.light["tab_angle"]
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]])
        corners = [0.9 * along - 0.045 * across, 1.033 * along - 0.045 * across]
        corners += [1.043 * along + 0.01 * across, 0.9 * along + 0.045 * across]
        cv2.fillConvexPoly(lit, canvas.to_fixed(np.array(corners), lit), 1, shift=canvas.SHIFT)
    return lit.astype(bool)


def expose(seed: int, shot: Shot, lit: np.ndarray, planes: list[np.ndarray]) -> np.ndarray:
    """Photographs the retina: light, cast, haze, blur, noise, and the black frame.

    Args:
      seed: the picture's seed (for the sensor noise).
      shot: the plan.
      lit: [size, size] bool, from fov_mask.
      planes: red, green, blue reflectance, each [size, size] float32, about 0..1.

    Returns:
      [frame height, frame width, 3] uint8 RGB.
    """
    style, light = CAMERAS[shot.camera], shot.light
    size = lit.shape[0]
    shade, haze = _light_fields(light, size)
    casts = (1.0 + light["cast_red"], 1.0, 1.0 + light["cast_blue"])
    edge = cv2.GaussianBlur(lit.astype(np.float32), (0, 0), max(0.6, size * 0.0018))
    width, height = shot.frame_size
    rows = slice(*shot.visible)
    top, left = shot.corner[1] + shot.visible[0], shot.corner[0]
    grain = _grain(seed, (height, width), style.noise * light["noise"])
    frames = []
    for plane, noise, gain, cast, stray in zip(planes, grain, style.gain, casts, style.haze, strict=True):
        shaded: np.ndarray = cv2.multiply(plane, shade, scale=gain * cast)
        if haze is not None:
            shaded = shaded + haze * (np.float32(stray) - shaded)
        shaded = cv2.GaussianBlur(shaded, (0, 0), max(0.3, size * style.blur * light["focus"]))
        _shoulder(shaded)
        shaded = shaded * edge
        frame: np.ndarray = np.full((height, width), np.float32(light["black"]))
        frame[top : top + rows.stop - rows.start, left : left + size] += shaded[rows]
        speckle = noise * (frame + np.float32(0.22))  # shot noise grows with the light
        # addWeighted rounds and saturates.
        frames.append(cv2.addWeighted(frame, 255.0, speckle, 255.0, 0.0, dtype=cv2.CV_8U))
    return cv2.merge(frames)


def _grain(seed: int, shape: tuple[int, int], deviation: float) -> list[np.ndarray]:
    """Draws sensor noise as a JPEG keeps it, colour at half the resolution of brightness.

    Returns:
      One [H, W] float32 plane each for red, green and blue.
    """
    rng = generator(seed, Stream.NOISE)
    height, width = shape
    brightness: np.ndarray = rng.standard_normal(shape, dtype=np.float32)
    brightness = cv2.GaussianBlur(brightness, (3, 3), 0.55)  # demosaicing correlates neighbours
    brightness = brightness * np.float32(1.6 * deviation)
    planes = []
    for share in (1.0, 0.6, 1.4):
        colour = rng.standard_normal(((height + 1) // 2, (width + 1) // 2), dtype=np.float32)
        colour *= np.float32(share * deviation)
        planes.append(brightness + cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR))
    return planes


def _shoulder(plane: np.ndarray) -> None:
    """Compresses highlights in place as a sensor's tone curve does: identity up to 0.7, then towards 1.25."""
    over = np.maximum(plane, np.float32(0.7))
    over -= np.float32(0.7)
    plane -= over
    # x / (1 + x / 0.55) = 0.55 - 0.55 / (1 + x / 0.55)
    over *= np.float32(1.0 / 0.55)
    over += np.float32(1.0)
    np.divide(np.float32(-0.55), over, out=over)
    over += np.float32(0.55)
    plane += over


def _light_fields(light: dict[str, float], size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the light's strength and, where there is any, the stray light's share; [size, size] float32."""
    x, y = canvas.pixel_axes(_COARSE)
    squared = x * x + y * y
    toward = x * math.cos(light["tilt_angle"]) + y * math.sin(light["tilt_angle"])
    shade = 1.0 - light["fall_off"] * squared * (0.45 + 0.55 * squared) + light["tilt"] * toward
    shade = cv2.resize(shade * light["level"], (size, size), interpolation=cv2.INTER_LINEAR)
    if light["haze"] == 0.0:
        return shade, None
    facing = x * math.cos(light["haze_angle"]) + y * math.sin(light["haze_angle"])
    crescent = np.clip((facing - 0.25) / 0.75, 0.0, 1.0) ** 2
    crescent += light["haze_ring"] * np.clip(squared, 0.0, 1.0) ** 4
    share = np.clip(light["haze"] * crescent, 0.0, 1.0)
    return shade, cv2.resize(share, (size, size), interpolation=cv2.INTER_LINEAR)
