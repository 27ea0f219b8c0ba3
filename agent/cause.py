"""Why an instance ended, or what it ran into: a word to count by, beside the sentence for people."""

from enum import StrEnum


class Cause(StrEnum):
    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"
    FILES = "files"
    TIMEOUT = "time-out"
    SIGNAL = "signal"
    CODE = "code"
    """It ended by itself."""
    STOPPED = "stopped"
    """The agent ended it, as it was to."""
    STUBBORN = "stubborn"
    """It was to end, and did not until it was killed."""
    LEFTOVERS = "leftovers"
    """Processes that outlived it."""
    START = "start"
    UNKNOWN = "unknown"
    """An earlier agent had started it."""
