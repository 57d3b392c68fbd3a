"""A record that was written as CSV is read back as it was; a file that is damaged or foreign is refused by its line."""
import csv
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

import minires as mr
from minires import models, nn, ops, optim
from minires.errors import DataError, FileError
from minires.recording.column import Column, kind_named
from minires.recording.numbers import ALL_QUANTITIES


class Cell(nn.Module):
    """Two states from two, and x + f(x) in between."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, state):
        h, c = state
        return ops.shortcut_add(self.a(h), h), {"c, \"quoted\"\nand 層": ops.tanh(self.b(c))}


class Net(nn.Module):
    """Its cell runs twice; in the second pass of a loop, its branch too."""

    def __init__(self):
        super().__init__()
        self.cell, self.act, self.branch = Cell(), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, x, branch):
        for _ in range(2):
            h, others = self.cell((x, x))
            x = self.act(h) + next(iter(others.values()))
        return self.branch(x) if branch else x


def vectors(seed=0):
    return mr.Tensor(np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32), requires_grad=True)


def record_of_a_net():
    """With uses, parts, a NaN, zeros, an update and numbers that are missing."""
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with mr.record_gradients(net, optimizer, shortcut_flow=True) as record:
        for scale in (1, 0, np.nan):
            (net(vectors(), branch=scale == 0) * scale).sum().backward()
            if scale == 1:
                optimizer.step()
    return record


def record_of_a_residual_net():
    net = models.cifar_net(8, width=2, in_channels=1, shortcut="B")
    with mr.record_gradients(net) as record:
        for _ in range(2):
            ops.cross_entropy(net(mr.Tensor(np.ones((2, 1, 8, 8), np.float32))), [0, 1]).backward()
    return record


def record_with_histograms():
    """Of zeros, NaN and a layer that runs in one of two passes."""
    net = Net()
    with mr.record_gradients(net, activations=True, histograms=[0.1, 0.2, 1]) as record:
        for scale in (1, np.nan):
            (net(vectors(), branch=scale == 1) * scale).sum().backward()
    return record


RECORDS = {"net": record_of_a_net, "residual": record_of_a_residual_net, "histograms": record_with_histograms,
           "empty": mr.GradientRecord}


def there_and_back(record, path):
    record.to_csv(path)
    return mr.GradientRecord.from_csv(path)


def assert_equal(found, record):
    assert (found.names, found.types, len(found)) == (record.names, record.types, len(record))
    for quantity in ALL_QUANTITIES:
        np.testing.assert_array_equal(found.values(quantity), record.values(quantity), err_msg=quantity)
        np.testing.assert_array_equal(found.missing(quantity), record.missing(quantity), err_msg=quantity)
    assert found.has_histograms == record.has_histograms
    if record.has_histograms:
        np.testing.assert_array_equal(found.histogram_edges, record.histogram_edges)
        np.testing.assert_array_equal(found.output_grad_counts, record.output_grad_counts)
    for one, other in zip(found.columns, record.columns, strict=True):
        assert one._replace(kind=object, module="") == other._replace(kind=object, module="")
        assert (one.is_block, one.module_name) == (other.is_block, other.module_name)


@pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
def test_a_record_is_read_back_as_it_was(make, tmp_path):
    record = make()
    found = there_and_back(record, tmp_path / "record.csv")
    if len(record):
        assert_equal(found, record)
        assert str(found) == str(record)
        assert found._repr_html_() == record._repr_html_()
    assert there_and_back(found, tmp_path / "again.csv").names == found.names
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "record.csv").read_bytes()


def test_what_was_read_is_selected_and_combined_as_before(tmp_path):
    record = record_of_a_net()
    found = there_and_back(record, tmp_path / "record.csv")
    for kinds in (["cell"], ["cell@2"], [nn.Linear], [nn.ReLU], [nn.Module], ["branch", "act"]):
        assert found.select(*kinds).names == record.select(*kinds).names
    assert_equal(found.over_uses(), record.over_uses())
    assert_equal(mr.stack_records([found, found]), mr.stack_records([record, record]))
    assert record.types.count("Cell") == found.types.count("Cell") == 6
    residual = record_of_a_residual_net()
    found = there_and_back(residual, tmp_path / "residual.csv")
    assert found.stream().names == residual.stream().names
    assert found.layers().names == residual.layers().names
    assert found.select(models.BasicBlock).names == residual.select(models.Block).names


def drawn(ax):
    """All that the lines, bands and maps of a figure show."""
    texts = [text for axes in ax.figure.axes for text in axes.get_legend_handles_labels()[1]]
    lines = [(line.get_xydata().tolist(), line.get_color(), line.get_marker())
             for axes in ax.figure.axes for line in axes.lines]
    areas = [[path.vertices.tolist() for path in area.get_paths()] for area in ax.collections]
    maps = [np.ma.filled(image.get_array(), -1).tolist() for image in ax.images]
    return repr((texts, lines, areas, maps, ax.get_xlabel(), ax.get_ylabel()))


def outcome(draw, record):
    """What is drawn; or what an error says, where the record lacks the quantity."""
    try:
        return drawn(draw(record))
    except mr.ArgumentError as error:
        return str(error)


def test_a_histogram_is_a_line_a_bin(tmp_path):
    with mr.record_gradients(net := nn.Sequential(nn.ReLU()), histograms=[0.5, 2]) as record:
        net(vectors()).backward(np.array([[0, 0.1, 0.5], [1, -3, np.nan]], np.float32))
    record.to_csv(tmp_path / "record.csv")
    lines = (tmp_path / "record.csv").read_text().splitlines()
    assert lines[0].endswith(",after,lines,at_least,below")
    assert [line.split(",")[3:5] + line.split(",")[-3:] for line in lines[-5:]] == [
        ["output_grad_zeros", "1", "9", "", ""],
        ["output_grad_histogram", "1", "9", "0.0", "0.5"],
        ["output_grad_histogram", "2", "9", "0.5", "2.0"],
        ["output_grad_histogram", "1", "9", "2.0", "inf"],
        ["output_grad_not_finite", "1", "9", "", ""]]


def test_histograms_of_a_file_are_whole(tmp_path):
    record_with_histograms().to_csv(tmp_path / "record.csv")
    lines = list(csv.DictReader((tmp_path / "record.csv").read_text(encoding="utf-8").splitlines(keepends=True)))
    first = next(line for line in lines if line["quantity"] == "output_grad_histogram")

    def found(lines):
        with (tmp_path / "other.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [title for title in first if title != "lines"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)
        return mr.GradientRecord.from_csv(tmp_path / "other.csv")

    def with_first(**changed):
        return [line | changed if line is first else line for line in lines]

    assert not found([line for line in lines if line["quantity"] in ALL_QUANTITIES]).has_histograms
    as_floats = [line | {"value": line["value"] and str(float(line["value"]))} for line in lines]
    np.testing.assert_array_equal(found(as_floats).output_grad_counts, found(lines).output_grad_counts)
    for changed, message in (
        ([line for line in lines if line["at_least"] != "0.1"], "not the counts of zeros, of bins that follow one another"),
        ([line for line in lines if line["quantity"] != "output_grad_zeros"], "not the counts of zeros"),
        ([line for line in lines if line is not first], r"without the output_grad_histogram from 0 to 0\.1 of"),
        (with_first(value=""), "pass 0 has the counts of some bins"),
        (with_first(value="1.5"), r"value is '1\.5', expected a number of elements"),
        (with_first(value="-1"), "value is '-1', expected a number of elements"),
        (with_first(at_least="x"), "at_least is 'x', expected the size at an end of a bin"),
        ([*lines, first], "stands there a second time"),
    ):
        with pytest.raises(DataError, match=message):
            found(changed)


@pytest.mark.parametrize("draw", [
    mr.plot.gradient_norms, mr.plot.gradient_heatmap, mr.plot.shortcut_flow, mr.plot.gradient_histograms,
    lambda record: mr.plot.gradient_norms(record, quantity="weight_grad_norm"),
    lambda record: mr.plot.gradient_norms(record, quantity="update_ratio"),
], ids=["norms", "map", "flow", "histograms", "weights", "updates"])
def test_what_was_read_is_drawn_as_before(draw, tmp_path):
    for make in (record_of_a_net, record_of_a_residual_net, record_with_histograms):
        record = make()
        assert outcome(draw, there_and_back(record, tmp_path / "record.csv")) == outcome(draw, record)
    pyplot.close("all")


def test_classes_that_a_file_names_are_those_of_minires_or_stand_for_others():
    assert kind_named("x", "Conv2d") is nn.Conv2d
    assert kind_named("x", "BasicBlock", True) is models.BasicBlock
    assert not issubclass(kind_named("x", "BasicBlock", False), models.Block)  # somebody's own
    assert issubclass(kind_named("x", "Unit", True), models.Block)
    assert kind_named("x", "Unit") is kind_named("x", "Unit", False)
    assert kind_named("x", "Parameter").__name__ == "Parameter"


# ---- files that are not what they were


SMALL = """pass,module,type,quantity,value,depth,role,use_of,use,part
0,a,Conv2d,output_grad_norm,1.5,1,layer,a,1,
0,b,Unit,output_grad_norm,,1,block,b,1,
1,a,Conv2d,output_grad_norm,nan,1,layer,a,1,
1,b,Unit,output_grad_norm,inf,1,block,b,1,
"""


def read(tmp_path, text):
    path = tmp_path / "record.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return mr.GradientRecord.from_csv(path)


def test_a_file_is_what_it_says(tmp_path):
    record = read(tmp_path, SMALL)
    np.testing.assert_array_equal(record.output_grad_norm, [[1.5, np.nan], [np.nan, np.inf]])
    assert record.missing("output_grad_norm").tolist() == [[False, True], [False, False]]
    unit = kind_named("x", "Unit", True)
    assert record.columns == [Column("a", nn.Conv2d, True, 1, "a"), Column("b", unit, False, 1, "b")]


@pytest.mark.parametrize("change", [
    lambda text: "\ufeff" + text,  # as spreadsheets write it
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "\n".join([text.splitlines()[i] for i in (0, 3, 1, 2, 4)]) + "\n",  # sorted in another way
    lambda text: text.replace("part\n", "part,mine\n").replace("1,\n", "1,,my note\n"),  # a column of the reader's own
    lambda text: text.replace("part\n", "part,lines\n").replace("1,\n", "1,,4\n"),
], ids=["mark", "lines", "order", "column", "count"])
def test_a_file_that_went_through_other_programs_is_read(change, tmp_path):
    assert_equal(read(tmp_path, change(SMALL)), read(tmp_path, SMALL))


def lines_without(i):
    return "".join(line for j, line in enumerate(SMALL.splitlines(keepends=True), 1) if j != i)


@pytest.mark.parametrize(("text", "message"), [
    ("", r"is no record of gradients: line 1 is '', expected pass,module,type,quantity,value,…"),
    ("epoch,loss\n1,0.5\n", r"is no record of gradients: line 1 is 'epoch,loss', expected pass"),
    (b"\x89PNG\r\n\x1a\n", r"line 1: it holds bytes that are no UTF-8 text"),
    (SMALL.encode() + b"1,\xff", r"line 6: it holds bytes that are no UTF-8"),
    (SMALL.replace("1.5", "1.5x"), r"line 2: value is '1\.5x', expected a number"),
    (SMALL.replace("1.5", "-1.5"), r"line 2: value is -1\.5, expected numbers that are not negative: of output_grad_norm"),
    (SMALL.replace("inf,1", "inf,one"), r"line 5: depth is 'one', expected a depth, such as 1"),
    (SMALL.replace("\n1,b", "\n-1,b"), r"line 5: pass is '-1', expected the number of a pass"),
    (SMALL.replace("0,b,Unit,output", "0,b,Unit,input"), r"line 3: quantity is 'input_grad_norm', expected one of output"),
    (SMALL.replace("1,b,Unit", "1,b,Other"), r"line 5: it says something else of 'b' than the lines before"),
    (SMALL.replace("1,b,Unit", "1,b,U\0"), r"line 5: .*null character"),
    (SMALL.replace("1,b,Unit", "0,b,Unit"), r"line 5: the output_grad_norm of 'b' in pass 0 stands there a second time"),
    (lines_without(2), r"line 4: the file ends without the output_grad_norm of 'a' in pass 0"),
    (lines_without(5), r"line 4: the file ends without the output_grad_norm of 'b' in pass 1"),
    (SMALL.replace("\n1,", "\n3,"), r"the file ends without the output_grad_norm of 'a' in pass 1"),
    (SMALL[:-1], r"line 5: it has no end, as if the file was cut off"),
    (SMALL[:-6], r"line 5: it has 7 fields, expected 10 as line 1 has"),
    (SMALL[:-1] + '"', r"line 5: .*\. Write it anew with record\.to_csv\(path\)"),
], ids=range(18))
def test_a_damaged_or_foreign_file_is_refused_by_its_line(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_file_says_how_many_lines_it_has(tmp_path):
    counted = SMALL.replace("part\n", "part,lines\n").replace("1,\n", "1,,4\n")
    with pytest.raises(DataError, match="line 3: the file ends after 2 lines behind the head, and says that they are 4"):
        read(tmp_path, "".join(counted.splitlines(keepends=True)[:3]))
    with pytest.raises(DataError, match="line 2: lines is 'x', expected the number of lines"):
        read(tmp_path, counted.replace(",4", ",x"))


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    record_of_a_net().to_csv(tmp_path / "whole.csv")
    content = (tmp_path / "whole.csv").read_bytes()
    ends = [i + 1 for i, byte in enumerate(content[:-1]) if byte == ord("\n")]  # between two lines
    for end in [0, *range(7, len(content), 613), *ends[1::9]]:
        with pytest.raises(DataError):
            read(tmp_path, content[:end])


def test_a_file_that_is_not_there_is_a_file_error(tmp_path):
    with pytest.raises(FileError, match=r"from_csv: cannot read .*none\.csv \(No such file"):
        mr.GradientRecord.from_csv(tmp_path / "none.csv")


# ---- files of other versions


def test_a_file_that_was_written_once_stays_readable():
    record = mr.GradientRecord.from_csv(Path(__file__).with_name("two_passes.csv"))
    assert (record.names, record.types) == (["0", "1", "2"], ["Linear", "ReLU", "Linear"])
    assert [column.after for column in record.columns] == [(), ("0",), ("1",)]
    assert [column.depth for column in record.columns] == [1, 1, 2]
    root = 1.118033988749895
    np.testing.assert_allclose(record.output_grad_norm, [[root, root, 1], [1, root, 1]])
    assert record.missing("weight_norm").tolist() == [[False, True, False]] * 2


# ---- files of 0.1.0, which had the first five columns


def test_a_file_of_an_older_version_is_drawn_in_its_order(tmp_path):
    lines = ["pass,module,type,quantity,value"]
    for i, (name, kind) in enumerate([("conv1", "Conv2d"), ("relu", "ReLU"), ("unit", "Unit"), ("fc", "Linear")]):
        weight = "nan" if kind in ("ReLU", "Unit") else str(i + 1.0)
        lines += [f"0,{name},{kind},output_grad_norm,{'nan' if i == 2 else i + 1.0}",
                  f"0,{name},{kind},weight_norm,{weight}", f"0,{name},{kind},update_ratio,nan"]
    record = read(tmp_path, "\n".join(lines) + "\n")
    assert record.types == ["Conv2d", "ReLU", "Unit", "Linear"]
    assert record.missing("output_grad_norm").tolist() == [[False] * 4]
    assert record.missing("weight_norm").tolist() == [[False, True, True, False]]
    assert record.select(nn.Linear).names == ["fc"]
    line, marks = mr.plot.gradient_norms(record).lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [2, 2], [3, np.nan], [4, 4]])
    np.testing.assert_array_equal(marks.get_xdata(), [3])
    line, = mr.plot.gradient_norms(record, quantity="weight_norm").lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [4, 4]])  # of what has none there is no gap
    with pytest.raises(mr.ArgumentError, match="has no update_ratio"):
        mr.plot.gradient_norms(record, quantity="update_ratio")
    pyplot.close("all")
