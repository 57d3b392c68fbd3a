"""Make the page "What there is" from the public names and their docstrings: `python docs/make_list_page.py`."""
import inspect
from pathlib import Path

import minires as mr

PAGE = Path(__file__).parent / "what_there_is.md"
MADE = "<!-- made by docs/make_list_page.py from here to the end -->\n"
SECTIONS = [  # (title, module, what stands before its names)
    ("Ops: functions of tensors", mr.ops, "ops."), ("Layers, and what holds them", mr.nn, "nn."),
    ("Initialisers", mr.nn.init, "nn.init."), ("Optimizers and schedules", mr.optim, "optim."),
    ("Nets", mr.models, "models."), ("Plots", mr.plot, "mr.plot."),
    ("Debugging", mr.debug, "mr.debug."), ("Data", mr.data, "mr.data."),
    ("All of `mr`", mr, "mr."),
]
LONG = 78  # characters of a signature; of a longer one only the name is shown


def made(page: str) -> str:
    """The page, with the lists as they are now behind the text that people wrote."""
    tables = [table(title, module, prefix) for title, module, prefix in SECTIONS]
    return page.partition(MADE)[0] + MADE + "\n" + "\n".join(tables)


def table(title, module, prefix):
    """A section: a line for each public function and class."""
    rows = [f"| `{shown(prefix + name, value)}` | {sentence_of(value)} |"
            for name, value in sorted(public(module).items(), key=lambda item: item[0].casefold())]
    return "\n".join([f"## {title}", "", "| Name | What it is |", "|---|---|", *rows, ""])


def public(module):
    """{name: function or class}; constants, and modules that have a section of their own, are left out."""
    names = getattr(module, "__all__", None) or [name for name, value in vars(module).items() if not name.startswith("_")
                                                 and getattr(value, "__module__", None) == module.__name__]
    found = {name: getattr(module, name) for name in names}
    return {name: value for name, value in found.items() if inspect.isfunction(value) or inspect.isclass(value)}


def shown(name, value):
    """The name with its arguments, without their types; an error's without."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # a class that says nothing of its arguments
        return name
    if inspect.isclass(value) and issubclass(value, Exception):
        return name
    text = f"{name}{inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])}"
    return text.replace("|", "\\|") if len(text) <= LONG and "*args" not in text else f"{name}(…)"


def sentence_of(value):
    """The first paragraph of the docstring, in one line, with what Markdown would take for its own marked as text."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()).rstrip(":")
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "\\<") if "`" not in text else \
        text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
