"""``geoseg evaluate [MODEL]``: a model file through the real pipeline on data with ground truth: the built-in suites beside
their bars, recorded bags, or a folder of labelled images."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from geoseg_ros.pipeline import Pipeline

HELP = "Measure a model on synthetic streets and real data, on bags, or on labelled images; exit code 1 when a bar is missed."
MIN_FRAMES = 5
"""One ego-motion snippet."""

PLAIN_WIDTH = 100
"""Columns of the tables where there is no terminal to ask."""

PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``geoseg evaluate``."""
    text = "model file (.safetensors); the installed default model without it"
    parser.add_argument("model", nargs="?", type=Path, help=text)
    text = "folder of the real data (default: %(default)s)"
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=text)
    text = "run this suite only; may be repeated (default: all)"
    parser.add_argument("--suite", action="append", metavar="NAME", help=text)
    text = "at most N frames per suite, clip or bag, for a quick look"
    parser.add_argument("--frames", type=int, metavar="N", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--backend", default="auto", help="what runs the network (default: %(default)s)")
    text = "how own motion is told: learned (the network's head), normalized or omega (default: %(default)s)"
    parser.add_argument("--motion-method", default="learned", metavar="METHOD", help=text)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    text = "write the scores into the model file's header, where geoseg inspect shows them"
    parser.add_argument("--save-scores", action="store_true", help=text)
    parser.add_argument("--report", type=Path, metavar="DIR", help=f"also write a page with pictures, DIR/{PAGE}")
    bags = parser.add_argument_group("recordings with ground truth, in place of the suites")
    text = "bags with the topics of geoseg simulate: gt/depth/image, gt/odom (or odometry), gt/semantic/image …"
    bags.add_argument("--bag", nargs="+", action="extend", type=Path, metavar="BAG", help=text)
    bags.add_argument("--image", metavar="TOPIC", help="image topic of the bags (default: their camera)")
    text = "topic of true class ids, of the model's label set (default: the one that ends in gt/semantic/image)"
    bags.add_argument("--label-topic", metavar="TOPIC", help=text)
    text = "judge depth up to this distance in metres (default: %(default)g)"
    bags.add_argument("--max-depth", type=float, default=80.0, metavar="METRES", help=text)
    bags.add_argument("--eigen-crop", action="store_true", help="judge depth inside KITTI's Eigen crop only")
    stills = parser.add_argument_group("labelled images, in place of the suites")
    text = "folder with images/ and labels/ (PNG files of the same stems: class ids, or the colours of the palette)"
    stills.add_argument("--labelled", type=Path, metavar="FOLDER", help=text)
    text = "label set of the folder: a built-in one or a .yaml file (default: the model's)"
    stills.add_argument("--labels", metavar="SET", help=text)
    text = "ids in the label files that are not judged, beside the label set's ignored one"
    stills.add_argument("--void", nargs="+", type=int, metavar="ID", help=text)
    text = "the images are successive frames in the order of their names: judge temporal consistency as well"
    stills.add_argument("--clip", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Judge, print tables, write the record; 0 when every judged bar is met, else 1."""
    from rich.console import Console

    from geoseg_ros.bundle import default_bundle_path, save_bundle
    from geoseg_ros.machine import git_commit
    from geoseg_ros.pipeline import Pipeline
    from geoseg_ros.report import write_report
    from geoseg_ros.training.evaluation import report

    _check(args)
    model = args.model or default_bundle_path()
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    pipeline = Pipeline(model, args.device, backend=args.backend, motion_method=args.motion_method)
    skipped: dict[str, str] = {}
    reviews = [_bag(path, args, pipeline, console) for path in args.bag or ()]
    if reviews:
        results = {str(review.path): review.result for review in reviews}
    elif args.labelled is not None:
        results = {str(args.labelled): _labelled(args, pipeline)}
    else:
        results = _suites(args, pipeline, console, skipped)
    report.print_results(console, f"{model}, code {git_commit()[:12]}", results)
    if args.json is not None:
        content = report.record(results, skipped, model, pipeline.bundle.provenance)
        report.write_json(content, args.json)
    if args.report is not None:
        about = _about(pipeline, model)
        page = _bag_page(reviews, pipeline, about) if reviews else _suite_page(results, skipped, about)
        args.report.mkdir(parents=True, exist_ok=True)
        write_report(page, args.report / PAGE)
        console.print(f"report  {args.report / PAGE}", style="bold", markup=False, soft_wrap=True)
    if args.save_scores:
        save_bundle(replace(pipeline.bundle, scores=report.summary(results)), model)
    return 0 if report.bars_met(results) else 1


def _check(args: argparse.Namespace) -> None:
    """ConfigError for values and combinations that mean nothing, before anything is loaded."""
    from geoseg_ros.errors import ConfigError
    from geoseg_ros.training.evaluation.suites import SUITES

    unknown = sorted(set(args.suite or ()) - set(SUITES))
    if unknown:
        raise ConfigError(f"suite is {unknown[0]!r}, expected one of {', '.join(SUITES)}")
    if args.frames is not None and args.frames < MIN_FRAMES:
        raise ConfigError(f"frames is {args.frames}, expected at least {MIN_FRAMES}")
    if args.json is not None and not args.json.parent.is_dir():
        raise ConfigError(f"the report's folder {args.json.parent} does not exist")
    if args.report is not None and args.report.exists() and not args.report.is_dir():
        raise ConfigError(f"the report's folder {args.report} is a file, expected a folder or a free name")
    if args.bag and (args.suite or args.save_scores):
        raise ConfigError("--bag is given with --suite or --save-scores, expected bags or suites")
    if args.labelled is not None and (args.bag or args.suite or args.save_scores):
        raise ConfigError("--labelled is given with --bag, --suite or --save-scores, expected a labelled folder alone")
    if args.labelled is None and (args.labels is not None or args.void or args.clip):
        raise ConfigError("--labels, --void or --clip is given without --labelled, expected a folder of labelled images")
    if len(set(args.bag or ())) < len(args.bag or ()):
        raise ConfigError("--bag names a bag twice, expected each once")


def _suites(
    args: argparse.Namespace, pipeline: Pipeline, console: Console, skipped: dict[str, str]
) -> dict[str, Any]:
    """Suite results by name; why others could not run goes to ``skipped``."""
    from rich.console import Console
    from rich.markup import escape

    from geoseg_ros.errors import ConfigError
    from geoseg_ros.training.evaluation.suite import Bench, SuiteSkipped
    from geoseg_ros.training.evaluation.suites import SUITES, run_suite
    from geoseg_ros.training.metrics.errors import NothingToJudge

    bench = Bench(pipeline, args.data, args.frames, _tracker(Console(stderr=True)))
    results = {}
    for name in dict.fromkeys(args.suite or SUITES):
        try:
            results[name] = run_suite(name, bench)
        except (SuiteSkipped, NothingToJudge) as reason:
            skipped[name] = str(reason)
            console.print(f"[yellow]{name} skipped:[/] {escape(str(reason))}")
    if not results:
        raise ConfigError(f"no suite could run: {'; '.join(skipped.values())}")
    return results


def _bag(path: Path, args: argparse.Namespace, pipeline: Pipeline, console: Console) -> Any:
    """The review of one bag; what could not be judged is printed."""
    from rich.console import Console

    from geoseg_ros.training.evaluation.bag import judge_bag
    from geoseg_ros.training.evaluation.depth_detail import DepthProtocol

    protocol = DepthProtocol(args.max_depth, args.eigen_crop)
    tracker = _tracker(Console(stderr=True))
    review = judge_bag(pipeline, path, protocol, tracker, args.image, args.frames, args.label_topic)
    for note in review.result.notes:
        console.print(f"{path.name}: {note}", style="yellow", markup=False)
    return review


def _labelled(args: argparse.Namespace, pipeline: Pipeline) -> Any:
    """The result of a labelled folder; ConfigError where the model gives no semantics, or nothing is labelled."""
    from rich.console import Console

    from geoseg_ros.errors import ConfigError
    from geoseg_ros.labels import label_set
    from geoseg_ros.training.evaluation.semantics import labelled_folder
    from geoseg_ros.training.evaluation.suite import Bench, SuiteSkipped
    from geoseg_ros.training.metrics.errors import NothingToJudge

    labels = pipeline.labels if args.labels is None else label_set(args.labels)
    bench = Bench(pipeline, args.labelled, args.frames, _tracker(Console(stderr=True)))
    try:
        return labelled_folder(bench, labels, args.void or (), args.clip)
    except (SuiteSkipped, NothingToJudge) as reason:
        raise ConfigError(f"{args.labelled} cannot be judged: {reason}") from reason


def _bag_page(reviews: list[Any], pipeline: Pipeline, about: dict[str, str]) -> Any:
    from geoseg_ros.training.evaluation.bag_page import build_page

    return build_page(reviews, pipeline.labels, about)


def _suite_page(results: dict[str, Any], skipped: dict[str, str], about: dict[str, str]) -> Any:
    from geoseg_ros.training.evaluation.suite_page import build_page

    return build_page(results, skipped, about)


def _about(pipeline: Pipeline, model: Path) -> dict[str, str]:
    """What a page says of the run."""
    from geoseg_ros.machine import command_line, describe_machine, git_commit, now

    return {
        "model": str(model),
        "code": git_commit(),
        "command": command_line(),
        "date": now(),
        "device": pipeline.device,
        **describe_machine(),
    }


def _tracker(console: Console) -> Any:
    """A progress bar around a loop, gone when the loop ends; one line where there is no terminal."""
    from rich.progress import track

    def tracked(items: Iterable[Any], total: int, description: str) -> Iterator[Any]:
        if not console.is_terminal:
            console.print(f"{description}: {total} frames")
            return iter(items)
        return iter(track(items, description, total, console=console, transient=True))

    return tracked
