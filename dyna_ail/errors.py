"""The two ways in which a run can stop with a message instead of a traceback."""


class InputError(ValueError):
    """What the user gave cannot be used. The message says what was expected, what came and what to do.

    The command line prints it and exits with code 2.
    """


class NonFiniteError(ArithmeticError):
    """A loss, gradient or weight became NaN or infinite. The message names the part it appeared in.

    The command line prints it and exits with code 1; what the run has written so far stays on disk.
    """
