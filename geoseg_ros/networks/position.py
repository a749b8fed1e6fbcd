"""Where every pixel looks, as input to the decoder: convolutions alone do not know their place in the image.

The flat ground's depth follows from how far below the horizon a pixel lies, and the sky is above it; a network that sees
crops of many cameras can use that only when it is told (CoordConv, Liu et al., NeurIPS 2018; CAM-Convs, Facil et al.,
CVPR 2019). Positions are measured from the principal point in focal lengths of the canonical camera, the camera for
which the depth head answers, so that one ground plane gives one relation for all focal lengths.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS = 3
LEVELS = 5
NEAREST_TO_HORIZON = 0.01
"""Smallest distance below the horizon that the logarithm tells apart: some 160 m ahead of a car's camera."""
LOG_CENTRE, LOG_SPREAD = -2.5, 1.3


def assumed_intrinsics(image: Tensor, focal: float) -> Tensor:
    """B×3×3 for images B×C×H×W of an unknown camera: the given focal length, the principal point in the middle."""
    height, width = image.shape[-2:]
    matrix = [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
    return torch.tensor(matrix, device=image.device).expand(len(image), 3, 3)


def position_pyramid(intrinsics: Tensor, focal: float, height: int, width: int) -> list[Tensor]:
    """Positions at 1/2, 1/4 … 1/32 of an image, each B×3×h×w: x, y and log of y below the horizon, each of order one.

    Args:
        intrinsics: B×3×3 of the full-size image.
        focal: focal length of the canonical camera in pixels.
        height, width: of the full-size image, multiples of 32.
    """
    fx, fy, cx, cy = (intrinsics[:, i, j].view(-1, 1, 1, 1) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    columns = torch.arange(width // 2, device=intrinsics.device) * 2 + 0.5
    rows = torch.arange(height // 2, device=intrinsics.device) * 2 + 0.5
    x = (columns.view(1, 1, 1, -1) - cx) / focal
    y = (rows.view(1, 1, -1, 1) - cy) / focal * (fx / fy)
    below = (y.clamp(min=NEAREST_TO_HORIZON).log() - LOG_CENTRE) / LOG_SPREAD
    shape = (len(intrinsics), 1, height // 2, width // 2)
    finest = torch.cat([part.expand(shape) for part in (x, 4 * y, below)], 1)
    pyramid = [finest.contiguous(memory_format=torch.channels_last)]
    while len(pyramid) < LEVELS:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid
