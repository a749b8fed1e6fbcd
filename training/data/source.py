"""What every data source shares: its settings, the search for its files, and the making of a batch.

A source's batch is a dict of numpy arrays, each key present when the source knows it:

- image, previous, next: B×3×H×W uint8 RGB
- K: B×3×3 float32 at that size; depth: B×1×H×W float32 metres (+inf sky, NaN unknown)
- semantic: B×H×W uint8 in the source's own label set (255 ignored)
- flow: B×2×H×W float32 from the image to the previous one (NaN unknown); motion: B×1×H×W {0, 1} (NaN unknown)
- previous_from_current, next_from_current: B×4×4 float32, metres (NaN unknown)
- previous_distance, next_distance: B float32, metres driven between the frames (NaN unknown)
- guidance: B×1×H×W float32, depth of a frozen model in its own units (NaN unknown)
- intrinsics_known: B bool; where it is False, K is that of an assumed camera
- the colour changes of :func:`~geoseg_ros.training.data.colour.draw_colour`, drawn but not applied

``jitter.prepare_examples`` makes of it what tasks take.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.augmentation import AugmentConfig, Sample, augment

if TYPE_CHECKING:
    from geoseg_ros.training.data.depth_guidance import DepthGuide

CHECKOUT = Path(__file__).resolve().parents[2]
DATA_VARIABLE = "GEOSEG_DATA"
IGNORE = 255


@dataclass(frozen=True)
class SourceConfig:
    """Settings of any source: its kind, where its files are, examples per step, and changes to the recipe's
    augmentation."""

    kind: str
    path: str
    batch: int
    augment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch is {self.batch}, expected at least 1")

    def locate(self, data_root: str) -> Any:
        """What the source reads: the file or folder ``path`` (see :func:`find_data`)."""
        return find_data(self.path, data_root)


@dataclass(frozen=True)
class PairConfig(SourceConfig):
    """Settings of a source of image pairs: the distances in frames to the previous image, one drawn per
    example.

    0 pairs an image with itself (a standing robot), a negative stride looks back from the later frame
    (driving in reverse).
    """

    strides: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.strides:
            raise ConfigError("strides is empty, expected at least one frame distance such as [1]")


@dataclass(frozen=True)
class SequenceConfig(PairConfig):
    """Settings of a source of two frames per example (previous and current) or three (next too, at the same
    stride)."""

    frames_per_sample: Literal[2, 3] = 2


class Source(ABC):
    """Draws batches of augmented examples; stateless but for the decoded files, so a step's batch depends on
    rng alone."""

    def __init__(self, config: SourceConfig, augmentation: AugmentConfig, size: tuple[int, int]) -> None:
        self.config = config
        self.augmentation = augmentation
        self.size = size

    @abstractmethod
    def __len__(self) -> int:
        """The number of images to draw from."""

    @abstractmethod
    def raw_sample(self, rng: np.random.Generator) -> Sample:
        """One example before augmentation (see :mod:`~geoseg_ros.training.data.augmentation`)."""

    def label_maps(self) -> Iterable[np.ndarray]:
        """The label maps to draw from, H×W uint8 ids of the source's own label set (255 ignored); none without labels."""
        return ()

    def add_guidance(self, guide: DepthGuide, name: str) -> bool:
        """Give every example of a source of labelled images its depth by ``guide``; False, and nothing, for other sources."""
        return False

    def batch(
        self, rng: np.random.Generator, rank: int = 0, world: int = 1, size: tuple[int, int] | None = None
    ) -> dict[str, np.ndarray]:
        """A batch of ``config.batch`` augmented examples (keys and shapes above) of ``size`` (default: the source's own).

        Of ``world`` processes that share a step, number ``rank`` gets every world-th example: each example has its own
        random numbers, so that the processes together see what one alone would.
        """
        samples = []
        for generator in rng.spawn(self.config.batch)[rank::world]:
            samples.append(augment(self.raw_sample(generator), size or self.size, self.augmentation, generator))
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}

    def summary(self) -> str:
        """What there is to draw from, in a few words."""
        return f"{len(self)} images"

    def describe(self) -> dict[str, Any]:
        """What the bundle's provenance says of this source."""
        return {**asdict(self.config), "images": len(self)}


def find_data(path: str, data_root: str) -> Path:
    """The file or folder ``path`` in the first of :func:`data_roots` that has it; an absolute one as it is.

    ConfigError lists the places when none has it.
    """
    for root in data_roots(data_root):
        if (root / path).exists():
            return (root / path).resolve()
    raise missing_data(path, data_root)


def data_roots(data_root: str) -> list[Path]:
    """Where data are searched for: $GEOSEG_DATA, the recipe's data_root, the checkout, in this order.

    A relative ``data_root`` starts at the checkout.
    """
    variable = os.environ.get(DATA_VARIABLE)
    return [*([Path(variable)] if variable else []), CHECKOUT / data_root, CHECKOUT]


def missing_data(path: str, data_root: str) -> ConfigError:
    """The error for data that no root has."""
    places = ", ".join(dict.fromkeys(str((root / path).absolute()) for root in data_roots(data_root)))
    return ConfigError(
        f"data '{path}' is missing; looked for {places} (set {DATA_VARIABLE} to the folder of your data)"
    )


class PairIndex:
    """Every (sequence, frame) that has a previous frame at a stride, and with ``frames`` = 3 a next one too, over
    sequences of given lengths."""

    def __init__(self, lengths: list[int], strides: tuple[int, ...], what: str, frames: int = 2) -> None:
        self._strides = strides
        self._pairs = {stride: self._valid(lengths, stride, frames) for stride in set(strides)}
        for stride, pairs in self._pairs.items():
            if not len(pairs):
                raise ConfigError(
                    f"{what} has no {'two' if frames == 2 else 'three'} frames {stride} apart, "
                    f"only sequences of {lengths} frames"
                )

    @staticmethod
    def _valid(lengths: list[int], stride: int, frames: int) -> np.ndarray:
        before, after = (max(0, stride), max(0, -stride)) if frames == 2 else (abs(stride),) * 2
        pairs = [(s, current) for s, n in enumerate(lengths) for current in range(before, n - after)]
        return np.array(pairs, int).reshape(-1, 2)

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """A random (sequence, current frame, stride); the previous frame is current − stride, the next one current +
        stride."""
        stride = int(rng.choice(self._strides))
        pairs = self._pairs[stride]
        sequence, current = pairs[rng.integers(len(pairs))]
        return int(sequence), int(current), stride
