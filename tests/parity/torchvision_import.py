"""Importing torchvision, of which the tests need the nets and the preparation of images, not the compiled operators."""
import importlib.util

import pytest
import torch

OPERATORS = []  # declarations live as long as this list


def import_torchvision():
    """Return torchvision, or skip the module that asks for it where it is missing."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("the comparison needs torchvision: pip install minires[parity]", allow_module_level=True)
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:  # its compiled operators do not fit this PyTorch: declare the two whose absence stops the import
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        OPERATORS.append(library)
        return importlib.import_module("torchvision")
