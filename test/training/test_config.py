"""Recipes: schema, overrides and errors that name the key."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import (
    Recipe,
    apply_overrides,
    differing_keys,
    load_recipe,
    recipe_to_dict,
    save_recipe,
    with_bags,
)
from geoseg_ros.training.schema import parse

MINIMAL = {"task": "toy", "steps": 10, "crop": [64, 32], "data": {"a": {"kind": "labelled_folder"}}}


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    return path


def test_defaults_and_types(recipe_file):
    recipe = load_recipe(str(recipe_file))
    assert (recipe.name, recipe.crop, recipe.optimizer.name, recipe.ema) == ("small", (64, 32), "adamw", 0.0)


def test_the_first_parts_of_a_run_may_have_other_crops(recipe_file):
    stages = "crop_stages=[{until: 0.25, crop: [32, 16]}, {until: 0.5, crop: [48, 24]}]"
    recipe = load_recipe(str(recipe_file), [stages])
    assert [recipe.crop_at(step) for step in (0, 2, 3, 4, 5, 9)] == [(32, 16)] * 2 + [(48, 24)] * 2 + [(64, 32)] * 2
    assert recipe.crops == [(32, 16), (48, 24), (64, 32)]
    for until in ("0.5, crop: [8, 8]}, {until: 0.5", "1.0", "0.0"):
        with pytest.raises(ConfigError, match="crop_stages end at .*, expected ascending shares of the run between 0 and 1"):
            load_recipe(str(recipe_file), [f"crop_stages=[{{until: {until}, crop: [32, 16]}}]"])
    with pytest.raises(ConfigError, match=r"crop is \[0, 16\], expected \[width, height\] in pixels"):
        load_recipe(str(recipe_file), ["crop_stages=[{until: 0.5, crop: [0, 16]}]"])


def test_overrides_reach_into_the_recipe(recipe_file):
    overrides = [
        "optimizer.lr=1e-3",
        "data.a.batch=4",
        "data.b.kind=x",
        "steps=20",
        "augment.scale=[0.5, 2]",
        "init=m.st",
    ]
    recipe = load_recipe(str(recipe_file), overrides)
    assert recipe.optimizer.lr == 0.001
    assert recipe.data == {"a": {"kind": "labelled_folder", "batch": 4}, "b": {"kind": "x"}}
    assert (recipe.steps, recipe.augment.scale, recipe.init) == (20, (0.5, 2.0), "m.st")
    assert load_recipe(str(recipe_file), [*overrides, "data.b=null"]).data.keys() == {"a"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.lr=1", "unknown key 'optimiser'; did you mean 'optimizer'"),
        ("optimizer.learning=1", r"optimizer: unknown key 'learning'; valid are name, lr"),
        ("optimizer.name=adam", "did you mean 'adamw'"),
        ("optimizer.lr=fast", "optimizer: lr is 'fast', expected a finite number"),
        ("optimizer.lr=.nan", "expected a finite number"),
        ("optimizer.lr=-1", "optimizer: lr is -1.0, expected more than 0"),
        ("schedule.at=[1.5]", r"schedule: at is \[1.5\], expected shares of the run between 0 and 1"),
        ("schedule.factor=10", "schedule: factor is 10.0, expected between 0 and 1"),
        ("steps=1.5", "steps is '1.5' .float., expected int"),
        ("steps=true", "expected int"),
        ("steps=0", "steps is 0"),
        ("crop=[64]", "crop has 1 entries, expected 2"),
        ("crop=64", "expected a list"),
        ("ema=1", "ema is 1.0"),
        ("data=3", "expected a mapping"),
        ("data.a=null", "data names no source"),
        ("network=3", "network is '3' .int., expected a mapping"),
        ("steps", "has no value, expected key=value"),
        ("steps.x=3", "reaches into 'steps'"),
        ("steps=[", "is not YAML"),
    ],
)
def test_wrong_values_name_the_key(recipe_file, override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(recipe_file), [override])


def test_missing_things_are_named(tmp_path):
    with pytest.raises(ConfigError, match="key 'task' is missing"):
        parse(Recipe, {"steps": 3}, "recipe")
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe("no_such_recipe")
    with pytest.raises(ConfigError, match="absent.yaml is missing"):
        load_recipe(str(tmp_path / "absent.yaml"))
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(str(tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="holds a list, expected a mapping"):
        load_recipe(str(tmp_path / "list.yaml"))


def test_a_saved_recipe_is_the_same_recipe(recipe_file, tmp_path):
    recipe = load_recipe(
        str(recipe_file), ["optimizer.clip=null", "loss.weights={a: 1.5}", "schedule.warmup=3"]
    )
    save_recipe(recipe, tmp_path / "config.yaml")
    again = load_recipe(str(tmp_path / "config.yaml"))
    assert again == recipe
    assert differing_keys(again, recipe) == []
    assert differing_keys(again, load_recipe(str(recipe_file), ["workers=2"])) == [
        "loss",
        "optimizer",
        "schedule",
    ]


def test_a_recipe_says_what_differs_from_its_base(recipe_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more.yaml").write_text("base: small.yaml\nsteps: 20\noptimizer: {lr: 0.5}\ndata: {b: {kind: x}}\n")
    (tmp_path / "most.yaml").write_text("base: more.yaml\nname: mine\noptimizer: {clip: null}\ndata: {a: null, b: {batch: 2}}\n")
    recipe = load_recipe("most.yaml", ["loss.c=1"])
    assert (recipe.name, recipe.steps, recipe.crop, recipe.loss) == ("mine", 20, (64, 32), {"c": 1})
    assert (recipe.optimizer.lr, recipe.optimizer.clip) == (0.5, None)
    assert recipe.data == {"b": {"kind": "x", "batch": 2}}
    assert load_recipe("more.yaml").name == "more"
    assert "base" not in recipe_to_dict(recipe), "a saved recipe stands alone"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("monodepht2", "recipe 'monodepht2' does not exist .* did you mean 'monodepth2'"),
        ("absent.yaml", "absent.yaml is missing"),
        ("[a]", r"base is \['a'\], expected a recipe's name or path"),
        ("round.yaml", "round.yaml is its own base"),
    ],
)
def test_a_wrong_base_is_named(base, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "round.yaml").write_text(f"base: {base}")
    with pytest.raises(ConfigError, match=message):
        load_recipe("round.yaml")


def test_overrides_leave_the_original_alone():
    apply_overrides(MINIMAL, ["data.a.batch=4"])
    assert MINIMAL["data"] == {"a": {"kind": "labelled_folder"}}


def test_bags_take_the_place_of_a_recipes_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("monodepth2", ["data.kitti00.batch=8", "data.more={kind: any, batch: 4}"])
    on_bags = with_bags(recipe, ["drive", "/data/yard_*"])
    assert on_bags.data == {
        "bags": {"kind": "bag", "path": [str(tmp_path / "drive"), "/data/yard_*"], "batch": 12, "three_frames": True}
    }
    assert differing_keys(on_bags, recipe) == ["data"]
    pairs = with_bags(load_recipe("monodepth2", ["data.kitti00.frames_per_sample=2"]), ["drive"])
    assert pairs.data["bags"]["three_frames"] is False


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(key=st.sampled_from([*recipe_to_dict(parse(Recipe, MINIMAL, "x")), "unknown"]), value=_VALUES)
@settings(max_examples=300)
def test_any_value_gives_a_recipe_or_a_config_error(key, value):
    try:
        assert isinstance(parse(Recipe, {**MINIMAL, key: value}, "recipe"), Recipe)
    except ConfigError as error:
        assert str(error).startswith("recipe: ")
