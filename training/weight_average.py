"""The mean of several models' weights: runs that start from one model often end better together than each alone.

Source: Wortsman et al., Model soups (ICML 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg_ros.bundle import Bundle, load_bundle
from geoseg_ros.errors import BundleError, ConfigError
from geoseg_ros.machine import git_commit
from geoseg_ros.training.pretrained import runs_behind


def average_models(shares: Mapping[Path, float]) -> Bundle:
    """The model whose floating weights, statistics of normalisation included, are the mean of those of the files in ``shares``.

    Shares are above 0; only their ratio counts. All else (input size, camera, labels, licence) is the first file's, whose
    architecture, configuration and labels all must have. Its scores are left out: they are not the mean's. Raises ConfigError where
    there are fewer than two files or a share is no number above 0, BundleError where a file is not such a model.
    """
    if len(shares) < 2:
        raise ConfigError(f"a mean needs at least two different model files, found {len(shares)}")
    for path, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise ConfigError(f"the share of {path} is {share:g}, expected a number above 0")
    models = {path: load_bundle(path) for path in shares}
    (first_path, first), *others = models.items()
    for path, other in others:
        _check_alike(first_path, first, path, other)
    whole = sum(shares.values())
    weights = {
        name: sum(model.weights[name] * (shares[path] / whole) for path, model in models.items())
        if value.is_floating_point()
        else value
        for name, value in first.weights.items()
    }
    return replace(first, weights=weights, provenance=_provenance(models, shares), scores={})


def _check_alike(first_path: Path, first: Bundle, path: Path, other: Bundle) -> None:
    for name in ("architecture", "config", "labels"):
        if getattr(first, name) != getattr(other, name):
            raise BundleError(f"model file {path} and {first_path} differ in their {name}, expected the same for a mean")
    shapes, others = ({name: value.shape for name, value in model.weights.items()} for model in (first, other))
    if shapes != others:
        different = sorted(name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name))
        raise BundleError(f"model file {path} has other weights than {first_path}: {different[0]} is missing in one or of another shape")


def _provenance(models: Mapping[Path, Bundle], shares: Mapping[Path, float]) -> dict[str, Any]:
    whole = sum(shares.values())
    parts = [
        {"share": shares[path] / whole, "file": path.name, "runs": runs_behind(model.provenance)} for path, model in models.items()
    ]
    data: dict[str, Any] = {}
    for model in models.values():
        described = model.provenance.get("data")
        data |= described if isinstance(described, dict) else {}
    return {
        "recipe": {"name": "mean of weights"},
        "parts": parts,
        "data": data,
        "git_commit": git_commit(),
        "history": _union(parts),
        "metric": all(model.provenance.get("metric", False) for model in models.values()),
    }


def _union(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of all parts, each once, in the order of the first that has it."""
    runs: list[dict[str, Any]] = []
    for part in parts:
        runs += [run for run in part["runs"] if run not in runs]
    return runs
