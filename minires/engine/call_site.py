"""Where an op was called: the nearest frame that is not ours. The word for it is `where`."""
import linecache
import os
import sys
from types import CodeType

from minires.engine.state import state

ENGINE = os.path.dirname(os.path.abspath(__file__))
OUR_FOLDERS = tuple(os.path.join(os.path.dirname(ENGINE), folder, "") for folder in ("engine", "ops", "nn"))
BACKWARD_PASS = os.path.join(ENGINE, "backward.py")


def call_site() -> tuple[CodeType, int]:
    """(code, offset) of the nearest caller outside engine, ops and nn; `where` looks up its line when asked."""
    frame = sys._getframe(2)
    rebuilding = state.rebuilding
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OUR_FOLDERS):
        if rebuilding and frame.f_code.co_filename == BACKWARD_PASS:
            return rebuilding  # where the forward was called, and not where backward() was
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def where(code: CodeType, offset: int) -> tuple[str, int]:
    """(file, line) of a call site."""
    lines = [line for start, stop, line in code.co_lines() if start <= offset < stop and line is not None]
    return code.co_filename, lines[0] if lines else code.co_firstlineno


def with_source(place: tuple[str, int]) -> str:
    """"file:line: the line"; without the line where its file cannot be read."""
    file, line = place
    return f"{file}:{line}: {linecache.getline(file, line).strip()}".removesuffix(": ")
