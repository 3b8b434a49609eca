"""The one error that users see."""


class InputError(ValueError):
    """Bad input that the user can mend.

    The message is one line that names the thing (file, key, argument), what was received and the way
    out. The command line prints it and exits with code 2; Python code sees a `ValueError`.
    """
