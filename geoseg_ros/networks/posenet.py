"""Ego-motion, and the camera where nobody knows it, from two images stacked.

Sources: Zhou et al., CVPR 2017 (pose network); Godard et al., ICCV 2019 (temporal order, units); Gordon et al., ICCV 2019
(intrinsics).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, RepConv
from geoseg_ros.networks.encoder import LiteEncoder, Normalize, create_encoder

SMALL = "small"
ROTATION_UNIT = 0.01
"""Radians per unit of the head's output."""
ASSUMED_FOCAL = 0.9
"""Focal length over image width before training."""
FORGET = 0.01
"""Share of the running mean camera that one step replaces."""


class PairEncoder(nn.Module):
    """Small strided encoder of six channels, 1/2 … 1/32; large windows first, since motion between frames is large."""

    channels = (32, 48, 96, 160, 256)

    def __init__(self):
        super().__init__()
        layers = [RepConv(6, self.channels[0], 7, stride=2)]
        for c_in, c_out in zip(self.channels, self.channels[1:]):
            layers += [RepConv(c_in, c_out, 3, stride=2), RepConv(c_out, c_out, 3)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pair: Tensor) -> list[Tensor]:
        """The coarsest map alone, in the list that every encoder gives."""
        return [self.layers(pair)]


def pair_encoder(name: str) -> nn.Module:
    """``small``, or an encoder by name whose first convolution reads two images already normalised."""
    if name == SMALL:
        return PairEncoder()
    encoder = create_encoder(name)
    encoder.normalize = nn.Identity()
    if isinstance(encoder, LiteEncoder):
        encoder.stem[0] = RepConv(6, encoder.channels[0], 3, stride=2)
    else:
        encoder.conv1 = nn.Conv2d(6, encoder.channels[0], 7, 2, 3, bias=False)
    return encoder


class PoseNetwork(nn.Module):
    """From two images in temporal order to the motion between them; with ``learns_intrinsics`` also to their camera."""

    width = 256

    def __init__(self, encoder: str, translation_unit: float, learns_intrinsics: bool = False):
        super().__init__()
        self.translation_unit = translation_unit
        self.normalize = Normalize()
        self.encoder = pair_encoder(encoder)
        self.squeeze = RepConv(self.encoder.channels[-1], self.width, 1)
        self.trunk = nn.Sequential(RepConv(self.width, self.width, 3), RepConv(self.width, self.width, 3))
        self.motion = Readout(self.width, 6, 1)
        self.camera = CameraHead(self.width) if learns_intrinsics else None

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images B×3×H×W to later_from_earlier as axis-angle (rad) and raw translation, B×6; and intrinsics B×3×3 or None."""
        pair = torch.cat([self.normalize(earlier), self.normalize(later)], 1)
        features = self.trunk(self.squeeze(self.encoder(pair)[-1]))
        motion = self.motion(features).mean((2, 3))
        units = motion.new_tensor([ROTATION_UNIT] * 3 + [self.translation_unit] * 3)
        camera = None if self.camera is None else self.camera(features, *earlier.shape[-2:])
        return motion * units, camera


class CameraHead(nn.Module):
    """Intrinsics from the features of an image pair.

    As in Gordon et al. the focal length is a softplus and the principal point an offset from the image's centre. Both focal
    lengths are shares of the width here, so that training starts from square pixels in any image format: as an ordinary
    camera. ``mean`` remembers the cameras of training (fx, fy over the width, cx, cy over width and height), ``turn`` the
    greatest rotations about x and y, rad, which the focal lengths were seen by.
    """

    square_pixels = False

    def __init__(self, channels: int):
        super().__init__()
        self.predict = Readout(channels, 4, 1)
        nn.init.zeros_(self.predict.weight)
        start = math.log(math.expm1(ASSUMED_FOCAL))
        with torch.no_grad():
            self.predict.bias.copy_(torch.tensor([start, start, 0.0, 0.0]))
        self.register_buffer("mean", torch.tensor([ASSUMED_FOCAL, ASSUMED_FOCAL, 0.5, 0.5]))
        self.register_buffer("turn", torch.zeros(2))

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """Intrinsics B×3×3 of the image of that size."""
        raw = self.predict(features).mean((2, 3))
        shares = torch.cat([F.softplus(raw[:, :2]), 0.5 + raw[:, 2:]], 1)
        return intrinsics_of_shares(shares, height, width)

    @torch.no_grad()
    def remember(self, intrinsics: Tensor, height: int, width: int, rotations: Tensor) -> None:
        """Note a training step's cameras B×3×3 of images of that size, and axis-angle rotations B×3 (rad)."""
        self.mean.lerp_(shares_of_intrinsics(intrinsics, height, width).mean(0), FORGET)
        remember_turn(self.turn, rotations)


@torch.no_grad()
def remember_turn(turn: Tensor, rotations: Tensor) -> None:
    """Note in ``turn``, the greatest rotations about x and y so far, those of axis-angle vectors B×3 (rad)."""
    turn.copy_(torch.maximum(turn * (1 - FORGET), rotations[:, :2].abs().amax(0).to(turn)))


def intrinsics_of_shares(shares: Tensor, height: int, width: int) -> Tensor:
    """Intrinsics B×3×3 from B×4: fx, fy over the width; the principal point over width and height, 0.5 being the centre."""
    fx, fy, cx, cy = (shares * shares.new_tensor([width, width, width, height])).unbind(1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [fx, zero, cx - 0.5, zero, fy, cy - 0.5, zero, zero, one]
    return torch.stack(rows, 1).view(-1, 3, 3)


def shares_of_intrinsics(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Inverse of :func:`intrinsics_of_shares`, B×4."""
    values = [intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2] + 0.5, intrinsics[:, 1, 2] + 0.5]
    return torch.stack(values, 1) / intrinsics.new_tensor([width, width, width, height])
