import os
import sys

import pytest

from keras_mrisr.stderr import captured_stderr


def test_what_is_written_in_the_block_is_kept_back(capfd):
    print("before", file=sys.stderr)
    with captured_stderr() as said:
        os.write(2, b"of a library ")
        with captured_stderr() as inner:
            os.write(2, b"within")
            assert inner() == "within"
        os.write(2, b"and more")
        assert said() == "of a library and more"
    os.write(2, b"after")
    assert capfd.readouterr().err == "before\nafter"


def test_an_error_ends_it_too(capfd, caplog):
    caplog.set_level("DEBUG", "keras_mrisr")
    with pytest.raises(ZeroDivisionError), captured_stderr():
        os.write(2, b"first")
        raise ZeroDivisionError
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"
    assert caplog.messages == ["On stderr: first"]
