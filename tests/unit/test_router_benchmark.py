import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.router import configs, streams, table
from benchmarks.router.__main__ import fitting, options, with_rate
from benchmarks.router.backend import Count, off_balance, parse
from benchmarks.router.case import CASES, FIELDS, Case
from benchmarks.router.configs import Routes
from benchmarks.router.figures import Memory, Round, Snapshot, disturbed, faults, measured, medians, ratio
from benchmarks.router.load import NOTHING, Report, lua
from benchmarks.router.load import parse as parse_report
from benchmarks.router.process import Usage
from tests.conditions import eventually

ROUTES = Routes([8001, 8002], [9001, 9002])
MEMORY = Memory(40.0, 60.0)
FAIR = (900, 100)
WRK = """Running 3s test @ http://127.0.0.1:18765/
  1 threads and 32 connections
Requests/sec:   2482.75
Transfer/sec:    361.26KB

"""
REPORT = '{"p50": 1500, "p99": 20250, "connect": 1, "read": 2, "write": 4, "status": 8, "timeout": 16}\n'


def case(name: str) -> Case:
    return next(it for it in CASES if it.name == name)


def one_round(
    cpu_us: float = 20.0, *, rps: float = 1000.0, errors: int = 0, shared: tuple[int, int] = FAIR, others: float = 0.0
) -> Round:
    report = Report(1.0, 2.0, {"status": errors, "read": 0})
    return Round(cpu_us / 2, cpu_us / 2, rps, 0.5, others, 0.0, report, MEMORY, shared)


def snapshot(at: float, *, user: float, system: float, requests: int, made: int = 0, core: float = 0.0) -> Snapshot:
    return Snapshot(at, Usage(user, system), at, Count(made, requests), core)


def test_report_of_wrk_tells_quantiles_in_milliseconds_and_all_errors() -> None:
    report = parse_report(WRK + REPORT)
    assert (report.p50_ms, report.p99_ms, report.errors) == (1.5, 20.25, 31)
    assert report.kinds == {"connect": 1, "read": 2, "write": 4, "status": 8, "timeout": 16}


def test_output_of_wrk_without_report_is_refused() -> None:
    with pytest.raises(ValueError, match="without a report"):
        parse_report(WRK)


def test_request_has_ten_fields_with_host() -> None:
    script = lua(case("get"))
    assert len(FIELDS) == 9
    assert script.count("wrk.headers[") == 9
    assert 'wrk.method = "GET"' in script
    assert "wrk.body" not in script


def test_post_has_a_body() -> None:
    script = lua(case("post"))
    assert 'wrk.method = "POST"' in script
    assert 'wrk.body = string.rep("x", 1024)' in script


def test_heads_that_change_have_the_same_fields_with_two_values_that_are_always_new() -> None:
    script = lua(case("changing"))
    assert script.count("wrk.headers[") == 9
    assert script.count("%016x") == 2
    assert "string.format(head, number, number)" in script
    assert "function request" not in lua(case("get"))


def test_connections_wait_only_where_a_rate_is_wanted() -> None:
    assert "function delay" not in lua(case("get"))
    paced = replace(case("half-load"), connections=100, rate=1000.0)
    assert "math.random() * 200.00" in lua(paced)  # 100 ms on the average for each of 100 connections


def test_half_load_is_half_of_what_the_slower_one_takes() -> None:
    saturated = {"hotswap": [one_round(rps=5000)], "haproxy": [one_round(rps=3000)], "aiohttp": [one_round(rps=10)]}
    rated = with_rate(case("half-load"), saturated)
    assert rated is not None
    assert rated.rate == 1500


def test_half_load_needs_a_full_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert with_rate(case("half-load"), {}) is None
    assert "half-load is left out" in capsys.readouterr().out
    assert with_rate(case("get"), {}) == case("get")


def test_case_with_more_connections_than_files_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitting(CASES, 1_000_000) == list(CASES)
    assert case("connections-4096") not in fitting(CASES, 4096)
    assert "connections-4096 is left out" in capsys.readouterr().out


def test_count_of_a_backend() -> None:
    body = b"Active connections: 2 \nserver accepts handled requests\n 12 12 345 \nReading: 0 Writing: 1 Waiting: 1 \n"
    assert parse(body) == Count(connections=12, requests=345)
    with pytest.raises(ValueError, match="stub_status"):
        parse(b"404 Not Found")


@given(st.integers(1, 1_000_000))
def test_exact_split_is_never_off_balance(total: int) -> None:
    assert off_balance([total - total // 10, total // 10]) is None


@given(picks=st.integers(10_000, 100_000), waiting=st.integers(0, 4096), queued=st.data())
def test_an_exact_split_is_not_off_balance_whoever_has_to_wait(picks: int, waiting: int, queued: st.DataObject) -> None:
    first = queued.draw(st.integers(0, waiting))
    second = queued.draw(st.integers(0, min(waiting - first, picks // 10)))
    counts = [picks - picks // 10 - first, picks // 10 - second]
    assert off_balance(counts, waiting=waiting) is None


def test_a_wrong_split_is_off_balance_though_some_have_to_wait() -> None:
    assert off_balance([16_000, 4_000], waiting=4096)
    assert off_balance([20_000, 0], waiting=1_000)


@pytest.mark.parametrize("counts", [(500, 500), (1000, 0), (800, 200), (0, 0), (100, 900)])
def test_wrong_split_is_off_balance(counts: tuple[int, int]) -> None:
    assert off_balance(counts)


def test_what_is_measured_is_the_difference_of_two_snapshots() -> None:
    first = snapshot(10.0, user=1.0, system=5.0, requests=100, made=64, core=7.0)
    second = snapshot(12.0, user=1.5, system=6.0, requests=50_100, made=64, core=9.0)
    seen = measured(first, second, report=NOTHING, memory=MEMORY, shared=FAIR)
    assert seen.user_us == pytest.approx(10.0)
    assert seen.system_us == pytest.approx(20.0)
    assert seen.rps == pytest.approx(25_000)
    assert seen.busy == pytest.approx(0.75)
    assert seen.others == pytest.approx(0.25)
    assert seen.made == 0


def test_processor_and_requests_may_be_read_at_different_times() -> None:
    """Half the requests in half the time are the same price."""
    first = snapshot(0.0, user=0.0, system=0.0, requests=0)
    second = replace(snapshot(2.0, user=1.0, system=0.0, requests=500), counted_at=1.0)
    seen = measured(first, second, report=NOTHING, memory=MEMORY, shared=FAIR)
    assert seen.user_us == pytest.approx(1000)


def test_round_without_a_request_is_refused() -> None:
    still = snapshot(0.0, user=0.0, system=0.0, requests=5)
    with pytest.raises(ValueError, match="no request got through"):
        measured(still, replace(still, used_at=1.0, counted_at=1.0), report=NOTHING, memory=MEMORY, shared=FAIR)


def test_figures_are_medians_and_errors_add_up() -> None:
    figures = medians([one_round(10, errors=1), one_round(90, errors=2), one_round(20)])
    assert figures.cpu_us == 20
    assert figures.errors == 3
    assert figures.rss_mib == 40


def test_errors_and_wrong_shares_are_told() -> None:
    assert faults([one_round(), one_round()]) == []
    assert faults([one_round(errors=2), one_round(errors=1)]) == ["errors: 3 status"]
    (told,) = faults([one_round(shared=(500, 500)), one_round()])
    assert told.startswith("50.0% of 1000 requests went to the second backend")


def test_work_of_others_on_the_core_is_told() -> None:
    assert disturbed([one_round(others=0.01)]) is None
    assert disturbed([one_round(others=0.3)]) == "others had 30% of its core"


def test_ratio_is_ours_by_theirs() -> None:
    assert ratio([one_round(30)], [one_round(20)]) == 1.5
    assert ratio([one_round(30)], [one_round(0)]) is None
    assert ratio([], [one_round(20)]) is None


def test_ratio_is_of_rounds_that_were_run_together() -> None:
    """The machine was slow for a while: that says nothing of either."""
    assert ratio([one_round(30), one_round(300), one_round(30)], [one_round(20), one_round(200), one_round(20)]) == 1.5


def test_table_has_a_row_for_each_proxy_with_its_ratio_and_what_is_wrong() -> None:
    rounds = {"hotswap": [one_round(30)], "nginx": [one_round(20, errors=7)]}
    lines = table.lines(case("get"), rounds, {"envoy": "Unusable: it has gone"})
    assert lines[0] == "get: tiny GET, 64 connections; CPU per request"
    ours, nginx, fault, failed = (line.split() for line in lines[2:])
    assert ours[:4] == ["hotswap", "30.0", "15.0", "15.0"]
    assert nginx[-3:] == ["7", "1.50", "1.00"]
    assert fault == ["!", "errors:", "7", "status"]
    assert failed == ["envoy", "!", "failed:", "Unusable:", "it", "has", "gone"]


def test_memory_of_the_parent_is_told_beside() -> None:
    assert table.parents({"get": {"hotswap": [one_round()]}}) == "hotswap: its parent process takes 60 MiB besides"
    assert table.parents({"get": {"nginx": [one_round()]}}) is None


def test_every_proxy_has_both_pairs_of_backends_and_the_weights() -> None:
    written = {
        "haproxy": configs.haproxy(ROUTES, 80),
        "nginx": configs.nginx(ROUTES, 80, folder=Path("/there")),
        "envoy": configs.envoy(ROUTES, 80),
        "traefik": configs.traefik_rules(ROUTES),
    }
    for name, text in written.items():
        for port in ("8001", "8002", "9001", "9002"):
            assert port in text, name
        assert text.count("90") >= 2, name
        assert "/fn/bench/" in text, name
        assert "/fn/events/" in text, name


def test_configurations_that_are_json_can_be_read() -> None:
    assert json.loads(configs.envoy(ROUTES, 80))["static_resources"]["listeners"]
    assert json.loads(configs.traefik(80, rules=Path("/there")))["entryPoints"]["all"]["address"] == "127.0.0.1:80"


@given(st.integers(0, 5), st.data())
def test_events_are_counted_however_their_bytes_arrive(events: int, data: st.DataObject) -> None:
    sent = streams.HEAD % 1 + b"".join(streams.event() for _ in range(events))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=8)))
    heard = streams.Listeners()
    listener = streams.Listener(b"", heard)
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        listener.data_received(sent[begin:end])
    assert heard.events == events
    assert heard.begun == 1
    assert all(0 <= it < 60_000 for it in heard.latencies)


def test_refused_stream_and_lost_stream_are_errors() -> None:
    heard = streams.Listeners()
    listener = streams.Listener(b"", heard)
    listener.data_received(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    listener.connection_lost(None)
    assert heard.report().kinds == {"refused": 1, "lost": 1}


async def test_source_sends_each_stream_its_events() -> None:
    loop = asyncio.get_running_loop()
    async with streams.sources() as sources:
        heard = streams.Listeners()
        request = b"GET / HTTP/1.1\r\nHost: there\r\n\r\n"
        transport, _ = await loop.create_connection(
            lambda: streams.Listener(request, heard), "127.0.0.1", sources.ports[1]
        )
        await eventually(lambda: heard.events >= 3)
        assert sources.shares() == [0, 1]
        assert heard.report().errors == 0
        heard.closing = True
        transport.abort()


def test_cases_and_proxies_are_chosen_by_name() -> None:
    told = options(["--quick", "--cases", "get", "post", "--proxies", "nginx"])
    assert (told.cases, told.proxies, told.quick) == (["get", "post"], ["nginx"], True)
    with pytest.raises(SystemExit):
        options(["--cases", "everything"])
