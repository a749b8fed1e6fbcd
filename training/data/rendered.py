"""The source of rendered sequences, synthetic streets or rooms: image pairs with every ground truth, read from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geoseg_ros.projection import rigid_flow
from geoseg_ros.training.data.augmentation import AugmentConfig, Sample
from geoseg_ros.training.data.files import relative_pose
from geoseg_ros.training.data.source import PairConfig, PairIndex, Source
from geoseg_ros.training.data.synthetic.dataset import StoredFrame, SyntheticDataset


@dataclass(frozen=True)
class RenderedConfig(PairConfig):
    """A folder written by training/data/synthetic/dataset.py; without ``pairs`` its single frames. ``semantic``: false leaves
    its labels out, as rooms want it: people are all that they label, and nothing there is known not to be one."""

    pairs: bool = True
    semantic: bool = True


class Rendered(Source):
    """Pairs with image, previous, K, depth, semantic (camvid_11; in rooms people alone, all else 255, ignored), flow, motion
    and previous_from_current; or single frames with image, K, depth and semantic.

    The stored flow is that of neighbouring frames. At other strides it is the rigid flow of depth and pose,
    unknown on moving objects; at stride 0 nothing moves.
    """

    def __init__(
        self, config: RenderedConfig, augmentation: AugmentConfig, size: tuple[int, int], path: Path
    ) -> None:
        super().__init__(config, augmentation, size)
        self._dataset = SyntheticDataset(path)
        lengths = [self._dataset.frames(sequence) for sequence in range(len(self._dataset))]
        self._count = sum(lengths)
        self._index = PairIndex(lengths, config.strides if config.pairs else (0,), str(path))

    def __len__(self) -> int:
        return self._count

    def raw_sample(self, rng: np.random.Generator) -> Sample:
        sequence, current, stride = self._index.draw(rng)
        frame = self._dataset.frame(sequence, current)
        still = {
            "image": np.asarray(frame.image),
            "K": frame.camera.matrix,
            "depth": frame.depth.astype(np.float32),
        }
        if self.config.semantic:
            still["semantic"] = np.asarray(frame.semantic)
        if not self.config.pairs:
            return still
        previous = self._dataset.frame(sequence, current - stride)
        pose = relative_pose(previous.world_from_camera, frame.world_from_camera)
        motion = (frame.motion > 0).astype(np.float32) if stride else np.zeros(frame.motion.shape, np.float32)
        return {
            **still,
            "previous": np.asarray(previous.image),
            "flow": frame.flow.astype(np.float32) if stride == 1 else _static_flow(frame, motion, pose),
            "motion": motion,
            "previous_from_current": pose,
        }


def _static_flow(frame: StoredFrame, motion: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """H×W×2 flow of what stands still, from depth and pose (4×4); NaN where ``motion`` is set."""
    depth = torch.from_numpy(frame.depth.astype(np.float32))[None, None]
    intrinsics, transform = (
        torch.from_numpy(m.astype(np.float32))[None] for m in (frame.camera.matrix, pose)
    )
    flow, valid = rigid_flow(depth, intrinsics, transform)
    result = flow[0].permute(1, 2, 0).numpy()
    result[(motion > 0) | ~valid[0, 0].numpy()] = np.nan
    return result
