"""The one error that users see, and the kinds of it that code tells apart."""


class InputError(ValueError):
    """Bad input that the user can mend.

    The message is one line that names the thing (file, key, argument), what was received and the way
    out. The command line prints it and exits with code 2; Python code sees a `ValueError`.
    """


class Diverged(InputError):
    """A training fell ill and was given up; what it found before that is kept."""
