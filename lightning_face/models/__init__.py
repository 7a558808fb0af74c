"""Networks from face crops to features."""

from lightning_face.models.backbone import Backbone
from lightning_face.models.build import build_backbone
from lightning_face.models.config import BackboneConfig

__all__ = ["Backbone", "BackboneConfig", "build_backbone"]
