"""Who may sign requests as AWS's clients do: access keys, in a file that those clients can use as it stands.

    [deploys]
    aws_access_key_id = HS4F0C1D2E3B5A6978
    aws_secret_access_key = …
    hotswap_role = deployer
    hotswap_functions = image-processor, thumbnails

A signature is checked with the secret itself, so that, unlike a token, it cannot be kept as a hash: it stays in this
file, which only its owner may read, and never gets into the store. The section names the caller for the record. A key
without a role may look, and one without functions touches all.
"""

import configparser
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hotswap.auth import Role, check_name, parse_role
from hotswap.errors import Invalid
from hotswap.model import check_function_name

FILE = "aws-credentials"
"""In the state directory of `hotswap up`."""
KEY_ID = re.compile(r"[A-Z0-9]{16,128}")
"""As AWS has them."""
SHORTEST_SECRET = 20
READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
HINT = "each section has aws_access_key_id, aws_secret_access_key and, if it may more than look, hotswap_role"


@dataclass(frozen=True, slots=True)
class AccessKey:
    id: str
    secret: str = field(repr=False)
    name: str
    role: Role
    functions: frozenset[str] = frozenset()
    """Empty for all."""


AccessKeys = Mapping[str, AccessKey]
"""By id."""


def read(path: Path) -> AccessKeys:
    """Raises `Invalid`, which never repeats a secret."""
    try:
        with path.open(encoding="utf-8") as file:
            _check_private(path, os.fstat(file.fileno()))
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from None
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise Invalid(f"{path} is no file of credentials: {type(error).__name__}", hint=HINT) from None
    keys = [_key(name, parser[name], where=f"{path}, section {name}") for name in parser.sections()]
    if not keys:
        raise Invalid(f"{path} has no access key", hint=HINT)
    by_id = {key.id: key for key in keys}
    if len(by_id) < len(keys):
        raise Invalid(f"{path} has an access key twice", hint="give each section a key of its own")
    return by_id


def kept(path: Path) -> AccessKeys:
    """Those of the file; where there is none, it is made with an admin's key that only its owner can read."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(
                f"[default]\naws_access_key_id = HS{secrets.token_hex(9).upper()}\n"
                f"aws_secret_access_key = {secrets.token_urlsafe(30)}\nhotswap_role = {Role.ADMIN}\n"
            )
    return read(path)


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & READABLE_BY_OTHERS:
        raise Invalid(f"{path} holds secrets, and others than its owner may use it", hint=f"run `chmod 600 {path}`")


def _key(name: str, told: Mapping[str, str], *, where: str) -> AccessKey:
    key_id, secret = told.get("aws_access_key_id", ""), told.get("aws_secret_access_key", "")
    if not KEY_ID.fullmatch(key_id):
        raise Invalid(f"{where}: aws_access_key_id is not 16 to 128 capital letters and digits", hint=HINT)
    if len(secret) < SHORTEST_SECRET:
        raise Invalid(f"{where}: aws_secret_access_key has fewer than {SHORTEST_SECRET} characters", hint=HINT)
    try:
        role = parse_role(told.get("hotswap_role", Role.VIEWER))
        functions = [check_function_name(one.strip()) for one in told.get("hotswap_functions", "").split(",") if one]
        return AccessKey(key_id, secret, check_name(name), role, frozenset(functions))
    except Invalid as error:
        raise Invalid(f"{where}: {error.message}", hint=error.hint) from None
