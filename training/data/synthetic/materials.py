"""The table of materials: for each id a texture layer, three colours and how it takes light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data.synthetic.palette import color

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = (
    CAMVID_11.index(name)
    for name in (
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    )
)

NO_CLASS = 255  # what belongs to no class of CAMVID_11: sources ignore it


@dataclass(frozen=True)
class MaterialTable:
    """Arrays over M materials: layer, tile (metres per texture tile), colors M×9 (three linear RGB albedos),
    gloss (mirror strength), glossy_second (mirror strength of the second colour), emission, detail (strength
    of the added grain), cutout (bool: opacity makes holes), semantic (class id)."""

    layer: np.ndarray
    tile: np.ndarray
    colors: np.ndarray
    gloss: np.ndarray
    glossy_second: np.ndarray
    emission: np.ndarray
    detail: np.ndarray
    cutout: np.ndarray
    semantic: np.ndarray


class Materials:
    """Collects materials while a world is built; textures and colours that are not given are drawn by the
    generator."""

    def __init__(self, layers: dict[str, list[int]], rng: np.random.Generator, wildness: float) -> None:
        self._layers = layers
        self._rng = rng
        self._wildness = wildness
        self._rows: list[tuple] = []

    def add(
        self,
        texture: str,
        semantic: int,
        colors: Sequence[str | np.ndarray],
        tile: float = 2.0,
        gloss: float = 0.0,
        glossy_second: float = 0.0,
        emission: float = 0.0,
        detail: float = 0.25,
        cutout: bool = False,
    ) -> int:
        """A new material's id. Colours are palette kinds or albedos; missing ones repeat the last."""
        rng = self._rng
        chosen = [
            color(rng, c, self._wildness) if isinstance(c, str) else np.asarray(c, np.float32) for c in colors
        ]
        chosen += [chosen[-1]] * (3 - len(chosen))
        layer = self._layers[texture][int(rng.integers(len(self._layers[texture])))]
        self._rows.append(
            (layer, tile, np.concatenate(chosen), gloss, glossy_second, emission, detail, cutout, semantic)
        )
        return len(self._rows) - 1

    def recolored(self, material: int, first: np.ndarray) -> int:
        """A copy of a material with another first colour."""
        row = list(self._rows[material])
        row[2] = np.concatenate([np.asarray(first, np.float32), row[2][3:]])
        self._rows.append(tuple(row))
        return len(self._rows) - 1

    def first_color(self, material: int) -> np.ndarray:
        """The first albedo (3, linear RGB) of a material."""
        return self._rows[material][2][:3]

    def tile_size(self, material: int) -> float:
        """Metres per texture tile of a material."""
        return self._rows[material][1]

    def table(self) -> MaterialTable:
        """The arrays for rendering."""
        layer, tile, colors, gloss, second, emission, detail, cutout, semantic = zip(*self._rows)
        return MaterialTable(
            np.array(layer, np.float32),
            np.array(tile, np.float32),
            np.array(colors, np.float32),
            np.array(gloss, np.float32),
            np.array(second, np.float32),
            np.array(emission, np.float32),
            np.array(detail, np.float32),
            np.array(cutout, bool),
            np.array(semantic, np.uint8),
        )
