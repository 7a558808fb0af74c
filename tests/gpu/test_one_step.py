"""One step on the GPU against the same step on the CPU."""

import pytest
import torch

from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective, ObjectiveConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def one_step(device):
    """Loss, feature gradient and tables after a step on a device."""
    config = ObjectiveConfig(center=CenterConfig(weight=0.01), mml=MinimumMarginConfig(weight=1e-4, margin=20.0))
    objective = Objective(config, num_classes=500, dim=64, seed=3, device=torch.device(device))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn((96, 64), generator=generator).to(device).requires_grad_()
    labels = torch.randint(0, 500, (96,), generator=generator).to(device)
    loss = objective(features, labels)
    loss.total.backward()
    objective.step(0.1)
    state = {name: tensor.cpu() for name, tensor in objective.state().items()}
    return {"loss": loss.total.detach().cpu(), "gradient": features.grad.cpu(), **state}


def test_gpu_equals_cpu():
    on_cpu, on_gpu = one_step("cpu"), one_step("cuda")
    for name, expected in on_cpu.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(on_gpu[name], expected, rtol=0, atol=1e-5 * scale, msg=name)
