"""The node's parameters, declared once: types, defaults, units, ranges, when a change takes effect, checks.

The same table declares them on the node, rejects bad values with a sentence, and renders the README's table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg_ros.bundle import default_bundle_path, load_bundle
from geoseg_ros.errors import ConfigError, GeosegError
from geoseg_ros.labels import LabelSet
from geoseg_ros.messages import DEPTH_ENCODINGS, OUTPUTS
from geoseg_ros.motion import MOTION_METHODS
from geoseg_ros.scale import MAX_CAMERA_HEIGHT, check_camera_height

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

AT_ONCE = "at once"
ON_CONFIGURE = "at the next configure"
AT_START = "read-only"
LABELS = "labels"


@dataclass(frozen=True)
class Declaration:
    """One parameter. ``effect``: when a change counts. ``check`` raises GeosegError for a bad value."""

    name: str
    default: Any
    description: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    effect: str = AT_ONCE
    check: Callable[[Any], None] | None = None

    @property
    def constraint(self) -> str:
        """The values allowed, in words; empty where the type says all."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.bounds:
            return f"{self.bounds[0]:g} to {self.bounds[1]:g}"
        return ""

    def validate(self, value: Any) -> None:
        """Raise a GeosegError that names the parameter, the value found and the value expected."""
        values = value if isinstance(value, (list, tuple)) else [value]
        if self.choices:
            for item in values:
                if item not in self.choices:
                    raise ConfigError(f"{self.name} is '{item}', expected {self.constraint}")
        if self.check is not None:
            self.check(value)


def _check_model(path: str) -> None:
    load_bundle(path or default_bundle_path())


def _check_device(device: str) -> None:
    if device in ("auto", "cpu"):
        return
    kind, _, index = device.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()):
        raise ConfigError(f"device is '{device}', expected auto, cpu, cuda or cuda:N")
    from torch import cuda

    if int(index or 0) >= cuda.device_count():
        raise ConfigError(f"device is '{device}', but this machine has {cuda.device_count()} CUDA device(s)")


PARAMETERS: tuple[Declaration, ...] = (
    Declaration(
        "model",
        "",
        "Model file (.safetensors bundle); empty for the one that comes with the package.",
        effect=ON_CONFIGURE,
        check=_check_model,
    ),
    Declaration(
        "device",
        "auto",
        "Where to compute: auto, cpu, cuda or cuda:N.",
        effect=ON_CONFIGURE,
        check=_check_device,
    ),
    Declaration(
        "precision",
        "auto",
        "Number format of the computation; auto takes the fastest of the device.",
        choices=("auto", "float32", "float16", "bfloat16"),
        effect=ON_CONFIGURE,
    ),
    Declaration(
        "threads",
        0,
        "CPU threads of the network; 0: half of the cores, for camera, DDS and publishing need some, too.",
        bounds=(0, 1024),
        effect=ON_CONFIGURE,
    ),
    Declaration(
        "outputs",
        tuple(OUTPUTS),
        "Topics to advertise. segmentation_node, depth_node and motion_node differ in this default only.",
        choices=tuple(OUTPUTS),
        effect=ON_CONFIGURE,
    ),
    Declaration(
        "lazy", True, "Compute only what a subscriber listens to; false: always compute all outputs."
    ),
    Declaration(
        "image_transport",
        "auto",
        "Input to listen to: raw (image), compressed (image/compressed), auto (raw where it is published).",
        choices=("auto", "raw", "compressed"),
    ),
    Declaration(
        "reliability",
        "auto",
        "Reliability of the input subscriptions; auto joins whatever publishes.",
        choices=("auto", "reliable", "best_effort"),
    ),
    Declaration(
        "rectified",
        False,
        "The input is rectified already (image_rect): use P of camera_info and no distortion.",
    ),
    Declaration(
        "camera_height",
        0.0,
        "The camera's height above the road, for metric scale where there is no odometry; 0: not known.",
        unit="m",
        bounds=(0.0, MAX_CAMERA_HEIGHT),
        effect=ON_CONFIGURE,
        check=check_camera_height,
    ),
    Declaration(
        "depth_encoding",
        "32FC1",
        "Format of depth/image: 32FC1 is metres, NaN for unknown; 16UC1 is millimetres, 0 for unknown.",
        choices=DEPTH_ENCODINGS,
    ),
    Declaration(
        "motion_method",
        MOTION_METHODS[0],
        "How own motion is told: by the network (learned), or from flow against rigid flow by a formula.",
        choices=MOTION_METHODS,
    ),
    Declaration(
        "diagnostics_period", 1.0, "Time between two messages on /diagnostics.", unit="s", bounds=(0.1, 60.0)
    ),
    Declaration(
        "autostart",
        True,
        "Configure and activate by itself; false: wait for lifecycle transitions.",
        effect=AT_START,
    ),
    Declaration(
        LABELS,
        "",
        "Class names, palette and dynamic classes of the model as JSON; the node sets it when configured.",
        effect=AT_START,
    ),
)


class Parameters:
    """The node's parameters as attributes (``parameters.lazy``), always at their current value."""

    def __init__(self, node: Node, outputs: Sequence[str]) -> None:
        """Declare all, with ``outputs`` as that parameter's default. Raises ConfigError for a bad value."""
        from rclpy.exceptions import InvalidParameterValueException

        self._node = node
        self._refusal = ""
        self._declarations = {declaration.name: declaration for declaration in PARAMETERS}
        node.add_on_set_parameters_callback(self._validate)
        for declaration in PARAMETERS:
            default = list(outputs) if declaration.name == "outputs" else declaration.default
            try:
                node.declare_parameter(declaration.name, default, _descriptor(declaration))
            except InvalidParameterValueException as error:
                raise ConfigError(self._refusal or f"parameter {declaration.name}: {error}") from error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._declarations:
            raise AttributeError(name)
        return self._node.get_parameter(name).value

    @property
    def model_path(self) -> Path:
        """The model file that ``model`` names."""
        return Path(self.model or default_bundle_path())

    def publish_labels(self, labels: LabelSet) -> None:
        """Show the model's label set in the parameter that is read-only for everyone else."""
        from rclpy.parameter import Parameter

        descriptor = self._node.describe_parameter(LABELS)
        descriptor.read_only = False
        self._node.set_parameters([Parameter(LABELS, value=json.dumps(labels.to_dict()))])
        descriptor.read_only = True

    def _validate(self, parameters: list[Parameter]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        for parameter in parameters:
            declaration = self._declarations.get(parameter.name)
            if declaration is None:
                continue
            try:
                declaration.validate(parameter.value)
            except GeosegError as error:
                self._refusal = str(error)
                return SetParametersResult(successful=False, reason=self._refusal)
        return SetParametersResult(successful=True)


def _descriptor(declaration: Declaration) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    unit = f" [{declaration.unit}]" if declaration.unit else ""
    whole = isinstance(declaration.default, int)
    range_type = IntegerRange if whole else FloatingPointRange
    ranges = [range_type(from_value=low, to_value=high) for low, high in filter(None, [declaration.bounds])]
    return ParameterDescriptor(
        description=f"{declaration.description}{unit} Changes count {declaration.effect}."
        if declaration.effect != AT_START
        else f"{declaration.description}{unit}",
        additional_constraints=declaration.constraint,
        read_only=declaration.effect == AT_START,
        **{"integer_range" if whole else "floating_point_range": ranges},
    )


def parameter_table() -> str:
    """The parameters as a Markdown table for the README."""
    rows = ["| parameter | default | allowed | change counts | meaning |", "|---|---|---|---|---|"]
    for declaration in PARAMETERS:
        is_outputs = declaration.name == "outputs"
        default = "all topics" if is_outputs else f"`{json.dumps(declaration.default)}`"
        allowed = "output topics, see above" if is_outputs else declaration.constraint
        unit = f" {declaration.unit}" if declaration.unit else ""
        rows.append(
            f"| `{declaration.name}` | {default}{unit} | {allowed}{unit if allowed else ''} "
            f"| {declaration.effect} | {declaration.description} |"
        )
    return "\n".join(rows) + "\n"
