"""Semantics judged on labelled folders: scores of known answers, other label sets, pictures, and clear errors."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from geoseg_ros.commands import evaluate
from geoseg_ros.cli import main
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11, IDD_7, LabelSet
from geoseg_ros.perception import Perception
from geoseg_ros.report import render_report
from geoseg_ros.training.evaluation.even_sample import EvenSample
from geoseg_ros.training.evaluation.semantics import SemanticJudge, labelled_folder
from geoseg_ros.training.evaluation.suite import Bench, Score, SuiteResult
from geoseg_ros.training.evaluation.suite_page import build_page

HEIGHT, WIDTH = 24, 32
YARD = LabelSet("yard", ("ground", "wall", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (), ignore=9)
YARD = LabelSet.from_dict(YARD.to_dict() | {"categories": {"solid": ["ground", "wall"], "sky": ["sky"]}})


class Told:
    """A pipeline that finds ``ids`` everywhere, with confidence 0.7."""

    device = "cpu"

    def __init__(self, labels, ids):
        self.labels, self.ids = labels, ids

    def reset(self):
        pass

    def step(self, image, camera, stamp, outputs):
        confidence = np.full(image.shape[:2], 0.7, np.float32)
        return Perception(stamp=stamp, image=image, camera=None, semantic=self.ids, confidence=confidence)


def truth(*columns):
    """Ids by column, each repeated over an equal part of the width."""
    return np.repeat(np.array(columns, np.uint8), WIDTH // len(columns))[None].repeat(HEIGHT, 0)


def write_folder(folder, label_maps):
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for i, ids in enumerate(label_maps):
        cv2.imwrite(str(folder / f"images/{i}.png"), np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8))
        cv2.imwrite(str(folder / f"labels/{i}.png"), ids)


def judge(folder, pipeline, labels, **options):
    return labelled_folder(Bench(pipeline, folder, None, lambda items, total, name: iter(items)), labels, **options)


def values(result):
    return {score.name: score.value for score in result.scores}


def test_known_answers_give_exactly_those_scores(tmp_path):
    write_folder(tmp_path / "yard", [truth(0, 1, 2, 9), truth(0, 1, 2, 7)])
    result = judge(tmp_path / "yard", Told(YARD, truth(0, 0, 2, 2)), YARD, void=[7])
    # Per image: a quarter each right, wall taken for ground, sky right, and a quarter that is not judged.
    scores = values(result)
    assert scores["mIoU"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert scores["mIoU of categories"] == 1.0
    assert scores["pixel accuracy"] == pytest.approx(2 / 3)
    assert scores["calibration error"] == pytest.approx(0.7 - 2 / 3, abs=1e-6)
    # Ground has its border 8 columns off (tolerance 0.3 px): 0. Wall is never found: 0. Sky's one border is right: 1.
    assert scores["boundary F-score"] == pytest.approx(1 / 3)
    assert result.per_class == {"ground": 0.5, "wall": 0.0, "sky": 1.0} and result.frames == 2
    quarter = 2 * HEIGHT * WIDTH // 4
    assert result.confusion.tolist() == [[quarter, 0, 0, 0], [quarter, 0, 0, 0], [0, 0, quarter, 0]]
    assert "labels of yard" in result.protocol


def test_classes_of_another_set_are_right_where_they_may_be_the_true_ones():
    judged = SemanticJudge(CAMVID_11, IDD_7)
    names = ["Building", "Building", "Tree", "Bicyclist", "Bicyclist", "Road"]
    found = np.array([[CAMVID_11.index(name) for name in names]], np.uint8)
    # A building may be road-side or far, a bicyclist living or a vehicle; a road is drivable.
    true = [IDD_7.index(name) for name in ("road-side", "far", "road-side", "vehicles", "living", "sky")]
    ids = judged.update(found, None, np.array([true], np.uint8))
    expected = ["road-side", "far", "far", "vehicles", "living", "drivable"]
    assert [IDD_7.names[i] for i in ids[0]] == expected
    assert values(SuiteResult(1, judged.scores()))["pixel accuracy"] == pytest.approx(4 / 6)


def test_a_class_that_is_none_of_the_others_is_wrong():
    one = LabelSet("one", ("wall",), ((1, 1, 1),), (), relations={"yard": {}})
    both = LabelSet("both", ("wall", "ghost"), ((1, 1, 1), (2, 2, 2)), (), relations={"one": {"wall": ("wall",)}})
    judged = SemanticJudge(both, one)
    np.testing.assert_array_equal(judged.update(np.array([[0, 1]], np.uint8), None, np.zeros((1, 2), np.uint8)), [[0, 255]])
    assert judged.matrix.pixel_accuracy == 0.5


def test_sets_without_a_relation_are_refused(tmp_path):
    write_folder(tmp_path / "yard", [truth(0, 1)])
    with pytest.raises(ConfigError, match="'camvid_11' and 'yard' have no known relation, expected an entry 'relations"):
        judge(tmp_path / "yard", Told(CAMVID_11, truth(0, 1)), YARD)


def test_the_page_shows_predictions_errors_and_confidence(tmp_path):
    write_folder(tmp_path / "yard", [truth(0, 1)] * 9)
    result = judge(tmp_path / "yard", Told(YARD, truth(0, 0)), YARD)
    results = {"yard": result, "flow": SuiteResult(1, [Score("EPE", 2.0, "px", bar=1.0)])}
    page = render_report(build_page(results, {"davis": "absent"}, {"model": "m.safetensors"}))
    assert page.count("<img") == 6 * 5, "image, semantics, error, confidence and truth of six images"
    texts = ("error of semantics", "confidence", "true semantics", "Calibration of the confidence", "davis skipped", "missed")
    for text in texts:
        assert text in page, text
    assert "pixels right <b>0.500</b>" in page
    row = "".join(f"<td class=n>{value}</td>" for value in ("100.0", "0.0", "0.0"))
    assert page.count(f"<td>ground</td>{row}</tr>") == page.count(f"<td>wall</td>{row}</tr>") == 1, "confusion"
    assert "<td>wall</td><td class=n>0.000</td><td class=n>0.000</td><td class=n>0.000</td>" in page, "by class"


def test_the_command_judges_a_folder_with_its_own_labels(tmp_path, monkeypatch, capsys):
    write_folder(tmp_path / "yard", [truth(0, 1, 2, 2)] * 2)
    (tmp_path / "yard.yaml").write_text(json.dumps(YARD.to_dict()))
    told = Told(YARD, truth(0, 1, 2, 2))
    told.bundle = type("Bundle", (), {"provenance": {}})
    monkeypatch.setattr("geoseg_ros.pipeline.Pipeline", lambda *arguments, **options: told)
    arguments = ["--labelled", str(tmp_path / "yard"), "--labels", str(tmp_path / "yard.yaml")]
    written = ["--json", str(tmp_path / "scores.json"), "--report", str(tmp_path / "page")]
    assert main(["evaluate", "model.safetensors", *arguments, *written]) == 0
    content = json.loads((tmp_path / "scores.json").read_text())["suites"][str(tmp_path / "yard")]
    assert content["confusion"][1] == [0, 2 * HEIGHT * WIDTH // 4, 0, 0]
    assert content["scores"][0]["value"] == 1.0 and content["per_class_iou"] == {"ground": 1.0, "wall": 1.0, "sky": 1.0}
    assert "1.000" in capsys.readouterr().out
    assert (tmp_path / "page" / evaluate.PAGE).read_text().startswith("<!doctype html>")
    cv2.imwrite(str(tmp_path / "yard/labels/1.png"), truth(0, 1, 2, 5))
    assert main(["evaluate", "model.safetensors", *arguments]) == 2
    assert "1.png holds the ids [5], expected 0 … 2 of yard" in capsys.readouterr().err
    assert main(["evaluate", "model.safetensors", *arguments[:2], "--void", "300"]) == 2
    assert "void is 300, expected ids from 0 to 255" in capsys.readouterr().err
    assert main(["evaluate", "model.safetensors", *arguments, "--report", str(tmp_path / "yard.yaml")]) == 2
    assert "yard.yaml is a file, expected a folder or a free name" in capsys.readouterr().err


@pytest.mark.parametrize("length", [1, 6, 7, 12, 13, 100])
def test_an_even_sample_is_spread_over_the_stream(length):
    sample = EvenSample(6)
    for i in range(length):
        sample.add(i)
    items = sample.items()
    assert len(items) == min(6, length) and items[0] == 0 and items == sorted(set(items))
    assert items[-1] >= 0.75 * (length - 1)
    steps = np.diff(items)
    assert len(items) < 2 or steps.max() <= 2 * steps.min()
