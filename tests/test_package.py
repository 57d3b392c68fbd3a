"""The package as a whole: what importing it costs, and what it offers."""
import importlib
import pkgutil
import subprocess
import sys

import pytest

import minires as mr


def test_importing_minires_imports_neither_matplotlib_nor_cupy():
    code = "import sys, minires; print([m for m in ('matplotlib', 'cupy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_recording_a_net_of_minires_imports_no_torch():
    code = ("import sys, minires as mr\nwith mr.record_gradients(mr.models.flat_net(1)): pass\n"
            "print('torch' in sys.modules, 'minires.recording.torch_recorder' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_plot_comes_with_its_first_use():
    code = "import sys, minires as mr; mr.plot.gradient_norms; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_every_public_name_is_there_and_documented():
    for name in mr.__all__:
        assert getattr(mr, name).__doc__, name


def test_a_listing_shows_the_public_names_and_nothing_else():
    code = "import minires as mr; print([name for name in dir(mr) if not name.startswith('__')] == sorted(mr.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"  # in a process of its own, and so before the first use of `mr.plot`
    assert "__version__" in dir(mr)
    assert {"plot", "debug"} <= set(dir(mr))


def test_a_listing_does_not_grow_with_what_is_imported_later():
    before = dir(mr)
    importlib.import_module("minires.training.loop")
    assert mr.training.loop  # it is there, and not shown
    assert dir(mr) == before


def test_no_name_of_a_package_hides_a_module_in_it():
    found = list(pkgutil.walk_packages(mr.__path__, "minires."))
    assert len(found) > 100
    for _finder, module_name, _is_package in found:
        package_name, _, name = module_name.rpartition(".")
        if name != "__main__":
            package = sys.modules[package_name]  # the walk has imported it
            assert getattr(package, name, None) in (None, sys.modules.get(module_name)), module_name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mr.no_such_name


def test_every_error_is_ours_and_a_builtin_one():
    errors = [value for value in vars(mr).values() if isinstance(value, type) and issubclass(value, mr.MiniresError)]
    assert len(errors) > 5
    for error in errors:
        if error is not mr.MiniresError:
            assert any(base.__module__ == "builtins" and base is not Exception for base in error.__mro__[1:-3]), error


def test_a_folder_of_the_same_name_does_not_hide_the_package(tmp_path):
    """Such as a clone's own, in the folder around it: Python takes it for a package without `__init__.py`."""
    (tmp_path / "minires").mkdir()
    for code in (["-m", "minires", "lessons"], ["-c", "import minires; print(minires.Tensor)"]):
        done = subprocess.run([sys.executable, *code], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "plain_vs_residual" in done.stdout or "class" in done.stdout
