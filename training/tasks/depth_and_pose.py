"""What the photometric losses ask of a network: depth of some frames, poses between them, and their camera.

Two networks can answer: ``monodepth``, whose pose network sees image pairs, and ``perception``, whose pose comes from its
flow and depth, so that the shipped model can be adapted to a robot's own bags.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.monodepth import SCALES, MonodepthNet
from geoseg_ros.networks.perception import PerceptionNet, double_depth
from geoseg_ros.projection import invert_pose

CURRENT, SOURCES = "image", ("previous", "next")

Autocast = Callable[[], AbstractContextManager[Any]]
Data = dict[str, Tensor]


class Prediction(NamedTuple):
    """``inverse_depth``: per frame its scales, finest first, each B×1×H/2^s×W/2^s (1/m, or another unit where training is not
    metric). ``poses``: source_from_current B×4×4 per source; empty where they are given. ``intrinsics``: B×3×3 that all of
    this belongs to."""

    inverse_depth: dict[str, list[Tensor]]
    poses: dict[str, Tensor]
    intrinsics: Tensor


class DepthAndPose(Protocol):
    """A network behind this task's questions."""

    def predict(self, data: Data, frames: Sequence[str], sources: Sequence[str], autocast: Autocast) -> Prediction:
        """Depth of ``frames`` and the poses of ``sources``, names of images in ``data``."""


def depth_and_pose(network: nn.Module, scales: int, learns_poses: bool, hides_intrinsics: bool) -> DepthAndPose:
    """The answers of ``network``. Parts of it that these questions never reach stop learning, as parallel training asks."""
    if isinstance(network, PerceptionNet):
        return _PerceptionAnswers(network, scales, learns_poses, hides_intrinsics)
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

    def __init__(self, network: PerceptionNet, scales: int, learns_poses: bool, hides_intrinsics: bool) -> None:
        if scales != 1:
            raise ConfigError(f"loss: scales is {scales}, expected 1 for the network 'perception'")
        if hides_intrinsics:
            raise ConfigError("loss: hide_intrinsics needs the network 'monodepth'")
        self.network, self.learns_poses = network, learns_poses
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
        network, intrinsics = self.network, data["K"]
        if not _known(data).all():
            raise ConfigError("images of unknown intrinsics need the network 'monodepth' with learns_intrinsics: true")
        for part in self._idle:
            part.eval()  # their normalisation statistics stay as well
        names = (CURRENT, *sources)
        images = torch.cat([data[name] for name in names])
        poses = {}
        with autocast():
            features = network.encoder(images)
            rows = [names.index(frame) for frame in frames]
            depths = {}
            for frame, row in zip(frames, rows):
                decoded = network.decode([_part(f, row, len(names)) for f in features], intrinsics)
                depths[frame] = network.depth(decoded, intrinsics)
            if self.learns_poses:
                states = network.flow_head.describe(features, images)
                current, *others = (tuple(_part(s, row, len(names)) for s in states) for row in range(len(names)))
                for source, state in zip(sources, others):
                    flow, solved = network.flow_and_pose(current, state, depths[CURRENT], intrinsics)
                    poses[source] = network.pose_head.fine(flow.levels[0], depths[CURRENT], intrinsics, solved[-1])
        return Prediction({frame: [1 / double_depth(depth)] for frame, depth in depths.items()}, poses, intrinsics)


def _part(stacked: Tensor, index: int, count: int) -> Tensor:
    return stacked.chunk(count)[index]


def _known(data: Data) -> Tensor:
    """Whose intrinsics are known, bool B×1×1."""
    known = data.get("intrinsics_known")
    known = torch.ones(len(data["K"]), dtype=torch.bool, device=data["K"].device) if known is None else known
    return known.view(-1, 1, 1)
