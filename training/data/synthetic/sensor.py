"""The camera's own marks on the picture: pixels' area, exposure, white balance, tone, blur, vignetting,
noise."""

from __future__ import annotations

import cv2
import numpy as np

_CURVE_SIZE = 4096
_NOISE_SHIFT = 61
_DEPTH_JUMP = 0.06  # relative change of inverse depth that counts as an outline
_GLARE = 6.0  # radiance that spills over outlines at most
_PIVOT = 0.47  # display value that contrast leaves as it is
_CURVE_END = 4.0  # linear radiance (after exposure) that the tone curve covers


class Sensor:
    """Turns linear radiance into 8-bit RGB; all properties are drawn by seed. ``strength`` scales the
    imperfections."""

    def __init__(
        self,
        rng: np.random.Generator,
        width: int,
        height: int,
        brightness: float,
        strength: float,
        saturation: tuple[float, float] = (0.6, 1.25),
        contrast: tuple[float, float] = (1.0, 1.9),
    ) -> None:
        """brightness: typical radiance of a scene, which exposure brings to mid-grey; ``saturation`` and ``contrast`` are
        drawn from ranges."""
        self._gain = float(0.5 * np.exp(rng.normal(0.1, 0.33)) / brightness)
        white = np.clip(np.exp(rng.normal(0, 0.07, 3)), 0.8, 1.25)
        colourful = rng.uniform(*saturation)
        self._colour = (colourful * np.eye(3) + (1 - colourful) / 3) * white  # RGB to RGB
        self._blur = float(rng.choice([0.0, 0.35, 0.5, 0.8], p=[0.2, 0.4, 0.3, 0.1])) * strength
        self._shutter = float(rng.uniform(0.05, 0.35)) * strength * (rng.random() < 0.3)
        noise = np.float32(np.exp(rng.uniform(np.log(0.3), np.log(5.0)))) * strength
        self._flicker = 0.02 * float(rng.random()) * strength
        shoulder = rng.uniform(0.0, 1.0)
        gamma = rng.uniform(1.8, 2.5)
        x = np.linspace(0, _CURVE_END, _CURVE_SIZE)
        soft = 1 - np.exp(-1.6 * x)
        tone = (1 - shoulder) * np.clip(x, 0, 1) + shoulder * soft
        lift = rng.uniform(0.0, 0.03)
        display = np.power(np.clip(tone, 0, 1), 1 / gamma)
        display = np.clip(_PIVOT + (display - _PIVOT) * rng.uniform(*contrast), 0, 1)
        self._curve = (255 * (lift + (1 - lift) * display)).astype(np.float32)
        # one field of noise, read at another offset for each frame
        self._noise_field = (
            rng.standard_normal((height + _NOISE_SHIFT, width + _NOISE_SHIFT, 3), dtype=np.float32) * noise
        )
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        radius = np.hypot(x - width / 2, y - height / 2) / np.hypot(width / 2, height / 2)
        self._vignette = (1 - rng.uniform(0, 0.35) * strength * radius**2).astype(np.float32)[..., None]

    def expose(self, radiance: np.ndarray, flow: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """RGB uint8 H×W×3 from linear H×W×3; flow H×W×2 (finite) says how far things move between frames."""
        image = radiance * self._vignette
        if self._shutter > 0:
            image = self._smear(image, flow)
        if self._blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._blur)
        gain = self._gain * (1 + self._flicker * float(rng.standard_normal()))
        image = cv2.transform(image, self._colour * (gain * (_CURVE_SIZE - 1) / _CURVE_END))
        index = np.clip(image, 0, _CURVE_SIZE - 1, out=image).astype(np.uint16)
        display = np.take(self._curve, index)
        height, width = image.shape[:2]
        y, x = rng.integers(0, _NOISE_SHIFT + 1, 2)
        return cv2.add(display, self._noise_field[y : y + height, x : x + width], dtype=cv2.CV_8U)

    def _smear(self, image: np.ndarray, flow: np.ndarray) -> np.ndarray:
        """Motion blur: the mean of the picture at four moments of the exposure."""
        height, width = image.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        step = np.clip(flow, -40, 40) * np.float32(self._shutter / 3)
        total = image.copy()
        for k in (1, 2, 3):
            offset = k - 1.5
            total += cv2.remap(
                image,
                x + step[..., 0] * offset,
                y + step[..., 1] * offset,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        return total / 4


def smooth_edges(radiance: np.ndarray, depth: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Radiance H×W×3 with softened outlines (changed in place): one ray per pixel leaves stairs where
    materials or depths (H×W) change."""
    inverse = 1.0 / depth
    edge = np.zeros(depth.shape, bool)
    for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        jump = np.abs(inverse[here] - inverse[there]) > _DEPTH_JUMP * np.maximum(
            inverse[here], inverse[there]
        )
        jump |= material[here] != material[there]
        edge[here] |= jump
        edge[there] |= jump
    smooth = cv2.GaussianBlur(np.minimum(radiance, _GLARE), (3, 3), 0.75)
    return cv2.copyTo(smooth, edge.view(np.uint8), radiance)
