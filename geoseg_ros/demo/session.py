"""One run over DDS: player, perception node and recorder as processes, each step waiting for a state."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.bags.topics import topic_words
from geoseg_ros.demo.environment import private_environment
from geoseg_ros.demo.processes import Child, Supervisor
from geoseg_ros.frames.bag import BagFrames
from geoseg_ros.messages import OUTPUTS

NODE = "/geoseg"
DIAGNOSTICS = "/diagnostics"
READY_TIMEOUT_S = 120.0
QUIET_S = (
    1.6  # longer than the period of the node's diagnostics, so that their last counts are in the recording
)
SLOWEST_FRAME_S = 30.0
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class CameraTopics:
    """The topics of the played bag that the node listens to; its image topic may end in ``/compressed``."""

    image: str
    camera_info: str | None = None
    odometry: str | None = None

    @property
    def all(self) -> list[str]:
        """Their names."""
        return [topic for topic in (self.image, self.camera_info, self.odometry) if topic]


@dataclass(frozen=True)
class Run:
    """What is played through which node.

    ``outputs``, of :data:`geoseg_ros.messages.OUTPUTS`, are subscribed to; ``stored`` are those that ``bag``
    keeps besides the diagnostics. The bag is written without compression, so that recording takes little of
    what is measured. ``parameters`` go to the node.
    """

    source: Path
    topics: CameraTopics
    bag: Path
    arrivals: Path
    logs: Path
    rate: float = 1.0
    outputs: Sequence[str] = tuple(OUTPUTS)
    stored: Sequence[str] = tuple(OUTPUTS)
    parameters: Mapping[str, str] = field(default_factory=dict)
    domain: int | None = None

    @property
    def wanted(self) -> list[str]:
        """The topics that are subscribed to."""
        return [f"{NODE}/{output}" for output in self.outputs]


def camera_topics(bag: Path, image: str | None = None) -> CameraTopics:
    """The camera of a bag. Raises BagError where there is none."""
    with BagFrames(bag, image) as frames:
        return CameraTopics(frames.topic, frames.camera_topic, frames.odometry_topic)


def copy_bag(source: Path, out: Path, topics: Sequence[str] | None = None, seconds: float = math.inf) -> None:
    """Copy the first ``seconds`` of these topics (default all) to a new, compressed bag; latched stays so."""
    with BagReader(source) as reader, BagWriter(out) as writer:
        topics = list(reader.topics if topics is None else topics)
        for topic in topics:
            writer.add_topic(topic, reader.topics[topic].msgtype, reader.topics[topic].latched)
        for topic, stamp, msgtype, data in reader.raw_messages(topics):
            if stamp > reader.start + seconds * _NANOSECONDS:
                break
            writer.write_raw(topic, msgtype, data, stamp)


def record(run: Run, on_state: Callable[[str], None], on_counts: Callable[[Mapping[str, int]], None]) -> None:
    """Play the bag through the node and record what it publishes.

    ``on_state`` hears what is being waited for; ``on_counts`` the messages received so far by topic.

    :raises ProcessError: a process ended early or a state was not reached in time.
    """
    awaited = {*run.wanted, DIAGNOSTICS}
    with Supervisor(run.logs, private_environment(run.logs, run.domain)) as supervisor:
        on_state("starting the node")
        node = supervisor.start("perception_node", node_command(run))
        recorder = supervisor.start("bag_recorder", recorder_command(run))
        supervisor.wait(
            "the node to advertise its outputs", lambda: awaited <= _counts(recorder).keys(), READY_TIMEOUT_S
        )
        on_state("playing")
        began = time.monotonic()
        player = supervisor.start("bag_player", player_command(run))
        supervisor.wait(
            "the first image to be published",
            lambda: _count(recorder, run.topics.image) > 0,
            READY_TIMEOUT_S,
            may_end=[player],
        )
        supervisor.wait(
            "the bag to end",
            lambda: player.exit_code == 0,
            math.inf,
            may_end=[player],
            idle=lambda: on_counts(_counts(recorder)),
        )
        on_state("waiting for the last outputs")
        per_frame = (time.monotonic() - began) * len(run.outputs) / max(_total(recorder, run.wanted), 1)
        settled = _Settled(recorder, run.wanted, min(max(QUIET_S, 3 * per_frame), SLOWEST_FRAME_S / 2))
        supervisor.wait("the last outputs", settled, SLOWEST_FRAME_S, may_end=[player])
        on_counts(_counts(recorder))
        on_state("finishing")
        for child in (recorder, node):
            child.stop()
            supervisor.check(may_end=[player, recorder, node])


def node_command(run: Run) -> list[str]:
    """How the perception node is started."""
    remaps = {
        "image": run.topics.image.removesuffix("/compressed"),
        "camera_info": run.topics.camera_info,
        "odom": run.topics.odometry,
    }
    parameters = {"rectified": str("rect" in topic_words(run.topics.image)).lower(), **run.parameters}
    command = [sys.executable, "-m", "geoseg_ros.nodes.perception_node", "--ros-args"]
    for name, topic in remaps.items():
        command += ["-r", f"{name}:={topic or '/nobody' + NODE + '/' + name}"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    return command


def recorder_command(run: Run) -> list[str]:
    """How the recorder is started."""
    stored = {f"{NODE}/{output}" for output in run.stored}
    recorded = [topic for topic in run.wanted if topic in stored]
    timed = [topic for topic in run.wanted if topic not in stored]
    return [
        sys.executable,
        "-m",
        "geoseg_ros.nodes.bag_recorder",
        "--ros-args",
        "-p",
        f"topics:=[{','.join([*recorded, DIAGNOSTICS])}]",
        "-p",
        f"timed:=[{','.join([*timed, run.topics.image])}]",
        "-p",
        f"arrivals:={run.arrivals}",
        "-p",
        f"bag:={run.bag}",
        "-p",
        "compress:=false",
    ]


def player_command(run: Run) -> list[str]:
    """How the player is started: it waits until node and recorder listen."""
    awaited = [f"{run.topics.image}:2", *([run.topics.camera_info] if run.topics.camera_info else [])]
    return [
        sys.executable,
        "-m",
        "geoseg_ros.nodes.bag_player",
        str(run.source),
        "--rate",
        str(run.rate),
        "--topics",
        *run.topics.all,
        "--wait-for",
        *awaited,
    ]


class _Settled:
    """True once none of the ``wanted`` topics has brought anything for ``quiet`` seconds."""

    def __init__(self, recorder: Child, wanted: Sequence[str], quiet: float):
        self._recorder, self._wanted, self._quiet = recorder, wanted, quiet
        self._last, self._since = -1, time.monotonic()

    def __call__(self) -> bool:
        total = _total(self._recorder, self._wanted)
        now = time.monotonic()
        if total != self._last:
            self._last, self._since = total, now
        return now - self._since > self._quiet


def _total(recorder: Child, wanted: Sequence[str]) -> int:
    counts = _counts(recorder)
    return sum(counts.get(topic, 0) for topic in wanted)


def _counts(recorder: Child) -> Mapping[str, int]:
    event = recorder.event("counts")
    return event["counts"] if event else {}


def _count(recorder: Child, topic: str) -> int:
    return _counts(recorder).get(topic, 0)
