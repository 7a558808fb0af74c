"""The commands that make a training set, one for each form in which faces are distributed."""

from pathlib import Path
from typing import Any

from data_prep.arguments import (
    Commands,
    a_share,
    add_command,
    add_file,
    add_number,
    add_path,
    add_source,
    add_writing,
    at_least,
    with_recipe,
)
from data_prep.sources.folder import make_folder
from data_prep.sources.image_list import make_lists
from data_prep.sources.insightface import make_recordio
from data_prep.sources.msceleb1m import make_msceleb1m

KEEP_SIZE = "resize the largest centred square of each image to N x N pixels; 0 keeps images as they are"
QUALITY_IF_ENCODED = "of JPEGs that must be encoded again; those that need no change are copied byte by byte"


def _add_folder(commands: Commands) -> None:
    parser = add_command(
        commands, "folder", with_recipe(make_folder), "make a dataset of images that lie in one folder per identity",
        "VGGFace2/train data/vggface2 --size 112",
    )  # fmt: skip
    add_path(
        parser, "source", "SRC", "folder with a folder of images for each identity, as LFW, CASIA and VGGFace2 come"
    )
    add_path(parser, "out", "OUT", "folder to write")
    add_file(parser, "--people", "take only the identities and image counts of LFW's peopleDevTrain.txt or people.txt")
    add_number(parser, "--without-fold", at_least(0), None, "leave out this fold of people.txt, counted from 0")
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)
    add_source(parser)


def _add_recordio(commands: Commands) -> None:
    parser = add_command(
        commands, "recordio", with_recipe(make_recordio), "make a dataset of one of insightface's training sets",
        "faces_emore data/ms1mv2 --min-images 5",
    )  # fmt: skip
    add_path(
        parser, "source", "SRC", "folder with train.rec, train.idx and property, as MS1MV3, Glint360K and WebFace come"
    )
    add_path(parser, "out", "OUT", "folder to write")
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)
    add_source(parser)


def _add_msceleb1m(commands: Commands) -> None:
    parser = add_command(
        commands, "msceleb1m", with_recipe(make_msceleb1m), "make a dataset of the released table of MS-Celeb-1M",
        "FaceImageCroppedWithAlignment.tsv data/ms1m --clean-list MS-Celeb-1M_clean_list.txt",
    )  # fmt: skip
    add_path(parser, "table", "TSV", "the table, plain or gzipped, a folder of its parts, or - for standard input")
    add_path(parser, "out", "OUT", "folder to write")
    add_file(parser, "--clean-list", "take only these images: lines of MID/IMAGE.jpg and label, in either order")
    add_file(parser, "--names", "name people by this list, Top1M_MidList.Name.tsv (without: by their MIDs)")
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)
    add_source(parser)


def _add_vggface2(commands: Commands) -> None:
    parser = add_command(
        commands, "vggface2", with_recipe(_make_vggface2), "make a dataset of VGGFace2, its faces aligned or cropped",
        "vggface2_train.tar.gz data/vggface2 --landmarks bb_landmark/loose_landmark_train.csv",
    )  # fmt: skip
    add_path(parser, "source", "SRC", "folder of folders of images, as VGGFace2/train, or the .tar.gz itself")
    add_path(parser, "out", "OUT", "folder to write")
    add_file(parser, "--landmarks", "loose_landmark_*.csv: align each face to ArcFace's template by its five landmarks")
    add_file(parser, "--boxes", "loose_bb_*.csv: crop images that have no landmarks around the box of the face")
    parser.add_argument(
        "--margin", type=a_share, default=0.3, metavar="SHARE",
        help="by how much a crop is larger than the box (default: %(default)s, as VGGFace2's authors train)",
    )  # fmt: skip
    add_file(parser, "--image-list", "take only these images: train_list.txt")
    add_file(parser, "--names", "name people by this list, identity_meta.csv (without: by their folders)")
    add_writing(parser, 112, "width and height of the faces, pixels", "of the JPEGs")
    add_source(parser)


def _add_lists(commands: Commands) -> None:
    parser = add_command(
        commands, "lists", with_recipe(make_lists), "make a dataset of the images that a list names",
        "train.txt data/train --root images",
    )  # fmt: skip
    add_path(parser, "file", "FILE", "lines of PATH<tab>IDENTITY, or PATH IDENTITY where there is no tab")
    add_path(parser, "out", "OUT", "folder to write")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="folder that all paths begin in and none leaves (without: FILE's own)"
    )
    add_writing(parser, 0, KEEP_SIZE, QUALITY_IF_ENCODED)
    add_source(parser)


def _make_vggface2(**options: Any) -> None:  # passed on, checked by the parser
    # OpenCV takes a moment to load.
    from data_prep.sources.vggface2 import make_vggface2

    make_vggface2(**options)


SOURCES = (_add_folder, _add_recordio, _add_msceleb1m, _add_vggface2, _add_lists)
