"""The command line: commands, their options and what `--help` says of them."""

import argparse
from pathlib import Path
from typing import Any

from data_prep.arguments import (
    Commands,
    Parser,
    add_command,
    add_file,
    add_max_rejected,
    add_number,
    add_path,
    add_shards,
    add_workers,
    add_writing,
    at_least,
)
from data_prep.audit.check import check
from data_prep.audit.overlap import overlap
from data_prep.passes.merge import merge
from data_prep.source_commands import KEEP_SIZE, QUALITY_IF_ENCODED, SOURCES
from data_prep.sources.index import make_index
from data_prep.sources.mnist import make_mnist
from data_prep.verification.pairs import make_pairs
from data_prep.verification.verification_bin import make_bin

EXAMPLES = """examples:
  python -m data_prep synthetic data/synthetic
  python -m data_prep folder CASIA-WebFace data/casia --min-images 5 --size 112
  python -m data_prep recordio faces_emore data/ms1mv2
  sbatch --array=1-8 slurm/prepare.sbatch folder SRC OUT
  python -m data_prep merge OUT
  python -m data_prep pairs lfw/images lfw/pairs.txt data/lfw
  python -m data_prep bin cfp_fp.bin data/cfp_fp
  python -m data_prep mnist mnist data/mnist
  python -m data_prep index data/my_tars
  python -m data_prep check data/casia
  python -m data_prep overlap data/casia data/lfw data/agedb_30 --out shared

A dataset is a folder of WebDataset tars (KEY.jpg, KEY.cls) with manifest.json, index.bin and identities.txt.
Images are gathered in the order of their source, then spread over the shards: OUT needs twice the room for a while.
A command that was stopped continues where it was when started again; the same input, options and seed give the same
bytes whatever the number of workers and parts. `COMMAND --help` lists the options of a command."""


def build_parser() -> Parser:
    """The parser; parsed options are the arguments of the function in `run`."""
    parser = Parser(
        prog="python -m data_prep", description="Prepare datasets for lightning_face.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        *SOURCES,
        _add_mnist,
        _add_synthetic,
        _add_merge,
        _add_index,
        _add_pairs,
        _add_bin,
        _add_check,
        _add_overlap,
    ):
        add(commands)
    return parser


def _add_mnist(commands: Commands) -> None:
    parser = add_command(
        commands, "mnist", make_mnist, "make a training set and a test set of MNIST's digits, in grey",
        "mnist data/mnist",
    )  # fmt: skip
    add_path(parser, "idx", "IDX", "folder with the four files *-idx?-ubyte, plain or gzipped")
    add_path(parser, "out", "OUT", "folder to write; it will hold train and test")
    add_number(parser, "--seed", at_least(0), 0, "of the order of the training set")
    add_shards(parser)
    add_workers(parser)


def _add_synthetic(commands: Commands) -> None:
    parser = add_command(
        commands, "synthetic", _make_synthetic, "make a training set and a verification set of generated faces",
        "data/synthetic --identities 300 --images 12000",
    )  # fmt: skip
    add_path(parser, "out", "OUT", "folder to write; it will hold train, known and verify")
    add_number(parser, "--identities", at_least(1), 300, "identities to train on, most of them with few images")
    add_number(parser, "--images", at_least(2), 12000, "images of them in all")
    add_number(
        parser, "--known", at_least(0), 0,
        "further images of each of them, to see how well those with few are known; 0: none",
    )  # fmt: skip
    add_number(
        parser, "--held-out", at_least(0), 60, "identities to verify with, ten images each; 0: no verification set"
    )
    add_number(parser, "--pairs", at_least(2), 1200, "pairs to verify, half of them of one identity")
    add_number(
        parser,
        "--reuse",
        at_least(1),
        None,
        "render only N pictures and repeat them: to try out scale, not to learn from",
    )
    add_number(parser, "--seed", at_least(0), 0, "of the faces and their order")
    add_writing(parser, 112, "width and height of the images, pixels", "of the JPEGs")


def _add_merge(commands: Commands) -> None:
    parser = add_command(
        commands, "merge", merge, "finish a dataset whose parts were gathered with --part",
        "data/casia",
    )  # fmt: skip
    add_path(parser, "out", "OUT", "folder that the parts were gathered in")
    add_max_rejected(parser)
    add_workers(parser)


def _add_index(commands: Commands) -> None:
    parser = add_command(
        commands, "index", make_index, "write manifest, index and identities for WebDataset tars made elsewhere",
        "data/my_tars --identities names.txt",
    )  # fmt: skip
    add_path(parser, "tars", "TARS", "folder of *.tar, each with KEY.jpg and its label in KEY.cls")
    add_number(parser, "--num-classes", at_least(1), None, "labels are below N (without: the greatest label + 1)")
    add_file(parser, "--identities", "names, one a line in the order of the labels (without: their numbers)")
    add_workers(parser)


def _add_pairs(commands: Commands) -> None:
    parser = add_command(
        commands, "pairs", make_pairs, "make a verification set of the images that LFW's list of pairs names",
        "lfw/images lfw/pairsDevTest.txt data/lfw_dev_test",
    )  # fmt: skip
    add_path(parser, "images", "IMAGES", "folder with NAME/NAME_0001.jpg and so on")
    add_path(parser, "pairs", "PAIRS", "pairs.txt (ten folds), pairsDevTrain.txt or pairsDevTest.txt")
    add_path(parser, "out", "OUT", "folder to write")
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)


def _add_bin(commands: Commands) -> None:
    parser = add_command(
        commands, "bin", make_bin, "make a verification set of insightface's pairs: lfw.bin, cfp_fp.bin, agedb_30.bin",
        "agedb_30.bin data/agedb_30",
    )  # fmt: skip
    add_path(parser, "file", "FILE", "the .bin file: a pickle, of which nothing is run")
    add_path(parser, "out", "OUT", "folder to write")
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)


def _add_check(commands: Commands) -> None:
    parser = add_command(
        commands, "check", check, "verify checksums, index, labels and pairs of a dataset, and decode every image",
        "data/casia",
    )  # fmt: skip
    add_path(parser, "folder", "OUT", "folder of the dataset; exit code 1 if something is wrong with it")
    add_workers(parser)


def _add_overlap(commands: Commands) -> None:
    parser = add_command(
        commands, "overlap", overlap, "which people and images of a training set are in the sets that test it",
        "data/ms1mv2 data/lfw data/cfp_fp --out shared\n"
        "  python -m data_prep recordio faces_emore data/ms1mv2_apart --exclude shared/names.txt",
    )  # fmt: skip
    parser.description = (
        "Which people and images of a training set are in the sets that test it: by name, whatever its case and"
        " accents,\nwith blanks or underscores (but mere numbers are no names); by the bytes of images; and by their"
        " looks.\nExit code 1 if there are any."
    )
    add_path(parser, "train", "TRAIN", "folder of the training set")
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVAL", help="folders of the sets that test it")
    add_number(
        parser, "--bits", at_least(0, 8), 2,
        "images look alike where their perceptual hashes differ in N of 64 bits or fewer; of aligned faces, 2 finds"
        " copies (but of millions some by chance: look at images.csv), and 8 mostly different pictures",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="write names.txt, whom --exclude leaves out of the training set (those who are there by name or with an"
        " image), and images.csv, which images these are (without: only count)",
    )  # fmt: skip
    add_workers(parser)


def _make_synthetic(**options: Any) -> None:  # passed on, checked by the parser
    # OpenCV and the renderer take a moment to load, and no other command needs them.
    from data_prep.synthetic.generate import make_synthetic

    make_synthetic(**options)
