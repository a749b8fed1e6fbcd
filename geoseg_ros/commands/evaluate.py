"""``geoseg evaluate [MODEL]``: a model file through the real pipeline on data with ground truth, beside the
bars."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

HELP = "Measure a model on synthetic streets and real data; exit code 1 when a bar is missed."
MIN_FRAMES = 5
"""One ego-motion snippet."""

PLAIN_WIDTH = 100
"""Columns of the tables where there is no terminal to ask."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``geoseg evaluate``."""
    text = "model file (.safetensors); the installed default model without it"
    parser.add_argument("model", nargs="?", type=Path, help=text)
    text = "folder of the real data (default: %(default)s)"
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=text)
    text = "run this suite only; may be repeated (default: all)"
    parser.add_argument("--suite", action="append", metavar="NAME", help=text)
    text = "at most N frames per suite or clip, for a quick look"
    parser.add_argument("--frames", type=int, metavar="N", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="what runs the network (default: %(default)s)")
    text = "how own motion is told: learned (the network's head), normalized or omega (default: %(default)s)"
    parser.add_argument("--motion-method", default="learned", metavar="METHOD", help=text)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    text = "write the scores into the model file's header, where geoseg inspect shows them"
    parser.add_argument("--save-scores", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Run the suites, print tables, write the record; 0 when every judged bar is met, else 1."""
    from rich.console import Console
    from rich.markup import escape

    from geoseg_ros.bundle import default_bundle_path, save_bundle
    from geoseg_ros.errors import ConfigError
    from geoseg_ros.machine import git_commit
    from geoseg_ros.pipeline import Pipeline
    from geoseg_ros.training.evaluation import report
    from geoseg_ros.training.evaluation.suite import Bench, SuiteSkipped
    from geoseg_ros.training.evaluation.suites import SUITES, run_suite
    from geoseg_ros.training.metrics.errors import NothingToJudge

    names = args.suite or list(SUITES)
    unknown = sorted(set(names) - set(SUITES))
    if unknown:
        raise ConfigError(f"suite is {unknown[0]!r}, expected one of {', '.join(SUITES)}")
    if args.frames is not None and args.frames < MIN_FRAMES:
        raise ConfigError(f"frames is {args.frames}, expected at least {MIN_FRAMES}")
    if args.json is not None and not args.json.parent.is_dir():
        raise ConfigError(f"the report's folder {args.json.parent} does not exist")
    model = args.model or default_bundle_path()
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    pipeline = Pipeline(model, args.device, backend=args.backend, motion_method=args.motion_method)
    bench = Bench(pipeline, args.data, args.frames, _tracker(Console(stderr=True)))
    results, skipped = {}, {}
    for name in dict.fromkeys(names):
        try:
            results[name] = run_suite(name, bench)
        except (SuiteSkipped, NothingToJudge) as reason:
            skipped[name] = str(reason)
            console.print(f"[yellow]{name} skipped:[/] {escape(str(reason))}")
    if not results:
        raise ConfigError(f"no suite could run: {'; '.join(skipped.values())}")
    report.print_results(console, f"{model}, code {git_commit()[:12]}", results)
    if args.json is not None:
        content = report.record(results, skipped, model, pipeline.bundle.provenance)
        report.write_json(content, args.json)
    if args.save_scores:
        save_bundle(replace(pipeline.bundle, scores=report.summary(results)), model)
    return 0 if report.bars_met(results) else 1


def _tracker(console: Any) -> Any:
    """A progress bar around a loop, gone when the loop ends; one line where there is no terminal."""
    from rich.progress import track

    def tracked(items: Iterable[Any], total: int, description: str) -> Iterator[Any]:
        if not console.is_terminal:
            console.print(f"{description}: {total} frames")
            return iter(items)
        return iter(track(items, description, total, console=console, transient=True))

    return tracked
