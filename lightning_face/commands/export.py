"""`python -m lightning_face export`: what a checkpoint has learned, in one file."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lightning_face.checkpoint.choice import best_intact, check_intact
from lightning_face.checkpoint.directory import DESCRIPTION_FILE, Description, describe
from lightning_face.checkpoint.exported import AVERAGED, BACKBONE, CENTERS, CLASSIFIER, MOVED_AT, Origin, write_exported
from lightning_face.checkpoint.tables import load_tables
from lightning_face.data.manifest import IDENTITIES_FILE, names_in
from lightning_face.engines.choice import whole_weights
from lightning_face.errors import CheckpointError, ConfigError

_DTYPES = {CLASSIFIER: torch.float32, CENTERS: torch.float32, MOVED_AT: torch.int32}


def main(arguments: list[str]) -> None:
    """Run the command.

    Raises:
        FaceError: something the user can mend.
    """
    options = _parser().parse_args(arguments)
    wanted = ((CLASSIFIER,) if options.classifier else ()) + ((CENTERS, MOVED_AT) if options.centers else ())
    print(export(options.source, options.out, wanted))


def export(source: Path, out: Path, tables: tuple[str, ...]) -> str:
    """Write a checkpoint's network, or its average where one is kept, and some of its class tables, to one file.

    Args:
        source: a run's folder, of which the best checkpoint is taken, or a checkpoint.
        out: the file to write or replace; whole class tables pass through memory.
        tables: names of their tensors.

    Returns:
        What was written, for people to read.

    Raises:
        CheckpointError: there is no whole checkpoint.
        ConfigError: it has no such table, or the file cannot be written.
    """
    if not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: {out.parent} is no folder; make it first")
    checkpoint = checkpoint_of(source)
    description = describe(checkpoint)
    if missing := [name for name in tables if name not in description.tables]:
        raise ConfigError(f"{checkpoint} has no {missing[0]}: it was trained without; leave --{missing[0]} out")
    tensors = network_of(whole_weights(checkpoint, description))
    identities = (checkpoint / IDENTITIES_FILE).read_text(encoding="utf-8")
    origin = _origin(checkpoint, description, identities)
    try:
        write_exported(out, tensors | _whole_tables(checkpoint, description, tables), identities, origin)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}); give another file") from error
    return _written(out, checkpoint, origin, tensors, {name: description.tables[name] for name in tables})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m lightning_face export",
        description="Write the network of a checkpoint, with its neck, to one safetensors file; on request also its"
        " class tables.\nIn Python, `lightning_face.checkpoint.exported.load_backbone(OUT)` gives the network back;\n"
        "`fit --model.init_from OUT` begins with it, on any dataset.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m lightning_face export runs/casia casia.safetensors --classifier --centers",
    )
    parser.add_argument("source", type=Path, metavar="RUN", help="a run folder (its best checkpoint), or a checkpoint")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--classifier", action="store_true", help="with a row for each identity")
    parser.add_argument("--centers", action="store_true", help="with the center of each identity")
    return parser


def checkpoint_of(source: Path) -> Path:
    """The checkpoint that is given, or the best of a run's folder.

    Raises:
        CheckpointError: there is no whole one.
    """
    if (source / DESCRIPTION_FILE).is_file():
        check_intact(source)
        return source
    best = best_intact(source)
    if best is None:
        raise CheckpointError(f"{source} is no checkpoint, and no run folder with one; give one that `fit` wrote")
    return best


def _origin(checkpoint: Path, description: Description, identities: str) -> Origin:
    try:
        backbone = {name: description.options[f"model.backbone.{name}"] for name in ("name", "embedding_dim", "neck")}
        backbone["image_size"] = description.options["data.image_size"]
        backbone["in_channels"] = description.options["data.channels"]
    except KeyError as error:
        raise CheckpointError(
            f"{checkpoint} does not say which network it holds ({error} is missing): it was not saved by"
            " `python -m lightning_face fit`; choose one that was"
        ) from error
    return Origin(backbone, len(names_in(identities)), description.position["manifest_hash"], description.step)


def network_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What an evaluation of the checkpoint embeds with, by the network's own names."""
    whose = AVERAGED if any(name.startswith(AVERAGED) for name in weights) else BACKBONE
    return {
        f"{BACKBONE}{name.removeprefix(whose)}": tensor for name, tensor in weights.items() if name.startswith(whose)
    }


def _whole_tables(checkpoint: Path, description: Description, names: tuple[str, ...]) -> dict[str, Tensor]:
    tables = {name: torch.empty(description.tables[name], dtype=_DTYPES[name]) for name in names}
    load_tables(checkpoint, description.files, tables, held={})
    return tables


def _written(
    out: Path, checkpoint: Path, origin: Origin, network: dict[str, Tensor], tables: dict[str, list[int]]
) -> str:
    num_weights = sum(tensor.numel() for tensor in network.values())
    parts = [f"{origin.backbone['name']}, {num_weights / 1e6:.1f} million numbers"]
    parts += [f"{name} {' x '.join(f'{size:,}' for size in shape)}" for name, shape in tables.items()]
    return f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): {'; '.join(parts)}; from {checkpoint}"
