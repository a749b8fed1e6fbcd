"""``sensor_msgs/Image`` and ``CompressedImage`` to RGB arrays and back.

Messages are duck-typed: rclpy's and rosbags' classes both work. Reading is zero-copy up to the colour
conversion: an ``rgb8`` image without padding is a view of the message's own memory.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import cv2
import numpy as np

from geoseg_ros import optional
from geoseg_ros.errors import ImageError

MAX_SIDE = 32767  # cv2.remap's limit
_NATIVE_BIG_ENDIAN = sys.byteorder == "big"
_ARRAYS = {
    "mono8": (np.uint8, 1),
    "8UC1": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
    "32FC2": (np.float32, 2),
}
"""Encodings of images that are no pictures: sample type, samples per pixel."""


class _Packed(NamedTuple):
    """One interleaved plane: sample type, samples per pixel, conversion to RGB (None: is RGB)."""

    dtype: type
    channels: int
    to_rgb: int | None


_UYVY = _Packed(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY)
_YUYV = _Packed(np.uint8, 2, cv2.COLOR_YUV2RGB_YUYV)
_BAYER = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
}
_PACKED = {
    "mono8": _Packed(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Packed(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    "rgb8": _Packed(np.uint8, 3, None),
    "bgr8": _Packed(np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Packed(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Packed(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    **{f"bayer_{name}8": _Packed(np.uint8, 1, code) for name, code in _BAYER.items()},
    **{f"bayer_{name}16": _Packed(np.uint16, 1, code) for name, code in _BAYER.items()},
}
ENCODINGS = (*_PACKED, "nv12")

_WRITTEN = {  # encodings of the outputs: sample type, samples per pixel
    "mono8": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
    "32FC2": (np.float32, 2),
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
}


def decode_image(msg: Any) -> np.ndarray:
    """The RGB picture of a ``sensor_msgs/Image``: H×W×3 uint8, contiguous; 16-bit samples are scaled by
    255/65535.

    The result may share the message's memory. Encodings beyond :data:`ENCODINGS` go to ``cv_bridge`` where
    that is installed. Raises :class:`ImageError`, which names field, value and what was expected.
    """
    encoding = msg.encoding
    for side in ("width", "height"):
        if not 1 <= getattr(msg, side) <= MAX_SIDE:
            raise ImageError(f"{side} is {getattr(msg, side)}, expected 1 to {MAX_SIDE}")
    if encoding == "nv12":
        return cv2.cvtColor(_nv12_planes(msg), cv2.COLOR_YUV2RGB_NV12)
    packed = _PACKED.get(encoding)
    if packed is None:
        return _decode_with_cv_bridge(msg)
    samples = _read_samples(msg, packed)
    if packed.dtype is np.uint16:
        samples = _to_8_bit(samples)
    return _to_rgb(samples, packed)


def decode_compressed(msg: Any) -> np.ndarray:
    """The RGB picture of a JPEG or PNG ``sensor_msgs/CompressedImage``: H×W×3 uint8, contiguous.

    A ``format`` of image_transport ("bayer_rggb8; jpeg compressed") says how the decoded samples are to be
    read. Raises :class:`ImageError` for other formats, and for empty, damaged or truncated data.
    """
    data = np.frombuffer(msg.data, np.uint8)
    kind = _picture_kind(data)
    if kind is None:
        start = data[:4].tobytes().hex() or "nothing"
        raise ImageError(
            f"data of {data.size} bytes with format '{msg.format}' starts with {start}, expected JPEG or PNG"
        )
    if kind == "JPEG" and data.tobytes().rfind(b"\xff\xd9") < 0:
        raise ImageError(
            f"data is a JPEG of {data.size} bytes without its end marker, expected a whole picture"
        )
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ImageError(f"data is a {kind} of {data.size} bytes that OpenCV refuses: {error.err}") from error
    if picture is None:
        raise ImageError(f"data is a damaged {kind} of {data.size} bytes, expected a whole picture")
    if picture.dtype != np.uint8:
        picture = _to_8_bit(picture)
    source, _, compressed = msg.format.partition(";")
    if picture.ndim == 3:
        stored_as_rgb = compressed.strip().endswith("compressed rgb8")
        return picture if stored_as_rgb else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    packed = _PACKED[source] if source.startswith("bayer_") and source in _PACKED else _PACKED["mono8"]
    return _to_rgb(picture, packed)


def decode_array(message: Any) -> np.ndarray:
    """The values of an output image: H×W or H×W×2; 16UC1 depth becomes metres, NaN where it is 0.

    Raises ImageError for an encoding that no output has, or too little data.
    """
    if message.encoding not in _ARRAYS:
        raise ImageError(f"encoding is '{message.encoding}', expected one of {', '.join(_ARRAYS)}")
    dtype, channels = _ARRAYS[message.encoding]
    dtype = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.step * message.height:
        raise ImageError(
            f"data has {data.size} bytes and step {message.step}, expected {message.height} rows of {row}"
        )
    rows = np.ascontiguousarray(
        data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    )
    values = rows.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    values = values.reshape(message.height, message.width, channels)
    if message.encoding == "16UC1":
        return np.where(values[..., 0] > 0, values[..., 0] * np.float32(1e-3), np.float32("nan"))
    return values[..., 0] if channels == 1 else values


def depth_counts(depth: np.ndarray, per_metre: float) -> np.ndarray:
    """Depth H×W in metres as uint16 counts, ``per_metre`` to the metre; 0 where it is unknown or too far."""
    counts = depth * per_metre
    representable = (counts > 0.0) & (counts < 65535.5)
    return np.where(representable, np.rint(counts), 0.0).astype(np.uint16)


def encode_image(array: np.ndarray, encoding: str) -> dict[str, Any]:
    """The fields of a ``sensor_msgs/Image`` for H×W or H×W×C: data is a contiguous 1-D uint8 array, a view if
    it can be.

    Raises :class:`ImageError` when the array's type or shape does not fit the encoding.
    """
    if encoding not in _WRITTEN:
        raise ImageError(f"encoding is '{encoding}', expected one of {', '.join(_WRITTEN)}")
    dtype, channels = _WRITTEN[encoding]
    found = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if array.dtype != dtype or found != channels:
        raise ImageError(
            f"array for {encoding} is {array.dtype} of shape {array.shape}, "
            f"expected {np.dtype(dtype)} with {channels} channel(s)"
        )
    height, width = array.shape[:2]
    return {
        "height": height,
        "width": width,
        "encoding": encoding,
        "is_bigendian": int(_NATIVE_BIG_ENDIAN),
        "step": width * channels * array.itemsize,
        "data": np.ascontiguousarray(array).reshape(-1).view(np.uint8),
    }


def _read_samples(msg: Any, packed: _Packed) -> np.ndarray:
    """A view H×W or H×W×C of the message's data, in the byte order of the message."""
    dtype = np.dtype(packed.dtype)
    if dtype.itemsize > 1:
        dtype = dtype.newbyteorder(">" if msg.is_bigendian else "<")
    if packed.channels == 2 and msg.width % 2:
        raise ImageError(f"width is {msg.width}, expected an even number for encoding {msg.encoding}")
    pixel_bytes = packed.channels * dtype.itemsize
    _check_data(msg, rows=msg.height, row_bytes=msg.width * pixel_bytes)
    shape = (msg.height, msg.width, packed.channels)
    strides = (msg.step, pixel_bytes, dtype.itemsize)
    samples = np.ndarray(shape, dtype, np.frombuffer(msg.data, np.uint8), strides=strides)
    return samples[:, :, 0] if packed.channels == 1 else samples


def _nv12_planes(msg: Any) -> np.ndarray:
    """Brightness rows followed by half as many rows of interleaved colour: (3/2 H)×W uint8."""
    for side in ("width", "height"):
        if getattr(msg, side) % 2:
            raise ImageError(f"{side} is {getattr(msg, side)}, expected an even number for encoding nv12")
    rows = msg.height * 3 // 2
    _check_data(msg, rows=rows, row_bytes=msg.width)
    return np.ndarray((rows, msg.width), np.uint8, np.frombuffer(msg.data, np.uint8), strides=(msg.step, 1))


def _check_data(msg: Any, rows: int, row_bytes: int) -> None:
    """Step and amount of data must hold ``rows`` of ``row_bytes``; the last row needs no padding."""
    described = f"{msg.width}×{msg.height} {msg.encoding}"
    if msg.step < row_bytes:
        raise ImageError(f"step is {msg.step}, expected at least {row_bytes} for {described}")
    needed = msg.step * (rows - 1) + row_bytes
    if len(msg.data) < needed:
        raise ImageError(
            f"data has {len(msg.data)} bytes, expected {needed} for {described} with step {msg.step}"
        )


def _to_8_bit(samples: np.ndarray) -> np.ndarray:
    native = np.ascontiguousarray(samples, dtype=np.uint16)
    return cv2.convertScaleAbs(native, alpha=255.0 / 65535.0)


def _to_rgb(samples: np.ndarray, packed: _Packed) -> np.ndarray:
    return np.ascontiguousarray(samples) if packed.to_rgb is None else cv2.cvtColor(samples, packed.to_rgb)


def _picture_kind(data: np.ndarray) -> str | None:
    start = data[:8].tobytes()
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    return None


def _decode_with_cv_bridge(msg: Any) -> np.ndarray:
    cv_bridge = optional.cv_bridge()
    if cv_bridge is None:
        raise ImageError(f"encoding is '{msg.encoding}', expected one of {', '.join(ENCODINGS)}")
    try:
        return np.ascontiguousarray(cv_bridge.CvBridge().imgmsg_to_cv2(msg, desired_encoding="rgb8"))
    except cv_bridge.CvBridgeError as error:
        raise ImageError(f"encoding is '{msg.encoding}', which cv_bridge cannot convert: {error}") from error
