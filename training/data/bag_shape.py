"""The crop that suits recorded bags: in the shape of their images, with as many pixels as the recipe's own."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence

from geoseg_ros.networks.encoder import STRIDE
from geoseg_ros.progress import say
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.bag_images import BagImages, BagSettings
from geoseg_ros.training.data.bags import find_bags

_WHOLE = BagSettings(size=None, cover=(1 << 20, 1 << 20))


def in_shape_of(bags: Sequence[str], recipe: Recipe) -> Recipe:
    """The recipe at the crop that suits the images of these bags (paths or globs), whose first bag is asked; says which."""
    size = image_size(os.path.abspath(bags[0]), recipe.data_root)
    crop = crop_of_shape(size, recipe.crop)
    if crop != recipe.crop and os.environ.get("RANK", "0") == "0":  # torchrun's first process
        say(f"crop=[{crop[0]},{crop[1]}] for images of {size[0]}×{size[1]}; the recipe's is {list(recipe.crop)}")
    return dataclasses.replace(recipe, crop=crop)


def image_size(bag: str, data_root: str) -> tuple[int, int]:
    """(width, height) of the images of the first bag that a path or glob names; BagError where it has none."""
    with BagImages(find_bags(bag, data_root)[0], _WHOLE) as images:
        return images.size


def crop_of_shape(shape: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) in multiples of the encoder's stride that is most like ``shape`` in its proportions and most like
    ``crop`` in its number of pixels, the first counting twice."""
    (width, height), pixels = shape, crop[0] * crop[1]

    def unlike(candidate: tuple[int, int]) -> float:
        proportions = math.log(candidate[0] / candidate[1] * height / width)
        return 2 * abs(proportions) + abs(math.log(candidate[0] * candidate[1] / pixels))

    exact = math.sqrt(pixels * width / height)
    columns, rows = (math.floor(side / STRIDE) for side in (exact, pixels / exact))
    sides = [[max(1, count + more) * STRIDE for more in (-1, 0, 1, 2)] for count in (columns, rows)]
    return min(((w, h) for w in sides[0] for h in sides[1]), key=unlike)
