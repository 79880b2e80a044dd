"""Why a run can end early."""

import signal


class Interrupted(Exception):
    """Training was asked to stop, and has written its checkpoint first.

    `status` is the exit status of a command that a signal ended: 130 after Ctrl-C, 143 after
    SIGTERM.
    """

    def __init__(self, message: str, signal_number: int = signal.SIGINT):
        super().__init__(message)
        self.status = 128 + signal_number


class WorkerLost(RuntimeError):
    """Another worker of `MultiWorkerMirroredStrategy` has ended; the checkpoint holds the rest.

    Start this worker again: it waits for the others, and all go on from the checkpoint.
    """
