"""The command `minires`: what it was asked for is run, and an error becomes one line."""
import argparse
import bdb
import os
import sys
from collections.abc import Sequence

import minires
from minires.cli import course, doctor, draw, summary, train
from minires.errors import MiniresError
from minires.text.terminal import accept_any_text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. A `MiniresError` becomes one line, not a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    accept_any_text()
    os.environ["MPLBACKEND"] = "Agg"  # figures are files; a notebook's own backend, which a command inherits, may be missing
    try:
        if arguments[:1] == ["lesson"] and len(arguments) > 1 and not arguments[1].startswith("-"):
            return course.run_lesson(arguments[1], arguments[2:])  # the rest belongs to the lesson's own options
        chosen = parser.parse_args(arguments)
        return chosen.run(chosen)
    except MiniresError as error:
        print(f"minires: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"minires: there is not enough memory for this{f': {error}' if str(error) else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nminires: interrupted", file=sys.stderr)
        return 130
    except bdb.BdbQuit:
        print("\nminires: ended in the debugger", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser():
    parser = argparse.ArgumentParser(prog="minires", description="See a gradient: lessons on plain and residual nets.")
    parser.add_argument("--version", action="version", version=f"minires {minires.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    course.add_commands(commands)
    for command in (summary, draw, train, doctor):
        command.add_command(commands)
    return parser
