"""Depth from one picture corrected by what the camera's motion shows: parallax.

A point of inverse depth r moves by f(r) between the frames. The single picture knows ln r with a standard deviation
DEPTH_STD, the measured flow knows f with FLOW_STD (pixels at half size, where this is done), and f changes by g for each
unit of ln r; so the most likely correction of ln r is the filter gain (Kalman 1960; Matthies, Kanade and Szeliski, IJCV
1989)

    g·(flow − f) / (g·g + FLOW_STD² / DEPTH_STD²).

Near things, where g is many pixels, follow the flow; far ones, and all when the camera stands, keep the picture's depth.
What moves by itself keeps it too, and the less a flow vector lies on the epipolar line the less it says.

How wrong depth and flow are differs from place to place, and both are wrong in company: a façade whose depth is off takes
its neighbours along. So a small head, told what is above, corrects the ratio of the variances and the trust, and adds
what it knows from around. In return the corrected depth corrects the flow of what stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, RepConv
from geoseg_ros.networks.upsampling import upsample_to
from geoseg_ros.projection import rigid_flow_and_parallax

FLOW_STD = 0.5
DEPTH_STD = 0.2
MAX_CORRECTION = 0.7
"""Of ln r: a factor of two."""
FIRST_TRUST, FIRST_SHARE = 3.0, -2.0
"""Raw: a sigmoid makes them 0.95 and 0.12."""


class Parallax(NamedTuple):
    """What a flow says of depth, each B×1×H×W: ``along``, g·(flow − f), and ``squared``, g·g, in pixels²; ``across``, the
    squared distance of the flow from the epipolar line; ``trust`` in 0…1."""

    along: Tensor
    squared: Tensor
    across: Tensor
    trust: Tensor


def measure_parallax(depth: Tensor, flow: Tensor, intrinsics: Tensor, pose: Tensor, moving: Tensor) -> Parallax:
    """The parallax of a flow against the depth that it shall correct.

    Args:
        depth: B×1×H×W in metres.
        flow: B×2×H×W, flow_to_previous in pixels of this size.
        intrinsics: B×3×3 of this size.
        pose: B×4×4, previous_from_current.
        moving: B×1×H×W, probability of own motion.
    """
    still, gradient, valid = rigid_flow_and_parallax(depth, intrinsics, pose)
    residual = flow - still
    along = (gradient * residual).sum(1, keepdim=True)
    squared = gradient.square().sum(1, keepdim=True)
    across = residual.square().sum(1, keepdim=True) - along.square() / squared.clamp(min=1e-6)
    across = across.clamp(min=0)
    return Parallax(along, squared, across, (1 - moving) * valid / (1 + across / FLOW_STD**2))


def log_correction(parallax: Parallax, variance_ratio: Tensor | float = (FLOW_STD / DEPTH_STD) ** 2) -> Tensor:
    """The correction of ln r, B×1×H×W, for a ratio of the variances of flow and ln r in pixels²."""
    correction = parallax.trust * parallax.along / (parallax.squared + variance_ratio)
    return correction.clamp(-MAX_CORRECTION, MAX_CORRECTION)


class ParallaxHead(nn.Module):
    """The most likely depth from the picture's depth and the flow; decides at 1/4, corrects at 1/2.

    Of its inputs only the corrected depth gets a gradient.
    """

    def __init__(self, hidden: int, decoded: int, widths: Sequence[int] = (32, 32, 32, 32)):
        super().__init__()
        layers = [RepConv(6 + hidden + decoded, widths[0], 1)]
        layers.extend(RepConv(a, b, 3) for a, b in zip(widths, widths[1:]))
        self.trunk = nn.Sequential(*layers)
        self.predict = Readout(widths[-1], 4, 1)
        nn.init.zeros_(self.predict.weight)
        with torch.no_grad():
            self.predict.bias.copy_(torch.tensor([0.0, FIRST_TRUST, 0.0, FIRST_SHARE]))

    def forward(self, depth: Tensor, parallax: Parallax, hidden: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Corrected depth, and the share 0…1 of its rigid flow in the flow of what stands still: B×1×H/2×W/2 both.

        Args:
            depth: B×1×H/2×W/2 in metres.
            parallax: at that size.
            hidden: B×C×H/4×W/4, hidden features of the finest flow level.
            decoded: B×C'×H/4×W/4, what the decoder says of the picture.
        """
        known = torch.cat(
            [
                log_correction(parallax),
                parallax.squared.log1p() / 4,
                parallax.across.log1p() / 2,
                parallax.trust,
                (parallax.along / (parallax.squared + 1)).clamp(-1, 1),
                depth.detach().log() / 3,
            ],
            1,
        )
        known = F.avg_pool2d(known, 2).to(hidden.dtype, memory_format=torch.channels_last)
        raw = upsample_to(self.predict(self.trunk(torch.cat([known, hidden, decoded], 1))), depth)
        ratio = (FLOW_STD / DEPTH_STD) ** 2 * raw[:, :1].clamp(-6, 6).exp()
        parallax = parallax._replace(trust=parallax.trust * raw[:, 1:2].sigmoid())
        logarithm = log_correction(parallax, ratio) + MAX_CORRECTION * raw[:, 2:3].tanh()
        return depth * torch.exp(-logarithm), raw[:, 3:].sigmoid()
