"""How far a picture moves from frame to frame, in pixels: tells standing from driving where there is no odometry."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 160
"""Width in pixels of the pictures that are compared; narrower ones are compared as they are."""

_SMALLEST_SIDE = 32  # of what OpenCV's DIS flow takes


class ImageMotion:
    """The median length of the optical flow (OpenCV DIS on small grey pictures) between successive images.

    The median, since traffic that passes a standing robot moves less than half of the picture.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._flow.setFinestScale(1)
        self._former: np.ndarray | None = None

    def update(self, grey: np.ndarray, width: int) -> float:
        """Pixels of an image of ``width`` that the picture moved since the last call; NaN at the first one.

        ``grey`` is that image made small by :func:`small_grey`.
        """
        former, self._former = self._former, grey
        if former is None or former.shape != grey.shape:
            return float("nan")
        flow = self._flow.calc(grey, former, None)
        return float(np.median(cv2.magnitude(flow[..., 0], flow[..., 1]))) * width / grey.shape[1]


def small_grey(image: np.ndarray) -> np.ndarray:
    """An H×W×3 uint8 RGB image as the small uint8 picture that :class:`ImageMotion` compares."""
    height, width = image.shape[:2]
    size = (min(WIDTH, width), round(height * min(1.0, WIDTH / width)))
    size = (max(size[0], _SMALLEST_SIDE), max(size[1], _SMALLEST_SIDE))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
