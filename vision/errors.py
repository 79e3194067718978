"""The one family of errors that a user can cause and put right."""


class FoveateError(Exception):
    """A mistake in what the user gave: one line that names the thing and the remedy.

    The command line prints it and exits with code 2. Any other exception is a bug in foveate and
    keeps its traceback.
    """
