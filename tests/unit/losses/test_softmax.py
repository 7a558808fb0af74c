"""Softmax against equation 1 of the paper, written as loops in float64."""

import math
from types import ModuleType

import torch

from lightning_face.losses import Scoring, softmax_loss
from tests.oracle import assert_close, softmax_sum


def example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(6, 4, generator=generator)
    classifier = torch.randn(5, 4, generator=generator)
    return features, torch.tensor([0, 4, 4, 2, 0, 4]), classifier


def softmax(features: torch.Tensor, labels: torch.Tensor, classifier: torch.Tensor) -> torch.Tensor:
    return softmax_loss(*Scoring().scores(features, labels, classifier)[:2]).sum()


def check(module: ModuleType) -> None:
    features, labels, classifier = example()
    features.requires_grad_()
    slow = features.detach().double().requires_grad_()
    losses = (
        module.softmax_loss(*Scoring().scores(features, labels, classifier)[:2]).sum(),
        softmax_sum(slow, labels, classifier.double()),
    )
    assert_close(*losses)
    gradients = [torch.autograd.grad(loss, leaf)[0] for loss, leaf in zip(losses, (features, slow), strict=True)]
    assert_close(*gradients)


def test_value_and_gradients_equal_the_equation() -> None:
    features, labels, classifier = example()
    inputs = [features.requires_grad_(), classifier.requires_grad_()]
    slow_inputs = [tensor.detach().double().requires_grad_() for tensor in inputs]
    fast = softmax(inputs[0], labels, inputs[1])
    slow = softmax_sum(slow_inputs[0], labels, slow_inputs[1])
    assert_close(fast, slow)
    gradients = torch.autograd.grad(fast, inputs)
    for gradient, expected in zip(gradients, torch.autograd.grad(slow, slow_inputs), strict=True):
        assert_close(gradient, expected)


def test_is_a_sum_over_samples() -> None:
    features, labels, classifier = example()
    parts = [softmax(features[i : i + 1], labels[i : i + 1], classifier) for i in range(6)]
    assert_close(softmax(features, labels, classifier), sum(parts))


def test_zero_classifier_costs_log_c_a_sample() -> None:
    features, labels, _ = example()
    assert_close(softmax(features, labels, torch.zeros(5, 4)), 6 * math.log(5))


def test_huge_logits_stay_finite() -> None:
    features, labels, classifier = example()
    loss = softmax(features.mul(1e4).requires_grad_(), labels, classifier)
    assert torch.isfinite(loss)
