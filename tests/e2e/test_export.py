"""`export`, and runs that begin with what another has learned."""

import pytest
import torch
from safetensors.torch import load_file

from lightning_face.__main__ import main
from lightning_face.checkpoint.exported import load_backbone
from tests.e2e.test_commands import call
from tests.e2e.test_resume import SHARDED
from tests.ranks import run_ranks, torchrun

ONE_STEP = ("--trainer.max_steps", 1, "--model.schedule.warmup_steps", 0, "--data.verification", "{}")


@pytest.fixture
def trained(tiny_config, tmp_path):
    """A run of one step with a sharded classifier and replicated centers."""
    run = tmp_path / "first"
    call("fit", "--config", tiny_config, "--run_dir", run, *ONE_STEP, "--model.objective.softmax.placement", "sharded")
    return run


def last(run, name):
    return run / "checkpoints" / "last" / name


def test_what_was_saved_is_exported(trained, tmp_path, capsys):
    out = tmp_path / "face.safetensors"
    call("export", trained, out, "--classifier", "--centers")
    assert "classifier 30 x 16" in capsys.readouterr().out
    exported, tables = load_file(out), load_file(last(trained, "tables-00000.safetensors"))
    weights = torch.load(last(trained, "dense.ckpt"), weights_only=True)["state_dict"]
    rows = {name: tables[name] for name in ("classifier", "centers", "centers.moved_at")}
    expected = weights | rows
    assert set(exported) == {*expected, "identities"}
    assert all(torch.equal(exported[name], tensor) for name, tensor in expected.items())
    assert load_backbone(out)(torch.zeros(1, 3, 32, 32)).shape == (1, 16)

    call("export", trained / "checkpoints" / "step-00000001", out)
    assert set(load_file(out)) == {*weights, "identities"}


def fit_on_rank(*arguments):
    """`fit` on the ranks that are there already."""
    with torchrun():
        call("fit", *arguments)


def test_a_run_begins_with_the_rows_of_the_people_it_knows(trained, tiny_config, generated, tmp_path):
    """Nothing moves in its one step, nor in that of two ranks; then it goes on without the file."""
    out, run = tmp_path / "face.safetensors", tmp_path / "second"
    call("export", trained, out, "--classifier", "--centers")
    still = (
        "--model.optimizer.init_args.lr",
        0.0,
        "--model.objective.center.rate",
        0.0,
        "--model.objective.mml",
        "null",
    )
    begin = ("--config", tiny_config, *ONE_STEP, *still, "--model.init_from", out)
    call("fit", *begin, "--run_dir", run)
    first, second = (load_file(last(one, "tables-00000.safetensors")) for one in (trained, run))
    assert torch.equal(first["classifier"], second["classifier"])
    assert torch.equal(first["centers"], second["centers"])
    weights = (torch.load(last(one, "dense.ckpt"), weights_only=True)["state_dict"] for one in (trained, run))
    assert all(torch.equal(one, other) for one, other in zip(*(state.values() for state in weights), strict=True))

    two = tmp_path / "two"
    run_ranks(fit_on_rank, 2, *begin, "--run_dir", two, "--trainer.devices", 2, *SHARDED)
    shares = [load_file(last(two, f"tables-0000{rank}.safetensors")) for rank in range(2)]
    for name in ("classifier", "centers"):
        assert [len(share[name]) for share in shares] == [15, 15]
        assert torch.equal(torch.cat([share[name] for share in shares]), first[name])

    out.unlink()
    call("fit", "--run_dir", run, "--trainer.max_steps", 2)

    other = tmp_path / "other"
    call("export", trained, out)
    call("fit", "--config", tiny_config, "--run_dir", other, *ONE_STEP, *still, "--model.init_from", out,
         "--data.train", generated / "verify")  # fmt: skip
    assert len(load_file(last(other, "tables-00000.safetensors"))["classifier"]) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{run}/nowhere", "{run}/out"), "is no checkpoint, and no run folder with one"),
        (("{run}", "{run}/nowhere/out"), "is no folder; make it first"),
        (("{run}/checkpoints/last", "{run}"), "cannot be written"),
    ],
)
def test_export_refuses_in_one_line(arguments, message, trained, capsys):
    assert main(["export", *(argument.format(run=trained) for argument in arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_export_of_a_table_that_was_not_trained(tiny_config, tmp_path, capsys):
    run, none = tmp_path / "run", ("--model.objective.center", "null", "--model.objective.mml", "null")
    call("fit", "--config", tiny_config, "--run_dir", run, *ONE_STEP, *none)
    assert main(["export", str(run), str(tmp_path / "out"), "--centers"]) == 2
    assert "has no centers: it was trained without; leave --centers out" in capsys.readouterr().err
