"""The constants of a stream (geoseg_ros/stream_settings.py), each varied by itself, on what models train on, so that what is
held out stays unseen.

    python -m geoseg_ros.training.studies.stream_settings --out runs/stream_settings

One row per value: the installed model's drive over frames 0–799 of KITTI 00, and its depth on 24 streets that it learned from.
Writes table.md and table.json to the folder.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from geoseg_ros.bundle import default_bundle_path
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.stream_settings import StreamSettings
from geoseg_ros.training.evaluation.egomotion import kitti00_scores
from geoseg_ros.training.evaluation.suite import Bench
from geoseg_ros.training.evaluation.synthetic import training_streets
from geoseg_ros.training.studies.arguments import print_study, study_parser
from geoseg_ros.training.studies.runs import Scores
from geoseg_ros.training.studies.table import Column, markdown, save

FRAMES = slice(0, 800)
VALUES = {
    "depth_memory": (0.0, 0.1, 0.3, 1.0),
    "scale_memory": (0.0, 1.0, 2.0),
    "road_share": (0.0, 0.5, 1.0),
    "depth_std": (0.15, 0.3, 0.6),
    "matched_share": (0.0, 0.5, 1.0),
}
DRIVE, STREETS = "kitti00", "streets"
COLUMNS = (
    Column("streets AbsRel", STREETS, "depth AbsRel, median-scaled", 4),
    Column("streets AbsRel, metric", STREETS, "depth AbsRel, metric", 4),
    Column("translation %, one scale per 5 frames", DRIVE, "translation", 2),
    Column("translation by step", DRIVE, "step_translation", 2),
    Column("translation, metric", DRIVE, "translation_metric", 2),
    Column("scale", DRIVE, "scale", 3),
    Column("rotation °/m", DRIVE, "rotation", 4),
    Column("ATE m", DRIVE, "ate", 4),
)


def compare(folder: Path, values: Mapping[str, Sequence[float]], model: Path, data: Path, frames: int | None) -> str:
    """Drive with the installed settings and with every value; returns the table as Markdown. Rows that the folder holds of the
    same model and question are not driven again."""
    question = {"model": hashlib.sha256(model.read_bytes()).hexdigest(), "frames": frames}
    known = _known(folder, question)
    rows: dict[str, Scores] = {}
    text = ""
    for name, settings in variants(values):
        key = json.dumps(asdict(settings))
        if key not in known:
            pipeline = Pipeline(model, settings=settings)
            known[key] = judge(Bench(pipeline, data, frames, lambda items, total, description: iter(items)))
        rows[name] = known[key]
        cells = {name: [column.of(scores) for column in COLUMNS] for name, scores in rows.items()}
        text = markdown(COLUMNS, cells, "KITTI 00, frames 0–799, and streets")
        save(folder, text, {"question": question, "scores": known})
    return text


def judge(bench: Bench) -> Scores:
    """Ego-motion on the drive, depth on the streets."""
    streets = {score.name: score.value for score in training_streets(bench).scores if score.name.startswith("depth")}
    return {DRIVE: asdict(kitti00_scores(bench, FRAMES)[1]), STREETS: streets}


def variants(values: Mapping[str, Sequence[float]]) -> Iterator[tuple[str, StreamSettings]]:
    """The installed settings, then those that differ from them in one value, with their names."""
    installed = StreamSettings()
    yield "as installed", installed
    for name, choices in values.items():
        for value in choices:
            if value != getattr(installed, name):
                yield f"{name} {value:g}", replace(installed, **{name: value})


def _known(folder: Path, question: Mapping[str, Any]) -> dict[str, Scores]:
    """Settings as JSON → scores, from an earlier table about the same question."""
    file = folder / "table.json"
    if not file.exists():
        return {}
    table = json.loads(file.read_text())
    return table["scores"] if table["question"] == question else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written."""
    parser = study_parser("stream_settings", __doc__)
    for name, choices in VALUES.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, nargs="*", default=choices, metavar="X", help="values (default: %(default)s)")
    parser.add_argument("--model", type=Path, default=default_bundle_path(), help="model file (default: the installed one)")
    return print_study(
        parser, arguments, lambda a: compare(a.out, {name: getattr(a, name) for name in VALUES}, a.model, a.data, a.frames)
    )


if __name__ == "__main__":
    sys.exit(main())
