"""Text that every format can hold: names and titles come from anywhere."""
import re

# What XML 1.0 forbids (section 2.2, Char), so that no SVG can hold it, with what else has no look: the rest of the control
# characters, and halves of surrogate pairs, which are no text in UTF-8 either. A line break stays.
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def plain(text: str) -> str:
    """The text with control characters, and others that no file can hold, as Python writes them: "\\x1b", "\\ud800"."""
    return UNSEEN.sub(_escape, text)


def plain_line(text: str) -> str:
    """As `plain`, and with a line break as "\\n": for what has to stay on its line."""
    return plain(text).replace("\n", "\\n")


def _escape(found):
    return found.group().encode("unicode_escape").decode("ascii")
