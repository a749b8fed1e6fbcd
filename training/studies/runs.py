"""What studies share: runs trained to their end, models judged by the suites; both go on where they were stopped."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from geoseg_ros.bundle import load_bundle
from geoseg_ros.errors import ConfigError, TrainingError
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.config import differing_keys, load_recipe
from geoseg_ros.training.evaluation.report import write_json
from geoseg_ros.training.evaluation.suite import Bench, SuiteSkipped
from geoseg_ros.training.evaluation.suites import run_suite
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.trainer import BUNDLE, CONFIG

SCORES = "scores.json"

Scores = dict[str, dict[str, float | None]]
"""Suite name → score name → value; None where it is not finite. A suite that could not run is absent."""


@dataclass(frozen=True)
class Run:
    """A recipe with overrides, and the folder that it trains in."""

    recipe: str
    overrides: tuple[str, ...]
    folder: Path


def train_all(runs: Sequence[Run], processes: int, jobs: int) -> Iterator[Path]:
    """The model file of each run in turn, as :func:`train_to_end` makes it; ``jobs`` runs train at a time.

    Where one fails, or whoever asks stops asking, no further one starts; those under way end first.
    """
    with ThreadPoolExecutor(jobs) as pool:
        models = [pool.submit(train_to_end, run.recipe, run.overrides, run.folder, processes, jobs) for run in runs]
        try:
            for model in models:
                yield model.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def train_to_end(recipe: str, overrides: Sequence[str], folder: Path, processes: int, jobs: int = 1) -> Path:
    """The model file of ``recipe`` with ``overrides``, trained in ``folder`` by ``processes`` parallel processes, which share
    the cores with those of ``jobs`` − 1 other runs.

    A finished run is left as it is, an interrupted one goes on. Raises ConfigError where the folder holds a run of other
    settings, TrainingError where training fails. Ctrl-C lets the run save its checkpoint.
    """
    wanted = load_recipe(recipe, overrides)
    config, model = folder / CONFIG, folder / BUNDLE
    started = config.exists()
    if started:
        different = differing_keys(load_recipe(str(config)), wanted)
        if different:
            raise ConfigError(f"{folder} holds a run with another {', '.join(different)}; give another --out or remove it")
    if model.exists() and load_bundle(model).provenance.get("steps") == wanted.steps:
        return model
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "geoseg_ros.cli", "train", recipe, *overrides, "--out", str(folder)]
    threads = str(max(1, (os.cpu_count() or 1) // (processes * jobs)))
    with subprocess.Popen(
        [*command, *(["--resume"] if started else [])], env={"OMP_NUM_THREADS": threads, **os.environ}
    ) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if code != 0:
        raise TrainingError(f"the run {folder} ended with exit code {code}; its log is {folder / 'log.txt'}")
    return model


def judge(model: Path, suites: Sequence[str], data: Path, frames: int | None, folder: Path) -> Scores:
    """What the suites say of a model file; kept in ``folder``, and asked again only where the model or the question changed."""
    question = {
        "model": hashlib.sha256(model.read_bytes()).hexdigest(), "suites": list(suites), "frames": frames
    }  # fmt: skip
    file = folder / SCORES
    if file.exists():
        known = json.loads(file.read_text())
        if known.get("question") == question:
            return known["scores"]
    bench = Bench(Pipeline(model), data, frames, lambda items, total, description: iter(items))
    scores: Scores = {}
    skipped: dict[str, str] = {}
    for suite in suites:
        try:
            result = run_suite(suite, bench)
        except (SuiteSkipped, NothingToJudge) as reason:
            skipped[suite] = str(reason)
            continue
        scores[suite] = {s.name: s.value if math.isfinite(s.value) else None for s in result.scores}
    folder.mkdir(parents=True, exist_ok=True)
    write_json({"question": question, "scores": scores, "skipped": skipped}, file)
    return scores
