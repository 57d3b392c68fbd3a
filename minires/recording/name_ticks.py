"""Names of layers as the ticks of an axis: as many as can be read in the figure as it is."""
import math
import unicodedata
from collections.abc import Mapping, Sequence

from matplotlib import rcParams
from matplotlib.axis import Axis, XAxis
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import Formatter, Locator

from minires.recording.fonts import readable_families
from minires.text.plain import plain_line

SLANT = 40  # degrees, of the names below an x axis
LINE = 1.25  # height of a line of text, in font sizes
LETTER = 0.62  # mean width of a letter, in font sizes; Chinese, Japanese and Korean ones are twice as wide
MOST_SLANTED = 128  # names, on figures up to 40 inches wide; any more would not end at their places
LARGEST_SHARE = 0.35  # of the figure's height or width, which names may take; longer ones lose their beginning


def set_names(axis: Axis, names: Mapping[float, str]) -> None:
    """Name places on an axis, {place: name}; which of them are drawn is decided whenever the figure is."""
    slanted = isinstance(axis, XAxis)
    size = FontProperties(size=rcParams["xtick.labelsize" if slanted else "ytick.labelsize"]).get_size_in_points()
    names = {place: plain_line(name) for place, name in names.items()}
    places = sorted(names)
    axis.set_major_locator(_ReadablePlaces(axis, places, size))
    axis.set_major_formatter(_Names(axis, names, size))
    families = readable_families("".join(names.values()), rcParams["font.family"])
    axis.set_tick_params(labelsize=size, labelfontfamily=families)
    if slanted:
        axis.set_tick_params(labelrotation=SLANT)
        for tick in axis.get_major_ticks(min(len(places), MOST_SLANTED)):  # which are made here, and used as need be
            tick.label1.set(ha="right", rotation_mode="anchor")


def has_names(axis: Axis) -> bool:
    """Has `set_names` named places on it?"""
    return isinstance(axis.get_major_formatter(), _Names)


def shortened(name: str, width: float) -> str:
    """A name that is at most so many letters wide: its end, which tells a layer from its neighbours."""
    kept, left = len(name), width - 1  # for the dots
    if sum(_letters(letter) for letter in name) <= width:
        return name
    while kept > 1 and left >= _letters(name[kept - 1]):
        kept -= 1
        left -= _letters(name[kept])
    return f"…{name[kept:]}" if kept < len(name) else f"…{name[-1:]}"


def _letters(letter):
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def readable(places: Sequence[float], apart: float) -> list[float]:
    """The first place, the last one, and of those in between what is at least so far from its neighbours."""
    if len(places) < 2 or places[-1] - places[0] < apart:
        return list(places[:1])
    chosen = [places[0]]
    for place in places[1:-1]:
        if place - chosen[-1] >= apart and places[-1] - place >= apart:
            chosen.append(place)
    return [*chosen, places[-1]]


class _ReadablePlaces(Locator):
    """Ticks at those places whose names do not touch."""

    def __init__(self, axis: Axis, places: Sequence[float], size: float) -> None:
        self.named = axis
        self.places = places
        self.size = size  # of the font, in points

    def __call__(self) -> list[float]:
        least, largest = sorted(self.named.get_view_interval())
        return self.tick_values(least, largest)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        box, dpi = self.named.axes.bbox, self.named.axes.figure.dpi
        slanted = isinstance(self.named, XAxis)
        pixels = box.width if slanted else box.height
        apart = LINE * self.size * dpi / 72 / (math.sin(math.radians(SLANT)) if slanted else 1)
        seen = [place for place in self.places if vmin <= place <= vmax]
        return readable(seen, apart * (vmax - vmin) / max(pixels, 1))


class _Names(Formatter):
    """The name of a place; of one that is long for the figure, its end."""

    def __init__(self, axis: Axis, names: Mapping[float, str], size: float) -> None:
        self.named = axis
        self.names = names
        self.size = size

    def __call__(self, x: float, pos: int | None = None) -> str:
        figure = self.named.axes.figure
        slanted = isinstance(self.named, XAxis)
        inches = (figure.bbox.height / math.sin(math.radians(SLANT)) if slanted else figure.bbox.width) / figure.dpi
        name = shortened(self.names.get(x, ""), max(4, LARGEST_SHARE * inches * 72 / (LETTER * self.size)))
        return name.replace("$", r"\$")  # so that it begins no formula
