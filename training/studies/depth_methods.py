"""Self-supervised depth side by side: the seed's plain L1, Monodepth2, SC-SfMLearner, learned intrinsics, velocity-supervised
scale, each trained on the same 800 frames and judged on streets, rooms and drives that none of them has seen.

    python -m geoseg_ros.training.studies.depth_methods --out runs/depth_methods

Most go on from the installed model (recipes/monodepth2.yaml), whose first row is what it knows already: it learned from
labelled streets, so those are no fair comparison. The last train networks as in the papers, with a pose network, from the installed
model's encoder, as the papers start from ImageNet's; one starts from nothing. The second row says of every drive that it goes
straight on. Goes on where it was stopped; writes table.md and table.json to the folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg_ros.bundle import default_bundle_path, load_bundle
from geoseg_ros.training.evaluation.egomotion import ego_motion_table, straight_on, true_poses
from geoseg_ros.training.evaluation.suites import SUITES
from geoseg_ros.training.studies.arguments import print_study, training_study_parser
from geoseg_ros.training.studies.runs import Scores, judge, train_to_end
from geoseg_ros.training.studies.table import Column, Spread, markdown, save

METHODS = {
    "plain_l1": ("plain_l1", ()),
    "monodepth2": ("monodepth2", ()),
    "sc_sfmlearner": ("sc_sfmlearner", ()),
    "learned_intrinsics": ("learned_intrinsics", ()),
    "velocity_scale": ("velocity_scale", ()),
    "adapt": ("adapt", ("steps=300",)),
    "monodepth2_posenet": ("monodepth2_posenet", ("steps=600",)),
    "monodepth2_posenet_from_nothing": ("monodepth2_posenet", ("steps=600", "init=null")),
    "learned_intrinsics_posenet": ("learned_intrinsics_posenet", ("steps=600",)),
}
"""Row of the table → recipe and what changes in it."""
INSTALLED, STRAIGHT_ON = "installed model", "straight on"
ABS_REL, DELTA = "depth AbsRel, median-scaled", "depth δ < 1.25, median-scaled"
ALIGNED, SCALE = "translation error, aligned", "translation scale, median"
DRIVES = {"kitti00": "KITTI 00", "kitti07": "KITTI 07"}
COLUMNS = (
    Column("streets AbsRel", "synthetic", ABS_REL),
    Column("streets δ1", "synthetic", DELTA),
    Column("7-Scenes AbsRel", "7scenes", ABS_REL),
    Column("DGP AbsRel", "depth_dgp", ABS_REL),
    *(
        column
        for suite, name in DRIVES.items()
        for column in (
            Column(f"{name} translation %", suite, ALIGNED, 2),
            Column(f"{name} rotation °/m", suite, "rotation error", 4),
            Column(f"{name} ATE m", suite, "ATE, aligned"),
            Column(f"{name} scale", suite, SCALE),
        )
    ),
)
JUDGED = tuple(dict.fromkeys(column.suite for column in COLUMNS))


def compare(
    folder: Path, methods: Sequence[str], seeds: int, overrides: Sequence[str], processes: int, data: Path, frames: int | None
) -> str:
    """Train and judge ``seeds`` runs of every method under ``folder``; returns the table as Markdown."""
    installed = judge(default_bundle_path(), JUDGED, data, frames, folder / INSTALLED)
    content: dict[str, list[dict[str, Any]]] = {
        INSTALLED: [{"scores": installed}],
        STRAIGHT_ON: [{"scores": straight_on_scores(data)}],
    }
    text = ""
    for method in methods:
        recipe, changes = METHODS[method]
        content[method] = []
        for seed in range(seeds):
            model = train_to_end(recipe, [*changes, *overrides, f"seed={seed}"], folder / f"{method}_seed{seed}", processes)
            scores = judge(model, JUDGED, data, frames, model.parent)
            content[method].append({"scores": scores, **_camera(model)})
            text = table(content) + _cameras(content)
            save(folder, text, {"seeds": seeds, "methods": content})
    return text


def table(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Mean, and standard deviation over seeds where there are several, of every row's runs."""
    rows = {
        name: [Spread.over([column.of(run["scores"]) for run in runs]) for column in COLUMNS] for name, runs in content.items()
    }
    return markdown(COLUMNS, rows, "trained on KITTI 00, frames 0–799")


def straight_on_scores(data: Path) -> Scores:
    """What one scores, on the drives that ``data`` has, who always goes straight on. Without the scale: its unit means nothing."""
    scores: Scores = {}
    for drive in DRIVES:
        if (data / SUITES[drive].folder).is_dir():
            table = ego_motion_table(straight_on(true_poses(drive, data)))
            scores[drive] = {score.name: score.value for score in table if score.name != SCALE}
    return scores


def _camera(model: Path) -> dict[str, Any]:
    camera = load_bundle(model).provenance.get("learned_camera")
    return {} if camera is None else {"learned_camera": camera}


def _cameras(content: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line for each camera that was learned: its focal lengths, how far rotation shows them, the verdict."""
    lines = []
    for method, runs in content.items():
        for found in (run["learned_camera"] for run in runs if "learned_camera" in run):
            parts = ", ".join(f"{name} {found[name]:.1f} ± {_pixels(found['tolerance'][name])}" for name in ("fx", "fy"))
            lines.append(f"\n{method}: {parts} pixels ({found['verdict']})\n")
    return "".join(lines)


def _pixels(tolerance: float | None) -> str:
    return "∞" if tolerance is None else f"{tolerance:.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written."""
    parser = training_study_parser("depth_methods", __doc__, seeds=1)
    text = f"of {', '.join(METHODS)} (default: all)"
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=tuple(METHODS), metavar="METHOD", help=text)
    return print_study(
        parser, arguments, lambda a: compare(a.out, a.methods, a.seeds, a.set, a.processes, a.data, a.frames)
    )


if __name__ == "__main__":
    sys.exit(main())
