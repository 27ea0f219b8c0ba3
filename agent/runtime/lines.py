"""How a line of output tells when it was printed, and by which invocation: the one form that the runtime and the agent
write and the agent reads.

    RS milliseconds US request US text LF

What a program prints itself has nothing before its text. The request is empty where there is none, and `!` where it is
the platform that speaks.
"""

BEGIN, SEPARATOR = "\x1e", "\x1f"
PLATFORM = "!"


def framed(text: str, *, at: float, request: str) -> str:
    """`at` in seconds of Unix time."""
    return f"{BEGIN}{int(at * 1000)}{SEPARATOR}{request}{SEPARATOR}{text}\n"


def parse(line: str) -> tuple[float | None, str, str]:
    """(time, request, text) of a line without its end."""
    if line.startswith(BEGIN):
        stamp, found, rest = line[1:].partition(SEPARATOR)
        request, again, text = rest.partition(SEPARATOR)
        if found and again and stamp.isdigit():
            return int(stamp) / 1000, request, text
    return None, "", line
