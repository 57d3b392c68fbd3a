"""The package as a whole: what importing it costs, and what it offers."""
import subprocess
import sys

import pytest

import minires as mr


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
