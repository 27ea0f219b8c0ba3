"""Becomes the program of kind http, once the limits are set.

It takes the place of a `preexec_fn`, which is not safe in a process that has threads. A command that cannot be run is
told through the ready descriptor, which otherwise closes with the exec.
"""

import os

from .ready import Report


def run(descriptor: int, command: list[str]) -> None:
    report = Report(descriptor)
    try:
        os.execvp(command[0], command)  # noqa: S606 - a program without a shell is what is wanted
    except OSError as error:
        report.failed(error, what=f'the command "{command[0]}" cannot be run')
