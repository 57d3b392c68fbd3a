"""Where the user's code called an op: the nearest frame that is not ours."""
import functools
import os
import sys

from minires.engine.state import state

_ENGINE = os.path.dirname(os.path.abspath(__file__))
_OUR_CODE = tuple(os.path.join(os.path.dirname(_ENGINE), folder, "") for folder in ("engine", "ops", "nn"))
_BACKWARD_PASS = os.path.join(_ENGINE, "backward.py")


@functools.cache
def _is_our_code(file):
    return file.startswith(_OUR_CODE)


def call_site() -> tuple:
    """(code, offset) of the nearest caller outside engine, ops and nn; `line_of` looks up its line when asked."""
    frame = sys._getframe(2)
    rebuilding = state.rebuilding
    while frame.f_back is not None and _is_our_code(frame.f_code.co_filename):
        if rebuilding and frame.f_code.co_filename == _BACKWARD_PASS:
            return rebuilding  # where the forward was called, and not where backward() was
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def line_of(code, offset) -> tuple:
    """(file, line) of a call site."""
    lines = [line for start, stop, line in code.co_lines() if start <= offset < stop and line is not None]
    return code.co_filename, lines[0] if lines else code.co_firstlineno
