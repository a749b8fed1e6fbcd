"""Depth and ego-motion that video alone can teach (Monodepth2, Godard et al., ICCV 2019).

    frame ─ encoder ─ decoder ─ disparity at 1, 1/2, 1/4, 1/8 ─ depth
    earlier frame + later frame ─ pose network ┬─ later_from_earlier
                                               └─ camera (where it is to be learned)

Both networks see images only. They measure lengths for a camera of the canonical focal length; for another one depth and
translation are scaled by fx / canonical_focal, so that a magnified picture of the same scene means the same metres (Metric3D,
Yin et al., ICCV 2023). The stream's state is the previous image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.blocks import Readout, RepConv, fuse
from geoseg_ros.networks.encoder import create_encoder
from geoseg_ros.networks.perception import PerceptionOutput
from geoseg_ros.networks.posenet import PoseNetwork
from geoseg_ros.projection import invert_pose, pose_from_vector

LEVELS = 5
SCALES = 4


@dataclass(frozen=True)
class MonodepthConfig:
    """What a model file stores of the network.

    Attributes:
        encoder: name in ``networks.encoder.ENCODERS``. Monodepth2 has ``resnet18`` and decoder widths of 16, 32, 64, 128, 256.
        pose_encoder: ``small``, or the name of an encoder, which then reads six channels.
        decoder_widths: channels of the decoder at full size, 1/2 … 1/16.
        canonical_focal: focal length in pixels for which raw depth is in units of training.
        min_depth, max_depth: range of raw depth, metres where training is metric.
        initial_depth: raw depth before training; the translation's unit follows it, so that training starts from a plausible
            ratio of the two. 0.2 is Monodepth2's; metric training wants the depth of an ordinary scene.
        learns_intrinsics: whether the pose network also predicts the camera.
    """

    encoder: str = "lite"
    pose_encoder: str = "small"
    decoder_widths: tuple[int, ...] = (16, 24, 48, 96, 128)
    canonical_focal: float = 240.0
    min_depth: float = 0.1
    max_depth: float = 100.0
    initial_depth: float = 0.2
    learns_intrinsics: bool = False

    def __post_init__(self) -> None:
        if len(self.decoder_widths) != LEVELS:
            raise ConfigError(f"decoder_widths has {len(self.decoder_widths)} entries, expected {LEVELS}")
        if not 0 < self.min_depth < self.initial_depth < self.max_depth:
            raise ConfigError(
                f"min_depth, initial_depth and max_depth are {self.min_depth}, {self.initial_depth} and {self.max_depth}, "
                "expected positive and ascending"
            )


class SkipDecoder(nn.Module):
    """From the encoder's five maps to ``outputs`` raw values (disparity before the sigmoid) at 1, 1/2, 1/4 and 1/8 of the
    image."""

    def __init__(self, channels: Sequence[int], widths: Sequence[int], outputs: int = 1):
        super().__init__()
        skips = (0, *channels[:-1])
        inputs = (*widths[1:], channels[-1])
        self.narrow = nn.ModuleList(RepConv(c, w) for c, w in zip(inputs, widths))
        self.merge = nn.ModuleList(RepConv(w + s, w) for w, s in zip(widths, skips))
        self.predict = nn.ModuleList(Readout(w, outputs, 3, padding=1) for w in widths[:SCALES])

    def forward(self, features: Sequence[Tensor], scales: int = SCALES) -> list[Tensor]:
        """The ``scales`` finest predictions, finest first, each B×outputs×H/2^s×W/2^s."""
        x, predictions = features[-1], []
        for level in reversed(range(LEVELS)):
            x = F.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            if level > 0:
                x = torch.cat([x, features[level - 1]], 1)
            x = self.merge[level](x)
            if level < scales:
                predictions.append(self.predict[level](x))
        return predictions[::-1]


class MonodepthNet(nn.Module):
    """A depth network and a pose network of one camera stream."""

    heads = ("depth", "pose")

    def __init__(self, config: MonodepthConfig):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder)
        self.decoder = SkipDecoder(self.encoder.channels, config.decoder_widths)
        unit = 0.05 * config.initial_depth
        self.pose_network = PoseNetwork(config.pose_encoder, unit, config.learns_intrinsics)
        nearest, farthest = 1 / config.min_depth, 1 / config.max_depth
        share = (1 / config.initial_depth - farthest) / (nearest - farthest)
        for predict in self.decoder.predict:
            nn.init.constant_(predict.bias, math.log(share / (1 - share)))

    def disparities(self, features: Sequence[Tensor], scales: int = SCALES) -> list[Tensor]:
        """Inverse raw depth from the encoder's maps at the ``scales`` finest sizes, finest first, each B×1×H/2^s×W/2^s."""
        nearest, farthest = 1 / self.config.min_depth, 1 / self.config.max_depth
        raw = self.decoder(features, scales)
        return [farthest + (nearest - farthest) * torch.sigmoid(each) for each in raw]

    def depth(self, disparity: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth z, B×1×h×w, of inverse raw depth for cameras with the given B×3×3 intrinsics of the full size."""
        return self._units(intrinsics).view(-1, 1, 1, 1) / disparity

    def pose(self, vector: Tensor, intrinsics: Tensor) -> Tensor:
        """later_from_earlier B×4×4 of the pose network's axis-angle and raw translation, B×6."""
        return pose_from_vector(torch.cat([vector[:, :3], vector[:, 3:] * self._units(intrinsics)[:, None]], 1))

    def _units(self, intrinsics: Tensor) -> Tensor:
        return intrinsics[:, 0, 0] / self.config.canonical_focal

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor | None = None,
        previous: tuple[Tensor] | None = None,
        heads: Collection[str] = heads,
    ) -> PerceptionOutput:
        """One step of the stream; arguments and result as in :meth:`PerceptionNet.forward`.

        Depth and pose need the intrinsics, the pose the previous frame's ``state`` as well; all else stays ``None``.
        """
        depth = pose = None
        if intrinsics is not None and "depth" in heads:
            depth = self.depth(self.disparities(self.encoder(image), scales=1)[0], intrinsics)
        if intrinsics is not None and previous is not None and "pose" in heads:
            vector, _ = self.pose_network(previous[0], image)
            pose = invert_pose(self.pose(vector, intrinsics))
        return PerceptionOutput(None, depth, None, None, pose, None, (image,))

    def for_inference(self) -> MonodepthNet:
        """Evaluation mode with re-parameterised blocks folded into plain convolutions, in place."""
        return fuse(self.eval()).requires_grad_(False)
