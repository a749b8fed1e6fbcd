"""For how long lengths should keep the scale of the frames before, and how much of the camera's height above the road counts in that
(geoseg_ros/scale_drift.py), by frames that models train on, so that the held-out ones stay unseen.

    python -m geoseg_ros.training.studies.scale_memory --out runs/scale_memory

One row per memory, then one per share: the installed model's drive over frames 0–799 of KITTI 00. Writes table.md and table.json
to the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geoseg_ros.bundle import default_bundle_path
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.scale_drift import MEMORY, ROAD_SHARE
from geoseg_ros.training.evaluation.egomotion import kitti00_scores
from geoseg_ros.training.evaluation.suite import Bench
from geoseg_ros.training.metrics.egomotion import EgoMotionScores
from geoseg_ros.training.studies.arguments import print_study, study_parser
from geoseg_ros.training.studies.table import Column, markdown, save

FRAMES = slice(0, 800)
MEMORIES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds, with the installed share of the road."""
ROAD_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""With the installed memory."""
DRIVE = "kitti00"
COLUMNS = (
    Column("translation %, one scale per 5 frames", DRIVE, "translation", 2),
    Column("the same by step", DRIVE, "step_translation", 2),
    Column("metric", DRIVE, "translation_metric", 2),
    Column("ATE m", DRIVE, "ate", 4),
    Column("scale", DRIVE, "scale", 3),
)


def compare(
    folder: Path, memories: Sequence[float], road_shares: Sequence[float], model: Path, data: Path, frames: int | None
) -> str:
    """Drive with every memory and every share; returns the table as Markdown."""
    settings = [(memory, ROAD_SHARE) for memory in memories] + [(MEMORY, share) for share in road_shares]
    rows: dict[str, list[float]] = {}
    content: dict[str, Any] = {}
    for memory, share in dict.fromkeys(settings):
        name = f"{memory:g} s, {share:g} of the height"
        scores = asdict(drive(model, memory, share, data, frames))
        rows[name], content[name] = [column.of({DRIVE: scores}) for column in COLUMNS], scores
        text = markdown(COLUMNS, rows, "KITTI 00, frames 0–799")
        save(folder, text, {"model": str(model), "settings": content})
    return text


def drive(model: Path, memory: float, road_share: float, data: Path, frames: int | None) -> EgoMotionScores:
    """The scores of ``model`` on the first ``frames`` of the drive."""
    pipeline = Pipeline(model, scale_memory=memory, road_share=road_share)
    bench = Bench(pipeline, data, frames, lambda items, total, description: iter(items))
    return kitti00_scores(bench, FRAMES)[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written."""
    parser = study_parser("scale_memory", __doc__)
    parser.add_argument("--memory", type=float, nargs="+", default=MEMORIES, metavar="S", help="seconds (default: %(default)s)")
    text = "how much of a departure of the height counts (default: %(default)s)"
    parser.add_argument("--road-share", type=float, nargs="+", default=ROAD_SHARES, metavar="SHARE", help=text)
    parser.add_argument("--model", type=Path, default=default_bundle_path(), help="model file (default: the installed one)")
    return print_study(parser, arguments, lambda a: compare(a.out, a.memory, a.road_share, a.model, a.data, a.frames))


if __name__ == "__main__":
    sys.exit(main())
