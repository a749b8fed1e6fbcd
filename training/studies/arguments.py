"""The command line that all studies share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from geoseg_ros.errors import ConfigError, GeosegError


def study_parser(name: str, description: str) -> argparse.ArgumentParser:
    """``--out`` (runs/``name`` without it), ``--data``, ``--frames``; a study adds its own."""
    parser = argparse.ArgumentParser(prog=name, description=description.split("\n\n")[0])
    text = "folder of runs and table (default: %(default)s)"
    parser.add_argument("--out", type=Path, default=Path("runs", name), help=text)
    text = "folder of the real data (default: %(default)s)"
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=text)
    parser.add_argument("--frames", type=int, metavar="N", help="judge at most N frames per suite, for a quick look")
    return parser


def training_study_parser(name: str, description: str, seeds: int = 3) -> argparse.ArgumentParser:
    """The same of a study that trains: also ``--seeds``, ``--processes`` and ``--set``."""
    parser = study_parser(name, description)
    parser.add_argument("--seeds", type=int, default=seeds, metavar="N", help="runs per row (default: %(default)s)")
    text = "parallel processes per run (default: %(default)s; on a CPU one per core)"
    parser.add_argument("--processes", type=int, default=2, metavar="N", help=text)
    text = "change a value of every run's recipe; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
    return parser


def print_study(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, study: Callable[[argparse.Namespace], str]
) -> int:
    """Print what ``study`` says of the parsed arguments; returns 0, or 1 with a sentence on stderr where it fails or is
    interrupted."""
    args = parser.parse_args(arguments)
    try:
        _check(args)
        print(study(args))
    except GeosegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    return 0


def _check(args: argparse.Namespace) -> None:
    """ConfigError for values that mean nothing; makes the folder."""
    for name in ("seeds", "processes"):
        value = getattr(args, name, 1)
        if value < 1:
            raise ConfigError(f"{name} is {value}, expected at least 1")
    if not args.data.is_dir():
        raise ConfigError(f"the data folder {args.data} does not exist")
    args.out.mkdir(parents=True, exist_ok=True)
