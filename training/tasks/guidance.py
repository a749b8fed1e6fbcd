"""Guidance of class maps by the depth of a frozen model, for every task that learns semantics (methods.md §1).

The segmenter and its run time stay as they are: sources with labelled images get that depth, computed once, from
:mod:`geoseg_ros.training.data.depth_guidance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.cache_room import LIMIT_GB
from geoseg_ros.training.data.depth_guidance import DepthGuide
from geoseg_ros.training.data.source import Source
from geoseg_ros.training.losses.geometry_guidance import holistic_guidance, per_class_guidance
from geoseg_ros.training.losses.shared_class import frozen_depth_regulariser
from geoseg_ros.training.model_file import model_file

FORMS = {
    "holistic": holistic_guidance,
    "per_class": per_class_guidance,
    "shared_class": frozen_depth_regulariser,
}


@dataclass(frozen=True)
class GuidanceConfig:
    """Guidance by the depth of the model file ``model`` (or ``default``).

    ``form``: L_h (holistic), L_p (per_class) or Chen et al.'s regulariser (shared_class). Its ``weight`` λ is 0 before step
    ``start`` and grows linearly over the next ``ramp`` steps. ``cache``: folder of the computed depth (default $GEOSEG_CACHE,
    else the user's), which may hold ``cache_gb`` in all.
    """

    model: str
    form: Literal["holistic", "per_class", "shared_class"] = "holistic"
    weight: float = 1.0
    start: int = 0
    ramp: int = 0
    cache: str | None = None
    cache_gb: float = LIMIT_GB

    def __post_init__(self) -> None:
        for name in ("weight", "start", "ramp", "cache_gb"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")

    def weight_at(self, step: int) -> float:
        """λ at a 0-based step: 0 before ``start``, whole from step ``start`` + ``ramp`` − 1 on (at once without a ramp)."""
        return self.weight * min(1.0, max(0, step - self.start + 1) / max(1, self.ramp))

    def guide(self, sources: Mapping[str, Source], data_root: str) -> None:
        """Give the labelled images of ``sources`` their depth; ConfigError where none has labelled images."""
        guide = DepthGuide(model_file(self.model, data_root), self.cache, limit_gb=self.cache_gb)
        if not [name for name, source in sources.items() if source.add_guidance(guide, name)]:
            raise ConfigError(f"loss: guidance needs a source with labelled images, found {', '.join(sources)}")

    def loss(self, logits: Tensor, depth: Tensor) -> Tensor:
        """Of class logits B×C×H×W and the depth B×1×H×W that guides them (NaN unknown); not weighted."""
        return FORMS[self.form](logits.softmax(1), depth)
