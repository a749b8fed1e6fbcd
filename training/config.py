"""Recipes: a training run as one YAML file, checked before anything is loaded.

A recipe with ``base: NAME`` says only in what it differs from another one. The command line's ``key=value``
overrides reach into it with dots (``optimizer.lr=1e-3``, ``data.camvid.batch=4``, ``data.camvid=null`` removes
a source). The resolved recipe is saved as config.yaml beside the weights; training that file repeats the run.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.augmentation import AugmentConfig
from geoseg_ros.training.schema import nearest, parse

RECIPES = Path(__file__).resolve().parent / "recipes"


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (betas, eps) or SGD (momentum). Weight decay spares norms and biases; ``clip`` bounds the
    gradient's norm."""

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.9
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError(f"lr is {self.lr}, expected more than 0")
        if self.clip is not None and self.clip <= 0:
            raise ConfigError(f"clip is {self.clip}, expected more than 0, or null for none")


@dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up over ``warmup`` steps, then the learning rate falls to ``final`` × lr at the last step.

    ``step`` multiplies it by ``factor`` instead where each share ``at`` of all steps is reached: Monodepth2's tenth
    after 15 of 20 epochs is at: [0.75], factor: 0.1.
    """

    name: Literal["cosine", "poly", "constant", "step"] = "cosine"
    warmup: int = 0
    power: float = 0.9
    final: float = 0.01
    at: tuple[float, ...] = (0.75,)
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ConfigError(f"warmup is {self.warmup}, expected 0 or more steps")
        if not all(0 < share < 1 for share in self.at):
            raise ConfigError(f"at is {list(self.at)}, expected shares of the run between 0 and 1")
        if not 0 < self.factor < 1:
            raise ConfigError(f"factor is {self.factor}, expected between 0 and 1")


@dataclass(frozen=True)
class CropStage:
    """``crop`` (width, height) of the steps before ``until``, a share of the run."""

    until: float
    crop: tuple[int, int]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's weights, and how it reports.

    ``network`` and ``loss`` belong to the task, each entry of ``data`` to the source of its ``kind``.
    ``crop`` is the (width, height) that every source's images take, after the first parts of the run that ``crop_stages`` give
    other ones: smaller pictures first cost less. ``ema`` is the decay of the averaged weights, 0 for none. ``init`` is a file whose
    weights start the run where names and shapes match: a model file (``default``: the installed one), or torchvision's weights of
    the encoder (.pth, .safetensors). ``statistics_batches``: where not 0, batch normalisation's statistics are measured over that
    many batches and then kept, from ``statistics_from`` on, a share of the run (training/statistics.py). ``keep_statistics`` keeps those of ``init`` from the first step on instead: those of
    one robot's pictures would normalise away what makes its scenes nearer or farther than others.
    """

    task: str
    steps: int
    crop: tuple[int, int]
    data: dict[str, dict[str, Any]]
    name: str = ""
    seed: int = 0
    network: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    freeze: tuple[str, ...] = ()
    crop_stages: tuple[CropStage, ...] = ()
    ema: float = 0.0
    statistics_batches: int = 0
    statistics_from: float = 0.0
    keep_statistics: bool = False
    init: str | None = None
    data_root: str = "../shared/data"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    channels_last: bool = False
    workers: int = 0
    threads: int | None = None
    log_every: int = 20
    picture_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "picture_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        for crop in self.crops:
            if min(crop) < 1:
                raise ConfigError(f"crop is {list(crop)}, expected [width, height] in pixels")
        shares = [0.0, *(stage.until for stage in self.crop_stages), 1.0]
        if any(earlier >= later for earlier, later in zip(shares, shares[1:])):
            raise ConfigError(f"crop_stages end at {shares[1:-1]}, expected ascending shares of the run between 0 and 1")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is {self.ema}, expected a decay in 0 … 1, less than 1")
        if self.statistics_batches < 0:
            raise ConfigError(f"statistics_batches is {self.statistics_batches}, expected 0 or more")
        if not 0 <= self.statistics_from < 1:
            raise ConfigError(f"statistics_from is {self.statistics_from}, expected a share of the run, 0 … 1 without 1")
        if self.keep_statistics and (self.init is None or self.statistics_batches):
            raise ConfigError("keep_statistics keeps those of init; expected a model file there, and statistics_batches 0")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}, expected at least 1, or null for all")
        if self.workers < 0 or self.seed < 0:
            raise ConfigError(f"workers is {self.workers} and seed {self.seed}, expected 0 or more")
        if not self.data:
            raise ConfigError("data names no source, expected at least one")

    @property
    def crops(self) -> list[tuple[int, int]]:
        """The crops of the run, in their order."""
        return [*(stage.crop for stage in self.crop_stages), self.crop]

    def crop_at(self, step: int) -> tuple[int, int]:
        """The crop of a 0-based step."""
        return next((stage.crop for stage in self.crop_stages if step < stage.until * self.steps), self.crop)

    @property
    def statistics_step(self) -> int | None:
        """The step from which statistics are kept; None where each batch has its own."""
        if self.keep_statistics:
            return 0
        return int(self.statistics_from * self.steps) if self.statistics_batches else None


# Keys that change how a run reports or loads, not what it computes: a resumed run may differ in them.
FREE_ON_RESUME = ("name", "workers", "log_every", "picture_every", "checkpoint_every", "data_root")


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of that name in training/recipes, or at that path, on top of its ``base``, with ``key=value`` overrides applied.

    Raises ConfigError for a missing file, bad YAML, bases that go round, unknown keys (naming the nearest), and values of
    a wrong type.
    """
    path = find_recipe(name_or_path)
    raw = apply_overrides(_read(path), overrides)
    if isinstance(raw.get("data"), dict):
        raw["data"] = {source: settings for source, settings in raw["data"].items() if settings is not None}
    raw.setdefault("name", path.stem)
    return parse(Recipe, raw, f"recipe {path.name}")


def with_bags(recipe: Recipe, bags: Sequence[str]) -> Recipe:
    """The recipe on recorded bags (paths or globs, relative ones from the working directory) in place of its data: as many
    examples per step, with a next frame where its data has one."""
    settings = recipe.data.values()
    source = {
        "kind": "bag",
        "path": [os.path.abspath(bag) for bag in bags],
        "batch": sum(source.get("batch", 0) for source in settings),
        "three_frames": any(s.get("frames_per_sample") == 3 or s.get("three_frames", False) for s in settings),
    }
    return dataclasses.replace(recipe, data={"bags": source})


def find_recipe(name_or_path: str) -> Path:
    """The file of a recipe given by path or by its name in training/recipes."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise ConfigError(f"the recipe file {path} is missing")
    shipped = RECIPES / f"{name_or_path}.yaml"
    if shipped.is_file():
        return shipped
    names = sorted(recipe.stem for recipe in RECIPES.glob("*.yaml"))
    raise ConfigError(
        f"recipe '{name_or_path}' does not exist and is no .yaml file; {nearest(name_or_path, names)}"
    )


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What the file says, on top of what its base says; ``above``: the files that it is a base of."""
    if path in above:
        raise ConfigError(f"the recipe {path} is its own base")
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"the recipe {path} cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"the recipe {path} holds a {type(raw).__name__}, expected a mapping")
    base = raw.pop("base", None)
    if base is None:
        return raw
    if not isinstance(base, str):
        raise ConfigError(f"the recipe {path}: base is {base!r}, expected a recipe's name or path")
    return _merged(_read(find_recipe(base), (*above, path)), raw)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, mapping by mapping."""
    both = {key: (base[key], value) for key, value in changes.items() if key in base}
    nested = {key: _merged(*pair) for key, pair in both.items() if all(isinstance(each, dict) for each in pair)}
    return {**base, **changes, **nested}


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``raw`` with each ``a.b=value`` set; values are YAML."""
    result = copy.deepcopy(raw)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path:
            raise ConfigError(f"the override '{override}' has no value, expected key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"the override '{override}' is not YAML: {error}") from error
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigError(f"the override '{override}' reaches into '{parent}', which is no mapping")
        place[last] = value
    return result


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain YAML and JSON values (tuples as lists)."""
    return _plain(dataclasses.asdict(recipe))


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe as YAML, beside and then renamed."""
    text = io.StringIO()
    yaml.safe_dump(recipe_to_dict(recipe), text, sort_keys=False, allow_unicode=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text.getvalue())
    os.replace(temporary, path)


def differing_keys(first: Recipe, second: Recipe) -> list[str]:
    """The keys in which two recipes would compute different weights."""
    a, b = recipe_to_dict(first), recipe_to_dict(second)
    return [key for key in a if a[key] != b[key] and key not in FREE_ON_RESUME]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
