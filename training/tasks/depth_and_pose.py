"""What the photometric losses ask of a network: depth of some frames, poses between them, and their camera.

Two networks can answer: ``monodepth``, whose pose network sees image pairs, and ``perception``, whose pose comes from its
flow and depth, so that the shipped model can be adapted to a robot's own bags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.flow import MIDDLE, LevelEstimate
from geoseg_ros.networks.monodepth import SCALES, MonodepthNet
from geoseg_ros.networks.perception import PerceptionNet, double_depth
from geoseg_ros.networks.pose import FLOW_STD, grid_intrinsics, pool_depth
from geoseg_ros.networks.posenet import remember_turn
from geoseg_ros.projection import invert_pose, vector_from_pose
from geoseg_ros.training.losses.camera import camera_loss
from geoseg_ros.training.tasks.learned_camera import FocalLength

CURRENT, SOURCES = "image", ("previous", "next")

Autocast = Callable[[], AbstractContextManager[Any]]
Data = dict[str, Tensor]


class Prediction(NamedTuple):
    """``inverse_depth``: per frame its scales, finest first, each B×1×H/2^s×W/2^s (1/m, or another unit where training is not
    metric). ``poses``: source_from_current B×4×4 per source; empty where they are given. ``intrinsics``: B×3×3 that all of
    this belongs to. ``camera``: the loss that shows them (losses/camera.py), where a camera is learned by it."""

    inverse_depth: dict[str, list[Tensor]]
    poses: dict[str, Tensor]
    intrinsics: Tensor
    camera: Tensor | None = None


class DepthAndPose(Protocol):
    """A network behind this task's questions."""

    def predict(self, data: Data, frames: Sequence[str], sources: Sequence[str], autocast: Autocast) -> Prediction:
        """Depth of ``frames`` and the poses of ``sources``, names of images in ``data``."""


def depth_and_pose(
    network: nn.Module, scales: int, learns_poses: bool, hides_intrinsics: bool, camera: FocalLength | None = None
) -> DepthAndPose:
    """The answers of ``network``. Parts of it that these questions never reach stop learning, as parallel training asks.

    ``camera``: what ``perception`` takes for images of unknown intrinsics; ``monodepth`` has its own.
    """
    if isinstance(network, PerceptionNet):
        return _PerceptionAnswers(network, scales, learns_poses, hides_intrinsics, camera)
    if camera is not None:
        raise ConfigError("loss: camera needs the network 'perception'; 'monodepth' has network.learns_intrinsics")
    return MonodepthAnswers(network, scales, learns_poses, hides_intrinsics)


class MonodepthAnswers:
    """``monodepth`` with its own encoder, or on the features of another."""

    def __init__(self, network: MonodepthNet, scales: int, learns_poses: bool, hides_intrinsics: bool) -> None:
        if not 1 <= scales <= SCALES:
            raise ConfigError(f"loss: scales is {scales}, expected 1 … {SCALES}")
        learns_intrinsics = network.config.learns_intrinsics
        if hides_intrinsics and not learns_intrinsics:
            raise ConfigError("loss: hide_intrinsics needs network.learns_intrinsics: true")
        if learns_intrinsics and not learns_poses:
            raise ConfigError("network: learns_intrinsics needs loss.poses: learned, they come from one network")
        self.network, self.scales = network, scales
        self.learns_poses, self.hides_intrinsics = learns_poses, hides_intrinsics
        network.decoder.predict[scales:].requires_grad_(False)
        if not learns_poses:
            network.pose_network.requires_grad_(False)

    def predict(
        self,
        data: Data,
        frames: Sequence[str],
        sources: Sequence[str],
        autocast: Autocast,
        features: Sequence[Tensor] | None = None,
    ) -> Prediction:
        """``features``: the encoder's maps of ``frames``, one after the other, where another task has them."""
        network, batch = self.network, len(data[CURRENT])
        vectors, cameras = None, None
        with autocast():
            if features is None:
                features = network.encoder(torch.cat([data[frame] for frame in frames]))
            disparities = network.disparities(features, self.scales)
            if self.learns_poses:
                pairs = [(data[s], data[CURRENT]) if s == "previous" else (data[CURRENT], data[s]) for s in sources]
                vectors, cameras = network.pose_network(*(torch.cat(images) for images in zip(*pairs)))
        intrinsics = data["K"]
        if cameras is not None:
            camera = cameras.view(len(sources), batch, 3, 3).mean(0)
            if network.training:
                network.pose_network.camera.remember(camera, *data[CURRENT].shape[-2:], vectors[:, :3])
            intrinsics = camera if self.hides_intrinsics else torch.where(_known(data), intrinsics, camera)
        elif not _known(data).all():
            raise ConfigError(
                "images of unknown intrinsics need network.learns_intrinsics: true, as the recipe learned_intrinsics has it"
            )
        inverse = [1 / network.depth(d, intrinsics.detach().repeat(len(frames), 1, 1)) for d in disparities]
        by_frame = {frame: [d[i * batch : (i + 1) * batch] for d in inverse] for i, frame in enumerate(frames)}
        poses = {}
        if vectors is not None:
            for source, vector in zip(sources, vectors.split(batch)):
                later_from_earlier = network.pose(vector, intrinsics.detach())
                poses[source] = invert_pose(later_from_earlier) if source == "previous" else later_from_earlier
        return Prediction(by_frame, poses, intrinsics)


class _PerceptionAnswers:
    """Trains encoder, decoder, depth head and the pose's confidence; what the other heads know stays, unless a recipe lets the
    encoder drift away from them (``freeze: [encoder, decoder]`` holds it)."""

    def __init__(
        self, network: PerceptionNet, scales: int, learns_poses: bool, hides_intrinsics: bool, camera: FocalLength | None
    ) -> None:
        if scales != 1:
            raise ConfigError(f"loss: scales is {scales}, expected 1 for the network 'perception'")
        if hides_intrinsics and camera is None:
            raise ConfigError("loss: hide_intrinsics needs loss.camera above 0 for the network 'perception'")
        if camera is not None and not learns_poses:
            raise ConfigError("loss: camera needs loss.poses: learned, they are solved for together")
        self.network, self.learns_poses = network, learns_poses
        self.hides_intrinsics, self.camera = hides_intrinsics, camera
        pose = network.pose_head
        idle_confidences = (pose.coarse_confidence, pose.middle_confidence) if learns_poses else (pose,)
        self._idle = (
            network.semantic_head,
            network.motion_head,
            network.parallax_head,
            network.flow_head,
            *idle_confidences,
        )
        for part in self._idle:
            part.requires_grad_(False)

    def predict(self, data: Data, frames: Sequence[str], sources: Sequence[str], autocast: Autocast) -> Prediction:
        network, intrinsics = self.network, self._intrinsics(data)
        taken = intrinsics.detach()  # a camera learns from what the flow and the pictures say of it, not through the network
        for part in self._idle:
            part.eval()  # their normalisation statistics stay as well
        names = (CURRENT, *sources)
        images = torch.cat([data[name] for name in names])
        poses, misfits = {}, []
        with autocast():
            features = network.encoder(images)
            rows = [names.index(frame) for frame in frames]
            depths = {}
            for frame, row in zip(frames, rows):
                decoded = network.decode([_part(f, row, len(names)) for f in features], taken)
                depths[frame] = network.depth(decoded, taken)
            if self.learns_poses:
                states = network.flow_head.describe(features, images)
                current, *others = (tuple(_part(s, row, len(names)) for s in states) for row in range(len(names)))
                for source, state in zip(sources, others):
                    # An unknown camera's flow comes from matching alone: the prior of a still scene would have its error.
                    flow, solved = network.flow_and_pose(current, state, depths[CURRENT], taken, prior=self.camera is None)
                    poses[source] = network.pose_head.fine(flow.levels[0], depths[CURRENT], taken, solved[-1])
                    if self.camera is not None:
                        misfits.append(self._misfit(flow.levels[0], depths[CURRENT], intrinsics, poses[source]))
        inverse_depth = {frame: [1 / double_depth(depth)] for frame, depth in depths.items()}
        return Prediction(inverse_depth, poses, intrinsics, torch.stack(misfits).mean() if misfits else None)

    def _intrinsics(self, data: Data) -> Tensor:
        """The data's, or the learned camera's where they are unknown or hidden."""
        intrinsics, known = data["K"], _known(data)
        if self.camera is None:
            if not known.all():
                raise ConfigError("images of unknown intrinsics need a learned camera, as the recipe learned_intrinsics has it")
            return intrinsics
        learned = self.camera(len(intrinsics), *data[CURRENT].shape[-2:])
        return learned if self.hides_intrinsics else torch.where(known, intrinsics, learned)

    def _misfit(self, flow: LevelEstimate, depth: Tensor, intrinsics: Tensor, pose: Tensor) -> Tensor:
        """The camera's loss at 1/8, where poses are solved for as well."""
        if self.network.training:
            remember_turn(self.camera.turn, vector_from_pose(pose.detach()))
        weight = F.avg_pool2d(self.network.pose_head.fine_confidence(flow.hidden).sigmoid(), 2).detach()
        mean_flow, grid = F.avg_pool2d(flow.flow, 2).detach() / MIDDLE, grid_intrinsics(intrinsics, MIDDLE)
        return camera_loss(mean_flow, pool_depth(depth.detach(), MIDDLE), grid, pose.detach(), weight, FLOW_STD / MIDDLE)


def _part(stacked: Tensor, index: int, count: int) -> Tensor:
    return stacked.chunk(count)[index]


def _known(data: Data) -> Tensor:
    """Whose intrinsics are known, bool B×1×1."""
    known = data.get("intrinsics_known")
    known = torch.ones(len(data["K"]), dtype=torch.bool, device=data["K"].device) if known is None else known
    return known.view(-1, 1, 1)
