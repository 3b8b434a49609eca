"""One chief that chooses, workers that train: KerasTuner's gRPC between processes and machines."""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Self

from keras_mrisr.errors import ConfigError
from keras_mrisr.files import write_json

log = logging.getLogger(__name__)

IP, PORT, TUNER_ID = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"
OWNER = "owner.json"
_CHIEF = "chief"  # KerasTuner takes whoever has this in its name for the chief.


@dataclasses.dataclass(frozen=True)
class Place:
    """What a process is in a search of many.

    Attributes:
        role: "chief" or "worker".
        host: Where the chief listens: a name or address.
        port: Its port.
        name: Of this process, unlike all others of the search. A worker that is started again under its old
            name gets its old trial back at once.
    """

    role: str
    host: str
    port: int
    name: str

    @property
    def address(self) -> str:
        """The address for gRPC."""
        return f"{self.host}:{self.port}"


def find_place(chief: str | None = None, worker: str | None = None, name: str | None = None) -> Place | None:
    """The `Place` of this process, from the arguments or from KerasTuner's environment variables.

    Args:
        chief: "HOST:PORT" to listen at.
        worker: "HOST:PORT" of the chief.
        name: Of a worker; by default the variable's, or made of host and process.

    Returns:
        A `Place`, or None for a search in one process.

    Raises:
        ConfigError: Both, no address, or some of the variables are missing.
    """
    if chief and worker:
        raise ConfigError("A process is chief or worker. Give one of `chief` and `worker`.")
    if not (chief or worker):
        chief, worker = _from_environment()
    address = chief or worker
    if not address:
        return None
    host, port = _split(address)
    return Place("chief", host, port, _CHIEF) if chief else Place("worker", host, port, _worker_name(name))


def _worker_name(given: str | None) -> str:
    name = given or os.environ.get(TUNER_ID) or f"{socket.gethostname()}-{os.getpid()}"
    if _CHIEF in name or not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"A worker's name is letters and digits without 'chief'. Received: {name!r}")
    return name


def _from_environment() -> tuple[str | None, str | None]:
    """(address to listen at, address of the chief) by KerasTuner's variables; at most one of them."""
    given = {variable: os.environ.get(variable, "") for variable in (IP, PORT, TUNER_ID)}
    missing = [variable for variable in (IP, PORT, TUNER_ID) if not given[variable]]
    if len(missing) == 3 or missing == [IP, PORT]:
        return None, None
    if missing:
        raise ConfigError(
            f"The environment has some of KerasTuner's variables, but no {missing[0]}: set it, or give "
            "`chief` or `worker` as HOST:PORT."
        )
    address = f"{given[IP]}:{given[PORT]}"
    return (address, None) if _CHIEF in given[TUNER_ID] else (None, address)


@contextlib.contextmanager
def environment(place: Place | None) -> Iterator[None]:
    """Tells KerasTuner in its variables what this process is, and puts the old ones back."""
    new = dict.fromkeys((IP, PORT, TUNER_ID))
    if place is not None:
        new = {IP: place.host, PORT: str(place.port), TUNER_ID: place.name}
    old = {variable: os.environ.get(variable) for variable in new}
    try:
        _set(new)
        yield
    finally:
        _set(old)


def check_port(place: Place) -> None:
    """Raises ConfigError where a chief cannot listen."""
    # gRPC shares a port with whoever listens there, and says nothing.
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        family, kind, number, _, where = found[0]
        with socket.socket(family, kind, number) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen()
    except OSError as error:
        raise ConfigError(
            f"No chief can listen at {place.address}: {error.strerror or error}. Choose another port with "
            "`chief=HOST:PORT`."
        ) from error


def serve(oracle: Any, place: Place) -> None:
    """Answers workers until the search is over.

    Args:
        oracle: A `Steady` oracle.
        place: The chief's `Place`.
    """
    import grpc

    # KerasTuner's own server does not notice workers that die.
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=1))
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    server.add_insecure_port(place.address)
    server.start()
    log.info("Listening at %s for workers", place.address)
    try:
        while not oracle.is_over:
            time.sleep(0.5)
            oracle.reclaim()
    finally:
        server.stop(grace=2).wait()


def await_chief(place: Place, seconds: float) -> None:
    """Waits for the chief to answer.

    Raises:
        ConfigError: It does not.
    """
    import grpc

    with grpc.insecure_channel(place.address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=seconds)
        except grpc.FutureTimeoutError as error:
            raise ConfigError(
                f"No chief answers at {place.address} after {seconds:g} s. Start one there with `chief`, and "
                "check address and firewall."
            ) from error


class LostTrialError(Exception):
    """The trial belongs to another worker by now."""


class Claim:
    """A worker's hold on a trial: it shows the chief that it lives, and finds out if it was taken for dead.

    Args:
        oracle: The worker's client of the oracle.
        trial_id: The trial.
        folder: Folder of the trial, in which the claim is written down.
        lease: Seconds of silence after which the chief takes a worker for dead.
    """

    def __init__(self, oracle: Any, trial_id: str, folder: pathlib.Path, lease: float) -> None:
        self.oracle = oracle
        self.trial_id = trial_id
        self.file = pathlib.Path(folder) / OWNER
        self.lease = lease
        self.mark = uuid.uuid4().hex
        self._end = threading.Event()
        self._checked = time.monotonic()

    def __enter__(self) -> Self:
        write_json(self.file, {"mark": self.mark, "host": socket.gethostname(), "process": os.getpid()})
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(timeout=5)

    def check(self) -> None:
        """Raises LostTrialError when another worker has the trial; looks once a second at most."""
        if time.monotonic() - self._checked > 1:
            self._checked = time.monotonic()
            if not self.holds():
                raise LostTrialError(self.trial_id)

    def holds(self) -> bool:
        """Whether nobody has claimed the trial since."""
        try:
            return json.loads(self.file.read_text(encoding="utf-8"))["mark"] == self.mark
        except (OSError, ValueError):
            return True  # A shared folder that is away for a moment is no other worker.

    def _beat(self) -> None:
        while not self._end.wait(self.lease / 4):
            # Without a chief there is nobody to convince, and the training continues.
            with contextlib.suppress(Exception):
                self.oracle.get_trial(self.trial_id)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"Expected HOST:PORT, such as 127.0.0.1:8000. Received: {address!r}")
    return host, int(port)


def _set(variables: Mapping[str, str | None]) -> None:
    for variable, value in variables.items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value
