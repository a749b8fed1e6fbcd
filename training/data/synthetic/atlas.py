"""The texture atlas: every tile with its mip levels in one picture, sampled trilinearly by ``cv2.remap``."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from geoseg_ros.training.data.synthetic import drawings, interior_tiles, textures

LEVELS = 9  # 256 … 1
_BORDER = 1
_LIBRARIES = 6
_ROW = 1024  # points per row of the maps given to cv2.remap

Kinds = dict[Callable[[np.random.Generator], np.ndarray], int]
"""How many variants of each kind of tile a library holds."""

_STREETS: Kinds = {
    textures.grain: 2,
    textures.clouds: 3,
    textures.plain: 1,
    textures.asphalt: 3,
    textures.concrete: 2,
    textures.paving: 3,
    textures.cobbles: 1,
    textures.brick: 2,
    textures.plaster: 2,
    textures.roof: 2,
    textures.grass: 2,
    textures.leaves: 3,
    textures.hedge: 2,
    textures.twigs: 2,
    textures.bark: 1,
    textures.boards: 2,
    textures.railing: 2,
    textures.wire: 1,
    drawings.facade: 8,
    drawings.shop: 3,
    drawings.sign_round: 4,
    drawings.sign_triangle: 2,
    drawings.sign_board: 4,
    drawings.poster: 4,
    textures.cloth: 4,
    drawings.panels: 2,
    textures.paint: 2,
    drawings.lattice: 2,
}
_ROOMS: Kinds = {
    textures.grain: 2,
    textures.plain: 1,
    textures.plaster: 3,
    textures.concrete: 2,
    textures.brick: 2,
    textures.paving: 3,
    textures.boards: 2,
    textures.cloth: 6,
    drawings.poster: 6,
    drawings.sign_board: 4,
    interior_tiles.parquet: 5,
    interior_tiles.grained: 4,
    interior_tiles.carpet: 5,
    interior_tiles.wallpaper: 7,
    interior_tiles.terrazzo: 2,
    interior_tiles.checks: 1,
    interior_tiles.ceiling_tiles: 2,
    interior_tiles.doors: 8,
    interior_tiles.spines: 4,
    interior_tiles.page: 5,
    interior_tiles.screen: 5,
    interior_tiles.keys: 1,
    interior_tiles.painting: 6,
    interior_tiles.parcel: 4,
    interior_tiles.view: 4,
    interior_tiles.blinds: 2,
    interior_tiles.folds: 3,
    interior_tiles.vents: 3,
}
_KINDS = {"streets": _STREETS, "rooms": _ROOMS}


class Atlas:
    """All texture tiles of one library. Layers are counted; ``layers[kind]`` lists the variants of a kind."""

    def __init__(self, seed: int, kinds: Kinds = _STREETS) -> None:
        rng = np.random.default_rng([seed, 0x7E47])
        tiles: list[np.ndarray] = []
        self.layers: dict[str, list[int]] = {}
        for make, count in kinds.items():
            self.layers[make.__name__] = list(range(len(tiles), len(tiles) + count))
            tiles += [make(rng) for _ in range(count)]
        sizes = [textures.SIZE >> level for level in range(LEVELS)]
        self._step = sizes[0] + 2 * _BORDER
        self._left = np.concatenate([[0], np.cumsum([s + 2 * _BORDER for s in sizes[:-1]])]).astype(
            np.float32
        )
        self._sizes = np.array(sizes, np.float32)
        picture = np.zeros(
            (len(tiles) * self._step, int(self._left[-1]) + sizes[-1] + 2 * _BORDER, 4), np.uint8
        )
        for layer, tile in enumerate(tiles):
            for level, size in enumerate(sizes):
                if level:
                    tile = cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA)
                block = np.pad(tile, ((_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0)), mode="wrap")
                top, left = layer * self._step, int(self._left[level])
                picture[top : top + block.shape[0], left : left + block.shape[1]] = block
        self._picture = picture
        top = self.layers["grain"][0] * self._step
        self._grain = np.ascontiguousarray(picture[top : top + self._step, :, 2])

    def sample(self, layer: np.ndarray, uv: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Tile values (N×4 float32, 0…255) at uv (N×2, tile units, v up) and mip level (N float, 0 =
        finest)."""
        if not len(layer):
            return np.zeros((0, 4), np.float32)
        level = np.clip(level, 0, LEVELS - 1)
        low = level.astype(np.int32)
        fraction = (level - low).astype(np.float32)
        u = uv[:, 0] - np.floor(uv[:, 0])
        v = np.ceil(uv[:, 1]) - uv[:, 1]
        top = layer * np.float32(self._step) + np.float32(_BORDER - 0.5)
        near = self._fetch(u, v, top, low)
        far = self._fetch(u, v, top, np.minimum(low + 1, LEVELS - 1))
        far -= near
        far *= fraction[:, None]
        near += far
        return near

    def grain(self, uv: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Shade (N float32, 0…255) of the grain tile, bilinear at the nearest mip level."""
        nearest = np.clip(level + 0.5, 0, LEVELS - 1).astype(np.int32)
        u = uv[:, 0] - np.floor(uv[:, 0])
        v = np.ceil(uv[:, 1]) - uv[:, 1]
        size = self._sizes[nearest]
        x = self._left[nearest] + np.float32(_BORDER - 0.5) + u * size
        y = np.float32(_BORDER - 0.5) + v * size
        return _remap(self._grain, x, y).reshape(-1)[: len(x)].astype(np.float32)

    def _fetch(self, u, v, top, level) -> np.ndarray:
        size = self._sizes[level]
        x = self._left[level] + np.float32(_BORDER - 0.5) + u * size
        y = top + v * size
        return _remap(self._picture, x, y).reshape(-1, 4)[: len(x)].astype(np.float32)


def _remap(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of a picture at N points, in rows of _ROW (the last one is filled up)."""
    count = len(x)
    rows = -(-count // _ROW)
    maps = np.zeros((2, rows * _ROW), np.float32)
    maps[0, :count] = x
    maps[1, :count] = y
    return cv2.remap(picture, maps[0].reshape(rows, _ROW), maps[1].reshape(rows, _ROW), cv2.INTER_LINEAR)


@lru_cache(maxsize=_LIBRARIES)
def _library(number: int, world: str) -> Atlas:
    return Atlas(number, _KINDS[world])


def atlas_for(seed: int, world: str = "streets") -> Atlas:
    """The texture library of a world's seed ("streets" or "rooms"); a few libraries are shared by all seeds, since making
    one takes a second."""
    return _library(seed % _LIBRARIES, world)
