"""The model file: one ``.safetensors`` file whose header says what the weights are.

The header's metadata entry ``geoseg`` holds JSON: format number, architecture and its configuration, labels
and palette, input size, training camera, provenance, scores, licence. Files come from strangers: nothing in
them is executed, sizes are bounded before memory is taken, and whatever does not fit ends in a BundleError.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialise_tensors
from torch import Tensor

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BundleError, CameraError, ConfigError
from geoseg_ros.labels import LabelSet

FORMAT = 1
METADATA_KEY = "geoseg"
MAX_HEADER_BYTES = 4 << 20
MAX_FILE_BYTES = 2 << 30
MAX_INPUT_SIDE = 16384
MAX_DEPTH = 32
"""Levels of nesting that the header's JSON may have."""

TENSOR_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64)


@dataclass
class Bundle:
    """A trained network and what one must know to run and judge it.

    ``architecture`` names a network of the registry and ``config`` its configuration; ``input_size`` is
    (width, height) in pixels; ``camera`` the one it was trained with, if one; ``provenance`` (data, recipe,
    git commit), ``scores`` and ``licence`` are for people; ``weights`` is the network's state dict.
    """

    architecture: str
    config: dict[str, Any]
    labels: LabelSet
    input_size: tuple[int, int]
    camera: PinholeCamera | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    weights: dict[str, Tensor] = field(default_factory=dict)


def default_bundle_path() -> Path:
    """The model that is installed with the package."""
    return Path(__file__).resolve().parent / "models" / "perception_lite.safetensors"


def save_bundle(bundle: Bundle, path: str | Path, dtype: torch.dtype = torch.float16) -> None:
    """Write ``bundle`` to ``path``, replacing a file there only when all is written.

    Floating weights of two or more dimensions are stored as ``dtype``; vectors (biases, normalisation
    statistics) and values that ``dtype`` cannot hold stay float32. Raises BundleError where the bundle is not
    one that :func:`load_bundle` would read, or the file cannot be written.
    """
    path = Path(path)
    header = _header(bundle)
    try:
        text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"model for {path} has a header that is not JSON: {error}") from error
    _parse_header(text, path)
    _check_types(bundle.weights, path)
    _check_finite(bundle.weights, path)
    tensors = {name: _stored(value, dtype) for name, value in bundle.weights.items()}
    _write_atomically(serialise_tensors(tensors, metadata={METADATA_KEY: text}), path)


def load_bundle(path: str | Path) -> Bundle:
    """Read a model file; floating weights come back as float32. Raises BundleError with one sentence."""
    path = Path(path)
    data = _read(path)
    bundle = _parse_header(_metadata(data, path), path)
    try:
        weights = parse_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BundleError(f"model file {path} is damaged: {_first_line(error)}") from error
    _check_types(weights, path)
    bundle.weights = {
        name: value.float() if value.is_floating_point() else value for name, value in weights.items()
    }
    _check_finite(bundle.weights, path)
    return bundle


def parameter_count(bundle: Bundle) -> int:
    """Number of trained values: all weights but the running statistics of normalisation layers."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for name, value in bundle.weights.items() if not name.endswith(statistics))


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BundleError(f"model file {path} is a directory, expected a .safetensors file")
        if not path.exists():
            raise BundleError(f"model file {path} does not exist")
        if not path.is_file():
            raise BundleError(f"model file {path} is not a regular file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BundleError(f"model file {path} has {size} bytes, expected at most {MAX_FILE_BYTES}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BundleError(f"model file {path} cannot be read: {_first_line(error)}") from error


def _metadata(data: bytes, path: Path) -> str:
    """The JSON text under METADATA_KEY, from the safetensors header: 8 bytes of length, then JSON."""
    if len(data) < 8:
        raise BundleError(f"model file {path} has {len(data)} bytes, expected a .safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise BundleError(
            f"model file {path} is no geoseg model: its header claims {length} bytes, expected at most "
            f"{MAX_HEADER_BYTES}"
        )
    if 8 + length > len(data):
        raise BundleError(
            f"model file {path} is truncated: its header claims {length} bytes, the file has {len(data)}"
        )
    header = _json(data[8 : 8 + length], f"model file {path} is no .safetensors file: its header")
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise BundleError(
            f"model file {path} has no {METADATA_KEY!r} entry in its header, expected a geoseg model"
        )
    return text


def _json(text: bytes | str, what: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        data = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} is not valid JSON ({_first_line(error)})") from error
    if not isinstance(data, dict):
        raise BundleError(f"{what} is a JSON {type(data).__name__}, expected an object")
    return data


def _header(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "architecture": {"name": bundle.architecture, "config": bundle.config},
        "labels": bundle.labels.to_dict(),
        "input_size": list(bundle.input_size),
        "camera": bundle.camera.to_dict() if bundle.camera else None,
        "provenance": bundle.provenance,
        "scores": bundle.scores,
        "licence": bundle.licence,
    }


def _parse_header(text: str, path: Path) -> Bundle:
    """The bundle, without weights, that the header describes."""
    where = f"model file {path}"
    header = _json(text, f"{where}: its {METADATA_KEY!r} header")
    version = header.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{where} has the format number {version!r}, expected 1 to {FORMAT}")
    if version > FORMAT:
        raise BundleError(
            f"{where} has format {version} and was written by a newer version of geoseg_ros; "
            f"this one reads up to format {FORMAT}"
        )
    if _nesting(header) > MAX_DEPTH:
        raise BundleError(f"{where} has a header nested deeper than {MAX_DEPTH} levels")
    if not _finite(header):
        raise BundleError(f"{where} has an infinite number in its header, expected finite ones")
    architecture = _entry(header, "architecture", dict, where)
    size = _entry(header, "input_size", list, where)
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= MAX_INPUT_SIDE for side in size):
        raise BundleError(
            f"{where} has the input_size {size!r}, expected [width, height] from 1 to {MAX_INPUT_SIDE}"
        )
    try:
        camera = None if header.get("camera") is None else PinholeCamera.from_dict(header["camera"])
        labels = LabelSet.from_dict(_entry(header, "labels", dict, where))
    except (CameraError, ConfigError) as error:
        raise BundleError(f"{where}: {error}") from error
    return Bundle(
        architecture=_entry(architecture, "name", str, f"{where}: architecture"),
        config=_entry(architecture, "config", dict, f"{where}: architecture"),
        labels=labels,
        input_size=(size[0], size[1]),
        camera=camera,
        provenance=_entry(header, "provenance", dict, where),
        scores=_entry(header, "scores", dict, where),
        licence=_entry(header, "licence", str, where),
    )


def _entry(header: dict[str, Any], name: str, kind: type, where: str) -> Any:
    value = header.get(name)
    if not isinstance(value, kind):
        found = "missing" if name not in header else f"a {type(value).__name__}"
        raise BundleError(f"{where}: {name} is {found}, expected a {kind.__name__}")
    return value


def _nesting(value: Any) -> int:
    """Levels of containers in a JSON value, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_types(weights: dict[str, Tensor], path: Path) -> None:
    if not weights:
        raise BundleError(f"model file {path} holds no weights")
    for name, value in weights.items():
        if value.dtype not in TENSOR_DTYPES:
            raise BundleError(
                f"model file {path}: weight {name!r} has type {value.dtype}, expected a float or integer"
            )


def _check_finite(weights: dict[str, Tensor], path: Path) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise BundleError(f"model file {path}: weight {name!r} holds values that are not finite")


def _stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.detach().cpu()
    if value.is_floating_point():
        value = value.float()
        narrow = value.to(dtype)
        value = narrow if value.ndim >= 2 and torch.isfinite(narrow).all() else value
    return value.clone(memory_format=torch.contiguous_format)


def _write_atomically(data: bytes, path: Path) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise BundleError(f"model file {path} cannot be written: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
