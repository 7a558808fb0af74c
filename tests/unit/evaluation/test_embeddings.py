"""Flip-test fusion."""

import pytest
import torch

from lightning_face.evaluation.embeddings import fuse


def test_sum_and_concat_by_hand() -> None:
    features, flipped = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(fuse(features, flipped, "sum"), torch.tensor([[0.6, 0.8]]))
    torch.testing.assert_close(fuse(features, flipped, "concat"), torch.tensor([[0.6, 0.0, 0.0, 0.8]]))
    torch.testing.assert_close(fuse(features, flipped, "none"), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(fuse(features, None, "none"), torch.tensor([[1.0, 0.0]]))


def test_concat_is_no_sum_of_cosines_of_units() -> None:
    """Halves are weighed by their raw norms, not normalised one by one."""
    features, flipped = torch.tensor([[10.0, 0.0], [10.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    joined = fuse(features, flipped, "concat")
    assert float(joined[0] @ joined[1]) == pytest.approx(99.0 / 101.0)


@pytest.mark.parametrize("how", ["sum", "concat", "none"])
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_rows_have_unit_norm_in_full_precision(how: str, dtype: torch.dtype, expected: torch.dtype) -> None:
    features, flipped = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)).to(dtype) * 40
    joined = fuse(features, flipped, how)  # type: ignore[arg-type]
    assert joined.dtype == expected
    torch.testing.assert_close(joined.norm(dim=1), torch.ones(5, dtype=expected))


def test_zero_features_stay_zero() -> None:
    assert fuse(torch.zeros(1, 4), torch.zeros(1, 4), "sum").tolist() == [[0.0] * 4]


def test_mistakes_are_refused() -> None:
    features = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"flipped_ND must have the shape of features_ND for 'sum', \(2, 3\); is None"):
        fuse(features, None, "sum")
    with pytest.raises(ValueError, match=r"is \(1, 3\)"):
        fuse(features, torch.ones(1, 3), "concat")
    with pytest.raises(ValueError, match="how must be 'concat', 'sum' or 'none', is 'mean'"):
        fuse(features, features, "mean")  # type: ignore[arg-type]
