"""The default network: one shared encoder, heads for semantics, depth, flow and ego-motion, streaming state.

    frame ─ encoder ┬─ semantics (class logits)
                    ├─ depth (inverse depth of a canonical camera, scaled by the focal length)
                    └─ matching features ─ coarse flow to the previous frame's ─ pose (with depth and rays)
                            │                                                     └─ rigid flow ─ full flow ─ motion
                            └─ state for the next frame

The encoder runs once per frame for all heads; only the previous frame's matching features are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import fuse
from geoseg_ros.networks.decoder import TopDownDecoder
from geoseg_ros.networks.encoder import create_encoder
from geoseg_ros.networks.flow import FlowEstimate, FlowHead
from geoseg_ros.networks.motion import MotionHead
from geoseg_ros.networks.pose import PoseHead
from geoseg_ros.projection import rigid_flow

HEADS = ("semantic", "depth", "flow", "pose", "motion")
State = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class PerceptionConfig:
    """What a model file stores of the network.

    Attributes:
        encoder: name in ``networks.encoder.ENCODERS``.
        classes: number of semantic classes.
        canonical_focal: focal length in pixels for which the depth head's raw output is metric. Depth for a camera
            with focal length fx is raw·fx/canonical_focal (the canonical camera of Metric3D, Yin et al., ICCV 2023).
        min_depth, max_depth: range of the raw depth in metres.
    """

    encoder: str = "lite"
    classes: int = 11
    canonical_focal: float = 370.0
    min_depth: float = 0.2
    max_depth: float = 200.0


class PerceptionOutput(NamedTuple):
    """Network outputs at the input's size H×W; ``None`` for heads that did not run.

    ``logits`` B×classes×H×W; ``depth`` B×1×H×W metres (z); ``flow`` B×2×H×W flow_to_previous in pixels;
    ``flow_levels`` at 1/4, 1/8, 1/16 in full-size pixels; ``previous_from_current`` B×4×4; ``motion`` B×1×H×W, logit of
    own motion; ``state`` for the next frame.
    """

    logits: Tensor | None
    depth: Tensor | None
    flow: Tensor | None
    flow_levels: tuple[Tensor, ...] | None
    previous_from_current: Tensor | None
    motion: Tensor | None
    state: State


class PerceptionNet(nn.Module):
    """Shared-encoder perception of one camera stream."""

    def __init__(self, config: PerceptionConfig):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder)
        channels = self.encoder.channels
        self.semantic_head = TopDownDecoder(channels, (24, 64, 96, 128), config.classes)
        self.depth_head = TopDownDecoder(channels, (24, 64, 96, 128), 1)
        self.flow_head = FlowHead(channels)
        self.pose_head = PoseHead(FlowHead.estimator_widths[2][-1])
        self.motion_head = MotionHead(config.classes, FlowHead.estimator_widths[0][-1])
        nn.init.constant_(self.depth_head.predict.bias, -3.5)

    def semantic(self, features: Sequence[Tensor]) -> Tensor:
        """Class logits at half size, B×classes×H/2×W/2."""
        return self.semantic_head(features).float()

    def depth(self, features: Sequence[Tensor], intrinsics: Tensor) -> Tensor:
        """Depth z in metres, B×1×H×W, for cameras with the given B×3×3 intrinsics."""
        logits = self.depth_head(features).float()
        logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        nearest, farthest = 1.0 / self.config.min_depth, 1.0 / self.config.max_depth
        inverse_depth = farthest + (nearest - farthest) * torch.sigmoid(logits)
        return intrinsics[:, :1, :1, None] / (self.config.canonical_focal * inverse_depth)

    def flow_and_pose(
        self, state: State, previous: State, depth: Tensor | None, intrinsics: Tensor | None, prior: bool = True
    ) -> tuple[FlowEstimate, Tensor | None]:
        """Flow to the previous frame and, where depth is known, the pose ``previous_from_current`` B×4×4.

        Depth B×1×H×W and pose give the flow of a still scene, from which matching goes on; neither gets gradients there.
        Without depth, or with ``prior`` false, matching goes on from the coarse flow.
        """
        coarse, hidden = self.flow_head.coarse(state, previous)
        if depth is None:
            return self.flow_head.refine(state, previous, coarse, hidden), None
        depth = depth.detach()
        pose = self.pose_head(hidden, coarse, depth, intrinsics)
        still = _still_scene_flow(depth, intrinsics, pose.detach(), state[1].shape[-2:]) if prior else None
        return self.flow_head.refine(state, previous, coarse, hidden, still), pose

    def forward(
        self,
        image: Tensor,
        intrinsics: Tensor | None = None,
        previous: State | None = None,
        heads: Collection[str] = HEADS,
    ) -> PerceptionOutput:
        """One step of the stream.

        Args:
            image: B×3×H×W, RGB in 0…1; H and W multiples of 32.
            intrinsics: B×3×3 of the image at this size; depth and pose need it.
            previous: ``state`` of the previous frame; flow and pose need it.
            heads: which of ``HEADS`` to run; with intrinsics, flow and pose run each other and depth; motion runs all.
        """
        features = self.encoder(image)
        state = self.flow_head.describe(features)
        logits = half_logits = depth = None
        if {"semantic", "motion"} & set(heads):
            half_logits = self.semantic(features)
            logits = F.interpolate(half_logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        if intrinsics is not None and {"depth", "flow", "pose", "motion"} & set(heads):
            depth = self.depth(features, intrinsics)
        if previous is None or not {"flow", "pose", "motion"} & set(heads):
            return PerceptionOutput(logits, depth, None, None, None, None, state)
        flow, pose = self.flow_and_pose(state, previous, depth, intrinsics)
        motion = None
        if pose is not None and "motion" in heads:
            motion = self.own_motion(flow, half_logits, depth, pose, intrinsics)
        return PerceptionOutput(logits, depth, flow.full, flow.levels, pose, motion, state)

    def own_motion(
        self, flow: FlowEstimate, half_logits: Tensor, depth: Tensor, pose: Tensor, intrinsics: Tensor
    ) -> Tensor:
        """Motion logits B×1×H×W; the head reads the other heads' outputs and sends no gradient back to them."""
        fine, depth = flow.levels[0].detach(), depth.detach()
        still = _still_scene_flow(depth, intrinsics, pose.detach(), fine.shape[-2:])
        return self.motion_head(fine, still, flow.hidden.detach(), half_logits.detach(), depth)

    def for_inference(self) -> PerceptionNet:
        """Evaluation mode with re-parameterised blocks folded into plain convolutions, in place."""
        return fuse(self.eval()).requires_grad_(False)


def _still_scene_flow(depth: Tensor, intrinsics: Tensor, pose: Tensor, size: tuple[int, int]) -> Tensor:
    """Rigid flow of full-size depth B×1×H×W on a coarser grid, B×2×h×w, in full-size pixels."""
    stride = depth.shape[-1] // size[1]
    pooled = 1.0 / F.avg_pool2d(1.0 / depth, stride)
    scaled = intrinsics.clone()
    scaled[:, :2] /= stride
    scaled[:, :2, 2] += 0.5 / stride - 0.5
    flow, _ = rigid_flow(pooled, scaled, pose)
    return stride * flow
