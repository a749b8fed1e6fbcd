"""The label sets of a recipe's sources beside the model's own, and the cross-entropy that each of them teaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from geoseg_ros.labels import LabelSet, label_set, union_map
from geoseg_ros.training.losses.segmentation import union_cross_entropy

Criterion = Callable[[Tensor, Tensor], Tensor]
"""Logits B×C×H×W and labels B×H×W of the model's own set to a scalar."""


class SourceLabels:
    """Of the recipe's ``data`` the sources with another label set than the model's.

    ConfigError where a label set does not exist, or its relation to the model's is not known.
    """

    def __init__(self, labels: LabelSet, data: Mapping[str, Mapping[str, Any]]) -> None:
        self._unions: dict[str, Tensor] = {}
        for source, settings in data.items():
            if settings.get("labels") is not None:
                theirs = label_set(settings["labels"])
                if theirs.names != labels.names:
                    self._unions[source] = torch.from_numpy(union_map(theirs, labels))

    def are_foreign(self, source: str) -> bool:
        """Whether a source's labels are of another set."""
        return source in self._unions

    def cross_entropy(self, source: str, logits: Tensor, target: Tensor, own: Criterion) -> Tensor:
        """``own`` for labels of the model's set, else the cross-entropy of unions: a label of another set is right with any of
        the classes that it stands for. Logits B×C×H×W, target B×H×W int64 in the source's set, 255 unknown."""
        if source not in self._unions:
            return own(logits, target)
        return union_cross_entropy(logits, target, self._unions[source].to(logits.device))
