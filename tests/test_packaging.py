"""What a wheel holds: every file of minires/ and lessons/ that git tracks, and a new folder without a word in setup.cfg."""
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BUILT_FROM = ["minires", "lessons", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
ONLY_FOR_THE_DOCS = {"lessons/GALLERY_HEADER.rst"}
BUILD = "from setuptools import build_meta; build_meta.build_wheel('.')"


def tracked_files():
    """The files that a wheel is built from, as git knows them."""
    listing = subprocess.run(["git", "ls-files", "-z", *BUILT_FROM], cwd=REPOSITORY, capture_output=True, encoding="utf-8",
                             check=True).stdout
    return [name for name in listing.split("\0") if name and (REPOSITORY / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel that is built from a copy of the repository, with a folder that setup.cfg has not heard of."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("the files are those that git tracks, and this is no clone")
    copy = tmp_path_factory.mktemp("repository")
    for name in tracked_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    new = copy / "minires" / "newfolder" / "inside"
    new.mkdir(parents=True)
    for folder in (new.parent, new):
        (folder / "__init__.py").write_text('"""New."""\n', encoding="utf-8")
    subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, check=True)
    [path] = copy.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        return set(file.namelist())


def test_a_new_folder_reaches_the_wheel(wheel):
    assert {"minires/newfolder/__init__.py", "minires/newfolder/inside/__init__.py"} <= wheel


def test_no_tracked_file_is_missing_in_the_wheel(wheel):
    tracked = {name for name in tracked_files() if name.startswith(("minires/", "lessons/"))} - ONLY_FOR_THE_DOCS
    expected = {f"minires/{name}" if name.startswith("lessons/") else name for name in tracked}
    assert {"minires/py.typed", "minires/data/fashion_mnist_sample.npz", "minires/data/FASHION_MNIST_LICENSE",
            "minires/lessons/07_plain_vs_residual.py"} <= expected
    assert expected - wheel == set()


def test_the_wheel_holds_both_licences_and_nothing_else_than_the_package(wheel):
    [information] = {name.partition("/")[0] for name in wheel} - {"minires"}
    assert information.endswith(".dist-info")
    assert {f"{information}/licenses/LICENSE", f"{information}/licenses/minires/data/FASHION_MNIST_LICENSE"} <= wheel
