"""Importing torchvision, of which only a net is needed."""
import functools
import importlib


@functools.cache
def import_torchvision():
    """The package, even where its compiled operators do not fit the PyTorch that is installed: no net here uses them."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        import_torchvision.declarations = torch.library.Library("torchvision", "DEF")  # they last as long as this
        for operator in ("nms", "qnms"):  # whose absence stops the import
            import_torchvision.declarations.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return importlib.import_module("torchvision")
