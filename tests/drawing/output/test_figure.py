"""The figures: nothing overlaps, nothing is cut, no arrow runs through a box, and what must be read stands there."""
import itertools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.patches import FancyBboxPatch
from PIL import Image

import minires as mr
from minires import models, nn, ops
from minires.drawing.diagram import Diagram, Edge, Node
from minires.drawing.output import figure
from minires.drawing.output import formats as save
from minires.drawing.output.figure import colour, draw_figure
from minires.drawing.units import UNITS, unit_diagram
from tests.drawing.nets import Users, loss_of, script, small


def architectures(*names):
    nets = {name: models.make(name, init=nn.init.zeros_) for name in names}
    return mr.draw(nets, input_shape=(1, 3, 32, 32))


def dense(x, depth=4):
    """Each sum has the outputs of all before it: shortcuts within shortcuts."""
    outputs = [ops.tanh(x)]
    for _ in range(depth):
        outputs.append(ops.tanh(sum(outputs[1:], outputs[0])))
    return outputs[-1].sum()


def two_weights_of_one_op():
    x, w = mr.Tensor(np.ones((2, 3))), mr.Tensor(np.ones((4, 3)), requires_grad=True, name="w")
    b = mr.Tensor(np.ones(4), requires_grad=True, name="b")
    v, c = mr.Tensor(np.ones((1, 4)), requires_grad=True, name="v"), mr.Tensor([1.0], requires_grad=True, name="c")
    return ops.linear(ops.linear(x, w, b), v, c.astype(np.float64)).sum()


def nested():
    """A shortcut within a shortcut, and one after them."""
    x = mr.Tensor([0.1], requires_grad=True, name="x")
    y = ops.tanh(x)
    inner = ops.tanh(y)
    y = y + ops.tanh(inner + ops.tanh(ops.tanh(inner)))
    return (y + ops.tanh(ops.tanh(y))).sum()


def two_ways():
    """Two inputs of two layers each, which meet."""
    x, y = [mr.Tensor([1.0, 2.0], requires_grad=True, name=name) for name in "xy"]
    return (x.exp().log() + y.exp().log()).sum()


FIGURES = {
    "model": lambda: [mr.draw(small())],
    "wrapped": lambda: [mr.draw(models.resnet20())],
    "one column": lambda: [mr.draw(models.resnet20(), columns=1)],
    "many columns": lambda: [mr.draw(models.cifar_net(14), columns=5)],
    "plain": lambda: [mr.draw(models.plain20())],
    "projections": lambda: [mr.draw(small(shortcut="C"))],
    "pre-activation": lambda: [mr.draw(models.cifar_net(20, preactivation=True, shortcut="B"))],
    "loss": lambda: [mr.draw(loss_of(small()), gradients=True)],
    "long loss": lambda: [mr.draw(loss_of(models.cifar_net(14, width=4)), gradients=True)],
    "nothing computed": lambda: [mr.draw(loss_of(small()))],
    "user's": lambda: [mr.draw(Users(), input_shape=(2, 4))],
    "script": lambda: [mr.draw(script(), gradients=True)],
    "two weights": lambda: [mr.draw(two_weights_of_one_op(), gradients=True)],
    "two ways": lambda: [mr.draw(two_ways(), gradients=True)],
    "nested": lambda: [mr.draw(nested(), gradients=True)],
    "dense": lambda: [mr.draw(dense(mr.Tensor([0.1], requires_grad=True, name="x")), gradients=True)],
    "one op": lambda: [mr.draw(mr.Tensor([0.1], requires_grad=True).sum(), gradients=True)],
    "units": lambda: [unit_diagram(name) for name in UNITS],
    "twins": lambda: architectures("resnet34", "plain34"),
    "wrapped architecture": lambda: architectures("resnet110"),
    "bottlenecks": lambda: architectures("resnet50"),
    "unequal": lambda: architectures("resnet20", "resnet56"),
}


LARGE = {"units", "twins", "bottlenecks", "unequal"}


@pytest.fixture(scope="module", params=[
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in FIGURES])
def drawn(request):
    """(the figure, the drawings in it)."""
    return figure.draw(FIGURES[request.param]())


def texts(drawn):
    """[(text, its extent)] of all that is written."""
    whole, _ = drawn
    renderer = whole.canvas.get_renderer()
    artists = [text for ax in whole.axes for text in [*ax.texts, *(ax.get_xticklabels() if ax.axison else [])]
               if text.get_text()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in artists]


def overlap(one, other, by=0.0):
    """Do two boxes have more in common than their borders?"""
    return (min(one.x1, other.x1) - max(one.x0, other.x0) > by) and (min(one.y1, other.y1) - max(one.y0, other.y0) > by)


def box_extents(drawn):
    """[(node, extent of its box)]."""
    whole, drawings = drawn
    renderer = whole.canvas.get_renderer()
    return [(drawing.diagram.node(key), patch.get_window_extent(renderer))
            for drawing in drawings for key, patch in drawing.boxes.items()]


def test_no_two_texts_overlap(drawn):
    found = texts(drawn)
    assert len(found) > 3
    for (one, extent), (other, other_extent) in itertools.combinations(found, 2):
        assert not overlap(extent, other_extent), f"{one!r} and {other!r}"


def test_nothing_lies_outside_of_the_canvas(drawn):
    whole, drawings = drawn
    width, height = whole.get_size_inches() * whole.dpi
    extents = texts(drawn) + [(node.key, extent) for node, extent in box_extents(drawn)]
    for name, extent in extents:
        assert extent.x0 >= 0, name
        assert extent.y0 >= 0, name
        assert extent.x1 <= width, name
        assert extent.y1 <= height, name
    for drawing in drawings:
        for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True):
            for corner in route.corners:
                x, y = drawing._at(*corner)
                assert 0.1 < x < width / whole.dpi - 0.1, edge
                assert 0.1 < y < height / whole.dpi - 0.1, edge


def test_no_two_boxes_overlap_and_each_text_is_inside_its_box_or_outside_of_all(drawn):
    boxes = box_extents(drawn)
    for (one, extent), (other, other_extent) in itertools.combinations(boxes, 2):
        assert not overlap(extent, other_extent), f"{one} and {other}"
    inside = 0
    for text, extent in texts(drawn):
        around = [box for _, box in boxes if overlap(box, extent, by=0.5)]
        if around:
            [box] = around
            assert box.x0 < extent.x0, text
            assert extent.x1 < box.x1, text
            inside += 1
    assert inside >= len(boxes)


def test_no_arrow_runs_through_a_box(drawn):
    for drawing in drawn[1]:
        for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True):
            for (x0, y0), (x1, y1) in itertools.pairwise(route.corners):
                assert x0 == pytest.approx(x1) or y0 == pytest.approx(y1), edge  # it runs down or across
                for key, (x, y, width, height) in drawing.geometry.boxes.items():
                    is_through = (max(x0, x1) > x - width / 2 + 1e-6 and min(x0, x1) < x + width / 2 - 1e-6
                                  and max(y0, y1) > y - height / 2 + 1e-6 and min(y0, y1) < y + height / 2 - 1e-6)
                    assert not is_through, f"{edge} through {key}"


def test_arrows_end_at_their_targets(drawn):
    for drawing in drawn[1]:
        for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True):
            x, y, width, height = drawing.geometry.boxes[edge.target]
            if drawing.diagram.style == "architecture" and edge.kind != "main":  # at the sum, on the arrow to the target
                x, y, width, height = drawing.geometry.boxes[f"n{int(edge.target[1:]) - 1}"]
                gap = drawing.geometry.style.gap
                assert route.corners[-1] == pytest.approx((x, y + height / 2 + gap / 4)), edge
            else:
                end = route.corners[-1]
                at = [(x, y - height / 2), (x + width / 2, y), (x - width / 2, y)]  # its top, its right, its left side
                assert any(end == pytest.approx(place) for place in at), edge


def test_a_step_along_a_column_runs_straight_down_into_the_top_of_the_next_box(drawn):
    for drawing in drawn[1]:
        spots, seen = drawing.geometry.layout.spots, 0
        for i, (edge, route) in enumerate(zip(drawing.diagram.edges, drawing.geometry.routes, strict=True)):
            start, end = spots[edge.source], spots[edge.target]
            if start.side == end.side == 0 and start.column == end.column and i not in drawing.geometry.layout.lanes:
                x, y, _, height = drawing.geometry.boxes[edge.target]
                assert route.corners[-1] == pytest.approx((x, y - height / 2)), edge
                assert {round(corner[0], 9) for corner in route.corners} == {round(x, 9)}, edge
                seen += 1
        assert seen


def test_the_arrow_to_the_next_column_comes_in_above_its_first_box(drawn):
    for drawing in drawn[1]:
        spots = drawing.geometry.layout.spots
        for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True):
            start, end = spots[edge.source], spots[edge.target]
            if edge.kind == "main" and start.column != end.column and not start.side and not end.side:
                x, y, _, height = drawing.geometry.boxes[edge.target]
                assert len(route.corners) > 2, edge  # around the columns, and not across them
                assert route.corners[-2][0] == pytest.approx(x), edge
                assert route.corners[-2][1] < y - height / 2, edge


def test_a_figure_is_as_high_as_its_highest_column(drawn):
    for drawing in drawn[1]:
        bottom = max(y + height / 2 for _, y, _, height in drawing.geometry.boxes.values())
        assert bottom < drawing.geometry.height < bottom + drawing.geometry.style.row_height


def test_boxes_beside_the_way_are_as_wide_as_their_own_texts_ask_for():
    def drawing_of(main_label):
        nodes = [Node("n0", "a", main_label, "Linear", ()), Node("n1", "b", "beside", "Linear", (), is_main=False),
                 Node("n2", "c", "x", "Linear", ())]
        edges = [Edge("n0", "n2"), Edge("n0", "n1", "downsample"), Edge("n1", "n2", "downsample")]
        return figure.draw([Diagram("", nodes, edges)])[1][0].geometry

    short, long = drawing_of("x"), drawing_of("a label that is much longer than the others are")
    assert long.box_width > 2 * short.box_width
    assert long.side_width == short.side_width


def test_the_arrow_of_a_weight_leaves_it_towards_its_op():
    _, [drawing] = figure.draw([mr.draw(two_weights_of_one_op())])
    beside = 0
    for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True):
        x, y, width, _ = drawing.geometry.boxes[edge.source]
        start, end = [drawing.geometry.layout.spots[key] for key in (edge.source, edge.target)]
        if edge.kind == "input" and start.side and not end.side and not drawing.diagram.edges_to(edge.source):
            assert route.corners[0] == pytest.approx((x - width / 2, y)), edge
            beside += 1
    assert beside == 3


def test_no_two_arrows_of_layers_end_at_one_place(drawn):
    for drawing in drawn[1]:
        ends = [route.corners[-1] for edge, route in zip(drawing.diagram.edges, drawing.geometry.routes, strict=True)
                if edge.kind != "input"]
        assert len(set(ends)) == len(ends)


def test_a_column_ends_where_no_shortcut_passes(drawn):
    for drawing in drawn[1]:
        spots = drawing.geometry.layout.spots
        last = {}
        for node in drawing.diagram.nodes:
            if node.is_main:
                last[spots[node.key].column] = node.key
        for edge in drawing.diagram.edges:
            if spots[edge.source].column != spots[edge.target].column:
                if drawing.diagram.style == "architecture" and edge.kind != "main":  # ends on the arrow to its target
                    assert spots[f"n{int(edge.target[1:]) - 1}"].column in (spots[edge.source].column,
                                                                            spots[edge.target].column)
                    continue
                assert spots[edge.target].column == spots[edge.source].column + 1
                assert last[spots[edge.source].column] == edge.source


def test_shortcuts_one_after_the_other_share_a_lane_and_nested_ones_do_not():
    def lanes(diagram):
        return set(figure.draw([diagram])[1][0].geometry.layout.lanes.values())

    assert lanes(architectures("resnet20")[0]) == {0}
    assert lanes(mr.draw(models.flat_net(3))) == set()
    assert lanes(mr.draw(nested())) == {0, 1}


def test_a_column_is_as_high_as_it_has_rows(drawn):
    for drawing in drawn[1]:
        layout = drawing.geometry.layout
        for column, height in enumerate(layout.heights):
            assert height == 1 + max(spot.row for spot in layout.spots.values() if spot.column == column)


def test_lanes_side_by_side_never_touch(drawn):
    """The upright parts of two arrows past the layers have a distance, or are one above the other."""
    for drawing in drawn[1]:
        upright = []
        for i, edge in enumerate(drawing.diagram.edges):
            if i in drawing.geometry.layout.lanes:
                (x, top), (_, bottom) = drawing.geometry.routes[i].corners[1:3]
                upright.append((x, top, bottom, edge))
        for (x, top, bottom, one), (other_x, other_top, other_bottom, other) in itertools.combinations(upright, 2):
            beside = min(bottom, other_bottom) > max(top, other_top)
            assert not beside or abs(x - other_x) > 0.2, f"{one} and {other}"


def test_long_nets_are_broken_into_columns_and_short_ones_are_not():
    def columns(diagram):
        return len(figure.draw([diagram])[1][0].geometry.layout.heights)

    assert columns(mr.draw(models.BasicBlock(4, 4), input_shape=(1, 4, 8, 8))) == 1
    assert 2 <= columns(mr.draw(models.cifar_net(14))) <= 4
    assert columns(mr.draw(models.cifar_net(14), columns=1)) == 1
    assert columns(mr.draw(models.cifar_net(14), columns=2)) == 2


@pytest.mark.parametrize("columns", [0, -1, 1.5, "2"])
def test_columns_are_a_positive_integer(columns):
    with pytest.raises(mr.ArgumentError, match="columns"):
        mr.draw(small(), columns=columns)


def svg_texts(path):
    return ["".join(element.itertext()).strip() for element in ElementTree.parse(path).iter()
            if element.tag.endswith("}text")]


def test_svg_holds_every_label_as_text(tmp_path):
    diagram = mr.draw(loss_of(small()), tmp_path / "loss.svg", gradients=True, title="my loss & more")
    found = svg_texts(tmp_path / "loss.svg")
    for node in diagram.nodes:
        assert (node.name or node.label) in found
    assert "Conv2d 3×3, 8, /2  →  2 × 8 × 8 × 8" in found
    assert "my loss & more" in found
    assert "none wanted" in found
    for edge in diagram.edges:
        assert edge.gradient == "none wanted" or f"{edge.gradient:.2g}" in found


def test_svg_of_the_twins_tells_layers_sizes_and_what_the_lines_mean(tmp_path):
    twins = {"ResNet-34": models.resnet34(init=nn.init.zeros_), "plain": models.plain34(init=nn.init.zeros_)}
    mr.draw(twins, tmp_path / "twins.svg")
    found = svg_texts(tmp_path / "twins.svg")
    assert found.count("3×3 conv, 512") == 2 * 5
    assert found.count("112 × 112") == found.count("7 × 7") == 2
    assert {"ResNet-34", "plain", "identity shortcut", "the shape changes: 1×1 conv"} <= set(found)


@pytest.mark.slow
def test_the_same_diagram_makes_the_same_bytes(tmp_path):
    for ending in ("svg", "png"):
        for name in ("one", "other"):
            mr.draw(small(), tmp_path / f"{name}.{ending}")
        assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"other.{ending}").read_bytes()


def test_png_has_ink_and_a_white_margin(tmp_path):
    mr.draw(small(), tmp_path / "NET.PNG")
    pixels = np.asarray(Image.open(tmp_path / "NET.PNG").convert("L"))
    assert pixels.min() < 60
    for side in (pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]):
        assert side.min() == 255


def test_pdf_is_a_pdf(tmp_path):
    mr.draw(small(), tmp_path / "net.pdf")
    assert (tmp_path / "net.pdf").read_bytes().startswith(b"%PDF")


def test_zero_not_kept_and_not_finite_look_different():
    shades = [colour(value, None) for value in (float("nan"), 0.0)]
    assert shades[0] != shades[1]
    nodes = [Node(f"n{i}", f"layer{i}", "x", "X", ()) for i in range(5)]
    values = [0.0, float("nan"), "not kept", 0.5]
    edges = [Edge(f"n{i}", f"n{i + 1}", gradient=value) for i, value in enumerate(values)]
    _, [drawing] = figure.draw([Diagram("d", nodes, edges)])
    assert [number.get_text() for number in drawing.numbers] == ["0", "nan", "not kept", "0.5"]
    assert drawing.numbers[1].get_color() == figure.RED
    assert len({number.get_color() for number in drawing.numbers}) == 3


def test_a_notebook_shows_the_figure():
    diagram = mr.draw(small())
    assert ElementTree.fromstring(diagram._repr_svg_()).tag.endswith("svg")
    boxes = [patch for patch in diagram.figure().axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == len(diagram.nodes)
    assert draw_figure([diagram, diagram]).get_figwidth() > diagram.figure().get_figwidth()


@pytest.mark.parametrize("path", ["net.jpg", "net", "net.svgz", "net."])
def test_an_unknown_ending_lists_the_known_ones(tmp_path, path):
    with pytest.raises(mr.ArgumentError, match=r"expected \.png, \.svg or \.pdf.*\.dot or \.gv.*\.mmd.*\.html"):
        mr.draw(small(), tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(mr.FileError, match=r"cannot write .*net\.svg.*No such file.*a folder that exists"):
        mr.draw(small(), tmp_path / "missing" / "net.svg")


def test_every_ending_of_the_docstring_is_taken():
    for ending in save.ENDINGS:
        assert ending in mr.draw.__doc__
