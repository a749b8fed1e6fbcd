"""The training benchmark: rates by hand, a toy recipe, a bag to cache, and a public loop that is small and known."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from geoseg_ros.bags import BagReader
from geoseg_ros.frames import open_frames

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
CHECKOUT = {
    "options.py": """
import argparse

class MonodepthOptions:
    def parse(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--no_cuda", action="store_true", required=True)
        for name in ("data_path", "log_dir", "weights_init"):
            parser.add_argument(f"--{name}", required=True)
        for name in ("height", "width", "batch_size", "num_workers"):
            parser.add_argument(f"--{name}", type=int, required=True)
        return parser.parse_args()
""",
    "trainer.py": """
import os
import skimage.transform
import torch
import torchvision.models as models
from IPython import embed
from PIL import Image
from six.moves import urllib
from tensorboardX import SummaryWriter
from torchvision import transforms

def readlines(path):
    raise AssertionError("the benchmark brings its own split")

class Trainer:
    def __init__(self, options):
        assert (options.height, options.width, options.batch_size, options.weights_init) == (32, 64, 2, "scratch")
        assert readlines("train") == [f"drive {index} l" for index in range(1, 4)]
        folder = os.path.join(options.data_path, "drive/image_02/data")
        picture = Image.open(os.path.join(folder, "0000000003.jpg")).convert("RGB")
        jitter = transforms.ColorJitter.get_params((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.1, 0.1))
        resize = transforms.Resize((options.height, options.width), interpolation=Image.ANTIALIAS)
        tensor = transforms.ToTensor()(jitter(resize(picture)))
        assert tensor.shape == (3, 32, 64)
        self.train_loader = [{"image": tensor[None]}] * 2
        self.encoder = models.resnet18(False)
        self.model_optimizer = torch.optim.SGD(self.encoder.parameters(), 0.1)
        SummaryWriter(options.log_dir)

    def set_train(self):
        self.encoder.train()

    def process_batch(self, inputs):
        return {}, {"loss": self.encoder.conv1(inputs["image"]).mean()}
""",
}


def load(name: str):
    specification = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def benchmark():
    return load("training")


@pytest.fixture(scope="module")
def stand_ins():
    return load("stand_ins")


@pytest.fixture
def drive(tmp_path) -> Path:
    (tmp_path / "drive" / "images").mkdir(parents=True)
    for index in range(5):
        picture = np.random.default_rng(index).integers(0, 256, (48, 96, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "drive" / "images" / f"{index:06d}.jpg"), picture)
    return tmp_path / "drive"


def test_rates_and_ratios_by_hand(benchmark):
    ours = benchmark.Timing(12, data=[0.5, 0.5, 9.0], step=[2.5, 1.5, 1.0])
    public = benchmark.Timing(12, data=[1.0, 1.0], step=[5.0, 5.0])
    assert ours.rate == pytest.approx(12 / 3.0) and public.rate == pytest.approx(2.0)
    args = SimpleNamespace(size=(416, 128), batch=12, workers=0)
    content = benchmark.record(args, {benchmark.SAME_NETWORK: ours, benchmark.PUBLIC: public}, 321.0)
    assert content["ratio_to_public"] == {benchmark.SAME_NETWORK: pytest.approx(2.0), benchmark.PUBLIC: 1.0}
    assert content["loops"][benchmark.PUBLIC]["images_per_second"] == pytest.approx(2.0)
    assert content["cache_frames_per_second"] == 321.0
    assert benchmark.record(args, {benchmark.RECIPE: ours}, None)["ratio_to_public"] == {}
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--frames", "6"], "holds 5 .jpg images, expected --frames 6"),
        (["--frames", "5"], "--frames is 5, expected at least 20"),
        (["--data", "/nowhere"], "/nowhere/images holds 0 .jpg images"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(benchmark, drive, arguments, sentence):
    with pytest.raises(SystemExit, match=sentence):
        benchmark.main(["--data", str(drive), *arguments])


def test_a_recipes_steps_are_timed_after_the_warm_up(benchmark, tmp_path, monkeypatch):
    sys.path.insert(0, str(Path(__file__).parent / "training"))
    try:
        from toy_task import RECIPE, write_stills
    finally:
        sys.path.pop(0)
    from geoseg_ros.training.config import load_recipe

    write_stills(tmp_path)
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    (tmp_path / "toy.yaml").write_text(RECIPE)
    timing = benchmark.time_steps(load_recipe(str(tmp_path / "toy.yaml"), ["steps=5"]), batch=2)
    assert len(timing.data) == len(timing.step) == 5 - benchmark.WARM_UP
    assert min(timing.step) > 0 and timing.rate > 0


def test_the_bag_to_cache_holds_jpeg_images_of_the_wanted_size(benchmark, drive, tmp_path):
    path = benchmark.write_jpeg_bag(tmp_path / "bag", drive / "images", 7)
    with BagReader(path) as bag:
        assert bag.topics["/camera/image_raw/compressed"].count == 7
    with open_frames(path) as source:
        frames = list(source.frames())
    assert {frame.image.shape for frame in frames} == {(192, 640, 3)} and frames[0].camera.width == 640
    assert (frames[0].image != frames[1].image).any() and (frames[0].image == frames[5].image).all()


def test_a_public_loop_is_timed_as_it_is(drive, tmp_path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name, text in CHECKOUT.items():
        (checkout / name).write_text(text)
    sizes = {"width": 64, "height": 32, "batch": 2, "steps": 4, "warm-up": 1, "workers": 0, "frames": 5}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, str(BENCHMARKS / "public_monodepth2.py"), str(checkout), str(drive / "images"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told["data"]) == len(told["step"]) == 4 and min(told["step"]) > 0


def test_the_stand_in_network_is_resnet_18(stand_ins):
    network = stand_ins.resnet18(False).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_176_512, "without the classifier"
    x = network.maxpool(network.relu(network.bn1(network.conv1(torch.zeros(1, 3, 64, 96)))))
    shapes = []
    for index in range(1, 5):
        x = getattr(network, f"layer{index}")(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    with pytest.raises(ValueError, match="pretrained is True"):
        stand_ins.resnet18(True)


def test_the_stand_in_transforms_keep_values_where_nothing_changes(stand_ins):
    array = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image = stand_ins.Image.fromarray(array)
    tensor = stand_ins.ToTensor()(image)
    np.testing.assert_allclose(tensor.numpy(), array.transpose(2, 0, 1) / 255, atol=1e-6)
    assert stand_ins.Resize((2, 3), stand_ins.Image.Resampling.LANCZOS)(image).size == (3, 2)
    same = stand_ins.ColorJitter.get_params((1, 1), (1, 1), (1, 1), (0, 0))(image)
    assert np.abs(np.array(same).astype(int) - array).max() <= 8, "but for the way through HSV"
    darker = np.array(stand_ins.ColorJitter.get_params((0.5, 0.5), (1, 1), (1, 1), (0, 0))(image)).astype(float)
    assert darker.mean() == pytest.approx(array.mean() / 2, rel=0.05)
