import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.errors import Invalid
from hotswap.model import Alias, Endpoint, Kind, Manifest, Version
from router import snapshot
from router.table import (
    AnyEntry,
    Missing,
    Revisions,
    Table,
    Update,
    VersionEntry,
    alias_entry,
    endpoint_entry,
    version_entry,
)
from tests.router_entries import alias, endpoint, removed, table, update, version


def test_a_batch_is_applied_whole() -> None:
    made = table(alias({1: 100}), endpoint("a", of=1))
    after = made.apply(update(alias({2: 100}, revision=5), endpoint("b", of=2, revision=5)))
    assert after.find("fn", "production") == alias({2: 100}, revision=5)
    assert set(after.functions["fn"].endpoints) == {1, 2}
    assert made.find("fn", "production") == alias({1: 100}), "the table before is not touched"


def test_functions_that_are_not_touched_are_shared() -> None:
    made = table(alias({1: 100}), alias({1: 100}, function="other"))
    after = made.apply(update(alias({2: 100}, revision=5)))
    assert after.functions["other"] is made.functions["other"]


@given(st.permutations([alias({1: 100 - share, 2: share}, revision=share) for share in range(1, 6)]))
def test_only_a_greater_revision_replaces(entries: list[AnyEntry]) -> None:
    made = Table()
    for entry in entries:
        made = made.apply(update(entry))
    assert made.functions["fn"].aliases["production"].revision == 5


def test_a_late_removal_takes_nothing_back() -> None:
    made = table(endpoint("a", revision=7))
    assert made.apply(update(removed=[removed("endpoints", "1/a", revision=6)])) == made


def test_a_store_that_went_back_is_followed_when_forced() -> None:
    made = table(alias({1: 100}, revision=900)).apply(Update(revisions=Revisions(aliases=900)))
    after = made.apply(update(alias({2: 100}, revision=3), revisions=Revisions(aliases=4), forced=True))
    assert after.functions["fn"].aliases["production"].revision == 3
    assert after.revisions.aliases == 4


def test_a_function_of_which_nothing_is_left_is_gone() -> None:
    made = table(alias({1: 100})).apply(update(removed=[removed("aliases", "production", revision=2)]))
    assert made.functions == {}


def test_lookup_by_alias_and_by_version() -> None:
    made = table(alias({6: 100}), alias({5: 100}, name="staging"), version(5), version(6))
    assert made.find("fn", "staging") == alias({5: 100}, name="staging")
    assert made.find("fn", "6") == version(6)


@pytest.mark.parametrize(
    ("function", "qualifier", "told"),
    [
        ("nope", "production", 'there is no function "nope"; there is: fn'),
        ("fn", "blue", 'there is no alias "fn:blue"; there is: fn:production'),
        ("fn", "7", 'there is no version "fn:7"; there is: fn:6'),
        ("fn", "9" * 5_000, "there is no alias"),
    ],
)
def test_what_is_missing_is_named_with_what_exists(function: str, qualifier: str, told: str) -> None:
    missing = table(alias({6: 100}), version(6)).find(function, qualifier)
    assert isinstance(missing, Missing)
    assert str(missing).startswith(told)


def test_a_version_known_only_by_its_endpoints_has_the_default_limits() -> None:
    assert table(endpoint("a", of=3)).find("fn", "3") == VersionEntry(function="fn", number=3)


def test_the_whole_makes_the_table_again() -> None:
    made = table(alias({1: 50, 2: 50}), version(1), version(2), endpoint("a"), endpoint("b", of=2))
    assert Table().apply(made.whole()) == made


def test_the_snapshot_on_disk_makes_the_table_again(tmp_path: Path) -> None:
    made = table(alias({1: 50, 2: 50}), version(1), endpoint("a"))
    snapshot.save(made, tmp_path, {})
    assert snapshot.load(tmp_path) == made


def test_what_changes_after_a_save_is_in_the_next_one(tmp_path: Path) -> None:
    pieces: snapshot.Pieces = {}
    made = table(*(alias({1: 100}, function=f"fn-{number}") for number in range(300)))
    for revision in (2, 3):
        snapshot.save(made, tmp_path, pieces)
        assert snapshot.load(tmp_path) == made
        made = made.apply(update(alias({2: 100}, revision=revision, function=f"fn-{revision}")))


def test_a_damaged_snapshot_is_not_used(tmp_path: Path) -> None:
    snapshot.save(table(alias({1: 100})), tmp_path, {})
    file = tmp_path / snapshot.NAME
    file.write_bytes(file.read_bytes()[:-1])
    assert snapshot.load(tmp_path) is None


def test_a_snapshot_of_another_release_is_not_used(tmp_path: Path) -> None:
    body = msgspec.msgpack.encode({"aliases": [{"function": "fn"}]})
    head = b"%s %s" % (snapshot.FORMAT, hashlib.sha256(body).hexdigest().encode())
    (tmp_path / snapshot.NAME).write_bytes(head + b"\n" + body)
    assert snapshot.load(tmp_path) is None


def test_without_a_snapshot_there_is_no_table(tmp_path: Path) -> None:
    assert snapshot.load(tmp_path) is None


def test_entries_hold_what_the_router_needs_and_no_environment() -> None:
    manifest = Manifest(
        function="fn", kind=Kind.WSGI, entrypoint="app:app", timeout=timedelta(seconds=7), env={"SECRET": "x"}
    )
    record = Version(function="fn", number=3, artifact="a", size=1, manifest=manifest, published=datetime.now(UTC))
    entry = version_entry(record, revision=9)
    assert (entry.kind, entry.timeout, entry.revision) == (Kind.WSGI, 7.0, 9)
    assert "SECRET" not in repr(entry)


def test_weights_that_no_split_can_be_made_of_are_refused() -> None:
    with pytest.raises(Invalid, match="add up to 90"):
        alias_entry(Alias(function="fn", name="production", weights={1: 90}), revision=1)


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:0", "host:99999", "host:a"])
def test_an_endpoint_that_cannot_be_connected_to_is_refused(address: str) -> None:
    record = Endpoint(function="fn", version=1, instance="i", node="n", address=address, concurrency=1)
    with pytest.raises(Invalid, match="cannot be used"):
        endpoint_entry(record, revision=1)
