"""Colourisation as a task that any picture teaches: the colour that belongs to a grey image (Novosel et al., 2019).

Novosel et al. (ML for Autonomous Driving workshop at NeurIPS) colourise beside segmentation and depth; which colour space and
which distance is ours: the two chroma channels of BT.601, and their absolute error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision
from geoseg_ros.training.losses.photometric import GREY

CHROMA = 2
"""Channels of :func:`chroma`."""


def grey(image: Tensor) -> Tensor:
    """The luma of B×3×H×W RGB in 0…1 in each of three channels, which an encoder of colour images takes."""
    weights = image.new_tensor(GREY).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True).expand_as(image)


def chroma(image: Tensor) -> Tensor:
    """Cb and Cr of B×3×H×W RGB in 0…1, B×2×H×W in −0.5…0.5; 0 where the image is grey."""
    image = full_precision(image)
    luma = grey(image)[:, :1]
    red, _, blue = GREY
    return torch.cat([(image[:, 2:] - luma) / (2 * (1 - blue)), (image[:, :1] - luma) / (2 * (1 - red))], 1)


def colourisation_loss(predicted: Tensor, image: Tensor) -> Tensor:
    """Mean absolute error of predicted chroma B×2×H×W against that of the RGB image B×3×H×W, 0…1; a scalar."""
    return (full_precision(predicted) - chroma(image)).abs().mean()
