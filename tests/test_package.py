"""The package as a whole: what importing it costs, what it offers, which way its imports point."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

import minires as mr

PACKAGE = Path(mr.__file__).parent

# Lower layers first: a module may import from its own row and from rows above it, never from one below.
LAYERS = (
    {"errors"},
    {"backend", "norms"},
    {"memory"},
    {"context", "threads", "tensor", "op", "step_summary", "autograd"},
    {"ops"},
    {"nn", "optim", "gradient_check", "files", "data"},
    {"models"},
    {"debugger", "trial"},
    {"flow", "explain"},
    {"record"},
    {"probe", "summary", "training", "stepping", "debug"},
    {"plot", "curves"},
    {"claims", "checks", "lesson", "course", "report", "theory"},
    {"processes"},
    {"drawing"},
    {"training_plot", "doctor", "train_settings", "train_command"},
    {"cli", "__main__", "__init__"},
)
ROW = {name: row for row, names in enumerate(LAYERS) for name in names}
THE_ONE_CYCLE = {("tensor", "ops")}  # a tensor's operators are ops, and ops take and return tensors


def module_files():
    return sorted(PACKAGE.rglob("*.py"))


def top_part(path):
    """The row's name of a file: "ops" for minires/ops/linear.py, "tensor" for minires/tensor.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_parts(path):
    """The parts of minires that a file imports: {"tensor", "ops", …}."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "minires":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minires."):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            parts |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("minires.")}
    return parts


def test_every_module_has_a_row():
    assert {top_part(path) for path in module_files()} == set(ROW)


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = top_part(path)
    upward = {other for other in imported_parts(path) & set(ROW) if ROW[other] > ROW[part]}
    assert {(part, other) for other in upward} <= THE_ONE_CYCLE, f"{path.name} imports {upward}"


def test_only_the_backend_imports_cupy():
    importers = {top_part(path) for path in module_files() for node in ast.walk(ast.parse(path.read_text("utf-8")))
                 if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "cupy" for a in node.names))
                 or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cupy")}
    assert importers == {"backend"}


def test_importing_minires_imports_neither_matplotlib_nor_cupy():
    code = "import sys, minires; print([m for m in ('matplotlib', 'cupy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plot_comes_with_its_first_use():
    code = "import sys, minires as mr; mr.plot.gradient_norms; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_every_public_name_is_there_and_documented():
    for name in mr.__all__:
        assert getattr(mr, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mr.no_such_name


def test_every_error_is_ours_and_a_builtin_one():
    errors = [value for value in vars(mr).values() if isinstance(value, type) and issubclass(value, mr.MiniresError)]
    assert len(errors) > 5
    for error in errors:
        if error is not mr.MiniresError:
            assert any(base.__module__ == "builtins" and base is not Exception for base in error.__mro__[1:-3]), error
