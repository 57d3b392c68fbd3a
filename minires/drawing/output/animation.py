"""The backward pass as an animation: one HTML file, with the frames in it, that needs no network."""
import base64
import dataclasses
import io
import math
import re
from collections.abc import Sequence
from html import escape

from matplotlib import rc_context
from matplotlib.animation import FuncAnimation
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from PIL import Image

from minires.drawing.diagram import NOT_WANTED, Diagram, gradient_label
from minires.drawing.output import figure
from minires.drawing.output.figure import colour
from minires.drawing.output.style import FONT, GREY, INK, RED, fills_of
from minires.errors import ArgumentError
from minires.text.plain import plain
from minires.text.terminal import progress

LARGEST = 2_800_000  # bytes of the file
DPI = (72, 85, 100)  # of the frames; below the first the text cannot be read, so layers share a frame instead
WAITING = "#dddddd"

SYMBOLS = {  # of the buttons, which matplotlib takes from a font on the network
    "fa-minus": "−", "fa-plus": "+", "fa-fast-backward": "⏮", "fa-fast-forward": "⏭", "fa-step-backward": "⏴|",
    "fa-step-forward": "|⏵", "fa-play fa-flip-horizontal": "◀", "fa-pause": "⏸", "fa-play": "▶",
}


def html(diagrams: Sequence[Diagram]) -> str:
    """The page. Each frame marks the layer whose backward runs, and the norms that it hands back appear on its arrows.

    Args:
        diagrams: one, of a loss, with its gradients.

    Raises:
        ArgumentError: there is no backward pass to show.
    """
    if len(diagrams) != 1 or not diagrams[0].backward_order:
        raise ArgumentError("draw: an animation shows the backward pass of one loss: mr.draw(loss, 'backward.html'), before "
                            "loss.backward()")
    film = Film(dataclasses.replace(diagrams[0], style="compact"))
    film.choose_size()
    with rc_context({"animation.embed_limit": 200}):  # megabytes; they are made fewer below
        moving = FuncAnimation(film.figure, film.show, frames=progress(range(film.length), "animation"),
                               init_func=film.start, save_count=film.length, cache_frame_data=False, blit=False)
        player = moving.to_jshtml(fps=2, embed_frames=True, default_mode="once")
    return _page(player, diagrams[0].title, film)


class Film:
    """The frames of one diagram.

    Attributes:
        figure: which `show(i)` changes.
        length: the number of frames: the first shows what there is before the pass, each later one a step of it.
    """

    def __init__(self, diagram: Diagram):
        self.diagram = diagram
        self.figure: Figure
        self.figure, [self._drawing] = figure.draw([diagram], head=0.3)
        self._status = self.figure.axes[0].text(self.figure.get_figwidth() / 2, 0.22, "", fontsize=9, fontfamily=FONT,
                                                ha="center", va="center", color=INK)
        self._at_once = 1  # layers in a frame
        self._palette = _palette(diagram)
        self._looks = {key: (patch.get_edgecolor(), patch.get_linewidth()) for key, patch in self._drawing.boxes.items()}
        self._into: dict[str, list[int]] = {}  # key: indices of the edges that lead to the node
        for i, edge in enumerate(diagram.edges):
            self._into.setdefault(edge.target, []).append(i)

    @property
    def length(self) -> int:
        """How many frames there are."""
        return 1 + math.ceil(len(self.diagram.backward_order) / self._at_once)

    def choose_size(self) -> None:
        """Choose the resolution, or how many layers a frame takes, so that the file stays small."""
        for i in range(self.length):
            self.show(i)
        steps = len(self.diagram.backward_order)
        allowed = [LARGEST * 3 // 4 // len(self.smaller(_png(self.figure, dpi))) for dpi in DPI]  # 4 characters for 3 bytes
        self._at_once = math.ceil(steps / max(1, min(steps, allowed[0] - 1)))
        self.figure.set_dpi(max([DPI[0], *(dpi for dpi, frames in zip(DPI, allowed, strict=True) if frames >= self.length)]))

    def smaller(self, png: bytes) -> bytes:
        """A frame with the palette that all of them share: a quarter of the bytes."""
        target = io.BytesIO()
        frame = Image.open(io.BytesIO(png)).convert("RGB").quantize(palette=self._palette, dither=Image.Dither.NONE)
        frame.save(target, "png", compress_level=9)
        return target.getvalue()

    def start(self) -> None:
        """As before the backward pass."""
        for arrow, number in zip(self._drawing.arrows, self._drawing.numbers, strict=True):
            arrow.set_color(WAITING)
            number.set_visible(False)
        for dot in self._drawing.dots.values():
            dot.set_color(WAITING)
        self._mark([])
        self._status.set_text("Before the backward pass")

    def show(self, i: int) -> None:
        """Frame i, of which all before have been shown."""
        if i == 0:
            self.start()
            return
        keys = self.diagram.backward_order[(i - 1) * self._at_once:i * self._at_once]
        self._mark(keys)
        for key in keys:
            for edge in self._into.get(key, []):
                gradient = self.diagram.edges[edge].gradient
                for artist in (self._drawing.arrows[edge], self._drawing.dots.get(edge)):
                    if artist is not None:
                        artist.set_color(self._drawing.colour_of(gradient))
                self._drawing.numbers[edge].set_visible(True)
        self._status.set_text(self._sentence(keys))

    def _mark(self, keys):
        for key, patch in self._drawing.boxes.items():
            edge, width = self._looks[key]
            patch.set_edgecolor(RED if key in keys else edge)
            patch.set_linewidth(2.5 if key in keys else width)

    def _sentence(self, keys):
        """What happens in a frame: "backward of layer1.0.conv1 (Conv2d 3×3, 16): 0.088 → 0.1"."""
        node = self.diagram.node(keys[-1])
        what = f"{node.name} ({node.label})" if node.name else node.label
        if len(keys) > 1:
            return f"{len(keys)} steps, to the backward of {what}"
        back = [gradient_label(self.diagram.edges[i].gradient) for i in self._into.get(node.key, [])
                if self.diagram.edges[i].gradient != NOT_WANTED]
        return f"Backward of {what}" + (f": hands back {' and '.join(back)}" if back else "")


def _palette(diagram):
    """An image whose palette has the colours of the figure, and those between them and their surroundings."""
    fills, arrows = {*fills_of(diagram).values()}, [colour(10.0 ** (-i / 8), LogNorm(1e-3, 1)) for i in range(25)]
    pairs: list[tuple[ColorType, ColorType]] = [("white", fill) for fill in fills]
    pairs += [(fill, INK) for fill in fills]
    pairs += [("white", each) for each in (*arrows, RED, WAITING, GREY, INK)]
    colours = []
    for one, other in pairs:
        start, end = to_rgb(one), to_rgb(other)
        for share in (0, 0.33, 0.67, 1):
            colours.append(tuple(round(255 * (a + share * (b - a))) for a, b in zip(start, end, strict=True)))
    image = Image.new("P", (1, 1))
    image.putpalette([part for each in dict.fromkeys(colours) for part in each][:3 * 256])
    return image


def _png(drawn, dpi):
    target = io.BytesIO()
    drawn.savefig(target, format="png", dpi=dpi)
    return target.getvalue()


def _page(player, title, film):
    """A whole page, with smaller frames, and with symbols of its own on the buttons."""
    player = re.sub(r'<link rel="stylesheet"\s+href="http[^>]*>', "", player)
    for name, symbol in SYMBOLS.items():
        player = player.replace(f'<i class="fa {name}"></i>', symbol)
    parts = re.split(r'"data:image/png;base64,([^"]*)"', player)
    for i in range(1, len(parts), 2):  # every second part is a frame
        frame = film.smaller(base64.b64decode(parts[i].replace("\\\n", "")))
        parts[i] = f'"data:image/png;base64,{base64.b64encode(frame).decode("ascii")}"'
    return ('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<title>Backward: {escape(plain(title))}</title>\n</head>\n<body>\n{"".join(parts)}\n</body>\n</html>\n')
