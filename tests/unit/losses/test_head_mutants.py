"""A changed sign or constant in a head is noticed by its quick comparison with its equation."""

import math
from collections.abc import Callable
from itertools import product
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_face.errors import ConfigError
from lightning_face.losses.heads import (
    adaface,
    arcface,
    base,
    cosface,
    curricularface,
    elasticface,
    magface,
    margins,
    softmax,
    sphereface,
    sphereface2,
    uniface,
)
from tests.heads import CASES
from tests.mutants import survivors
from tests.oracle import assert_close
from tests.unit.losses.test_heads import (
    check_annealing,
    check_drawn_margins,
    check_equation,
    check_initial_bias_of_sphereface2,
    check_initial_bias_of_uniface,
    check_options,
    check_statistics_of_few,
)

HEADS = (adaface, arcface, cosface, curricularface, elasticface, magface, softmax, sphereface, sphereface2, uniface)


OWN_CHECKS = {
    "adaface": check_statistics_of_few,
    "elasticface": check_drawn_margins,
    "sphereface": check_annealing,
    "sphereface2": check_initial_bias_of_sphereface2,
    "uniface": check_initial_bias_of_uniface,
}


def check_head(module: ModuleType) -> None:
    """All that is known of the heads of a module."""
    name = module.__name__.rpartition(".")[2]
    OWN_CHECKS.get(name, lambda module: None)(module)
    for case_name, case in CASES.items():
        if case.kind.__module__ == module.__name__:
            assert case.head(module=module).needs_class_counts == ("rare" in case_name)
            check_options(case.kind, module)
            check_equation(case_name, module)


@pytest.mark.parametrize("module", HEADS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_change_in_a_head_is_noticed(module: ModuleType) -> None:
    assert set(survivors(module, check_head)) == set()


def check_margins(module: ModuleType) -> None:
    cosines = torch.linspace(-0.999, 0.999, 41, dtype=torch.float64)
    angles = torch.linspace(0.0, math.pi / 2, 41, dtype=torch.float64)
    for angle in (0.3, angles, -angles):
        assert_close(module.cos_of_sum(cosines, angle), torch.cos(cosines.acos() + angle), 1e-12)
    for easy, angle in product((False, True), (0.3, 1.2, angles)):
        expected = []
        for c, m in zip(cosines.tolist(), torch.as_tensor(angle, dtype=torch.float64).expand(41).tolist(), strict=True):
            turned = math.cos(math.acos(c) + m)
            beyond = c if easy else c - m * math.sin(m)
            expected.append(turned if (c > 0 if easy else math.acos(c) + m < math.pi) else beyond)
        assert_close(module.with_margin(cosines, angle, easy=easy), torch.tensor(expected, dtype=torch.float64), 1e-12)
    check_sine_near_its_ends(module)
    check_gradients(module)
    samples = SimpleNamespace(
        rarity_B=torch.tensor([1.0, 0.0625]),
        noise_B=torch.tensor([1.0, -3.0, 2.0]),
        targets_G=torch.tensor([0.1, 0.9, 0.5]),
        everyone=lambda values: values,
        own=lambda values: values,
    )
    assert_close(module.rare_margins(0.8, 0.25, samples), torch.tensor([0.8, 0.4]))
    assert module.rare_margins(0.8, 0.0, samples) == 0.8
    assert_close(module.drawn_margins(0.5, 0.1, 0.65, samples, sort=False), torch.tensor([0.6, 0.2, 0.65]))
    assert_close(module.drawn_margins(0.5, 0.1, 9.0, samples, sort=True), torch.tensor([0.7, 0.2, 0.6]))
    assert_close(module.drawn_margins(0.1, 0.1, 9.0, samples, sort=False), torch.tensor([0.2, 0.0, 0.3]))
    for check, good, bad in (
        (module.check_angle, (0.0, math.pi / 2), (-0.1, 1.9, math.nan)),
        (module.check_difference, (0.0, 1.0), (-0.1, 1.5, math.nan)),
    ):
        for value in good:
            check("margin", value)
        assert all(refusal(check, "margin", value).startswith("softmax.head.margin must be in [0,") for value in bad)
    for degrees, hint in ((1.9, ""), (2.0, "; 2 degrees are 0.03491"), (90.0, "; 90 degrees are 1.571"), (90.5, "")):
        assert refusal(module.check_angle, "margin", degrees).endswith(f"got {degrees}{hint}")
    module.check_power(0.0)
    assert all(refusal(module.check_power, value) for value in (-0.1, math.inf, math.nan))


def check_sine_near_its_ends(module: ModuleType) -> None:
    """In float32 the gradient is right next to 1 and -1, and finite there."""
    near = torch.tensor([1.0 - 2.0**-24, -1.0 + 2.0**-24], requires_grad=True)
    module.cos_of_sum(near, 0.5).sum().backward()
    exact = near.detach().double()
    assert_close(near.grad, math.cos(0.5) + math.sin(0.5) * exact / (1.0 - exact**2).sqrt())
    ends = torch.tensor([1.0, -1.0, 1.0 + 2.0**-23], requires_grad=True)
    module.cos_of_sum(ends, 0.5).sum().backward()
    assert_close(ends.grad, torch.full((3,), math.cos(0.5)))


def check_gradients(module: ModuleType) -> None:
    cosines = torch.tensor([0.5, -0.25], requires_grad=True)
    for gradient, slope in (("exact", 3.0), ("straight_through", 1.0)):
        module.check_gradient(gradient)
        changed = module.with_gradient(3.0 * cosines - 1.0, cosines, gradient)
        assert changed.tolist() == [0.5, -1.75]
        assert torch.autograd.grad(changed.sum(), cosines)[0].tolist() == [slope, slope]
    assert refusal(module.check_gradient, "none").endswith("must be exact or straight_through, got 'none'")


def refusal(check: Callable[..., None], *arguments: Any) -> str:
    """What is said; nothing if nothing is refused."""
    try:
        check(*arguments)
    except ConfigError as error:
        return str(error)
    return ""


def check_base(module: ModuleType) -> None:
    class Plain(module.CosineHead):
        def margined(self, cosines_B: Tensor, samples: Any, state: Any) -> Tensor:
            return cosines_B - 0.25

    head = Plain(2.0)
    t, n = torch.tensor([0.5]), torch.tensor([1.5])
    assert head.losses(t, n, None, {}).item() == pytest.approx(math.log(1 + math.exp(1.5 - 2.0 * 0.25)))
    assert head.scoring({}).negatives(torch.tensor([[3.0]]), t).item() == 6.0
    assert Plain(0.5).scale == 0.5 and head.needs_class_counts is False
    assert all(refusal(Plain, scale) for scale in (0.0, math.inf, math.nan))


@pytest.mark.parametrize(("module", "check"), [(margins, check_margins), (base, check_base)], ids=["margins", "base"])
def test_every_change_in_what_heads_share_is_noticed(module: ModuleType, check: Callable[[ModuleType], None]) -> None:
    assert set(survivors(module, check)) == set()
