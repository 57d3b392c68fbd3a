"""docs/what_there_is.md lists what there is, and an unknown name leads there."""
import re
import runpy

import pytest

import minires as mr
from minires import nn, ops, optim
from tests.docs.page import FOLDER

PAGE = FOLDER / "what_there_is.md"


def test_the_page_lists_every_public_name_as_its_docstring_has_it():
    page = PAGE.read_text(encoding="utf-8")
    made = runpy.run_path(str(FOLDER / "make_list_page.py"))["made"](page)
    assert made == page, "run python docs/make_list_page.py"
    listed = re.findall(r"^\| `([\w.]+)", page, re.MULTILINE)
    for module, prefix in ((ops, "ops."), (nn, "nn."), (optim, "optim.")):
        assert {f"{prefix}{name}" for name in module.__all__} - {"nn.init"} <= set(listed)
    assert {"mr.plot.gradient_norms", "mr.record_gradients", "models.resnet1202", "nn.init.he_normal_"} <= set(listed)
    assert not re.search(r"\| `[^`]*` \|  *\|", page)  # a name without a docstring


@pytest.mark.parametrize(("module", "name", "near"), [
    (nn, "Relu", "ReLU"), (nn, "layernorm", "LayerNorm"), (ops, "cross_entropi", "cross_entropy"),
    (optim, "RMSprop", "RMSProp"), (mr, "tensor", "Tensor"), (nn, "LSTM", None), (ops, "fft", None)])
def test_an_unknown_name_is_told_the_nearest_and_the_page(module, name, near):
    with pytest.raises(AttributeError, match=f"{name!r}{f': did you mean {near}' if near else '[.]'}") as raised:
        getattr(module, name)
    assert "docs/what_there_is.md" in str(raised.value)
    assert not hasattr(module, "_ipython_display_")
