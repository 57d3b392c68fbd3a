"""Tables in Markdown, from the cases of one run."""
import numpy as np

from benchmarks.peers import ENGINES
from benchmarks.tape import NUMPY
from benchmarks.timing import ratio_of_medians, ratio_of_minima
from minires.text.tables import markdown_row

FIRST = "minires"


def table(head, rows) -> str:
    """A Markdown table of texts."""
    return "\n".join(map(markdown_row, [head, ["---"] * len(head), *rows]))


def number(value) -> str:
    """Three significant digits, without an exponent: 0.0123, 1.23, 12.3, 1234."""
    if value <= 0:
        return "0"
    decimals = max(0, 2 - int(np.floor(np.log10(float(f"{value:.3g}")))))
    return f"{value:.{decimals}f}"


def milliseconds(seconds) -> str:
    """The least time, in ms."""
    return number(1000 * float(np.min(seconds)))


def rivals_of(cases) -> list:
    """The rivals of minires in any of the cases, in the order of `ENGINES`; "DeZero, float32" comes after "DeZero"."""
    def place(rival):
        return list(ENGINES).index(rival if rival in ENGINES else rival.partition(",")[0]), rival

    return sorted({rival for case in cases for rival in case["seconds"] if rival != FIRST}, key=place)


def versus(ours, theirs) -> str:
    """"12.3: **0.97** / 0.99": the rival's least time in ms, and the two ratios of ours to it."""
    return f"{milliseconds(theirs)}: **{ratio(ratio_of_minima(ours, theirs))}** / {ratio(ratio_of_medians(ours, theirs))}"


def ratio(value) -> str:
    """Two decimals; a small one with two significant digits."""
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def race_table(cases, what) -> str:
    """A row for each stage of each case, with minires's least time and a column for each rival."""
    rivals = rivals_of(cases)
    one_stage = all(len(case["seconds"][FIRST]) == 1 for case in cases)
    head = [what, *([] if one_stage else [""]), "minires, ms", *[f"{name}, ms: ratio" for name in rivals]]
    rows = []
    for case in cases:
        for i, (stage, ours) in enumerate(case["seconds"][FIRST].items()):
            cells = [versus(ours, case["seconds"][name][stage]) if name in case["seconds"] else "–" for name in rivals]
            rows.append([case["name"] if i == 0 else "", *([] if one_stage else [stage]), milliseconds(ours), *cells])
    return table(head, rows)


def tape_table(case) -> str:
    """Microseconds of one operation of the chain, forward, backward and together, and together without NumPy's own."""
    def microseconds(rival):
        return [1e6 * float(np.min(values)) / case["operations"] for values in case["seconds"][rival].values()]

    numpy_alone = sum(microseconds(NUMPY))
    names = [name for name in (*ENGINES, NUMPY) if name in case["seconds"]]
    rows = []
    for name in names:
        both = sum(microseconds(name))
        own = "–" if name == NUMPY or name.startswith("PyTorch") else f"**{both - numpy_alone:.2f}**"
        rows.append([name, *[f"{value:.2f}" for value in microseconds(name)], f"{both:.2f}", own])
    return table(["engine", "forward, µs", "backward, µs", "both, µs", "both, less NumPy alone, µs"], rows)


def seconds_table(cases) -> str:
    """Seconds of fresh processes: the least and the median."""
    rows = [[case["name"], rival, f"{np.min(values):.2f}", f"{np.median(values):.2f}", str(len(values))]
            for case in cases for rival, stages in case["seconds"].items() for values in stages.values()]
    return table(["process", "of what", "minimum, s", "median, s", "runs"], rows)
