"""What the networks for semantic segmentation share: configuration, result, heads, and their place in a stream.

A segmenter reads one image B×3×H×W (RGB in 0…1, any size) and gives a :class:`Segmentation`. BiSeNet and PSPNet normalise pooled
values over the batch, so they train with at least two images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.blocks import ConvBlock, fuse
from geoseg_ros.networks.encoder import STRIDE, create_encoder
from geoseg_ros.networks.perception import PerceptionOutput
from geoseg_ros.networks.upsampling import UPSAMPLINGS, upsample_to


class Segmentation(NamedTuple):
    """Class logits B×classes×H×W at the image's size, and such logits of auxiliary heads, which only training reads."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...]


@dataclass(frozen=True)
class SegmenterConfig:
    """What a model file stores of the network.

    Attributes:
        encoder: name in ``networks.encoder.ENCODERS``.
        classes: number of semantic classes.
        upsampling: nearest, bilinear, unpooling or transposed, where the network lets one choose (``upsamplings``).
    """

    encoder: str = "resnet18"
    classes: int = 11
    upsampling: str = "bilinear"

    upsamplings: ClassVar[tuple[str, ...]] = UPSAMPLINGS

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ConfigError(f"classes is {self.classes}; expected at least 1")
        if self.upsampling not in self.upsamplings:
            raise ConfigError(f"upsampling is {self.upsampling!r}; expected one of {', '.join(self.upsamplings)}")


class Segmenter(nn.Module, ABC):
    """Base of the segmentation networks: their configuration and encoder."""

    def __init__(self, config: SegmenterConfig, output_stride: int = STRIDE):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder, output_stride)

    def forward(self, image: Tensor) -> Segmentation:
        return self.decode(self.encoder(image), image)

    @abstractmethod
    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        """From the encoder's maps of the image, which other tasks may share, and the image itself."""

    def for_inference(self) -> Segmenter:
        """Evaluation mode with batch normalisation and re-parameterised blocks folded into plain convolutions, in place."""
        return fuse(self.eval()).requires_grad_(False)


class SegmentationHead(nn.Sequential):
    """3×3 convolution to ``width`` channels, then 1×1 to class logits; ``dropout``: share of channels left out between."""

    def __init__(self, c_in: int, width: int, classes: int, dropout: float = 0.0):
        super().__init__(ConvBlock(c_in, width), nn.Dropout2d(dropout), nn.Conv2d(width, classes, 1))


def at_size_of(image: Tensor, logits: Tensor, auxiliary: Sequence[Tensor] = ()) -> Segmentation:
    """Logits of any size, interpolated bilinearly to the image's, float32."""
    return Segmentation(
        upsample_to(logits.float(), image), tuple(upsample_to(each.float(), image) for each in auxiliary)
    )


class SegmentationStream(nn.Module):
    """A segmenter where a network of a camera stream is expected: semantics of each frame, and no state."""

    heads: ClassVar[tuple[str, ...]] = ("semantic",)

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.segmenter = segmenter

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor | None = None,
        previous: tuple[()] | None = None,
        heads: Collection[str] = heads,
    ) -> PerceptionOutput:
        """Arguments and result as in :meth:`PerceptionNet.forward`; all but the logits B×classes×H×W stays ``None``."""
        logits = self.segmenter(image).logits if "semantic" in heads else None
        return PerceptionOutput(logits, None, None, None, None, None, ())
