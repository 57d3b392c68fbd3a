"""Fonts for texts in any script: names of layers and of records are the reader's own."""
import functools
import warnings
from collections.abc import Iterable

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

# What Windows, macOS and Linux have for Chinese, Japanese and Korean, and fonts that have nearly everything
WIDE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "Source Han Sans", "IPAexGothic", "IPAGothic", "IPAPGothic",
    "TakaoGothic", "TakaoPGothic", "VL Gothic", "Hiragino Sans", "Hiragino Maru Gothic Pro", "Yu Gothic", "Meiryo",
    "MS Gothic", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "PingFang SC", "PingFang HK", "Heiti TC",
    "Microsoft YaHei", "SimHei", "Noto Sans CJK KR", "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic",
    "Arial Unicode MS", "Droid Sans Fallback", "Noto Sans", "Segoe UI", "Segoe UI Symbol", "Unifont",
)


def make_readable(texts: Iterable[Text]) -> None:
    """Draw these texts as they are: a $ begins no formula, and letters that their font lacks are those of another one.

    Where this machine has none that has them, they will be drawn as boxes, and a warning says so.
    """
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(readable_families(text.get_text(), text.get_fontfamily()))


def readable_families(text: str, families: Iterable[str]) -> list[str]:
    """The font families for this text: those given and, where they lack letters of it, one more that has them.

    Where this machine has none that has them, they will be drawn as boxes, and a warning says so.
    """
    families = list(families)
    missing = _missing(text, families)
    fitting = [font for font in WIDE_FONTS if font in _installed() and _covers(font, missing)] if missing else []
    if missing and not fitting:
        _say_once("".join(sorted(missing)))
    return [*families, *fitting[:1]]


def _missing(text, families):
    """The letters of which the fonts of these families have no picture."""
    letters = {letter for letter in text if ord(letter) > 127 and letter.isprintable()}
    if not letters:
        return letters
    known = set().union(*[get_font(findfont(FontProperties(family=[family]))).get_charmap() for family in families])
    return {letter for letter in letters if ord(letter) not in known}


@functools.cache
def _installed():
    return {font.name for font in fontManager.ttflist}


def _covers(font, letters):
    return letters <= {chr(code) for code in get_font(findfont(FontProperties(family=[font]))).get_charmap()}


@functools.cache
def _say_once(letters):
    warnings.warn(f"plot: no font of this machine has {letters!r}, which will be drawn as boxes: install one that has it, "
                  "such as Noto Sans CJK, or use other labels", stacklevel=4)
