"""A pdb that is typed into by a script: what a user types, and what the debugger answers."""
import io
import os
import pdb
import subprocess
import sys
from pathlib import Path

import minires

# From Python 3.13 on, pdb stops at the call of `breakpoint()` and not at the line after it.
ONE_STEP = ["step"] if sys.version_info >= (3, 13) else []


class Session:
    """`with Session("next", "p dy.shape", …) as session:` `breakpoint()` opens a pdb into which these commands are typed.

    `session.answers[0]` is what the first stop shows, and `session.answers[i]` the answer to command i, counted from 1.
    """

    def __init__(self, *commands):
        self._screen = io.StringIO()
        typed = io.StringIO("".join(command + "\n" for command in commands))
        self.pdb = pdb.Pdb(stdin=typed, stdout=self._screen, nosigint=True, readrc=False)

    def __call__(self):
        """What `breakpoint()` calls."""
        self.pdb.set_trace(sys._getframe().f_back)

    @property
    def answers(self):
        return self._screen.getvalue().split("(Pdb) ")

    def __enter__(self):
        self._outer = sys.breakpointhook, sys.gettrace()
        sys.breakpointhook = self
        return self

    def __exit__(self, *exception):
        sys.breakpointhook = self._outer[0]
        sys.settrace(self._outer[1])
        self.pdb.clear_all_breaks()


def run_script(path, *commands, **environment):
    """(what a script prints, its exit status), with these commands typed into it; run in its own folder, as a user would."""
    settings = {**os.environ, "PYTHONPATH": str(Path(minires.__file__).parents[1]), "PYTHONIOENCODING": "utf-8",
                "PYTHONBREAKPOINT": "", **environment}
    done = subprocess.run([sys.executable, path.name], cwd=path.parent, env=settings, timeout=120, encoding="utf-8",
                          input="".join(command + "\n" for command in commands),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout, done.returncode
