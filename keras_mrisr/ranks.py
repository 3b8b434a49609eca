"""The processes of one training, which torchrun starts on one or several hosts; each has its rank."""

import contextlib
import dataclasses
import datetime
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from keras_mrisr.errors import ConfigError, MrisrError, RankLostError

DISTRIBUTED = "distributed"
"""The strategy of a training that is shared out to ranks."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_START = "KERAS_BACKEND=torch torchrun --nproc-per-node 2 -m keras_mrisr train ..."
_ARRIVAL = 300.0  # Seconds in which all ranks must come.
_LOST = (
    "A rank of this training has gone or cannot be reached. The run's folder holds the last backup: the same "
    "command resumes, and so does torchrun with --max-restarts."
)
# Rank 0 may read and write for long while the others wait. A rank that has died is noticed at once.
_PATIENCE = datetime.timedelta(hours=2)

T = TypeVar("T")
Item = TypeVar("Item")


@dataclasses.dataclass
class _Job:
    rank: int = 0
    count: int = 1
    depth: int = 0


_job = _Job()


def rank() -> int:
    """Number of this process among those that train together; 0 for one that trains alone."""
    return _job.rank


def rank_count() -> int:
    """How many processes train together; 1 outside of `joined`."""
    return _job.count


def leads() -> bool:
    """Whether this is rank 0, the only one that writes."""
    return _job.rank == 0


def share(count: int) -> range:
    """Which of so many samples of a batch are this rank's."""
    each = count // _job.count
    return range(_job.rank * each, (_job.rank + 1) * each)


def gathered(value: T) -> list[T]:
    """The values of all ranks, in their order."""
    if _job.count == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * _job.count
    with told():
        dist.all_gather_object(values, value)
    return values


def from_leader(function: Callable[[], T]) -> T:
    """What a function returns on rank 0, which alone calls it; an error of its is every rank's."""
    if _job.count == 1:
        return function()
    import torch.distributed as dist

    outcome: list[Any] = [None, None]
    if leads():
        try:
            outcome = [function(), None]
        except (MrisrError, OSError) as error:
            outcome = [None, error]
    received = list(outcome)
    with told():
        dist.broadcast_object_list(received, 0)
    if received[1] is not None:
        raise outcome[1] if leads() else received[1]
    return outcome[0] if leads() else received[0]


def shared_out(items: Sequence[Item], function: Callable[[Item], T]) -> list[T]:
    """`[function(item) for item in items]` on every rank, to which each contributes a share."""
    parts = gathered([function(item) for item in items[_job.rank :: _job.count]])
    return [parts[place % _job.count][place // _job.count] for place in range(len(items))]


def mean(values: Sequence[float]) -> list[float]:
    """The means of numbers over all ranks."""
    if _job.count == 1:
        return list(values)
    import torch
    import torch.distributed as dist

    total = torch.tensor(values, dtype=torch.float64, device="cpu")
    with told():
        dist.all_reduce(total)
    return (total / _job.count).tolist()


def check_batch(batch_size: int) -> None:
    """Raises ConfigError where no ranks are joined, or a batch cannot be shared out evenly to them."""
    if not _job.depth:
        raise ConfigError(
            f"The strategy {DISTRIBUTED!r} is for `train` and what torchrun starts: {_START} A search shares "
            "its trials out to more workers instead."
        )
    if batch_size % _job.count:
        raise ConfigError(
            f"training.batch_size must be a multiple of the {_job.count} ranks. Received: {batch_size}"
        )


def check_started() -> int:
    """The rank that torchrun gave this process.

    Raises:
        ConfigError: It was not started by torchrun.
    """
    missing = [name for name in _VARIABLES if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"The strategy {DISTRIBUTED!r} is for processes that torchrun starts: {_START} "
            f"Received: no {', '.join(missing)} in the environment"
        )
    return int(os.environ["RANK"])


def restarted() -> bool:
    """Whether torchrun started the processes again, because one of them failed."""
    return _job.count > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0


@contextlib.contextmanager
def joined(strategy: str) -> Iterator[None]:
    """Joins the ranks for as long as the block runs; with a `strategy` other than "distributed" does nothing.

    Ranks other than 0 log errors only.

    Raises:
        ConfigError: Another backend than PyTorch, no torchrun, fewer GPUs than ranks on this host, or not all
            ranks came.
    """
    if strategy != DISTRIBUTED:
        yield
        return
    if not _job.depth:
        _join()
    _job.depth += 1
    logger = logging.getLogger("keras_mrisr")
    level = logger.level
    if not leads():
        logger.setLevel(logging.ERROR)
    try:
        yield
    except RankLostError as error:
        raise RankLostError(_LOST) from error  # Keras adds to the messages of errors within layers.
    finally:
        logger.setLevel(level)
        _job.depth -= 1
        if not _job.depth:
            _leave()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Raises RankLostError where the ranks cannot talk to each other any more."""
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(_LOST) from error


def _join() -> None:
    import keras

    check_started()
    backend = keras.backend.backend()
    if backend != "torch":
        raise ConfigError(
            f"The strategy {DISTRIBUTED!r} needs the PyTorch backend: {_START} "
            f"Received: KERAS_BACKEND={backend}"
        )
    import torch
    import torch.distributed as dist

    gpus = torch.cuda.device_count()
    if gpus:
        here = int(os.environ.get("LOCAL_WORLD_SIZE") or 1)
        if here > gpus:
            raise ConfigError(
                f"torchrun started {here} ranks on a host with {gpus} GPU(s): pass --nproc-per-node {gpus}."
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        store, number, count = next(dist.rendezvous("env://", timeout=datetime.timedelta(seconds=_ARRIVAL)))
        meeting = _meet(store, number, count)
    except RuntimeError as error:
        raise ConfigError(
            f"Rank {os.environ['RANK']} waited {_ARRIVAL:g} s for all {os.environ['WORLD_SIZE']} ranks at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: not all came. Start torchrun on every "
            "host, with the same --nnodes and --rdzv-endpoint."
        ) from error
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=dist.PrefixStore(meeting, store),
        rank=number,
        world_size=count,
        timeout=_PATIENCE,
    )
    _job.rank, _job.count = number, count


def _meet(store: Any, number: int, count: int) -> str:
    """Waits for the processes of all ranks; returns a name that no earlier ones had.

    torchrun keeps its store when it starts processes again, with the addresses of those that died, and
    restarts are counted by each host for itself.

    Raises:
        RuntimeError: Not all came.
    """
    until = time.monotonic() + _ARRIVAL
    store.add(f"started/{number}", 1)
    while time.monotonic() < until:
        # Of a rank whose process is yet to come this is the number of an earlier one, which never answers.
        starts = "-".join(str(store.add(f"started/{each}", 0)) for each in range(count))
        store.set(f"{starts}/{number}", "here")
        if store.check([f"{starts}/{each}" for each in range(count)]):
            return starts
        time.sleep(0.1)
    raise RuntimeError("Not all ranks came.")


def _leave() -> None:
    import torch.distributed as dist

    _job.rank, _job.count = 0, 1
    with contextlib.suppress(RuntimeError):
        dist.destroy_process_group()
