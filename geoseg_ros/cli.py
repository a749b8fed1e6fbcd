"""The command line: ``geoseg demo | run | simulate | convert | train | evaluate | average | inspect | benchmark``.

Each subcommand is one module of :mod:`geoseg_ros.commands` with ``HELP``, ``add_arguments(parser)`` and
``run(args) -> exit code``. Errors raised on purpose end as one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from geoseg_ros import __version__
from geoseg_ros.errors import GeosegError

COMMANDS = ("demo", "run", "simulate", "convert", "train", "evaluate", "average", "inspect", "benchmark")
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand's arguments."""
    parser = argparse.ArgumentParser(
        prog="geoseg",
        description="Semantics, depth, optical flow, ego-motion and motion segmentation from one calibrated camera.",
    )
    parser.add_argument("--version", action="version", version=f"geoseg_ros {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"geoseg_ros.commands.{name}")
        subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the process's exit code."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args)
    except GeosegError as error:
        print(f"geoseg {args.command}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print(f"geoseg {args.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
