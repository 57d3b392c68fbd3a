"""docs/four_nets.md: the half of minires runs where PyTorch is not, and prints what stands there."""
import numpy as np
import pytest
from matplotlib import pyplot

from tests.docs.page import blocks, python_blocks, run

PAGE = "four_nets.md"


@pytest.mark.slow
def test_four_nets_train_and_have_the_records_that_the_page_tells_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    half = [block for block in python_blocks(PAGE) if "orch" not in block]
    assert len(half) == 6
    names = run(half)
    pyplot.close("all")
    assert capsys.readouterr().out == "".join(blocks(PAGE, "text")[:5])
    records = names["records"]
    assert list(records) == ["transformer", "recurrent", "unet", "siamese"]
    assert [column.name for column in records["recurrent"].columns][26:] == ["cell@27", "cell@28", "head"]
    depths = {column.name: column.depth for column in records["unet"].columns}
    assert (depths["fine"], depths["deepest"], depths["merge"]) == (1, 3, 4)
    one, other = records["siamese"].select("code").output_grad_norm.T
    np.testing.assert_allclose(one, other, rtol=1e-10)
    assert (tmp_path / "four_nets.png").exists()
