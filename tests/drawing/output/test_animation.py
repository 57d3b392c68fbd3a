"""The animation: one file without the network, whose frames mark one layer after the other."""
import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

import minires as mr
from minires.drawing.output import animation
from minires.drawing.output.style import RED
from tests.drawing.nets import loss_of, script, small


def frames_of(path):
    """The pictures in the page, as arrays (H, W, 3)."""
    found = re.findall(r'"data:image/png;base64,([^"]*)"', path.read_text(encoding="utf-8"))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in found]


def reds(frame):
    """How many pixels are of the colour that marks a layer."""
    return int((np.abs(frame.astype(int) - np.array([0xb3, 0x00, 0x1b])).max(axis=-1) < 8).sum())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("animation") / "backward.html"
    mr.draw(script(), path, title="mean <of squares>")
    return path


def test_the_page_needs_no_network_and_no_font(page):
    text = page.read_text(encoding="utf-8")
    outside = [link for link in re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text) if not link.startswith("data:")]
    assert outside == []
    assert "http" not in text
    assert "fa-" not in text
    assert "<title>Backward: mean &lt;of squares&gt;</title>" in text
    for symbol in animation.SYMBOLS.values():
        assert symbol in text


def test_there_is_a_frame_before_the_pass_and_one_for_each_step(page):
    frames = frames_of(page)
    assert len(frames) == 1 + 5  # x @ w + b - 1, the square, the mean
    assert reds(frames[0]) == 0
    assert all(reds(frame) > 50 for frame in frames[1:])
    rows = [np.flatnonzero((np.abs(frame.astype(int) - [0xb3, 0, 0x1b]).max(axis=-1) < 8).any(axis=1)).mean()
            for frame in frames[1:]]
    assert rows == sorted(rows, reverse=True)  # from the loss at the bottom to the top


def test_numbers_appear_with_their_step_and_stay():
    diagram = mr.draw(script(), gradients=True)
    film = animation.Film(dataclasses.replace(diagram, style="compact"))
    shown = []
    for i in range(film.length):
        film.show(i)
        shown.append([number.get_visible() for number in film._drawing.numbers])
        marked = [key for key, patch in film._drawing.boxes.items() if patch.get_linewidth() > 2]
        assert marked == diagram.backward_order[i - 1:i] if i else marked == []
        for edge, is_shown in zip(diagram.edges, shown[-1], strict=True):
            assert is_shown == (edge.target in diagram.backward_order[:i])
    assert not any(shown[0])
    assert all(shown[-1])


def test_the_status_line_tells_what_is_handed_back():
    diagram = mr.draw(script(), gradients=True)
    film = animation.Film(diagram)
    film.show(1)
    [edge] = diagram.edges_to(diagram.backward_order[0])
    assert film._status.get_text() == f"Backward of Mean: hands back {edge.gradient:.2g}"
    film.show(0)
    assert film._status.get_text() == "Before the backward pass"


@pytest.mark.slow
def test_a_long_pass_takes_several_layers_in_a_frame(monkeypatch):
    diagram = dataclasses.replace(mr.draw(loss_of(small()), gradients=True), style="compact")
    film = animation.Film(diagram)
    film.choose_size()
    assert film.length == 1 + len(diagram.backward_order)
    assert film.figure.dpi == max(animation.DPI)
    size = len(film.smaller(animation._png(film.figure, min(animation.DPI)))) * 4 / 3
    monkeypatch.setattr(animation, "LARGEST", int(12 * size))
    film.choose_size()
    assert film.figure.dpi == min(animation.DPI)
    assert 7 <= film.length <= 12
    film.show(film.length - 1)
    assert "steps, to the backward of conv1 (Conv2d 3×3, 4)" in film._status.get_text()
    assert all(number.get_visible() for number in film._drawing.numbers)


def test_a_file_is_smaller_than_3_megabytes_and_its_loss_is_left_as_it_was(page):
    assert 20_000 < page.stat().st_size < 3_000_000
    assert RED == "#b3001b"  # which `reds` counts


def test_the_loss_can_be_differentiated_after_the_animation(tmp_path):
    x = mr.Tensor([1.0, -2.0], requires_grad=True, name="x")
    loss = (x * x).sum()
    mr.draw(loss, tmp_path / "backward.html")
    assert x.grad is None
    loss.backward()
    np.testing.assert_array_equal(x.grad, [2, -4])


def test_a_model_has_no_backward_pass_to_show(tmp_path):
    with pytest.raises(mr.ArgumentError, match="an animation shows the gradients of a loss"):
        mr.draw(small(), tmp_path / "backward.html")


def test_a_diagram_without_gradients_has_none_either(tmp_path):
    with pytest.raises(mr.ArgumentError, match="the backward pass of one loss"):
        mr.draw(script()).save(tmp_path / "backward.html")
