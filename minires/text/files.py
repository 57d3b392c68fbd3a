"""Files and folders of results."""
from pathlib import Path

from minires.errors import FileError


def output_folder(path) -> Path:
    """The folder at `path`, made if need be, and proven to be writable before minutes are spent on results.

    Raises:
        FileError: it cannot be made or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".minires-write-test"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process, which writes here too, may have been faster
    except OSError as error:
        raise FileError(f"cannot write results to the folder {str(path)!r}: {error.strerror or error}. "
                        "Name another with --out DIR") from error
    return folder


def write_text(path, text: str):
    """Write a page.

    Raises:
        FileError: the file cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
