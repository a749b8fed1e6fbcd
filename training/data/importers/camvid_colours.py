"""CamVid's 32 official label colours, and the 11 classes that are usual."""

from __future__ import annotations

import numpy as np

from geoseg_ros.errors import ImageError
from geoseg_ros.labels import CAMVID_11

_COLOURS: dict[str | None, tuple[tuple[int, int, int], ...]] = {
    "Sky": ((128, 128, 128),),
    # building, wall, tunnel, bridge, archway
    "Building": ((128, 0, 0), (64, 192, 0), (64, 0, 64), (0, 128, 64), (192, 0, 128)),
    # column or pole, traffic cone
    "Pole": ((192, 192, 128), (0, 0, 64)),
    # road, markings to drive on, other markings
    "Road": ((128, 64, 128), (128, 0, 192), (192, 0, 64)),
    # sidewalk, parking block, road shoulder
    "Pavement": ((0, 0, 192), (64, 192, 128), (128, 128, 192)),
    # tree, other vegetation
    "Tree": ((128, 128, 0), (192, 192, 0)),
    # sign, other text, traffic light
    "SignSymbol": ((192, 128, 128), (128, 128, 64), (0, 64, 64)),
    "Fence": ((64, 64, 128),),
    # car, SUV or pickup, truck or bus, train, other moving
    "Car": ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # pedestrian, child, cart or pram, animal
    "Pedestrian": ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    # bicyclist, motorcycle or scooter
    "Bicyclist": ((0, 128, 192), (192, 0, 192)),
    None: ((0, 0, 0),),
}


def _code(colour: np.ndarray) -> np.ndarray:
    """One number per colour (…×3 uint8): all components are multiples of 64."""
    levels = colour.astype(np.int64) // 64
    return levels[..., 0] * 16 + levels[..., 1] * 4 + levels[..., 2]


_UNKNOWN = -1
_IDS = np.full(64, _UNKNOWN, np.int64)
for _name, _colours in _COLOURS.items():
    _IDS[_code(np.array(_colours, np.uint8))] = CAMVID_11.ignore if _name is None else CAMVID_11.index(_name)


def ids_of_colours(picture: np.ndarray, what: str) -> np.ndarray:
    """H×W uint8 ids of CAMVID_11 (255 void) of an H×W×3 uint8 RGB label picture; ImageError names a colour that is not
    CamVid's and ``what`` it stands in."""
    ids = _IDS[_code(picture)]
    wrong = (picture % 64 != 0).any(-1) | (ids == _UNKNOWN)
    if wrong.any():
        colour = tuple(map(int, picture[wrong][0]))
        raise ImageError(f"the labels {what} hold the colour {colour}, expected CamVid's official colours")
    return ids.astype(np.uint8)
