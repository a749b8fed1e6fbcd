"""Label sets: class names, colours and which classes can move, and how label sets relate.

A class id is its position in ``names``. Built in: CamVid's 11 classes, Cityscapes' 19, IDD-Lite's 7; others
come from a YAML file with the entries of :meth:`LabelSet.to_dict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from geoseg_ros.errors import ConfigError

MAX_CLASSES = 255
MAX_YAML_BYTES = 1 << 20


def _sequence(where: str, entry: str, values: Any) -> tuple:
    if not isinstance(values, (list, tuple)):
        raise ConfigError(f"{where} {entry} is {values!r}, expected a list")
    return tuple(values)


def _colour(where: str, colour: Any) -> tuple[int, int, int]:
    if not isinstance(colour, (list, tuple)) or len(colour) != 3 or not all(map(_is_byte, colour)):
        raise ConfigError(f"{where} has the colour {colour!r}, expected red, green, blue from 0 to 255")
    return tuple(int(channel) for channel in colour)


def _is_byte(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= value <= 255


def _table(where: str, entry: str, values: Any) -> dict[str, tuple[str, ...]]:
    """A mapping from names to lists of names."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} {entry} is {values!r}, expected a mapping of names to lists of names")
    table = {str(name): _sequence(where, f"{entry}.{name}", names) for name, names in values.items()}
    for name, names in table.items():
        if not names or not all(isinstance(each, str) and each for each in names):
            raise ConfigError(f"{where} {entry}.{name} is {names!r}, expected non-empty strings")
    return table


def _yaml_problem(error: Exception) -> str:
    """What is wrong with a YAML text in one line, and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} at line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    return str(error).splitlines()[0]


@dataclass(frozen=True)
class LabelSet:
    """Names and colours (red, green, blue; 0 ... 255) of the classes 0 ... len(names) - 1.

    ``dynamic`` names the classes whose objects can move by themselves; ``ignore`` is the id of pixels without
    a class. ``categories`` gather the classes, each in one of them, for scores by category. ``relations`` say which classes
    of another label set a class may be: {other set: {class: [classes of the other]}}; a class without an entry is none of
    them. Both are beside the point of which set it is: sets that differ in them alone are equal. Raises ConfigError where
    the entries do not fit together.
    """

    name: str
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    dynamic: tuple[str, ...]
    ignore: int = 255
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    relations: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"label set name is {self.name!r}, expected a non-empty string")
        where = f"label set {self.name!r}"
        for entry in ("names", "dynamic"):
            values = _sequence(where, entry, getattr(self, entry))
            if wrong := [value for value in values if not isinstance(value, str) or not value]:
                raise ConfigError(
                    f"{where} {entry} hold {wrong[0]!r}, expected non-empty strings (quoted where YAML reads a number or yes)"
                )
            if repeated := [value for value in values if values.count(value) > 1]:
                raise ConfigError(f"{where} {entry} repeat {repeated[0]!r}, expected each name once")
            object.__setattr__(self, entry, values)
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ConfigError(f"{where} has {len(self.names)} classes, expected 1 to {MAX_CLASSES}")
        palette = tuple(_colour(where, colour) for colour in _sequence(where, "palette", self.palette))
        if len(palette) != len(self.names):
            raise ConfigError(
                f"{where} has {len(palette)} colours, expected one for each of {len(self.names)} classes"
            )
        object.__setattr__(self, "palette", palette)
        if unknown := [name for name in self.dynamic if name not in self.names]:
            raise ConfigError(f"{where} calls {unknown[0]!r} dynamic, expected one of its names")
        if not _is_byte(self.ignore) or self.ignore < len(self.names):
            raise ConfigError(f"{where} ignore is {self.ignore!r}, expected {len(self.names)} to 255 (lower ids are classes)")
        self._check_categories(where)
        self._check_relations(where)

    def _check_categories(self, where: str) -> None:
        categories = _table(where, "categories", self.categories)
        gathered = [name for members in categories.values() for name in members]
        if unknown := [name for name in gathered if name not in self.names]:
            raise ConfigError(f"{where} categories hold {unknown[0]!r}, expected one of its names")
        odd = [name for name in self.names if gathered.count(name) != 1]
        if categories and odd:
            raise ConfigError(f"{where} has {odd[0]!r} in {gathered.count(odd[0])} categories, expected it in one")
        object.__setattr__(self, "categories", categories)

    def _check_relations(self, where: str) -> None:
        if not isinstance(self.relations, Mapping):
            raise ConfigError(f"{where} relations is {self.relations!r}, expected a mapping of label sets")
        relations = {str(o): _table(where, f"relations.{o}", table) for o, table in self.relations.items()}
        for other, table in relations.items():
            if unknown := [name for name in table if name not in self.names]:
                raise ConfigError(f"{where} relations.{other} maps {unknown[0]!r}, expected one of its names")
        object.__setattr__(self, "relations", relations)

    @property
    def dynamic_ids(self) -> tuple[int, ...]:
        """Ids of the classes whose objects can move by themselves."""
        return tuple(self.names.index(name) for name in self.dynamic)

    @property
    def sky_ids(self) -> tuple[int, ...]:
        """Ids of the classes called sky, which is infinitely far."""
        return tuple(index for index, name in enumerate(self.names) if name.lower() == "sky")

    @property
    def palette_array(self) -> np.ndarray:
        """Colours by id, 256×3 uint8; black for ids without a class."""
        array = np.zeros((256, 3), dtype=np.uint8)
        array[: len(self.palette)] = self.palette
        return array

    def index(self, name: str) -> int:
        """Id of a class; ConfigError where there is none of that name."""
        if name not in self.names:
            raise ConfigError(
                f"label set {self.name!r} has no class {name!r}, expected one of {', '.join(self.names)}"
            )
        return self.names.index(name)

    def to_dict(self) -> dict[str, Any]:
        """The label set as plain JSON types; ``categories`` and ``relations`` where it has any."""
        tables = {
            "categories": {name: list(members) for name, members in self.categories.items()},
            "relations": {o: {name: list(ns) for name, ns in t.items()} for o, t in self.relations.items()},
        }
        return {
            "name": self.name,
            "names": list(self.names),
            "palette": [list(colour) for colour in self.palette],
            "dynamic": list(self.dynamic),
            "ignore": self.ignore,
            **{entry: table for entry, table in tables.items() if table},
        }

    @classmethod
    def from_dict(cls, data: Any) -> LabelSet:
        """The label set of :meth:`to_dict`; ConfigError names a missing, unknown or wrong entry."""
        required, optional = ("name", "names", "palette"), ("dynamic", "ignore", "categories", "relations")
        expected = f"expected {', '.join(required)} and optionally {', '.join(optional)}"
        if not isinstance(data, dict):
            found = "empty" if data is None else f"a {type(data).__name__}"
            raise ConfigError(f"label set is {found}, {expected}")
        if missing := [entry for entry in required if entry not in data]:
            raise ConfigError(f"label set lacks {', '.join(missing)}, {expected}")
        if unknown := sorted(map(str, data.keys() - {*required, *optional})):
            raise ConfigError(f"label set has the unknown entry {unknown[0]!r}, {expected}")
        return cls(**{"dynamic": (), **data})

    @classmethod
    def from_yaml(cls, path: str | Path) -> LabelSet:
        """The label set of a YAML file; ConfigError where it cannot be read or does not fit."""
        path = Path(path).absolute()
        try:
            with path.open("rb") as file:
                text = file.read(MAX_YAML_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"label file {path} cannot be read: {error.strerror}") from error
        if len(text) > MAX_YAML_BYTES:
            raise ConfigError(f"label file {path} is larger than {MAX_YAML_BYTES} bytes")
        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"label file {path} is not valid YAML: {_yaml_problem(error)}") from error
        try:
            return cls.from_dict(data)
        except ConfigError as error:
            raise ConfigError(f"label file {path}: {error}") from error


CAMVID_11 = LabelSet(
    name="camvid_11",
    names=(
        *("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian"),
        "Bicyclist",
    ),
    palette=(
        *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0)),
        *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
    ),
    dynamic=("Car", "Pedestrian", "Bicyclist"),
    categories={
        "flat": ("Road", "Pavement"),
        "construction": ("Building", "Fence"),
        "object": ("Pole", "SignSymbol"),
        "nature": ("Tree",),
        "sky": ("Sky",),
        "human": ("Pedestrian", "Bicyclist"),
        "vehicle": ("Car",),
    },
)
"""CamVid (Brostow et al. 2009), the 11 classes of the usual split, official colours; Cityscapes' categories, a bicyclist
being a human on a bicycle."""

CITYSCAPES_19 = LabelSet(
    name="cityscapes_19",
    names=(
        *(
            "road",
            "sidewalk",
            "building",
            "wall",
            "fence",
            "pole",
            "traffic light",
            "traffic sign",
            "vegetation",
        ),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ),
    palette=(
        *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)),
        *((250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60)),
        *((255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
    ),
    dynamic=("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    categories={
        "flat": ("road", "sidewalk"),
        "construction": ("building", "wall", "fence"),
        "object": ("pole", "traffic light", "traffic sign"),
        "nature": ("vegetation", "terrain"),
        "sky": ("sky",),
        "human": ("person", "rider"),
        "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    },
)
"""Cityscapes (Cordts et al. 2016), the 19 train ids, official colours and categories."""

IDD_7 = LabelSet(
    name="idd_7",
    names=("drivable", "non-drivable", "living", "vehicles", "road-side", "far", "sky"),
    palette=(
        *((128, 64, 128), (244, 35, 232), (220, 20, 60), (0, 0, 142), (220, 190, 40), (70, 70, 70)),
        (70, 130, 180),
    ),
    dynamic=("living", "vehicles"),
)
"""IDD-Lite (Varma et al. 2019), the 7 coarse classes."""

LABEL_SETS = {labels.name: labels for labels in (CAMVID_11, CITYSCAPES_19, IDD_7)}

UNIONS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("idd_7", "camvid_11"): {
        "drivable": ("Road",),
        "non-drivable": ("Pavement",),
        "living": ("Pedestrian", "Bicyclist"),
        "vehicles": ("Car", "Bicyclist"),
        "road-side": ("Pole", "SignSymbol", "Fence", "Building"),
        "far": ("Building", "Tree"),
        "sky": ("Sky",),
    },
    ("idd_7", "cityscapes_19"): {
        "drivable": ("road",),
        "non-drivable": ("sidewalk", "terrain"),
        "living": ("person", "rider"),
        "vehicles": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
        "road-side": ("wall", "fence", "pole", "traffic light", "traffic sign", "building"),
        "far": ("building", "vegetation"),
        "sky": ("sky",),
    },
    ("cityscapes_19", "camvid_11"): {
        "road": ("Road",),
        "sidewalk": ("Pavement",),
        "building": ("Building",),
        "wall": ("Building", "Fence"),
        "fence": ("Fence",),
        "pole": ("Pole",),
        "traffic light": ("SignSymbol",),
        "traffic sign": ("SignSymbol",),
        "vegetation": ("Tree",),
        "terrain": ("Pavement", "Tree"),
        "sky": ("Sky",),
        "person": ("Pedestrian",),
        "rider": ("Bicyclist",),
        "car": ("Car",),
        "truck": ("Car",),
        "bus": ("Car",),
        "train": ("Car",),
        "motorcycle": ("Bicyclist",),
        "bicycle": ("Bicyclist",),
    },
}
"""Which target classes a source class may be, by (source, target); the reverse is the transposed relation."""


def label_set(name_or_path: str | Path) -> LabelSet:
    """A built-in label set by name, or the one of a YAML file."""
    name = str(name_or_path)
    if name.lower() in LABEL_SETS:
        return LABEL_SETS[name.lower()]
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        return LabelSet.from_yaml(name)
    raise ConfigError(f"label set is {name!r}, expected one of {', '.join(LABEL_SETS)} or a .yaml file")


def categories_of(labels: LabelSet) -> dict[str, tuple[str, ...]]:
    """The categories of a label set: its own, else those of the built-in set of the same names; empty where neither has any."""
    if labels.categories:
        return labels.categories
    return next((known.categories for known in LABEL_SETS.values() if known.names == labels.names), {})


def _relation(source: LabelSet, target: LabelSet) -> dict[str, tuple[str, ...]] | None:
    return source.relations.get(target.name) or UNIONS.get((source.name, target.name))


def union_map(source: LabelSet, target: LabelSet) -> np.ndarray:
    """Bool matrix [source classes, target classes]: an object of the source class is one of these target
    classes.

    Label sets with equal names map one to one. ConfigError where the relation of the two is not known.
    """
    if source.names == target.names:
        return np.eye(len(source.names), dtype=bool)
    table = _relation(source, target)
    if table is None:
        if _relation(target, source) is not None:
            return union_map(target, source).T
        raise ConfigError(
            f"label sets {source.name!r} and {target.name!r} have no known relation, expected an entry 'relations: "
            f"{{{target.name}: …}}' in the file of {source.name!r}, or the reverse"
        )
    matrix = np.zeros((len(source.names), len(target.names)), dtype=bool)
    for source_name, target_names in table.items():
        for target_name in target_names:
            matrix[source.index(source_name), target.index(target_name)] = True
    return matrix
