"""The tests that rows stand on which no table can hold, or not alone."""

HERE = "tests/conformance"
PROXYING = "tests/integration/test_router_proxying.py"
ENDPOINTS = "tests/integration/test_router_endpoints.py"
FAULTS = "tests/integration/test_router_faults.py"
TUNNEL = "tests/integration/test_router_tunnel.py"
STREAMS = "tests/integration/test_router_streams.py"
PROCESSES = "tests/integration/test_router_processes.py"
ELSEWHERE = {
    "P2": [f"{PROCESSES}::test_behind_a_proxy_of_ours_users_are_told_apart_by_what_it_tells"],
    "P3": [f"{PROXYING}::test_an_expectation_is_met_when_the_body_is_wanted"],
    "P9": [
        f"{PROXYING}::test_pieces_are_forwarded_when_they_arrive",
        f"{PROXYING}::test_a_slow_reader_slows_the_function",
        f"{PROXYING}::test_a_slow_function_slows_the_sender",
        f"{STREAMS}::test_of_an_answer_no_more_is_held_than_is_promised",
        f"{STREAMS}::test_of_a_request_no_more_is_held_than_is_promised",
    ],
    "P11": [f"{PROXYING}::test_a_client_that_goes_away_ends_the_function_s_request"],
    "P12": [
        f"{FAULTS}::test_a_refused_connect_goes_to_another_endpoint",
        f"{FAULTS}::test_a_kept_connection_that_has_died_is_retried_once_if_that_is_safe",
        f"{FAULTS}::test_a_new_connection_that_breaks_is_not_retried",
        "tests/unit/test_router_balance.py::test_a_fifth_of_the_requests_may_be_retried",
    ],
    "P13": [
        f"{TUNNEL}::test_a_tunnel_carries_bytes_both_ways_and_each_way_ends_by_itself",
        f"{TUNNEL}::test_an_upgrade_that_is_declined_is_an_ordinary_answer",
        f"{TUNNEL}::test_a_protocol_changed_unasked_is_a_broken_answer",
    ],
    "P14": [f"{PROXYING}::test_what_is_missing_is_told_with_what_exists"],
    "P15": [
        f"{ENDPOINTS}::test_who_comes_while_no_instance_is_ready_is_held_until_one_is",
        f"{ENDPOINTS}::test_who_is_held_for_too_long_is_told_to_come_back",
    ],
    "P16": [
        f"{FAULTS}::test_with_every_endpoint_refusing_the_answer_is_502_and_not_an_error_of_the_version",
        f"{FAULTS}::test_a_function_past_its_limit_is_answered_for",
    ],
    "P17": [
        f"{HERE}/test_conformance_limits.py::test_a_head_that_does_not_go_on_is_given_up",
        f"{HERE}/test_conformance_limits.py::test_a_body_that_does_not_go_on_is_given_up",
        f"{HERE}/test_conformance_limits.py::test_a_client_that_takes_nothing_of_its_answer_is_given_up",
        f"{HERE}/test_conformance_limits.py::test_an_idle_connection_is_closed",
        f"{HERE}/test_conformance_limits.py::test_a_body_that_nobody_wants_is_read_on_for_a_while",
        f"{HERE}/test_conformance_limits.py::test_a_connection_to_an_instance_is_not_kept_for_ever",
        f"{HERE}/test_conformance_limits.py::test_an_upstream_that_takes_no_connection_is_given_up",
        f"{FAULTS}::test_a_function_past_its_limit_is_answered_for",
        f"{PROCESSES}::test_a_limit_that_the_command_is_told_is_the_workers",
    ],
    "P18": [
        f"{PROCESSES}::test_a_drain_finishes_what_runs_and_ends_well",
        f"{PROCESSES}::test_what_runs_past_the_drain_limit_is_cut",
    ],
    "P19": [
        f"{HERE}/test_conformance_cases.py::test_a_malformed_request_is_counted_once_and_leaves_no_line_in_the_log",
        f"{HERE}/test_conformance_log.py::test_a_malformed_request_leaves_one_line_for_debugging",
    ],
}
"""Of what is about time, about processes, or about more than one request; by row."""
