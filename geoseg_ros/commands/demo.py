"""``geoseg demo [BAG]``: a bag, or a simulated street, through the nodes over DDS, and a report of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from geoseg_ros.demo.measurement import Measurement
    from geoseg_ros.demo.review import Review
    from geoseg_ros.demo.session import CameraTopics

HELP = (
    "Play a bag, or a simulated street, through the nodes over DDS; report rates, ages, accuracy, pictures."
)
REPORT, VIDEO, OUTPUTS_BAG, STREET_BAG, ARRIVALS, LOGS = (
    "report.html",
    "demo.webm",
    "outputs",
    "street",
    "arrivals.csv",
    "log",
)
SHOWN_FRAMES = 6
NOT_STORED = "depth/points"  # by far the largest output; depth, semantics and image say the same
DEFAULT_SEED = 3
EXIT_UNANSWERED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bag", nargs="?", metavar="BAG", help="bag with a camera (default: a simulated street)"
    )
    parser.add_argument(
        "--out", default="demo", metavar="FOLDER", help="where report, video and bags go (default: demo)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how much of the bag to play or simulate (default 10)"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="times as fast as recorded (default 1)")
    parser.add_argument(
        "--model", metavar="FILE", help="model file (default: the one that comes with the package)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--image", metavar="TOPIC", help="image topic of the bag (default: its camera)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="which street to simulate (default 3)")
    parser.add_argument(
        "--size", default="640x192", metavar="WxH", help="image size of that street (default 640x192)"
    )
    parser.add_argument("--domain", type=int, help="ROS domain id (default: one that nobody uses)")


def run(args: argparse.Namespace) -> int:
    """Play, record, report; returns 0, or 1 where the node answered no image at all."""
    from importlib.util import find_spec

    from rich.console import Console

    from geoseg_ros.bundle import default_bundle_path, load_bundle
    from geoseg_ros.demo.folder import ResultFolder
    from geoseg_ros.demo.processes import terminate_as_exit
    from geoseg_ros.demo.session import camera_topics
    from geoseg_ros.errors import ConfigError

    for name in ("seconds", "rate"):
        if not 0.0 < getattr(args, name) < 1e6:
            raise ConfigError(f"--{name} is {getattr(args, name)}, expected a positive number")
    if find_spec("rclpy") is None:
        raise ConfigError(
            "rclpy is not installed here: source a ROS 2 installation, or pip install 'geoseg_ros[ros]'"
        )
    if args.bag is None and find_spec("embreex") is None:
        raise ConfigError("simulating a street needs embreex: pip install 'geoseg_ros[sim]', or name a bag")
    console = Console()
    model = Path(args.model or default_bundle_path())
    bundle = load_bundle(model)
    if args.bag is not None:
        camera_topics(Path(args.bag), args.image)
    with terminate_as_exit(), ResultFolder(args.out) as work:
        source = Path(args.bag) if args.bag is not None else _simulate(args, work / STREET_BAG, console)
        topics = camera_topics(source, args.image)
        measured = _record(args, source, topics, model, work, console)
        seen = _review(args, source, topics, measured, bundle, work, console)
        _write_report(args, measured, seen, model, bundle, work)
    _print_summary(args, measured, seen, console)
    return 0 if measured.answered else EXIT_UNANSWERED


def _simulate(args: argparse.Namespace, out: Path, console: Console) -> Path:
    """Render the street, with ground truth, into a bag."""
    from geoseg_ros.commands.simulate import parse_size
    from geoseg_ros.errors import ConfigError
    from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticStreet
    from geoseg_ros.training.data.synthetic.bag import write_street_bag

    if args.seed < 0:
        raise ConfigError(f"--seed is {args.seed}, expected 0 or more")
    camera = StreetConfig().camera.resize(*parse_size(args.size))
    config = StreetConfig(camera=camera, duration=args.seconds)
    with _progress(console) as progress:
        task = progress.add_task("building the street", total=config.frames)
        street = SyntheticStreet(args.seed, config)
        progress.update(task, description="rendering the street")
        write_street_bag(street, out, advance=lambda: progress.advance(task))
    return out


def _record(
    args: argparse.Namespace, source: Path, topics: CameraTopics, model: Path, work: Path, console: Console
) -> Measurement:
    """The bag through the node; arrival times and the node's last words become a measurement."""
    import tempfile

    from geoseg_ros.arrivals import read_arrivals
    from geoseg_ros.bags import BagReader
    from geoseg_ros.demo import session
    from geoseg_ros.demo.measurement import diagnostic_values, measure
    from geoseg_ros.messages import OUTPUTS

    with tempfile.TemporaryDirectory(dir=work, prefix=".run.") as folder, _progress(console) as progress:
        recorded, played = Path(folder) / "recorded", source
        with BagReader(source) as bag:
            longer = bag.duration > args.seconds * 1e9
        if longer:
            played = Path(folder) / "played"
            session.copy_bag(source, played, topics.all, args.seconds)
        with BagReader(played) as bag:
            published = bag.topics[topics.image].count
        task = progress.add_task("starting", total=published)
        session.record(
            session.Run(
                source=played,
                topics=topics,
                arrivals=work / ARRIVALS,
                logs=work / LOGS,
                bag=recorded,
                stored=[output for output in OUTPUTS if output != NOT_STORED],
                rate=args.rate,
                parameters={"model": str(model.resolve()), "device": args.device},
                domain=args.domain,
            ),
            on_state=lambda text: progress.update(task, description=text),
            on_counts=lambda counts: progress.update(task, completed=counts.get(topics.image, 0)),
        )
        progress.update(task, description="packing the recording")
        session.copy_bag(recorded, work / OUTPUTS_BAG)
    with BagReader(work / OUTPUTS_BAG) as bag:
        messages = [message for *_, message in bag.messages([session.DIAGNOSTICS])]
    values = diagnostic_values(messages, session.NODE.strip("/"))
    values = {key: value for key, value in values.items() if not key.startswith("age since stamp")}
    return measure(read_arrivals(work / ARRIVALS), topics.image, session.NODE, values, published)


def _review(
    args: argparse.Namespace,
    source: Path,
    topics: CameraTopics,
    measured: Measurement,
    bundle: Any,
    work: Path,
    console: Console,
) -> Review:
    from types import SimpleNamespace

    from geoseg_ros.demo.accuracy import Accuracy
    from geoseg_ros.demo.recording import Recording
    from geoseg_ros.demo.review import review
    from geoseg_ros.demo.session import NODE
    from geoseg_ros.training.metrics import depth, flow, motion, semantics

    metrics = SimpleNamespace(depth=depth, flow=flow, motion=motion, semantics=semantics)
    recording = Recording(source, work / OUTPUTS_BAG, NODE, topics.image)
    fps = max(1.0, measured.input_rate / args.rate) if measured.published > 1 else 10.0
    with _progress(console) as progress:
        task = progress.add_task("drawing and judging", total=measured.answered)
        return review(
            recording,
            bundle.labels,
            Accuracy(bundle.labels, metrics),
            work / VIDEO,
            fps,
            SHOWN_FRAMES,
            ages=dict(zip(measured.frame_stamps.tolist(), measured.frame_ages.tolist(), strict=True)),
            advance=lambda: progress.advance(task),
        )


def _write_report(
    args: argparse.Namespace, measured: Measurement, seen: Review, model: Path, bundle: Any, work: Path
) -> None:
    from geoseg_ros.demo.pages import Circumstances, build_report
    from geoseg_ros.machine import command_line, describe_machine, now
    from geoseg_ros.report import write_report

    source = (
        f"the bag {Path(args.bag).name}" if args.bag is not None else f"a simulated street (seed {args.seed})"
    )
    about = Circumstances(
        source=source,
        model=str(model),
        bundle=bundle,
        device=measured.diagnostics.get("device", args.device),
        command=command_line(),
        date=now(),
        machine=describe_machine(),
        parameters={
            "playback": f"{args.rate:g} × recorded speed",
            "longest playback": f"{args.seconds:g} s",
            "recording": f"{OUTPUTS_BAG}/ (all topics but {NOT_STORED}, which is timed only)",
        },
    )
    write_report(build_report(measured, seen, about, VIDEO), work / REPORT)


def _print_summary(args: argparse.Namespace, measured: Measurement, seen: Review, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from geoseg_ros.demo.pages import headline

    table = Table(title="geoseg demo", title_justify="left", box=None, show_header=False, pad_edge=False)
    for card in headline(measured, seen):
        table.add_row(
            Text(card.label, style="bold"),
            Text(f"{card.value} {card.unit}".rstrip()),
            Text(card.note, style="dim"),
        )
    for cause, count in measured.drops.items():
        if count:
            table.add_row(Text("Dropped", style="bold"), Text(str(count)), Text(cause, style="dim"))
    console.print(table)
    out = Path(args.out).resolve()
    console.print(f"report  {out / REPORT}", style="bold", markup=False, soft_wrap=True)
    if seen.frames:
        console.print(f"video   {out / VIDEO}", markup=False, soft_wrap=True)


def _progress(console: Console) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
