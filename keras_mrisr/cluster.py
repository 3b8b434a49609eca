"""Work on many scans: in this process, in several, or on the machines of a Dask cluster."""

import contextlib
import itertools
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from keras_mrisr.errors import ConfigError, DataError, MissingDependencyError
from keras_mrisr.memory import memory_limit
from keras_mrisr.types import Progress
from keras_mrisr.version import __version__

_PLUGIN = "keras-mrisr"
_WAIT = 30  # Seconds for a scheduler to answer, and for a first worker.
_AHEAD = 1000  # Items at the scheduler at a time, so that its memory does not grow with the archive.
_DEATHS = 3  # Of workers with the same item, after which that is given up.

Item = TypeVar("Item")


class Workers(Protocol):
    """Whoever does the work."""

    def place(self, path: pathlib.Path) -> pathlib.Path:
        """A path as whoever does the work finds it."""

    def run(
        self, function: Callable[[Item, Any], Any], items: Iterable[Item], progress: Progress | None = None
    ) -> Iterator[tuple[Item, Any]]:
        """Calls `function(item, models)` for each; yields (item, result or exception) as they are done.

        Only with `progress` the number of items must be known.
        """


class ThisProcess:
    """Does the work here, one item after another.

    Args:
        models: See `upscale_path`.
    """

    def __init__(self, models: Any) -> None:
        self.models = models

    def place(self, path: pathlib.Path) -> pathlib.Path:
        """The path as it is."""
        return path

    def run(
        self, function: Callable[[Item, Any], Any], items: Iterable[Item], progress: Progress | None = None
    ) -> Iterator[tuple[Item, Any]]:
        """Calls `function(item, models)` for each item; yields (item, result) in their order."""
        for done, item in enumerate(items, 1):
            yield item, function(item, self.models)
            if progress is not None:
                progress(done, len(items))  # type: ignore[arg-type]


def team_of(workers: Any) -> Workers:
    """Who does the work: `DaskWorkers` themselves, or this process with the models that are given."""
    return workers if isinstance(workers, DaskWorkers) else ThisProcess(workers)


class DaskWorkers:
    """Does the work on the workers of a Dask cluster; enter it as a context.

    Each worker loads the models once. The work of one that dies is given to another. All machines must see
    the same files under the same paths, and have the same version of keras-mrisr.

    Args:
        load: Picklable function that returns the models; called in each worker.
        address: Of the scheduler, such as "tcp://10.0.0.1:8786"; or None for workers on this machine.
        processes: How many workers to start on this machine, instead of an address; the cores are shared out.
        memory: Bytes that each worker may occupy, or None; see `memory_limit`.

    Raises:
        ConfigError: Neither or both of `address` and `processes`, or less than one process.
        MissingDependencyError: Dask is not installed.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        address: str | None = None,
        processes: int | None = None,
        memory: int | None = None,
    ) -> None:
        if (address is None) == (processes is None):
            raise ConfigError(
                "Give `dask`, the address of a scheduler, or a number of `workers`: one of them."
            )
        if processes is not None and processes < 1:
            raise ConfigError(f"`workers` must be 1 or more. Received: {processes}")
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "Work on several processes or machines needs Dask, which is not installed: "
                "pip install distributed"
            ) from error
        self._load, self._address, self._processes, self._memory = load, address, processes, memory
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "DaskWorkers":
        """Connects.

        Raises:
            DataError: No scheduler answers, it has no workers, or one has another version.
        """
        with contextlib.ExitStack() as stack:
            self.client = stack.enter_context(self._connected(stack))
            self._check_workers()
            self.client.register_plugin(
                _models_plugin(self._load, self._processes, self._memory), name=_PLUGIN
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def place(self, path: pathlib.Path) -> pathlib.Path:
        """The absolute path: workers may stand elsewhere."""
        return path.absolute()

    def run(
        self, function: Callable[[Item, Any], Any], items: Iterable[Item], progress: Progress | None = None
    ) -> Iterator[tuple[Item, Any]]:
        """Calls `function(item, models)` there; yields (item, result or exception) as they are done."""
        from distributed import as_completed

        waiting = iter(items)
        of: dict[str, Item] = {}

        def submit(item: Item) -> Any:
            future = self.client.submit(_work, function, item, __version__, pure=False)
            of[future.key] = item
            return future

        under_way = as_completed([submit(item) for item in itertools.islice(waiting, _AHEAD)])
        try:
            for done, future in enumerate(under_way, 1):
                error = future.exception()
                result = _plain(error) if error is not None else future.result()
                item = of.pop(future.key)
                future.release()
                for following in itertools.islice(waiting, 1):
                    under_way.add(submit(following))
                yield item, result
                if progress is not None:
                    progress(done, len(items))  # type: ignore[arg-type]
        finally:
            self.client.cancel([future for future in under_way.futures if not future.done()])

    def _connected(self, stack: contextlib.ExitStack) -> Any:
        import dask
        from distributed import Client, LocalCluster

        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": _DEATHS}))
        if self._processes is not None:
            nanny = logging.getLogger("distributed.nanny")  # It warns of workers that end slowly.
            stack.callback(nanny.setLevel, nanny.level)
            nanny.setLevel(logging.ERROR)
            cluster = LocalCluster(
                n_workers=self._processes,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                memory_limit=0,  # What a scan may take is judged before it is read.
            )
            return Client(stack.enter_context(cluster))
        try:
            return Client(self._address, timeout=_WAIT)
        except (OSError, ValueError) as error:
            raise DataError(
                f"No Dask scheduler answers at {self._address} ({type(error).__name__}). Check the address, "
                "and that it runs."
            ) from error

    def _check_workers(self) -> None:
        try:
            self.client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise DataError(f"The Dask scheduler at {self._address} has no workers. Start some.") from error
        try:
            versions = self.client.run(_version_there)
        except ModuleNotFoundError as error:
            raise DataError(
                f"A worker has no keras-mrisr ({error}): install {__version__} everywhere."
            ) from error
        for worker, version in versions.items():
            if version != __version__:
                raise DataError(
                    f"The worker {worker} has keras-mrisr {version}, this is "
                    f"{__version__}: install the same everywhere."
                )


def _version_there() -> str:
    """Runs on a worker."""
    return __version__


def _models_plugin(load: Callable[[], Any], processes: int | None, memory: int | None) -> Any:
    """A Dask plugin that loads the models of a worker when they are first needed, and once."""
    from distributed import WorkerPlugin

    class ModelsOfWorker(WorkerPlugin):
        name = _PLUGIN

        def setup(self, worker: Any) -> None:
            self.lock, self.models = threading.Lock(), None
            if processes is not None and hasattr(os, "sched_setaffinity"):
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(0, cores[int(worker.name) % processes :: processes] or cores)

        def get(self) -> Any:
            with self.lock:
                if self.models is None:
                    self.models = load()
                return self.models

        @property
        def memory(self) -> int | None:
            return memory

    return ModelsOfWorker()


def _work(function: Callable[[Item, Any], Any], item: Item, version: str) -> Any:
    """Runs on a worker."""
    from distributed import get_worker

    if version != __version__:  # One that joined later.
        raise DataError(
            f"A worker has keras-mrisr {__version__}, not {version}: install the same everywhere."
        )
    plugin: Any = get_worker().plugins[_PLUGIN]
    with memory_limit(plugin.memory):
        return function(item, plugin.get())


def _plain(error: BaseException) -> Exception:
    """An error of Dask in words for users."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return DataError(f"{_DEATHS + 1} workers died of it, perhaps for lack of memory. Try it by itself.")
    return error if isinstance(error, Exception) else RuntimeError(str(error))
