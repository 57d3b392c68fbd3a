"""`file_errors`: the system's errors of files become ours, and nothing else does."""
import errno
import os

import pytest

import minires as mr
from minires.errors import file_errors


def test_an_error_of_the_system_says_what_failed_where_why_and_what_to_do(tmp_path):
    path = tmp_path / "none.txt"
    with pytest.raises(mr.FileError) as caught, file_errors("reader: cannot read", path, "Give another path"):
        path.read_bytes()
    assert str(caught.value) == f"reader: cannot read {path} ({os.strerror(errno.ENOENT)}). Give another path"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_without_advice_the_message_ends_with_the_reason():
    with pytest.raises(mr.FileError) as caught, file_errors("cannot write", "a.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == "cannot write a.csv (No space left on device)"


def test_an_error_without_a_reason_of_the_system_is_quoted():
    with pytest.raises(mr.FileError) as caught, file_errors("cannot read", "a.gz"):
        raise OSError("not a gzipped file")
    assert str(caught.value) == "cannot read a.gz (not a gzipped file)"


def test_an_error_of_ours_from_inside_stays_as_it_is():
    inner = mr.FileError("the inner one")
    with pytest.raises(mr.FileError) as caught, file_errors("cannot read", "a"):
        raise inner
    assert caught.value is inner


@pytest.mark.parametrize("error", [ValueError("x"), mr.DataError("x"), MemoryError(), KeyboardInterrupt()])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, file_errors("cannot read", "a"):
        raise error
    assert caught.value is error


def test_without_an_error_nothing_happens():
    with file_errors("cannot read", "a"):
        value = 3
    assert value == 3
