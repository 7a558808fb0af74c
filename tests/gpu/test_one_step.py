"""One step on the GPU against the same step on the CPU."""

import pytest
import torch

from lightning_face.data.augment import NUM_DRAWS, AugmentConfig, augment, normalise
from lightning_face.losses import class_sums
from lightning_face.models import build_backbone
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from tests.heads import CASES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def one_step(device, config):
    """Loss, feature gradient and tables after a step on a device."""
    counts = torch.arange(1, 501)
    objective = Objective(config, num_classes=500, dim=64, seed=3, device=torch.device(device), class_counts_C=counts)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((96, 64), generator=generator).to(device).requires_grad_()
    labels = torch.randint(0, 500, (96,), generator=generator).to(device)
    loss = objective(features, labels, noise_B=torch.randn((96,), generator=generator).to(device))
    loss.total.backward()
    objective.step(0.1)
    state = {name: tensor.cpu() for name, tensor in objective.state().items()}
    return {"loss": loss.total.detach().cpu(), "gradient": features.grad.cpu(), **state}


def assert_gpu_equals_cpu(config, tolerance):
    on_cpu, on_gpu = one_step("cpu", config), one_step("cuda", config)
    for name, expected in on_cpu.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(on_gpu[name], expected, rtol=0, atol=tolerance * scale, msg=name)


def test_gpu_equals_cpu():
    mml = MinimumMarginConfig(weight=1e-4, margin=20.0)
    assert_gpu_equals_cpu(ObjectiveConfig(center=CenterConfig(weight=0.01), mml=mml), 1e-5)


@pytest.mark.parametrize("placement", ["replicated", "sharded"])
@pytest.mark.parametrize("name", CASES)
def test_heads_on_the_gpu_equal_those_on_the_cpu(name, placement):
    softmax = SoftmaxConfig(head=CASES[name].head(8.0), init_std=1.0, placement=placement)
    assert_gpu_equals_cpu(ObjectiveConfig(softmax, center=None), 1e-4)


def test_class_sums_have_the_same_bits_every_time():
    features, slots = torch.randn((4096, 64), device="cuda"), torch.randint(0, 5, (4096,), device="cuda")
    sums = [class_sums(features, slots, 5) for _ in range(5)]
    assert all(torch.equal(again, sums[0]) for again in sums)


def whole_step(device, precision):
    """Loss and gradients of bytes -> augmentation -> network -> objective, channels last, on a device."""
    torch.manual_seed(0)
    backbone = build_backbone("test_convnext", embedding_dim=64, image_size=32, neck="linear")
    backbone = backbone.to(device, memory_format=torch.channels_last)
    objective = Objective(ObjectiveConfig(), num_classes=50, dim=64, seed=3, device=torch.device(device))
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (24, 40, 40, 3), dtype=torch.uint8, generator=generator).to(device)
    draws = torch.rand((24, NUM_DRAWS), generator=generator).to(device)
    labels = torch.randint(0, 50, (24,), generator=generator).to(device)
    colours = {"contrast": 0.2, "saturation": 0.2, "brightness": 0.1, "recolour_probability": 0.5}
    quality = {"crop_probability": 0.5, "low_resolution_probability": 0.5}
    changes = AugmentConfig(rotation_deg=10, scale=0.1, shift=0.05, **colours, **quality)
    images = augment(normalise(pixels, 32), draws, changes)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
        features = backbone(images)
    loss = objective(features, labels)
    loss.total.backward()
    gradients = {name: parameter.grad.cpu() for name, parameter in backbone.named_parameters()}
    return {"loss": loss.total.detach().cpu(), "images": images.cpu(), **gradients}


@pytest.mark.parametrize("precision, tolerance", [("32", 1e-3), ("bf16", 0.1)])
def test_whole_step_on_gpu_equals_cpu_in_float32(monkeypatch, precision, tolerance):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    on_cpu, on_gpu = whole_step("cpu", "32"), whole_step("cuda", precision)
    for name, expected in on_cpu.items():
        difference = (on_gpu[name] - expected).norm() / expected.norm().clamp_min(1e-12)
        assert difference < tolerance or expected.norm() < 1e-6, name
