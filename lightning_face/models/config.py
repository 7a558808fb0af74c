"""The options of a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneConfig:
    """The network.

    Args:
        name: iresnet18, iresnet34, iresnet50, iresnet100, mobilefacenet, inception_resnet_v1, sphereface20,
            sphereface64, face_resnet27, lenets_plus_plus, or any timm model.
        embedding_dim: length of the features, D.
        neck: what turns a timm model's map into features: auto, flatten, pool or linear (see models/neck.py).
        dropout: before the last linear layer.
        channels_last: memory layout of the weights; faster on GPUs and with bf16.
    """

    name: str = "iresnet50"
    embedding_dim: int = 512
    neck: str = "auto"
    dropout: float = 0.0
    channels_last: bool = True
