"""The pages of the repository name what exists: files, folders and modules, the version, the commands that CI runs."""
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import minires as mr

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {"minires", "lessons", "tests", "docs", "benchmarks", ".ci"}
MADE_LATER = {"docs/_build/html", "lessons/NN_name.py"}  # by the command that the page names, or by the reader
FRONT_PAGES = ["README.md", "CONTRIBUTING.md"]
PAGES = FRONT_PAGES + sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))


def page(name):
    """A page without its blocks of code."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def missing_links(text, folder):
    """The targets of relative links that lead nowhere, seen from a page in this folder."""
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    return [target for target in targets if not (folder / target).exists()]


def looks_like_a_path(word, folders_only):
    """Whether a word in backticks names a file or a folder of this repository."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word) or word in MADE_LATER:
        return False
    known = word.partition("/")[0] in FOLDERS
    return known or (not folders_only and re.search(r"/$|\.(py|md|cfg|toml|cff)$", word) is not None)


def missing_paths(text, folders_only=False):
    """The files and folders in backticks that do not exist: from the root, or from a folder named before on the line."""
    missing = []
    for line in text.splitlines():
        folders = [REPOSITORY]
        for word in " ".join(re.findall(r"`([^`]+)`", line)).split():
            if looks_like_a_path(word, folders_only):
                found = [folder / word for folder in folders if (folder / word).exists()]
                folders += [path for path in found if path.is_dir()]
                missing += [] if found else [word]
    return missing


def missing_modules(text):
    """The dotted names of minires that lead to nothing."""
    missing = []
    for name in re.findall(r"\bminires(?:\.(?!zip\b)[A-Za-z_]\w*)+", text):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    return missing


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_and_names_exists(name):
    text = page(name)
    assert missing_links(text, (REPOSITORY / name).parent) == []
    assert missing_paths(text, folders_only=name not in FRONT_PAGES) == []  # other pages name files of the reader too
    assert missing_modules((REPOSITORY / name).read_text(encoding="utf-8")) == []


def test_a_name_that_leads_nowhere_is_found():
    text = ("| `minires/engine/`: `op.py`, `absent.py` | `gone/`, `python -m pytest tests/nowhere`\n"
            "`minires-output/x`, `mr.plot`, `setup.cfg`, [a page](docs/gpu.md#colab), [none](docs/none.md), `op.py`")
    assert missing_paths(text) == ["absent.py", "gone/", "tests/nowhere", "op.py"]
    assert missing_paths(text, folders_only=True) == ["tests/nowhere"]
    assert missing_links(text, REPOSITORY) == ["docs/none.md"]
    assert missing_modules("`minires.autograd`, minires.engine.backward, minires.ops.relu") == ["minires.autograd"]


def test_the_readme_has_a_door_for_each_use_and_names_every_folder_of_the_package():
    text = page("README.md")
    for use in ("minires/course/", "minires/debug/", "minires/recording/"):
        assert f"`{use}`" in text.partition("They stand on one engine")[0]
    for path in (REPOSITORY / "minires").iterdir():
        if (path / "__init__.py").exists():
            assert f"`minires/{path.name}/`" in text


def test_the_changelog_has_this_version_and_what_is_not_released():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\S+)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert mr.__version__ in dict(versions)
    assert all(date for _, date in versions[1:])
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_sends_those_who_imported_a_module_to_modules_that_exist():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^ *\| (`minires\.[^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    assert len(rows) > 15
    for _, now in rows:
        assert "`minires." in now
        assert missing_modules(now) == []


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format requires
    assert citation["cff-version"] == "1.2.0"
    assert citation["authors"] == [{"name": "The minires authors"}]
    assert citation["license"] == "MIT"
    assert citation["version"] == mr.__version__
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{mr.__version__}] - {citation['date-released']}" in changelog


def test_the_hooks_need_no_network_and_run_what_ci_runs():
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    [repository] = config["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == ["ruff check", "lint-imports", "mypy minires lessons"]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"] in ci
