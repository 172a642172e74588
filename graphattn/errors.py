"""The one exception that means "what was given is wrong"; its message is one sentence that a user can act on."""


class InputError(ValueError):
    """What the caller gave cannot be used.

    The message names the argument, file or column, what was given and what was expected, in one sentence. The command
    line prints it as it is, without a traceback, and exits with code 2.
    """
