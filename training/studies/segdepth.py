"""Does SegDepth's boundary loss help? The recipe with and without L_b, several seeds, a small protocol.

    python -m geoseg_ros.training.studies.segdepth --out runs/segdepth_study

Published (Sivuk): AbsRel 0.288 → 0.276 (−4.2 %), δ1 0.511 → 0.533, on 3 949 KITTI images, one run each. Here: short runs on
800 frames of KITTI 00 that differ in L_b and seed alone. Goes on where it was stopped; writes table.md and table.json to the
folder.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from geoseg_ros.training.studies.arguments import print_study, training_study_parser
from geoseg_ros.training.studies.runs import Scores, judge, train_to_end
from geoseg_ros.training.studies.table import Column, Spread, markdown, save

RECIPE = "segdepth"
PROTOCOL = ("steps=250", "schedule.warmup=20", "checkpoint_every=100")
VARIANTS = {"without": ("loss.boundary=0.0",), "with": ()}
ABS_REL, DELTA = "depth AbsRel, median-scaled", "depth δ < 1.25, median-scaled"
COLUMNS = tuple(
    Column(f"{name} {heading}", suite, score)
    for suite, name in {"synthetic": "streets", "depth_dgp": "DGP", "7scenes": "7-Scenes"}.items()
    for heading, score in (("AbsRel", ABS_REL), ("δ1", DELTA))
)
SUITES = tuple(dict.fromkeys(column.suite for column in COLUMNS))
PUBLISHED = "Published, one run each on KITTI Eigen: AbsRel 0.288 → 0.276 (−4.2 %), δ1 0.511 → 0.533.\n"


def study(
    folder: Path, seeds: int, overrides: Sequence[str], processes: int, data: Path, frames: int | None
) -> str:
    """Train and judge ``seeds`` runs of each variant under ``folder``; returns the table as Markdown."""
    scores: dict[str, list[Scores]] = {variant: [] for variant in VARIANTS}
    for seed in range(seeds):
        for variant, changes in VARIANTS.items():
            settings = [*PROTOCOL, *overrides, *changes, f"seed={seed}"]
            model = train_to_end(RECIPE, settings, folder / f"{variant}_seed{seed}", processes)
            scores[variant].append(judge(model, SUITES, data, frames, model.parent))
    text = summary(scores)
    save(folder, text, {"seeds": seeds, "scores": scores})
    return text


def summary(scores: dict[str, list[Scores]]) -> str:
    """Mean ± standard deviation over seeds of each variant, and the relative change of the means, as Markdown."""
    rows = {
        f"{variant} L_b": [Spread.over([column.of(each) for each in runs]) for column in COLUMNS]
        for variant, runs in scores.items()
    }
    without, with_boundary = rows.values()
    change = [100 * (b.mean / a.mean - 1) for a, b in zip(without, with_boundary)]
    cells = " | ".join("–" if math.isnan(value) else f"{value:+.1f} %" for value in change)
    seeds = len(next(iter(scores.values())))
    return f"{markdown(COLUMNS, rows, f'mean ± std, {seeds} seeds')}| change | {cells} |\n\n{PUBLISHED}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written."""
    parser = training_study_parser("segdepth_study", __doc__)
    return print_study(parser, arguments, lambda a: study(a.out, a.seeds, a.set, a.processes, a.data, a.frames))


if __name__ == "__main__":
    sys.exit(main())
