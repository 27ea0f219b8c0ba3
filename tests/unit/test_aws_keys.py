"""The file of access keys: private, and usable by AWS's clients as it stands."""

import stat
from pathlib import Path

import botocore.session
import pytest

from hotswap import aws_keys
from hotswap.auth import Role
from hotswap.errors import Invalid

ONE = "[ci]\naws_access_key_id = HS00000000000000\naws_secret_access_key = 0123456789abcdefghij%\n"


def written(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    path = folder / "keys"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_section_names_a_caller_with_its_rights(tmp_path: Path) -> None:
    [key] = aws_keys.read(written(tmp_path, f"{ONE}hotswap_role = deployer\nhotswap_functions = a, b\n")).values()
    assert (key.name, key.role, key.functions) == ("ci", Role.DEPLOYER, frozenset({"a", "b"}))
    assert key.secret not in repr(key)


def test_a_key_may_only_look_unless_more_is_said(tmp_path: Path) -> None:
    assert aws_keys.read(written(tmp_path, ONE))["HS00000000000000"].role is Role.VIEWER


def test_a_key_that_is_made_is_kept_private_and_is_read_by_aws_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / aws_keys.FILE
    [key] = aws_keys.kept(path).values()
    assert aws_keys.kept(path)[key.id] == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    found = botocore.session.Session(profile="default").get_credentials()
    assert found is not None
    assert (found.access_key, found.secret_key) == (key.id, key.secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no section",
        "[ci]\n",
        ONE.replace("HS0", "hs0"),
        ONE.replace("0123456789abcdefghij%", "short"),
        ONE + "hotswap_role = king\n",
        ONE + "hotswap_functions = UPPER\n",
        ONE + ONE.replace("[ci]", "[other]"),
        ONE + ONE,
        ONE.replace("[ci]", "[c i]"),
    ],
)
def test_what_is_no_file_of_keys_is_refused_without_its_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid) as refused:
        aws_keys.read(written(tmp_path, text))
    assert "0123456789" not in str(refused.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="chmod 600"):
        aws_keys.read(written(tmp_path, ONE, mode=0o640))
    with pytest.raises(Invalid, match="cannot be read"):
        aws_keys.read(tmp_path / "none")
