import gc
import threading
import warnings

import pytest

from tests.volumes.conftest import dicom_series  # noqa: F401


def _collect():
    """Frees the sockets that pynetdicom 3.0.4 leaves to the garbage collector: else other tests fail."""
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("pynetdicom"):
            thread.join(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def no_sockets_left():
    yield
    _collect()


@pytest.fixture(autouse=True, scope="module")
def no_sockets_of_servers_left():
    yield
    _collect()
