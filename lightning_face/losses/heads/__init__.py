"""Heads: the ways from a sample's values to its loss, chosen by name."""

from lightning_face.losses.heads.adaface import AdaFace
from lightning_face.losses.heads.arcface import ArcFace
from lightning_face.losses.heads.base import CosineHead, Head, Samples, State
from lightning_face.losses.heads.cosface import CosFace
from lightning_face.losses.heads.curricularface import CurricularFace
from lightning_face.losses.heads.elasticface import ElasticArcFace, ElasticCosFace
from lightning_face.losses.heads.magface import MagFace
from lightning_face.losses.heads.softmax import Softmax
from lightning_face.losses.heads.sphereface import SphereFace
from lightning_face.losses.heads.sphereface2 import SphereFace2
from lightning_face.losses.heads.uniface import UniFace

__all__ = [
    "AdaFace",
    "ArcFace",
    "CosFace",
    "CosineHead",
    "CurricularFace",
    "ElasticArcFace",
    "ElasticCosFace",
    "Head",
    "MagFace",
    "Samples",
    "Softmax",
    "SphereFace",
    "SphereFace2",
    "State",
    "UniFace",
]
