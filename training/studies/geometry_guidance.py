"""Does guidance by depth help a segmenter, and more than its rivals? The seed's table, by one protocol for all rows.

    python -m geoseg_ros.training.studies.geometry_guidance --protocol small --processes 1 --jobs 2
    python -m geoseg_ros.training.studies.geometry_guidance --protocol full --processes 1

Rows: the baseline; L_p and L_h (Papadopoulos et al.) and Chen's regulariser with the depth of a frozen model (--guide); Chen's
with multitask depth; Klingner; Novosel. First each weight that is nobody's published constant is swept from 0.01 to 10, by
runs of half the length with a seed of their own, and the best on CamVid val is kept; then every row trains with every seed.
Runs of one seed start from the same segmenter and see the same crops of CamVid's training split, so that differences are taken
seed by seed. Weights are chosen, and rows judged, on the same val clip, which flatters whatever has a weight.

Goes on where it was stopped; writes table.md and table.json to OUT/PROTOCOL.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from geoseg_ros.benchmark import time_pipeline
from geoseg_ros.bundle import load_bundle, parameter_count
from geoseg_ros.errors import ConfigError
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.studies.arguments import print_study, training_study_parser
from geoseg_ros.training.studies.guidance_rows import GUIDED, METHODS, PROTOCOLS
from geoseg_ros.training.studies.runs import Run, Scores, judge, train_all
from geoseg_ros.training.studies.table import Column, Spread, markdown, save

SUITE = "camvid"
MEAN_IOU = Column("mean IoU", SUITE, "mIoU")
JUDGED = (MEAN_IOU, Column("pixel accuracy", SUITE, "pixel accuracy"), Column("consistency", SUITE, "temporal consistency"))
COLUMNS = (*JUDGED, Column("run time, ms", "", "", 1), Column("parameters, M", "", "", 2))
WEIGHTS = (0.01, 0.1, 1.0, 10.0)
SWEEP_SEED = 100
"""Not one of those that the table is of."""
PICTURE = (480, 360)
TIMED_SECONDS = 3.0
SUBJECT = "holistic"
"""The row that the others are compared with."""
PUBLISHED = (
    "Published (ApolloScape, 832×256, BiSeNet on ResNet-50, one run each), mean IoU in %: baseline 39.557, L_h 40.597, Chen "
    "with pretrained depth 39.610 and with multitask depth 38.153, Novosel 37.683, Klingner 34.318; 6.2 ms.\n"
)


class Result(NamedTuple):
    """A trained model file, and what the suite says of it."""

    model: Path
    scores: Scores


Rows = dict[str, list[Result]]
"""Method → the result of each seed."""


class Study:
    """The runs of one encoder under ``folder``."""

    def __init__(self, args: argparse.Namespace, encoder: str) -> None:
        self.args, self.encoder = args, encoder
        self.folder: Path = args.out / args.protocol / encoder
        self.protocol = PROTOCOLS[args.protocol]
        self.steps: int = args.steps or self.protocol.steps

    def run(self, name: str, seed: int, steps: int, weight: float | None) -> Run:
        """One training."""
        method, protocol = METHODS[name], self.protocol
        settings = [*protocol.settings, f"network.encoder={self.encoder}", *method.changes]
        settings += protocol.drive if method.multitask else ()
        settings += [f"loss.guidance.model={self.args.guide}"] if method.recipe == GUIDED else []
        settings += [f"{key}={weight}" for key in method.swept] if weight is not None else []
        settings += [f"steps={steps}", f"seed={seed}", *self.args.set]
        folder = f"{name}_weight{weight:g}" if seed == SWEEP_SEED else f"{name}_seed{seed}"
        return Run(method.recipe, tuple(settings), self.folder / folder)

    def results(self, runs: Sequence[Run]) -> Iterator[Result]:
        """Of every run in turn."""
        for model in train_all(runs, self.args.processes, self.args.jobs):
            yield Result(model, judge(model, (SUITE,), self.args.data, self.args.frames, model.parent))

    def sweep(self, names: Sequence[str]) -> dict[str, dict[float, float]]:
        """Mean IoU by weight of every method that has one."""
        asked = [(name, weight) for name in names if METHODS[name].swept for weight in WEIGHTS]
        runs = [self.run(name, SWEEP_SEED, max(1, self.steps // 2), weight) for name, weight in asked]
        found: dict[str, dict[float, float]] = {}
        for (name, weight), result in zip(asked, self.results(runs)):
            found.setdefault(name, {})[weight] = MEAN_IOU.of(result.scores)
        return found

    def rows(self, names: Sequence[str], weights: Mapping[str, float]) -> Rows:
        """The results of every method, by seed."""
        asked = [(name, seed) for seed in range(self.args.seeds) for name in names]
        runs = [self.run(name, seed, self.steps, weights.get(name)) for name, seed in asked]
        rows: Rows = {name: [] for name in names}
        for (name, _), result in zip(asked, self.results(runs)):
            rows[name].append(result)
        return rows


def best(scores: Mapping[float, float]) -> float:
    """The weight with the greatest score; the smaller of two equal ones."""
    return max(sorted(scores), key=lambda weight: -math.inf if math.isnan(scores[weight]) else scores[weight])


def cost(model: Path) -> tuple[float, float]:
    """Median milliseconds of the network in the pipeline on pictures of CamVid's size, and millions of parameters."""
    pipeline = Pipeline(model)
    milliseconds = 1e3 * time_pipeline(pipeline, *PICTURE, TIMED_SECONDS).stages["network"].p50
    return milliseconds, parameter_count(load_bundle(model)) / 1e6


def study(args: argparse.Namespace) -> str:
    """Sweep, train, judge, time; returns the tables as Markdown."""
    for name, least in (("jobs", 1), ("steps", 2)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}, expected at least {least}")
    folder, texts, content = args.out / args.protocol, [], {}
    for encoder in PROTOCOLS[args.protocol].encoders:
        part = Study(args, encoder)
        found = part.sweep(args.methods)
        weights = {name: best(scores) for name, scores in found.items()}
        rows = part.rows(args.methods, weights)
        costs = {name: cost(results[0].model) for name, results in rows.items()}
        title = f"CamVid val, BiSeNet on {encoder}, {part.steps} steps, mean ± std of {args.seeds} seeds"
        texts.append(table(title, rows, costs) + differences(rows) + swept(found))
        content[encoder] = {
            "steps": part.steps,
            "sweep": {name: {str(w): s if math.isfinite(s) else None for w, s in by.items()} for name, by in found.items()},
            "weights": weights,
            "scores": {name: [result.scores.get(SUITE) for result in results] for name, results in rows.items()},
            "milliseconds": {name: milliseconds for name, (milliseconds, _) in costs.items()},
            "million_parameters": {name: parameters for name, (_, parameters) in costs.items()},
        }
    text = "\n".join([*texts, PUBLISHED])
    folder.mkdir(exist_ok=True)
    save(folder, text, {"protocol": args.protocol, "seeds": args.seeds, "encoders": content})
    return text


def table(title: str, rows: Rows, costs: Mapping[str, tuple[float, float]]) -> str:
    """The seed's table."""
    cells = {
        METHODS[name].title: [*(Spread.over([column.of(r.scores) for r in results]) for column in JUDGED), *costs[name]]
        for name, results in rows.items()
    }
    return markdown(COLUMNS, cells, title)


def differences(rows: Rows) -> str:
    """By how much L_h's mean IoU is beyond each other row's, seed by seed, and in how many seeds it is greater."""
    if SUBJECT not in rows:
        return ""
    lines = [f"| {METHODS[SUBJECT].title}, beyond | mean IoU | seeds won |", "|---|---:|---:|"]
    for name, results in rows.items():
        if name != SUBJECT:
            gains = [MEAN_IOU.of(a.scores) - MEAN_IOU.of(b.scores) for a, b in zip(rows[SUBJECT], results)]
            gain = Spread.over(gains)
            spread = "" if math.isnan(gain.std) else f" ± {gain.std:.3f}"
            won = sum(each > 0 for each in gains)
            lines.append(f"| {METHODS[name].title} | {gain.mean:+.3f}{spread} | {won} of {len(gains)} |")
    return "\n" + "\n".join(lines) + "\n"


def swept(found: Mapping[str, Mapping[float, float]]) -> str:
    """Mean IoU of the sweep, by weight."""
    columns = [Column(f"{weight:g}", "", "") for weight in WEIGHTS]
    rows = {METHODS[name].title: [scores[weight] for weight in WEIGHTS] for name, scores in found.items()}
    return f"\n{markdown(columns, rows, 'weight, by mean IoU of half a run')}" if rows else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when the table is written."""
    parser = training_study_parser("geometry_guidance", __doc__)
    text = "small: two CPU cores, within the hour; full: a GPU (default: %(default)s)"
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), default="small", help=text)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs that train at a time (default: %(default)s)")
    text = "length of a run, half of it in the sweep (default: the protocol's)"
    parser.add_argument("--steps", type=int, metavar="N", help=text)
    text = "model file whose depth guides, or default, the installed one (default: %(default)s)"
    parser.add_argument("--guide", default="default", metavar="MODEL", help=text)
    text = "rows, of %(choices)s (default: all)"
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=tuple(METHODS), metavar="ROW", help=text)
    return print_study(parser, arguments, study)


if __name__ == "__main__":
    sys.exit(main())
