"""The small classifier of the patch-swap paper, for digits with decoys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PAPER_CNN_CFG: Mapping[str, Any] = {
    "architecture": "paper_cnn",
    "input_size": (3, 28, 28),
    "fixed_input_size": True,
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "crop_mode": "center",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    "num_classes": 10,
    "classifier": "classifier",
}


class PaperCNN(nn.Module):
    """One 3x3 convolution without padding, ReLU, 50 % dropout, one linear layer (Hagos et al., decoy digits).

    width: filters of the convolution. img_size: side of the square input, or (height, width), pixels; at least 3
    (5 with pool). pool: halve the map by 2x2 maxima before the dropout. (B, in_chans, H, W) -> (B, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 10,
        width: int = 32,
        img_size: int | tuple[int, int] = 28,
        in_chans: int = 3,
        pool: bool = False,
    ) -> None:
        super().__init__()
        height, breadth = (img_size, img_size) if isinstance(img_size, int) else img_size
        step = 2 if pool else 1
        features = width * ((height - 2) // step) * ((breadth - 2) // step)
        if num_classes < 1 or features < 1:
            raise ValueError(f"no features are left with img_size={img_size}, width={width}, num_classes={num_classes}")
        self.num_classes = num_classes
        self.pretrained_cfg = {**PAPER_CNN_CFG, "input_size": (in_chans, height, breadth), "num_classes": num_classes}
        self.conv = nn.Conv2d(in_chans, width, 3)
        self.act = nn.ReLU()
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.drop = nn.Dropout(0.5)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(features, num_classes)

    def get_classifier(self) -> nn.Linear:
        """The last layer, as in timm's networks."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.classifier(self.flatten(self.drop(self.pool(self.act(self.conv(x))))))
        return logits
