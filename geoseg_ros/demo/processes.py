"""Child processes that never outlive their supervisor.

Every child runs in a session of its own, so that Ctrl-C reaches the supervisor first and a child's own
children are signalled with it. Leaving the supervisor ends each child's group by SIGINT, SIGTERM, SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geoseg_ros.errors import ProcessError
from geoseg_ros.process_events import parse_event

LAST_LINES = 15
STOP_STEPS = ((signal.SIGINT, 8.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02


class Child:
    """One running process: its output lines go to a log file, what it reports is kept as events."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        on_line: Callable[[], None],
    ):
        self.name = name
        self.log_path = log_path
        self._on_line = on_line
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._events: dict[str, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        self._reader = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id, which is the process group's id too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal, None while the process runs."""
        return self._process.poll()

    def last_lines(self) -> list[str]:
        """The last lines of the process's output, oldest first."""
        if self.exit_code is not None:
            self._reader.join(timeout=1.0)
        return list(self._last_lines)

    def event(self, name: str) -> dict[str, Any] | None:
        """The latest event of this name, None before there is one."""
        return self._events.get(name)

    def stop(self, steps: Sequence[tuple[signal.Signals, float]] = STOP_STEPS) -> int:
        """Signal the group step by step, each with its deadline in seconds; returns the exit code."""
        for number, seconds in steps:
            if self.exit_code is not None and not self._group_alive():
                break
            self._signal_group(number)
            deadline = time.monotonic() + seconds
            while (self.exit_code is None or self._group_alive()) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        if self.exit_code is None:
            raise ProcessError(
                f"{self.name} (process {self.pid}) is still alive after SIGKILL, expected it to end"
            )
        self._reader.join(timeout=1.0)
        return self.exit_code

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _read(self) -> None:
        with open(self.log_path, "w", encoding="utf-8") as log:
            for line in self._process.stdout:
                event = parse_event(line)
                if event is not None:
                    self._events[event["event"]] = event
                else:
                    log.write(line)
                    log.flush()
                    self._last_lines.append(line.rstrip("\n"))
                self._on_line()
        self._process.stdout.close()
        self._on_line()


class Supervisor:
    """Starts children and, when left, stops them all, the youngest first."""

    def __init__(self, log_folder: Path, environment: Mapping[str, str]):
        self._log_folder = log_folder
        self._environment = environment
        self._children: list[Child] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Supervisor:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop_all()

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a process whose output goes to ``<log folder>/<name>.log``."""
        child = Child(name, command, self._environment, self._log_folder / f"{name}.log", self._notify)
        self._children.append(child)
        return child

    def wait(
        self,
        what: str,
        done: Callable[[], bool],
        timeout: float,
        may_end: Sequence[Child] = (),
        idle: Callable[[], None] | None = None,
    ) -> None:
        """Wait until ``done()``; ``idle()`` is called some times a second meanwhile (progress).

        :param what: the awaited state, for the message, such as "the model to load".
        :param may_end: children that are allowed to end successfully meanwhile.
        :raises ProcessError: after ``timeout`` seconds, or when a child ends early, with its last lines.
        """
        deadline = time.monotonic() + timeout
        while not done():
            self.check(may_end)
            if time.monotonic() > deadline:
                raise ProcessError(f"waited {timeout:.0f} s for {what}\n{self._all_last_lines()}".rstrip())
            if idle is not None:
                idle()
            with self._changed:
                self._changed.wait(timeout=0.1)

    def check(self, may_end: Sequence[Child] = ()) -> None:
        """Raise :class:`ProcessError` with the last log lines of a child that ended early or failed."""
        for child in self._children:
            code = child.exit_code
            if code is None or (code == 0 and child in may_end):
                continue
            reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ProcessError(f"{child.name} ended early with {reason}; its last lines:\n{_indented(child)}")

    def stop_all(self) -> None:
        """Stop every child that still runs; a second Ctrl-C meanwhile kills what is left at once."""
        steps = STOP_STEPS
        failure: ProcessError | None = None
        with _interrupts_deferred() as interrupted:
            for child in reversed(self._children):
                if interrupted():
                    steps = STOP_STEPS[-1:]
                try:
                    child.stop(steps)
                except ProcessError as error:
                    failure = error
        if failure is not None:
            raise failure

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _all_last_lines(self) -> str:
        return "\n".join(
            f"last lines of {child.name}:\n{_indented(child)}"
            for child in self._children
            if child.last_lines()
        )


def _indented(child: Child) -> str:
    return "\n".join(f"    {line}" for line in child.last_lines()) or "    (none)"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back while children are being stopped; yields whether one came."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda received, frame: came.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def terminate_as_exit() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack (exit code 128 + signal), so that every ``with`` cleans up."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
