"""MODEL -> Model: checkpoints, architectures, preprocessing, class maps and dropout that drops.

Class maps live in `spuraudit.models.class_map`, Monte Carlo dropout in `spuraudit.models.mc_dropout`.
"""

from spuraudit.models.loading import load
from spuraudit.models.model import Model
from spuraudit.models.preprocess import PreprocessOverrides, with_geometry

__all__ = ["Model", "PreprocessOverrides", "load", "with_geometry"]
