"""Networks that know the drawn pictures, and files of them in the forms in which people keep weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch
import toys
from safetensors.torch import save_file
from torch import Tensor, nn

from spuraudit.cli.main import main
from spuraudit.data import open_dataset
from spuraudit.models.architectures import create
from spuraudit.models.paper_cnn import PaperCNN
from spuraudit.record.geometry import Geometry, Preprocess
from spuraudit.runs.clean import clean_answers

if TYPE_CHECKING:
    import pytest
