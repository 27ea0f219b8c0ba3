"""Lambda's interface as its users have it: a whole platform as a process, and boto3 or the `aws` command before it."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.validate import ParamValidator

from hotswap import aws_keys
from hotswap.cli import running

LIMIT = 120.0
"""Seconds for anything here."""
REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/lambda"
FREE = ("--router", "127.0.0.1:0", "--controller", "127.0.0.1:0", "--rest", "127.0.0.1:0")

ECHO = """
import os

def handler(event, context):
    print("saw", event)
    return {"event": event, "version": context.function_version, "label": os.environ.get("LABEL")}
"""


def zipped(files: dict[str, str] | str) -> bytes:
    """A text is that of `app.py`."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (files if isinstance(files, dict) else {"app.py": files}).items():
            archive.writestr(name, text)
    return made.getvalue()


@dataclass(frozen=True)
class Lambda:
    """A platform that runs."""

    state_dir: Path
    rest: str
    router: str

    @property
    def url(self) -> str:
        return f"http://{self.rest}"

    @property
    def credentials(self) -> Path:
        return self.state_dir / aws_keys.FILE

    @property
    def client(self) -> Any:
        [key] = aws_keys.read(self.credentials).values()
        return client_at(self.url, key_id=key.id, secret=key.secret)

    def aws(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """The `aws` command, as a shell would start it."""
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(cwd),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }
        command = [sys.executable, "-m", "awscli", "--endpoint-url", self.url, "lambda", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )


def client_at(url: str, *, key_id: str, secret: str) -> Any:
    """Asks once: what is tried again would hide what was answered."""
    client = boto3.session.Session().client(
        "lambda",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=LIMIT),
    )
    client.meta.events.register("after-call.lambda", check_shape)
    return client


@contextmanager
def lambda_platform(state_dir: Path) -> Iterator[Lambda]:
    command = [sys.executable, "-m", "hotswap", "up", "--state-dir", str(state_dir), "--agents", "1", *FREE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        try:
            assert process.stdout
            told = []
            for line in process.stdout:
                told.append(line)
                if "ready" in line:
                    break
            found = running.read(state_dir)
            assert found, f"it did not start: {''.join(told)}"
            yield Lambda(state_dir, found.rest, found.router)
        finally:
            late.cancel()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=LIMIT)


def check_shape(http_response: Any, model: Any, **_: Any) -> None:
    """What came holds to AWS's service model: no member that it has not, each of its type, errors with their status.
    To be registered for `after-call.lambda`."""
    if http_response.status_code >= 300:
        code = http_response.headers["x-amzn-errortype"]
        shape = model.service_model.shape_for_error_code(code)
        if shape is not None:
            assert http_response.status_code == shape.metadata["error"]["httpStatusCode"], code
            assert set(json.loads(http_response.content)) <= set(shape.members), http_response.content
    elif model.name != "Invoke" and http_response.content:
        report = ParamValidator().validate(json.loads(http_response.content), model.output_shape)
        assert not report.has_errors(), report.generate_report()
        assert http_response.status_code == model.http["responseCode"] or model.name == "DeleteFunction"
