"""Grad-CAM (Selvaraju et al. 2017) and Grad-CAM++ (Chattopadhay et al. 2018), by the `grad-cam` library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from spuraudit.errors import UsageError, did_you_mean
from spuraudit.models.feature_grid import with_gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.models.feature_grid import FeatureGrid
    from spuraudit.models.model import Model

Method = Literal["gradcam", "gradcam++"]
_METHODS = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus}


def grad_cam(
    model: Model, grid: FeatureGrid, pixels: Tensor, classes: Sequence[int], *, method: Method = "gradcam"
) -> Tensor:
    """Heat maps (B, H, W) float32 in 0..1, on the CPU, of what speaks for one class in each image.

    pixels: (B, 3, H, W) float32 in [0, 1] on the model's device, of the size that the grid was found for. classes: one
    output per image. The gradient is that of the logit, in float32 whatever the model's precision. Each map is scaled
    by its own largest and smallest value and resized bilinearly: heights of two images cannot be compared, and a map is
    0 everywhere where no cell speaks for the class. The network is left as found.
    Raises UsageError for classes that do not fit and for unknown methods, ModelError for pixels of another size.
    """
    if method not in _METHODS:
        raise UsageError(
            f"The method {method!r} is unknown.",
            did_you_mean(method, _METHODS) or f"Use {' or '.join(get_args(Method))}.",
        )
    known = model.record.num_classes
    if len(classes) != len(pixels) or not all(0 <= number < known for number in classes):
        raise UsageError(
            f"Grad-CAM explains one class per image, of outputs 0 to {known - 1}; "
            f"got {len(pixels)} images and the classes {list(classes)}."
        )

    def read(output: Tensor) -> Tensor:
        # A copy: the library keeps the activations of a CPU by reference, and what follows may write into them.
        return grid.read(output).float().clone()

    layers = [model.network.get_submodule(grid.layer)]
    targets = [ClassifierOutputTarget(number) for number in classes]
    with with_gradients(model):
        inputs = model.normalise(pixels).requires_grad_()
        cam = _METHODS[method](model.network, layers, reshape_transform=read)
        try:
            # Not as a context manager: that swallows every IndexError.
            maps = cam(inputs, targets)
        finally:
            cam.activations_and_grads.release()
    return torch.from_numpy(maps)
