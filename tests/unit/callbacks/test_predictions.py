"""What `predict` leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_face.callbacks.predictions import Predictions
from lightning_face.data.faces import Faces


@pytest.mark.parametrize("is_global_zero", [True, False])
def test_writes_embeddings_in_the_order_of_the_index(
    tmp_path: Path, trainer: Callable[..., Any], module: Any, faces: Faces, batches: list[Any], is_global_zero: bool
) -> None:
    callback, run = Predictions(), trainer(is_global_zero=is_global_zero)
    callback.on_predict_start(run, module)
    for number, (batch, features) in enumerate(batches):
        callback.on_predict_batch_end(run, module, features, (batch, None), number)
    callback.on_predict_end(run, module)
    if not is_global_zero:
        assert not list(tmp_path.iterdir())
        return
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.npz"]
    with np.load(tmp_path / "embeddings.npz", allow_pickle=False) as file:
        labels, embeddings, identities = file["labels"], file["embeddings"], file["identities"]
    assert np.array_equal(labels, faces.shards.index["label"])
    assert identities.tolist() == faces.shards.identities()
    # Image and mirror image side by side, of the weights 3 and 2, as unit rows.
    expected = np.concatenate([3 * np.eye(20)[labels], 2 * np.eye(20)[labels]], axis=1) / np.sqrt(13)
    assert embeddings.dtype == np.float32 and np.allclose(embeddings, expected, atol=1e-6)
