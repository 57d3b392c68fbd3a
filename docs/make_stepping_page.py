"""Make what the page "Step through a gradient" shows: `python docs/make_stepping_page.py`.

The commands of each session stand in the page. They are typed into the program that the session starts, and what it answers
is put below each. A block that begins with the name of a file is that file; the one that begins with `# cell` is run by a
kernel, as in a notebook. From Python 3.13 on, pdb stops one line earlier: the page is made with an older one.
"""
import contextlib
import os
import queue
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent / "step_through_a_gradient.md"
PACKAGE = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|console|text)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^(?:\(Pdb\)|ipdb>) (.*)$", re.MULTILINE)


def made(page: str) -> str:
    """The page, with the answers that its commands get now."""
    with tempfile.TemporaryDirectory() as folder:
        blocks = []
        for kind, block in BLOCK.findall(page):
            first, _, rest = block.partition("\n")
            if first.startswith("# ") and first.endswith(".py"):
                (Path(folder) / first[2:]).write_text(block, encoding="utf-8")
            elif first == "# cell":
                cell = rest
            elif kind == "console":
                block = terminal(first, TYPED.findall(block), folder)
            elif first == "%debug":
                block = notebook(cell, TYPED.findall(block))
            blocks.append(f"```{kind}\n{block}```\n")
    texts = BLOCK.split(page)[::3]  # between the blocks
    return "".join(text + block for text, block in zip(texts, [*blocks, ""], strict=True))


def terminal(command, typed, folder):
    """What a terminal shows: a command, and what it answers while these lines are typed."""
    program, *arguments = command.removeprefix("$ ").split()
    start = {"python": [sys.executable], "minires": [sys.executable, "-m", "minires"]}[program]
    settings = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1",
                "PYTHONBREAKPOINT": ""}
    done = subprocess.run([*start, *arguments], cwd=folder, env=settings, encoding="utf-8", timeout=300,
                          input="".join(line + "\n" for line in typed), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    start, *answers = done.stdout.split("(Pdb) ")
    lines = [f"(Pdb) {line}\n{answer}" for line, answer in zip(typed, answers, strict=True)]
    return f"{command}\n" + without_folders(start + "".join(lines), folder)


def notebook(cell, typed):
    """What a notebook shows after the error of a cell and `%debug`, while these lines are typed."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, "PYTHONPATH": str(PACKAGE)},
                                       stderr=subprocess.DEVNULL)
    shown, lines = ["%debug\n"], iter(typed)

    def show(message):
        shown.append(message["content"].get("text", ""))

    def answer(message):
        with contextlib.suppress(queue.Empty):  # what was printed before comes on another channel, maybe later
            while True:
                show(client.get_iopub_msg(timeout=0.5))
        line = next(lines)
        shown.append(f"{message['content']['prompt']}{line}\n")
        client.input(line)

    try:
        client.execute_interactive(cell, allow_stdin=False, output_hook=str, timeout=60)
        client.execute_interactive("%debug", stdin_hook=answer, output_hook=show, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    text = re.sub(r"\x1b\[[0-9;]*m", "", "".join(shown))  # colours
    return re.sub(r"[^\s'\"]*ipykernel_\S+\.py", "the cell", without_folders(text, "no folder"))


def without_folders(text, folder):
    """The text as it would be in the reader's folder, with minires wherever it is."""
    text = text.replace(os.path.realpath(folder) + os.sep, "").replace(folder + os.sep, "")
    text = text.replace(str(PACKAGE) + os.sep, "...").replace("...minires", ".../minires")
    return "\n".join(line.rstrip() for line in text.split("\n"))


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
