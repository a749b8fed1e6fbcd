"""How long one frame takes in each segmentation network, beside the public BiSeNet implementation.

    python benchmarks/segmenters.py --public ~/BiSeNet --json results.json

All take turns in one process on the same image, in the backends that the pipeline has: eager and traced. The public network
(github.com/CoinCheung/BiSeNet, ResNet-18) runs eagerly as it comes, and traced and frozen as ours are. Weights are random: they
do not change the time, which is that of the network alone, from an image in 0…1 to class logits. The median of all timed
frames counts. Among our parameters are those of auxiliary heads, which only training runs; the public network leaves its out.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import public_bisenet
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file is of, not an installed one
EAGER, TRACED = "eager", "traced"
PUBLIC = "public BiSeNet, ResNet-18"
NETWORKS = {
    "BiSeNet, ResNet-18": ("bisenet", {"encoder": "resnet18"}),
    "BiSeNet, ResNet-50": ("bisenet", {"encoder": "resnet50"}),
    "BiSeNet, lite": ("bisenet", {"encoder": "lite"}),
    "U-Net, ResNet-18": ("unet", {"encoder": "resnet18"}),
    "LinkNet, ResNet-18": ("linknet", {"encoder": "resnet18"}),
    "PSPNet, ResNet-18": ("pspnet", {"encoder": "resnet18"}),
    "PSPNet, ResNet-18, not dilated": ("pspnet", {"encoder": "resnet18", "output_stride": 32}),
    "FPN, ResNet-18": ("fpn", {"encoder": "resnet18"}),
    "topdown, lite": ("topdown", {"encoder": "lite"}),
    "perception, its semantics alone": ("perception", {}),
}
SIZES = ((832, 256), (640, 192))
PLAIN_WIDTH = 110
"""Columns of the tables where there is no terminal to ask."""
SEMANTIC = frozenset({"semantic"})
Run = Callable[[Tensor], object]
Times = dict[tuple[str, str], list[float]]
"""Seconds of each frame by network and way of running it."""


@dataclass
class Contender:
    """A network, how it can be run, and the number of its parameters."""

    name: str
    parameters: int
    ways: dict[str, Run] = field(default_factory=dict)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns 0."""
    args = _parser().parse_args(argv)
    _check(args)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    contenders = [contender(name, args) for name in args.network or NETWORKS]
    if args.public is not None:
        contenders.insert(0, public_contender(args))
    times = {size: measure(contenders, size, args, console) for size in args.size or SIZES}
    for size, found in times.items():
        console.print(table(contenders, found, size))
    content = record(args, contenders, times)
    console.print("\n".join(f"{name}: {value}" for name, value in content["machine"].items()))
    console.print(f"{content['threads']} threads, {args.device}, {args.frames} frames in each of {args.rounds} rounds")
    if args.json is not None:
        from geoseg_ros.training.evaluation.report import write_json

        write_json(content, args.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--public", type=Path, metavar="CHECKOUT", help="the public BiSeNet code")
    text = f"time this one of ours only; may be repeated: {'; '.join(NETWORKS)} (default: all)"
    parser.add_argument("--network", action="append", choices=tuple(NETWORKS), metavar="NAME", help=text)
    text = "image size, multiples of 32; may be repeated (default: 832x256 and 640x192)"
    parser.add_argument("--size", action="append", type=_size, metavar="WxH", help=text)
    parser.add_argument("--frames", type=int, default=20, help="timed frames of a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each takes (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=3, help="untimed frames of a turn (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of the CPU (default: torch's own)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="of ours; the public one has float32 (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(size) or any(side % 32 for side in size):
        raise argparse.ArgumentTypeError(f"'{text}' is no size, expected WIDTHxHEIGHT in multiples of 32")
    return size


def _check(args: argparse.Namespace) -> None:
    """End with a sentence where nothing could be measured."""
    if args.public is not None and not (args.public / public_bisenet.SOURCE).is_file():
        sys.exit(f"--public is {args.public}, expected a checkout with {public_bisenet.SOURCE}")
    for name, least in (("frames", 1), ("rounds", 1), ("warm_up", 1), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            sys.exit(f"--{name.replace('_', '-')} is {value}, expected at least {least}")
    if args.json is not None and not args.json.absolute().parent.is_dir():
        sys.exit(f"the folder of {args.json} does not exist")


def contender(name: str, args: argparse.Namespace) -> Contender:
    """One of NETWORKS in the pipeline's backends. A network with more heads than the semantic one is traced with all of them
    only, so that its semantics alone run eagerly."""
    from geoseg_ros.backends import create_backend
    from geoseg_ros.bundle import Bundle, parameter_count
    from geoseg_ros.labels import CAMVID_11
    from geoseg_ros.networks import create_network

    architecture, config = NETWORKS[name]
    weights = create_network(architecture, config).state_dict()
    bundle = Bundle(architecture, config, CAMVID_11, SIZES[0], weights=weights)
    result = Contender(name, parameter_count(bundle))
    for way in (EAGER, TRACED):
        backend = create_backend(way, bundle, args.device, args.precision)
        if way == EAGER or backend.heads == SEMANTIC:
            result.ways[way] = lambda image, backend=backend: backend.run(image, None, None, SEMANTIC)
    return result


def public_contender(args: argparse.Namespace) -> Contender:
    """The public network, its auxiliary heads left out."""
    from geoseg_ros.labels import CAMVID_11
    from geoseg_ros.networks.blocks import count_parameters

    network = public_bisenet.PublicBiSeNet(args.public, len(CAMVID_11.names)).to(args.device)
    traces: dict[torch.Size, Run] = {}

    @torch.inference_mode()
    def eager(image: Tensor) -> Tensor:
        return network(image.to(args.device))

    @torch.inference_mode()
    def traced(image: Tensor) -> Tensor:
        image = image.to(args.device)
        if image.shape not in traces:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as in the traced backend
                traces[image.shape] = torch.jit.freeze(torch.jit.trace(network, image, check_trace=False))
        return traces[image.shape](image)

    return Contender(PUBLIC, count_parameters(network), {EAGER: eager, TRACED: traced})


def measure(
    contenders: Sequence[Contender], size: tuple[int, int], args: argparse.Namespace, console: Console
) -> Times:
    """Every contender's frames of that size, in turns."""
    width, height = size
    image = torch.rand(1, 3, height, width)
    ways = [(each.name, way, run) for each in contenders for way, run in each.ways.items()]
    times: Times = {(name, way): [] for name, way, _ in ways}
    for turn in range(args.rounds):
        for name, way, run in ways:
            with console.status(f"{width}×{height}, {name}, {way}, round {turn + 1} of {args.rounds}"):
                times[name, way] += time_frames(run, image, args.frames, args.warm_up, args.device)
    return times


def time_frames(run: Run, image: Tensor, frames: int, warm_up: int, device: str) -> list[float]:
    """Seconds of each frame after the warm-up, the device's work waited for."""
    seconds = []
    for _ in range(warm_up + frames):
        began = time.perf_counter()
        run(image)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return seconds[warm_up:]


def table(contenders: Sequence[Contender], times: Times, size: tuple[int, int]) -> Table:
    """Milliseconds per frame, and how many times faster than the public network run in the same way."""
    result = Table(title=f"{size[0]}×{size[1]}", title_justify="left", box=None, pad_edge=False)
    result.add_column("network")
    headings = ("parameters", f"{EAGER} ms", f"{TRACED} ms", f"{EAGER} × public", f"{TRACED} × public")
    for heading in headings:
        result.add_column(heading, justify="right")
    for each in contenders:
        cells = [f"{1e3 * median(times[each.name, way]):.1f}" if way in each.ways else "" for way in (EAGER, TRACED)]
        cells += [_shown(faster_than_public(times, each.name, way)) for way in (EAGER, TRACED)]
        result.add_row(each.name, f"{each.parameters / 1e6:.2f} M", *cells)
    return result


def faster_than_public(times: Times, name: str, way: str) -> float | None:
    """The public network's median time over this one's; None where one of them is missing."""
    if (PUBLIC, way) not in times or (name, way) not in times:
        return None
    return median(times[PUBLIC, way]) / median(times[name, way])


def _shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def record(
    args: argparse.Namespace, contenders: Sequence[Contender], times: dict[tuple[int, int], Times]
) -> dict[str, Any]:
    """What one must know to believe and repeat the numbers, as JSON types."""
    from geoseg_ros.machine import describe_machine, git_commit, now

    return {
        "date": now(),
        "git_commit": git_commit(),
        "command": " ".join(sys.argv),
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
        "device": args.device,
        "precision": args.precision,
        "unit": "seconds per frame",
        "parameters": {each.name: each.parameters for each in contenders},
        "sizes": {
            f"{width}x{height}": [
                {"network": name, "way": way, "seconds": seconds, "faster_than_public": faster_than_public(found, name, way)}
                for (name, way), seconds in found.items()
            ]
            for (width, height), found in times.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
