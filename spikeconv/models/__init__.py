"""ResNets and VGGs: the ANNs to build or load, and their spiking forms."""

from spikeconv.models.checkpoint import from_state_dict, load_model, read_state_dict
from spikeconv.models.pretrained import PRETRAINED, load_pretrained, pretrained_about
from spikeconv.models.registry import MODEL_NAMES, build_model, model_config
from spikeconv.models.resnet import ResNet
from spikeconv.models.resnet_config import ResNetConfig, cifar_resnet, imagenet_resnet
from spikeconv.models.spiking import SpikingResNet, SpikingVGG
from spikeconv.models.vgg import VGG, VGGConfig

__all__ = [
    "MODEL_NAMES",
    "PRETRAINED",
    "VGG",
    "ResNet",
    "ResNetConfig",
    "SpikingResNet",
    "SpikingVGG",
    "VGGConfig",
    "build_model",
    "cifar_resnet",
    "from_state_dict",
    "imagenet_resnet",
    "load_model",
    "load_pretrained",
    "model_config",
    "pretrained_about",
    "read_state_dict",
]
