"""The default network: one shared encoder, heads for semantics, depth, flow and ego-motion, streaming state.

    frame ─ encoder ┬─ decoder ┬─ semantics (class logits)
                    │          └─ depth (inverse depth of a canonical camera, scaled by the focal length)
                    └─ matching features ─ coarse flow to the previous frame's ─ pose (least squares, with depth)
                            │                                                     └─ rigid flow ─ full flow ─ motion
                            └─ state for the next frame                    depth, flow, pose, motion ─ reconciled depth and flow

The encoder runs once per frame for all heads; only the previous frame's matching features are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, fuse
from geoseg_ros.networks.decoder import Decoded, DenseHead, TopDownDecoder
from geoseg_ros.networks.encoder import create_encoder
from geoseg_ros.networks.flow import FINE, MIDDLE, FlowEstimate, FlowHead
from geoseg_ros.networks.motion import MotionHead
from geoseg_ros.networks.parallax import ParallaxHead, measure_parallax
from geoseg_ros.networks.pose import PoseHead, grid_intrinsics, still_scene_flow
from geoseg_ros.networks.position import assumed_intrinsics, position_pyramid
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
    """Network outputs for an input of size H×W; ``None`` for heads that did not run.

    ``logits`` B×classes×h×w, as fine as the network decides; ``depth`` B×1×H×W metres (z); ``flow`` B×2×H×W flow_to_previous in
    pixels; ``flow_levels`` at 1/4, 1/8, 1/16 in full-size pixels; ``previous_from_current`` B×4×4; ``motion`` B×1×H×W, logit
    of own motion; ``state`` for the next frame.
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

    heads = HEADS

    def __init__(self, config: PerceptionConfig):
        super().__init__()
        self.config = config
        self.encoder = create_encoder(config.encoder)
        channels = self.encoder.channels
        self.decoder = TopDownDecoder(channels)
        self.semantic_head = DenseHead(channels, config.classes)
        self.depth_head = DenseHead(channels, 1, Readout)
        self.flow_head = FlowHead(channels)
        self.pose_head = PoseHead(*(widths[-1] for widths in reversed(FlowHead.estimator_widths)))
        self.motion_head = MotionHead(config.classes, FlowHead.estimator_widths[0][-1])
        self.parallax_head = ParallaxHead(FlowHead.estimator_widths[0][-1], TopDownDecoder.widths[0])
        nn.init.constant_(self.depth_head.predict.bias, -3.5)

    def decode(self, features: Sequence[Tensor], intrinsics: Tensor) -> Decoded:
        """What the heads for semantics and depth start from."""
        height, width = (2 * side for side in features[0].shape[-2:])
        return self.decoder(features, position_pyramid(intrinsics, self.config.canonical_focal, height, width))

    def semantic(self, decoded: Decoded) -> Tensor:
        """Class logits at half size, B×classes×H/2×W/2."""
        return self.semantic_head(decoded).float()

    def depth(self, decoded: Decoded, intrinsics: Tensor) -> Tensor:
        """Depth z in metres at half size, B×1×H/2×W/2, for cameras with the given B×3×3 intrinsics of the full size."""
        nearest, farthest = 1.0 / self.config.min_depth, 1.0 / self.config.max_depth
        inverse_depth = farthest + (nearest - farthest) * torch.sigmoid(self.depth_head(decoded))
        return intrinsics[:, :1, :1, None] / (self.config.canonical_focal * inverse_depth)

    def flow_and_pose(
        self, state: State, previous: State, depth: Tensor | None, intrinsics: Tensor | None, prior: bool = True
    ) -> tuple[FlowEstimate, tuple[Tensor, ...]]:
        """Flow to the previous frame and, where depth is known, ``previous_from_current`` B×4×4, coarse, middle and fine.

        Depth B×1×H/2×W/2 and pose give the flow of a still scene, a prior for the next level; neither gets gradients
        there. Without depth, or with ``prior`` false, flow comes from matching alone.
        """
        head, poses, still = self.flow_head, [], {MIDDLE: None, FINE: None}
        coarse = head.coarse(state, previous)
        if depth is not None:
            depth = depth.detach()
            poses.append(self.pose_head.coarse(coarse, depth, intrinsics))
            still[MIDDLE] = still_scene_flow(depth, intrinsics, poses[-1].detach(), MIDDLE)
        middle = head.middle(state, previous, coarse, still[MIDDLE] if prior else None)
        if depth is not None:
            poses.append(self.pose_head.middle(middle, depth, intrinsics, poses[-1]))
            still[FINE] = still_scene_flow(depth, intrinsics, poses[-1].detach(), FINE)
        fine = head.fine(state, previous, middle, still[FINE] if prior else None)
        if depth is not None:
            poses.append(self.pose_head.fine(fine, depth, intrinsics, poses[-1]))
            still[FINE] = still_scene_flow(depth, intrinsics, poses[-1].detach(), FINE)
        return FlowEstimate(head.half(fine), (fine, middle, coarse), still[FINE]), tuple(poses)

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
            intrinsics: B×3×3 of the image at this size; depth and pose need it. Semantics without it assume a camera.
            previous: ``state`` of the previous frame; flow and pose need it.
            heads: which of ``HEADS`` to run; with intrinsics, flow and pose run each other and depth; motion runs all, and
                then depth and flow correct each other by parallax (networks/parallax.py).
        """
        features = self.encoder(image)
        state = self.flow_head.describe(features, image)
        classifies = bool({"semantic", "motion"} & set(heads))
        measures = intrinsics is not None and bool({"depth", "flow", "pose", "motion"} & set(heads))
        decoded = logits = depth = None
        if classifies or measures:
            assumed = assumed_intrinsics(image, self.config.canonical_focal) if intrinsics is None else intrinsics
            decoded = self.decode(features, assumed)
        if classifies:
            logits = self.semantic(decoded)
        if measures:
            depth = self.depth(decoded, intrinsics)
        flow = pose = motion = None
        if previous is not None and {"flow", "pose", "motion"} & set(heads):
            flow, poses = self.flow_and_pose(state, previous, depth, intrinsics)
            pose = poses[-1] if poses else None
            if poses and "motion" in heads:
                motion = self.own_motion(flow, logits, depth)
                depth, flow = self.reconcile(depth, flow, intrinsics, pose, motion, decoded)
        return PerceptionOutput(
            logits,
            None if depth is None else double_depth(depth),
            None if flow is None else flow.full,
            None if flow is None else tuple(level.flow for level in flow.levels),
            pose,
            motion,
            state,
        )

    def own_motion(self, flow: FlowEstimate, logits: Tensor, depth: Tensor) -> Tensor:
        """Motion logits B×1×H×W from logits and depth at half size and a flow estimate with ``still``.

        The head reads the other heads' outputs and sends no gradient back to them.
        """
        fine = flow.levels[0]
        return self.motion_head(
            fine.flow.detach(), flow.still, fine.hidden.detach(), logits.detach(), depth.detach()
        )

    def reconcile(
        self, depth: Tensor, flow: FlowEstimate, intrinsics: Tensor, pose: Tensor, motion: Tensor, decoded: Decoded
    ) -> tuple[Tensor, FlowEstimate]:
        """Depth B×1×H/2×W/2 corrected by the parallax of the flow, then the flow of what stands still by that depth.

        Gradients reach depth and flow as what is corrected, not as what corrects, and nothing else that is read here.
        """
        moving = F.avg_pool2d(motion.detach().sigmoid(), 2)
        matrix, pose = grid_intrinsics(intrinsics, 2), pose.detach()
        parallax = measure_parallax(depth.detach(), flow.half.detach() / 2, matrix, pose, moving)
        depth, share = self.parallax_head(depth, parallax, flow.levels[0].hidden.detach(), decoded.coarse.detach())
        still, valid = rigid_flow(depth.detach(), matrix, pose)
        half = flow.half + share * (1 - moving) * valid * (2 * still - flow.half)
        return depth, flow._replace(half=half)

    def for_inference(self) -> PerceptionNet:
        """Evaluation mode with re-parameterised blocks folded into plain convolutions, in place."""
        return fuse(self.eval()).requires_grad_(False)


def double_depth(depth: Tensor) -> Tensor:
    """Depth B×1×H/2×W/2 at full size B×1×H×W, interpolated as inverse depth."""
    return 1.0 / _double(1.0 / depth)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
