"""The errors that users see; every one is a `MrisrError`."""


class MrisrError(ValueError):
    """Bad input that the user can mend.

    The message is one line that names the thing (file, key, argument), what was received and the way
    out. The command line prints it and exits with code 2; Python code sees a `ValueError`.
    """


class DataError(MrisrError):
    """An image, a scan or a folder of them cannot be used, or a result cannot be written."""


class UnfitError(DataError):
    """A file is whole, and not of the kind that is worked on: of a folder it is left out."""


class ManyVolumesError(UnfitError):
    """A file holds several volumes, and it was not said which is meant."""


class IncompleteError(MrisrError):
    """Part of the work is done and written, another part could not be done."""


class ConfigError(MrisrError):
    """An argument, an option or a key of a config is unknown or out of range."""


class ModelError(MrisrError):
    """A model cannot be loaded, or does not fit what is asked of it."""


class TrainingDivergedError(MrisrError):
    """A training diverged and was given up; what it found before that is kept."""


class RankLostError(MrisrError):
    """One of the processes that train together has gone; see `keras_mrisr.ranks`."""


class MissingDependencyError(MrisrError):
    """An optional package is not installed; the message says which, and how to install it."""


def __getattr__(name: str) -> type[MrisrError]:
    old = {"InputError": MrisrError, "Diverged": TrainingDivergedError}
    if name not in old:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    warnings.warn(f"{name} is now {old[name].__name__}.", DeprecationWarning, stacklevel=2)
    return old[name]
