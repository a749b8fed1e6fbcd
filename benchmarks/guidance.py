"""How much guidance by depth adds to a training step: a recipe with ``loss.guidance`` and without it, step by step in turns.

    python benchmarks/guidance.py --json results.json
    python benchmarks/guidance.py loss.guidance.form=per_class crop=[192,128]

The guide's depth is computed before the clock starts, as it is once per data set. At run time guidance adds nothing: the trained
network is the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout that this file is of, not an installed one
WARM_UP = 2
WANTED_SHARE = 0.15


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 also where a wish is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="change a value of the recipe")
    parser.add_argument("--recipe", default="bisenet_camvid_holistic", help="name or file (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    args = parser.parse_args(argv)
    if args.steps < 1:
        sys.exit(f"--steps is {args.steps}, expected at least 1")
    seconds = time_steps(args.recipe, args.overrides, args.steps)
    guided, plain = (median(values) for values in seconds.values())
    share = guided / plain - 1
    print(f"a step with guidance {1e3 * guided:.0f} ms, without {1e3 * plain:.0f} ms: {share:+.1%}, wanted up to {WANTED_SHARE:.0%}")
    if args.json is not None:
        from geoseg_ros.machine import command_line, describe_machine, git_commit, now
        from geoseg_ros.training.evaluation.report import write_json

        about = {"date": now(), "git_commit": git_commit(), "command": command_line(), "machine": describe_machine()}
        write_json({**about, "seconds": seconds, "share": share}, args.json)
    return 0


def time_steps(name: str, overrides: Sequence[str], steps: int) -> dict[str, list[float]]:
    """Seconds of each whole step, its batch included, ``guided`` and ``plain``; the two take turns."""
    from geoseg_ros.training.config import load_recipe
    from geoseg_ros.training.trainer import Trainer

    changes = {"guided": ("loss.guidance.ramp=0",), "plain": ("loss.guidance=null",)}
    length = f"steps={WARM_UP + steps}"
    trainers = {key: Trainer(load_recipe(name, [*overrides, *change, length])) for key, change in changes.items()}
    batches = {key: trainer.batches(0, WARM_UP + steps) for key, trainer in trainers.items()}
    seconds: dict[str, list[float]] = {key: [] for key in trainers}
    for step in range(WARM_UP + steps):
        for key, trainer in trainers.items():
            spent = _timed(trainer, batches[key])
            if step >= WARM_UP:
                seconds[key].append(spent)
    return seconds


def _timed(trainer: Any, batches: Any) -> float:
    began = time.perf_counter()
    trainer.step(trainer.prepare(next(batches)))
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
