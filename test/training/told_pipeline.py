"""A pipeline that answers what it was told, and a progress bar that shows nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.perception import ALL_OUTPUTS, Perception


class Told:
    """Answers its n-th step with ``answers[n]``, as a pipeline would; notes what it was given."""

    labels = CAMVID_11

    def __init__(self, answers: list[dict]) -> None:
        self.asked: list[tuple[PinholeCamera | None, int, Collection[str]]] = []
        self.resets = 0
        self._answers = iter(answers)

    def reset(self) -> None:
        self.resets += 1

    def step(
        self, image: np.ndarray, camera: PinholeCamera | None, stamp: int, outputs: Collection[str] = ALL_OUTPUTS
    ) -> Perception:
        self.asked.append((camera, stamp, outputs))
        return Perception(stamp=stamp, image=image, camera=camera, **next(self._answers))


def plain(items: Iterable, total: int, description: str) -> Iterator:
    return iter(items)
