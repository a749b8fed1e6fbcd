"""The rows and the two protocols of the study of geometry guidance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A row: its recipe with changes, and the keys that take its weight where that is to be swept."""

    title: str
    recipe: str
    changes: tuple[str, ...] = ()
    swept: tuple[str, ...] = ()
    multitask: bool = False


GUIDED = "bisenet_camvid_holistic"
AT_ONCE, GUIDANCE_WEIGHT = "loss.guidance.ramp=0", ("loss.guidance.weight",)
METHODS = {
    "baseline": Method("baseline", "bisenet_camvid"),
    "per_class": Method("L_p, pretrained depth", GUIDED, (AT_ONCE, "loss.guidance.form=per_class"), GUIDANCE_WEIGHT),
    "holistic": Method("L_h, pretrained depth", GUIDED, (AT_ONCE, "loss.guidance.form=holistic"), GUIDANCE_WEIGHT),
    "chen": Method("Chen, pretrained depth", GUIDED, (AT_ONCE, "loss.guidance.form=shared_class"), GUIDANCE_WEIGHT),
    "chen_multitask": Method(
        "Chen, multitask depth", "bisenet_camvid_chen_multitask", swept=("loss.shared_class",), multitask=True
    ),
    "klingner": Method("Klingner", "bisenet_camvid_klingner", multitask=True),
    "novosel": Method("Novosel", "bisenet_camvid_novosel", swept=("loss.depth", "loss.colour"), multitask=True),
}


@dataclass(frozen=True)
class Protocol:
    """Settings of every run, those of the runs with a drive beside CamVid, the length of a run in steps, and the encoders."""

    encoders: tuple[str, ...]
    steps: int
    settings: tuple[str, ...]
    drive: tuple[str, ...]


SHARED = (
    "optimizer={name: adamw, lr: 1.0e-3, weight_decay: 1.0e-2, clip: 5.0}",
    "statistics_from=0.8",
    "picture_every=1000000",
)
PROTOCOLS = {
    # 0.52 to 0.88 of the picture's size in training, 0.69 at run time; KITTI 00 keeps its size.
    "small": Protocol(
        ("lite",),
        250,
        (
            *SHARED,
            "crop=[192, 128]",
            "network.input_size=[320, 256]",
            "augment.scale=[1.3, 2.2]",
            "schedule={name: cosine, warmup: 20}",
            "ema=0.98",
            "statistics_batches=20",
            "checkpoint_every=200",
        ),
        ("loss.scales=2",),
    ),
    "full": Protocol(
        ("resnet18", "resnet50"),
        12000,
        (
            *SHARED,
            "crop=[384, 256]",
            "augment.scale=[0.95, 2.5]",
            "schedule={name: cosine, warmup: 500}",
            "ema=0.999",
            "statistics_batches=100",
            "checkpoint_every=1000",
            "data.camvid.batch=16",
            "workers=8",
        ),
        ("data.kitti00.batch=8",),
    ),
}
