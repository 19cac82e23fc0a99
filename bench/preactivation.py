"""A pre-activation ResNet: batch norm and ReLU stand before each convolution (He et al., 2016b)."""

from __future__ import annotations

from torch import Tensor, nn


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, H, W]`` to ``[B, outputs, H / stride, W / stride]``."""
        active = self.relu1(self.norm1(x))
        jumped = x if self.shortcut is None else self.shortcut(active)
        result: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(active))))
        return result + jumped


def preactivation_resnet(classes: int, blocks: int = 2, width: int = 16) -> nn.Sequential:
    """Three stages of width, 2 width and 4 width channels, for images of CIFAR's size."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False)]
    inputs = width
    for stage in range(3):
        for block in range(blocks):
            outputs = width * 2**stage
            layers.append(_Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    head = (nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, *head, nn.Linear(inputs, classes))
