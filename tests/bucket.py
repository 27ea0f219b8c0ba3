"""An S3-compatible store for tests: moto's server, a process of its own on a loopback port."""

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

REGION = "eu-west-1"
SERVER = "import sys; from moto.server import main; main(sys.argv[1:])"
LIMIT = 60.0
"""Seconds for the server to answer; it imports much."""


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """Its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as output:
        command = [sys.executable, "-c", SERVER, "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _until_answered(server, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def _until_answered(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    import time

    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except URLError:
            time.sleep(0.05)
    raise AssertionError(f"moto's server does not answer: {log.read_text()}")


def bucket_at(server: str, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a bucket that is made, and empty, for `--artifacts`; who we are there is in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing secret")
    location = (
        f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    )
    request = urllib.request.Request(f"{server}/{name}", location.encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200
    return f"s3://{name}/hotswap?endpoint={server}&region={REGION}"
