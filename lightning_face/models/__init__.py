"""Networks from face crops to features."""

from lightning_face.models.backbone import Backbone
from lightning_face.models.build import build_backbone

__all__ = ["Backbone", "build_backbone"]
