"""Label sets: built-in values, files, wrong entries, relations."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import (
    CAMVID_11,
    CITYSCAPES_19,
    IDD_7,
    LABEL_SETS,
    LabelSet,
    categories_of,
    label_set,
    union_map,
)


def test_camvid_ids_and_colours():
    assert [CAMVID_11.index(name) for name in ("Sky", "Road", "SignSymbol", "Car", "Bicyclist")] == [
        0,
        3,
        6,
        8,
        10,
    ]
    assert CAMVID_11.dynamic_ids == (8, 9, 10)
    palette = CAMVID_11.palette_array
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    assert palette[3].tolist() == [128, 64, 128]
    assert not palette[11:].any()


def test_sizes_and_dynamic_classes():
    assert [len(labels.names) for labels in LABEL_SETS.values()] == [11, 19, 7]
    assert CITYSCAPES_19.dynamic_ids == tuple(range(11, 19))
    assert IDD_7.dynamic_ids == (2, 3)
    assert (CAMVID_11.sky_ids, CITYSCAPES_19.sky_ids, IDD_7.sky_ids) == ((0,), (10,), (6,))
    assert LabelSet("room", ("floor", "wall"), ((0, 0, 0), (1, 1, 1)), ()).sky_ids == ()


@pytest.mark.parametrize("labels", LABEL_SETS.values(), ids=LABEL_SETS)
def test_round_trips(labels, tmp_path):
    assert LabelSet.from_dict(labels.to_dict()) == labels
    path = tmp_path / "labels.yaml"
    path.write_text(yaml.safe_dump(labels.to_dict()))
    assert label_set(path) == LabelSet.from_yaml(path) == labels
    assert label_set(labels.name.upper()) is labels


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"names": ["a", "a"]}, "names repeat 'a', expected each name once"),
        ({"names": []}, "0 classes"),
        ({"names": "ab"}, "names is 'ab'"),
        ({"names": ["a", True]}, "names hold True, expected non-empty strings .quoted"),
        ({"palette": [[0, 0, 0]]}, "1 colours, expected one for each of 2"),
        ({"palette": [[0, 0, 0], [0, 0, 256]]}, r"colour \[0, 0, 256\]"),
        ({"palette": [[0, 0, 0], [0, 0]]}, r"colour \[0, 0\]"),
        ({"dynamic": ["c"]}, "'c' dynamic"),
        ({"ignore": 1}, "ignore is 1, expected 2 to 255 .lower ids are classes"),
        ({"ignore": 256}, "ignore is 256"),
        ({"name": ""}, "name is ''"),
        ({"colour": 1}, "unknown entry 'colour', expected name, names, palette and optionally dynamic, ignore, categories"),
    ],
)
def test_wrong_entries(changes, sentence):
    data = {"name": "two", "names": ["a", "b"], "palette": [[0, 0, 0], [1, 2, 3]]} | changes
    with pytest.raises(ConfigError, match=sentence):
        LabelSet.from_dict(data)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", ": label set is empty, expected name, names, palette"),
        ("[1, 2]", ": label set is a list, expected name"),
        ("name: yard\npalette: []", ": label set lacks names, expected name"),
        ("name: yard\nnames: [a\n", " is not valid YAML: expected ',' or .* at line 3, column 1"),
        ("!!python/object/apply:os.system ['true']", " is not valid YAML: could not determine a constructor"),
        ("\x00", " is not valid YAML: "),
        ("a: " * 9, " is not valid YAML: mapping values are not allowed here at line 1, column 5"),
    ],
)
def test_wrong_files(text, sentence, tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"label file .*labels.yaml{sentence}"):
        LabelSet.from_yaml(path)


def test_missing_and_unknown(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        label_set(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="expected one of camvid_11"):
        label_set("ade20k")
    with pytest.raises(ConfigError, match="no class 'Horse'"):
        CAMVID_11.index("Horse")


def test_idd_in_camvid():
    matrix = union_map(IDD_7, CAMVID_11)
    assert matrix.shape == (7, 11) and matrix.dtype == bool
    of = {
        name: {CAMVID_11.names[i] for i in np.flatnonzero(row)}
        for name, row in zip(IDD_7.names, matrix, strict=True)
    }
    assert of["drivable"] == {"Road"}
    assert of["living"] == {"Pedestrian", "Bicyclist"}
    assert of["vehicles"] == {"Car", "Bicyclist"}
    assert of["far"] == {"Building", "Tree"}
    assert of["road-side"] == {"Pole", "SignSymbol", "Fence", "Building"}


@pytest.mark.parametrize("source", LABEL_SETS.values(), ids=LABEL_SETS)
@pytest.mark.parametrize("target", LABEL_SETS.values(), ids=LABEL_SETS)
def test_every_pair_is_related(source, target):
    matrix = union_map(source, target)
    np.testing.assert_array_equal(matrix, union_map(target, source).T)
    assert matrix.any(axis=1).all(), "every source class is some target class"
    assert matrix.any(axis=0).all(), "every target class can come from some source class"
    if source is target:
        np.testing.assert_array_equal(matrix, np.eye(len(source.names), dtype=bool))


def test_unrelated_sets():
    other = LabelSet("other", ("a",), ((0, 0, 0),), ())
    with pytest.raises(ConfigError, match="'other' and 'camvid_11' have no known relation"):
        union_map(other, CAMVID_11)


OWN = {
    "name": "yard",
    "names": ["ground", "wall"],
    "palette": [[1, 1, 1], [2, 2, 2]],
    "categories": {"all": ["ground", "wall"]},
    "relations": {"camvid_11": {"ground": ["Road", "Pavement"], "wall": ["Building"]}},
}


def test_an_own_set_relates_to_a_built_in_one(tmp_path):
    own = LabelSet.from_dict(OWN)
    assert LabelSet.from_dict(own.to_dict()).to_dict() == OWN | {"dynamic": [], "ignore": 255}
    matrix = union_map(own, CAMVID_11)
    assert [CAMVID_11.names[i] for i in np.flatnonzero(matrix[0])] == ["Road", "Pavement"]
    assert [CAMVID_11.names[i] for i in np.flatnonzero(matrix[1])] == ["Building"]
    np.testing.assert_array_equal(union_map(CAMVID_11, own), matrix.T)
    wrong = LabelSet.from_dict(OWN | {"relations": {"camvid_11": {"wall": ["Bricks"]}}})
    with pytest.raises(ConfigError, match="'camvid_11' has no class 'Bricks'"):
        union_map(wrong, CAMVID_11)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"categories": {"all": ["ground"]}}, "has 'wall' in 0 categories, expected it in one"),
        ({"categories": {"a": ["ground", "wall"], "b": ["wall"]}}, "has 'wall' in 2 categories"),
        ({"categories": {"all": ["roof"]}}, "categories hold 'roof', expected one of its names"),
        ({"categories": ["ground"]}, "expected a mapping of names to lists"),
        ({"categories": {"all": "ground"}}, "categories.all is 'ground', expected a list"),
        ({"relations": {"camvid_11": {"roof": ["Sky"]}}}, "relations.camvid_11 maps 'roof', expected one of its names"),
        ({"relations": {"camvid_11": ["Sky"]}}, "relations.camvid_11 is"),
        ({"relations": {"camvid_11": {"wall": []}}}, "relations.camvid_11.wall is"),
        ({"relations": "camvid_11"}, "relations is 'camvid_11', expected a mapping"),
    ],
)
def test_wrong_categories_and_relations(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LabelSet.from_dict(OWN | changes)


def test_categories_hold_every_class_once_and_are_known_by_the_names():
    for labels in (CAMVID_11, CITYSCAPES_19):
        members = [name for category in categories_of(labels).values() for name in category]
        assert sorted(members) == sorted(labels.names) and len(categories_of(labels)) == 7
    old = LabelSet("other name", CAMVID_11.names, CAMVID_11.palette, CAMVID_11.dynamic)
    assert categories_of(old) == CAMVID_11.categories and categories_of(IDD_7) == {}
