"""Image messages to RGB and back: every encoding, padding, byte order, damage; OpenCV is the oracle."""

from __future__ import annotations

import struct
from array import array
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from geoseg_ros import optional
from geoseg_ros.errors import ImageError
from geoseg_ros.messages import ENCODINGS, decode_compressed, decode_image, encode_image

SIZES = st.tuples(
    st.integers(2, 24).map(lambda side: 2 * side), st.integers(2, 16).map(lambda side: 2 * side)
)
SAMPLES = {  # encoding: sample type, samples per pixel, OpenCV's conversion of the 8-bit samples
    "mono8": (np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (np.uint16, 1, cv2.COLOR_GRAY2RGB),
    "rgb8": (np.uint8, 3, None),
    "bgr8": (np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "yuv422": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (np.uint8, 2, cv2.COLOR_YUV2RGB_YUY2),
    # OpenCV names a pattern by its second row's second and third pixel: rggb is BG.
    "bayer_rggb8": (np.uint8, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (np.uint8, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (np.uint8, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (np.uint8, 1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (np.uint16, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (np.uint16, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (np.uint16, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (np.uint16, 1, cv2.COLOR_BayerGB2RGB),
}


def message(
    samples: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """An Image with ``padding`` bytes of noise after each row, in the byte order asked for."""
    ordered = samples.astype(samples.dtype.newbyteorder(">" if big_endian else "<"))
    rows = ordered.reshape(samples.shape[0], -1).view(np.uint8)
    padded = np.hstack([rows, np.full((len(rows), padding), 0xA5, np.uint8)])
    height = samples.shape[0] * 2 // 3 if encoding == "nv12" else samples.shape[0]
    return SimpleNamespace(
        height=height,
        width=samples.shape[1],
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=array("B", padded.tobytes()),
    )


def noise(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def to_8_bit(samples: np.ndarray) -> np.ndarray:
    return samples if samples.dtype == np.uint8 else np.uint8(np.rint(samples * (255.0 / 65535.0)))


def test_the_table_covers_every_encoding() -> None:
    assert set(ENCODINGS) == {*SAMPLES, "nv12"}


@pytest.mark.parametrize("encoding", SAMPLES)
@given(size=SIZES, padding=st.integers(0, 9), big_endian=st.booleans(), seed=st.integers(0, 999))
def test_decoding_agrees_with_opencv(
    encoding: str, size: tuple[int, int], padding: int, big_endian: bool, seed: int
) -> None:
    dtype, channels, conversion = SAMPLES[encoding]
    samples = noise(seed, size[1], size[0], channels, dtype=dtype).squeeze()
    decoded = decode_image(message(samples, encoding, padding, big_endian))
    expected = to_8_bit(samples) if conversion is None else cv2.cvtColor(to_8_bit(samples), conversion)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, expected)


@given(size=SIZES, padding=st.integers(0, 9), seed=st.integers(0, 999))
def test_nv12_agrees_with_opencv(size: tuple[int, int], padding: int, seed: int) -> None:
    planes = noise(seed, size[1] * 3 // 2, size[0])
    decoded = decode_image(message(planes, "nv12", padding))
    np.testing.assert_array_equal(decoded, cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_are_named_by_their_first_four_pixels(pattern: str, bits: int) -> None:
    """A uniformly coloured surface must keep its colour: the names differ between ROS and OpenCV."""
    red, green, blue = 200, 120, 40
    tile = np.array([{"r": red, "g": green, "b": blue}[letter] for letter in pattern]).reshape(2, 2)
    mosaic = np.tile(tile, (8, 8)).astype(np.uint8)
    samples = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    decoded = decode_image(message(samples, f"bayer_{pattern}{bits}"))
    assert (decoded[4:-4, 4:-4] == (red, green, blue)).all()


def test_reading_rgb_without_padding_copies_nothing() -> None:
    image = message(noise(0, 8, 8, 3), "rgb8")
    assert np.shares_memory(decode_image(image), np.frombuffer(image.data, np.uint8))


def test_data_may_be_any_buffer_and_longer_than_needed() -> None:
    samples = noise(0, 8, 8, 3)
    image = message(samples, "rgb8", padding=3)
    for data in (image.data.tobytes(), np.frombuffer(image.data, np.uint8), bytearray(image.data) + b"more"):
        image.data = data
        np.testing.assert_array_equal(decode_image(image), samples)


def test_the_last_row_needs_no_padding() -> None:
    samples = noise(0, 8, 8, 3)
    image = message(samples, "rgb8", padding=5)
    image.data = image.data[:-5]
    np.testing.assert_array_equal(decode_image(image), samples)


@given(
    size=SIZES,
    encoding=st.sampled_from(["mono8", "mono16", "16UC1", "32FC1", "32FC2", "rgb8"]),
    seed=st.integers(0, 99),
)
def test_what_is_encoded_can_be_read_back(size: tuple[int, int], encoding: str, seed: int) -> None:
    dtype, channels = {
        "mono8": (np.uint8, 1), "mono16": (np.uint16, 1), "16UC1": (np.uint16, 1), "32FC1": (np.float32, 1),
        "32FC2": (np.float32, 2), "rgb8": (np.uint8, 3),
    }[encoding]  # fmt: skip
    values = noise(seed, size[1], size[0], channels, dtype=np.uint8).astype(dtype).squeeze()
    fields = encode_image(values, encoding)
    assert (fields["width"], fields["height"], fields["encoding"]) == (*size, encoding)
    assert fields["data"].dtype == np.uint8 and fields["data"].ndim == 1
    assert fields["step"] == size[0] * channels * np.dtype(dtype).itemsize
    assert len(fields["data"]) == fields["step"] * fields["height"]
    np.testing.assert_array_equal(fields["data"].view(dtype).reshape(values.shape), values)
    if encoding in ENCODINGS:
        expected = cv2.cvtColor(to_8_bit(values), cv2.COLOR_GRAY2RGB) if channels == 1 else values
        np.testing.assert_array_equal(decode_image(SimpleNamespace(**fields)), expected)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"width": 0}, "width is 0, expected 1 to 32767"),
        ({"height": 70000}, "height is 70000, expected 1 to 32767"),
        ({"step": 23}, "step is 23, expected at least 24 for 8×6 rgb8"),
        ({"data": b"\0" * 143}, "data has 143 bytes, expected 144 for 8×6 rgb8 with step 24"),
        ({"data": b""}, "data has 0 bytes, expected 144"),
        ({"encoding": ""}, "encoding is '', expected one of mono8, mono16"),
        ({"encoding": "32FC1"}, "encoding is '32FC1', expected one of"),
        ({"encoding": "yuv422", "width": 7}, "width is 7, expected an even number for encoding yuv422"),
        ({"encoding": "nv12", "height": 5}, "height is 5, expected an even number for encoding nv12"),
        (
            {"encoding": "nv12", "data": b"\0" * 100},
            "data has 100 bytes, expected 200 for 8×6 nv12 with step 24",
        ),
    ],
)
def test_what_cannot_be_an_image_is_named(changes: dict[str, object], sentence: str) -> None:
    image = message(noise(0, 6, 8, 3), "rgb8")
    for field, value in changes.items():
        setattr(image, field, value)
    with pytest.raises(ImageError) as caught:
        decode_image(image)
    assert str(caught.value).startswith(sentence)


@given(
    width=st.integers(0, 70000),
    height=st.integers(0, 70000),
    step=st.integers(0, 2**32 - 1),
    encoding=st.sampled_from([*ENCODINGS, "jpeg", "rgb8 "]),
    data=st.binary(max_size=300),
)
@example(width=2, height=1, step=2**32 - 1, encoding="mono16", data=b"1234")
@example(width=1, height=1, step=1, encoding="bayer_rggb8", data=b"1")
def test_hostile_fields_give_an_image_or_an_image_error(
    width: int, height: int, step: int, encoding: str, data: bytes
) -> None:
    image = SimpleNamespace(
        width=width, height=height, step=step, encoding=encoding, is_bigendian=0, data=data
    )
    try:
        assert decode_image(image).shape == (height, width, 3)
    except ImageError:
        pass


@pytest.mark.parametrize(
    "array_, encoding, sentence",
    [
        (
            np.zeros((4, 4), np.float64),
            "32FC1",
            "array for 32FC1 is float64 of shape (4, 4), expected float32 with 1",
        ),
        (
            np.zeros((4, 4, 3), np.uint8),
            "mono8",
            "array for mono8 is uint8 of shape (4, 4, 3), expected uint8 with 1",
        ),
        (np.zeros((4, 4), np.uint8), "jpeg", "encoding is 'jpeg', expected one of mono8"),
    ],
)
def test_what_does_not_fit_its_encoding_is_not_written(
    array_: np.ndarray, encoding: str, sentence: str
) -> None:
    with pytest.raises(ImageError) as caught:
        encode_image(array_, encoding)
    assert str(caught.value).startswith(sentence)


def compressed(picture: np.ndarray, extension: str, kind: str) -> SimpleNamespace:
    return SimpleNamespace(format=kind, data=array("B", cv2.imencode(extension, picture)[1].tobytes()))


def test_png_keeps_colours_and_scales_sixteen_bits() -> None:
    rgb = noise(0, 9, 11, 3)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    np.testing.assert_array_equal(
        decode_compressed(compressed(bgr, ".png", "rgb8; png compressed bgr8")), rgb
    )
    np.testing.assert_array_equal(
        decode_compressed(compressed(bgr.astype(np.uint16) * 257, ".png", "png")), rgb
    )
    grey = decode_compressed(compressed(rgb[..., 0], ".png", "mono8; png compressed mono8"))
    np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, axis=2))
    transparent = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    np.testing.assert_array_equal(decode_compressed(compressed(transparent, ".png", "png")), rgb)


def test_jpeg_is_close_and_in_the_right_order() -> None:
    picture = np.full((16, 16, 3), (30, 90, 220), np.uint8)  # blue, green, red
    assert (
        np.abs(decode_compressed(compressed(picture, ".jpg", "jpeg")).astype(int) - (220, 90, 30)).max() < 6
    )
    stored_as_rgb = decode_compressed(compressed(picture, ".jpg", "rgb8; jpeg compressed rgb8"))
    assert np.abs(stored_as_rgb.astype(int) - (30, 90, 220)).max() < 6


def test_a_compressed_mosaic_is_demosaiced() -> None:
    mosaic = np.tile(np.array([[200, 120], [120, 40]], np.uint8), (8, 8))
    decoded = decode_compressed(compressed(mosaic, ".png", "bayer_rggb8; png compressed bayer_rggb8"))
    assert (decoded[4:-4, 4:-4] == (200, 120, 40)).all()


@pytest.mark.parametrize("extension, kind", [(".jpg", "JPEG"), (".png", "PNG")])
@given(data=st.data())
def test_a_truncated_picture_is_an_image_error(extension: str, kind: str, data: st.DataObject) -> None:
    whole = compressed(noise(0, 24, 24, 3), extension, kind)
    whole.data = whole.data[: data.draw(st.integers(0, len(whole.data) - 3))]
    with pytest.raises(ImageError, match="^data"):
        decode_compressed(whole)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_hostile_data_gives_a_picture_or_an_image_error(data: bytes, start: bytes) -> None:
    try:
        assert decode_compressed(SimpleNamespace(format="jpeg", data=start + data)).ndim == 3
    except ImageError:
        pass


def test_a_huge_picture_is_refused() -> None:
    whole = bytes(compressed(noise(0, 4, 4, 3), ".png", "png").data)
    header = struct.pack(">II", 2**30, 2**30)
    with pytest.raises(ImageError, match="^data is a"):
        decode_compressed(SimpleNamespace(format="png", data=whole[:16] + header + whole[24:]))


def test_unknown_encodings_go_to_cv_bridge_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class CvBridge:
        def imgmsg_to_cv2(self, image: SimpleNamespace, desired_encoding: str) -> np.ndarray:
            if image.encoding != "rgb16":
                raise bridge.CvBridgeError("no such encoding")
            return np.full((image.height, image.width, 3), 7, np.uint8)

    bridge = ModuleType("cv_bridge")
    bridge.CvBridge, bridge.CvBridgeError = CvBridge, type("CvBridgeError", (Exception,), {})
    monkeypatch.setattr(optional, "cv_bridge", lambda: bridge)
    image = message(noise(0, 6, 8, 3, dtype=np.uint16), "rgb16")
    assert (decode_image(image) == 7).all()
    image.encoding = "rgb9"
    with pytest.raises(
        ImageError, match="encoding is 'rgb9', which cv_bridge cannot convert: no such encoding"
    ):
        decode_image(image)


def test_cv_bridge_agrees_where_it_is_installed() -> None:
    cv_bridge = pytest.importorskip("cv_bridge")
    sensor_msgs = pytest.importorskip("sensor_msgs.msg")
    for encoding in (
        "mono8",
        "rgb8",
        "bgr8",
        "rgba8",
        "bgra8",
        "bayer_rggb8",
        "bayer_grbg8",
        "yuv422",
        "yuv422_yuy2",
    ):
        dtype, channels, _ = SAMPLES[encoding]
        plain = message(noise(3, 6, 8, channels, dtype=dtype).squeeze(), encoding)
        image = sensor_msgs.Image(**vars(plain))
        expected = cv_bridge.CvBridge().imgmsg_to_cv2(image, desired_encoding="rgb8")
        np.testing.assert_array_equal(decode_image(image), expected, err_msg=encoding)
