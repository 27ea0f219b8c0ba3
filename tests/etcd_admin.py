"""What a test does to an etcd as its administrator, by the JSON gateway: other code than the client that it tests."""

import base64
import json
import ssl
import urllib.request
from typing import Any


class Admin:
    def __init__(self, endpoint: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._url = f"{'https' if tls else 'http'}://{endpoint}/v3"
        self._tls = tls
        self._token = ""

    def compact(self, revision: int) -> None:
        self._post("kv/compaction", {"revision": str(revision), "physical": True})

    def revoke(self, lease: int) -> None:
        self._post("lease/revoke", {"ID": str(lease)})

    def leases(self) -> list[int]:
        return [int(lease["ID"]) for lease in self._post("lease/leases", {}).get("leases", [])]

    def enable_authentication(self, user: str, password: str, *, prefix: str) -> None:
        """A root (password "root"), and a user that may read and write under the prefix and nowhere else."""
        self.add_user("root", "root", role="root")
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        self._post("auth/role/add", {"name": "reader-and-writer"})
        permission = {"permType": "READWRITE", "key": _base64(prefix), "range_end": _base64(end)}
        self._post("auth/role/grant", {"name": "reader-and-writer", "perm": permission})
        self.add_user(user, password, role="reader-and-writer")
        self._post("auth/enable", {})

    def log_in(self) -> None:
        self._token = self._post("auth/authenticate", {"name": "root", "password": "root"})["token"]

    def add_user(self, name: str, password: str, *, role: str) -> None:
        self._post("auth/user/add", {"name": name, "password": password})
        if role == "root":
            self._post("auth/role/add", {"name": role})
        self._post("auth/user/grant", {"user": name, "role": role})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": self._token} if self._token else {}
        request = urllib.request.Request(f"{self._url}/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
            return json.load(answer)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
