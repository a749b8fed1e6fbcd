"""What every semantic segmentation network gives, and the settings that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Segmentation(NamedTuple):
    """Class logits B×classes×H×W, and those of auxiliary heads (each at the size of ``logits``), which only training reads."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...]


@dataclass(frozen=True)
class SegmenterConfig:
    """encoder: name in networks.encoder.ENCODERS; classes: number of semantic classes; upsampling: nearest, bilinear,
    unpooling or transposed, where the network lets one choose."""

    encoder: str = "resnet18"
    classes: int = 11
    upsampling: str = "bilinear"
