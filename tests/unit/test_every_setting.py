"""No setting without a test that shows what it does: every key of the configuration is named here with one.

A key that is missing here fails, and so does a test that does not exist any more.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from hive_daemon.config.schema import patterns
from hive_daemon.runtime.flow_reading import CONCURRENCY_KEYS, FLOW_KEYS
from hive_daemon.runtime.graph_host import WEBHOOK_KEYS as KEYS_OF_WEBHOOKS
from hive_daemon.runtime.triggers.event_config import EventConfig
from hive_daemon.runtime.triggers.timer_config import TimerConfig

TESTS = Path(__file__).parents[1]

ENTRY = "agents[].entry_points.ID"
ROUTE = "agents[].webhook_routes[]"

OVERLAY = "unit/test_overlay.py::test_what_hive_yaml_writes_wins_over_the_folder"
WEBHOOK_KEYS = "integration/test_webhook_keys.py::test_"
FLOW = "integration/test_runtime_flow.py::test_"
TIMERS = "unit/test_timer_config.py::test_"
ENGINE = "integration/test_timer_engine.py::test_"
EVENTS = "integration/test_event_calls.py::test_"
MODELS = "unit/test_llm_options.py::test_"
SAME_SERVICE = (
    f"{MODELS}a_fallback_of_the_same_service_shares_key_and_address_and_no_other_sees_them"
)
RUNTIME_TIMERS = "integration/test_runtime_timers.py::test_"
RUNTIME_EVENTS = "integration/test_runtime_events.py::test_"
LIMITS = "integration/test_runtime_limits.py::test_"
LOADING = "unit/test_config_load.py::test_"
SIGNALS = "acceptance/test_daemon_signals.py::test_"
PEOPLE = "integration/test_runtime_people.py::test_"
SHELF = "unit/test_llm_model_shelf.py::test_"
LAID_OVER = "unit/test_overlay.py::test_"
FACTORY = "unit/test_llm_factory.py::test_"
SHARED = "integration/test_runtime_shared_state.py::test_"
DAEMON_LIMITS = "acceptance/test_daemon_limits.py::test_"
WATCH = "unit/test_loop_watch.py::test_"
SETTINGS = "acceptance/test_daemon_settings.py::test_"
HOSTILE = "integration/test_control_hostile.py::test_"

HEALTH = "unit/test_monitoring_health.py::test_"
ALERTS = "integration/test_alert_sinks.py::test_"
LAID_OVER_HEALING = f"{LAID_OVER}the_ladder_that_hive_yaml_writes_wins_over_the_folder"

BUDGETS = "integration/test_budgets.py::test_"
BUDGET_KILL = "acceptance/test_budget_kill.py::test_"
BUDGET_KEYS = {
    "": f"{BUDGET_KILL}a_paused_execution_goes_on_by_hand_once_its_budget_was_raised",
    "[].scope": f"{BUDGETS}a_session_has_a_budget_over_its_executions",
    "[].per": "unit/test_budget_rules.py::test_a_budget_for_a_day_begins_anew_each_day",
    "[].usd": f"{BUDGET_KILL}no_limit_is_passed_by_more_than_one_call_whenever_the_daemon_dies",
    "[].tokens": f"{BUDGET_KILL}no_limit_is_passed_by_more_than_one_call_whenever_the_daemon_dies",
    "[].requests": f"{BUDGETS}each_retry_is_a_request",
    "[].tool_calls": f"{BUDGETS}tool_calls_have_a_limit_of_their_own",
    "[].warn_at": f"{BUDGETS}a_warning_is_told_once",
    "[].on_exceed": f"{BUDGETS}a_spent_budget_fails_the_execution_at_its_next_call",
}
"""What a budget may say, wherever it is written."""

SHOWN: dict[str, str] = {
    **{
        f"{place}budgets{key}": test
        for place in ("", "agents[].", f"{ENTRY}.")
        for key, test in BUDGET_KEYS.items()
    },
    "unpriced": f"{BUDGETS}a_call_without_a_price_is_blocked_under_a_limit_in_dollars",
    "state_dir": f"{LOADING}the_state_directory_is_systemds_else_below_home",
    "socket": f"{LOADING}the_socket_is_where_the_process_runs",
    "agents": f"{LOADING}an_agent_may_be_a_path_or_a_mapping",
    "agents[].path": f"{LOADING}an_agent_may_be_a_path_or_a_mapping",
    "agents[].name": f"{LOADING}a_folder_whose_name_cannot_be_an_agents_needs_another",
    "agents[].model": f"{MODELS}the_first_choice_is_the_file_s_or_another_model_in_its_place",
    "agents[].fallbacks": f"{MODELS}an_agent_has_fallbacks_of_its_own_or_none",
    "agents[].fallbacks[].model": f"{MODELS}an_agent_has_fallbacks_of_its_own_or_none",
    "agents[].fallbacks[].api_key": SAME_SERVICE,
    "agents[].fallbacks[].api_base": SAME_SERVICE,
    "agents[].entry_points": OVERLAY,
    f"{ENTRY}.enabled": f"{SETTINGS}an_entry_point_that_is_not_enabled_is_not_there",
    f"{ENTRY}.trigger_type": OVERLAY,
    f"{ENTRY}.trigger_config": f"{LAID_OVER}a_mapping_is_merged_key_by_key_and_a_null_takes_one_away",
    f"{ENTRY}.entry_node": OVERLAY,
    f"{ENTRY}.isolation_level": f"{SHARED}an_isolated_execution_begins_anew_each_time",
    f"{ENTRY}.max_concurrent": f"{LIMITS}the_entry_points_own_limit_holds_below_the_global_one",
    f"{ENTRY}.concurrency": f"{LAID_OVER}a_mapping_is_merged_key_by_key_and_a_null_takes_one_away",
    f"{ENTRY}.flow": f"{LAID_OVER}a_mapping_is_merged_key_by_key_and_a_null_takes_one_away",
    f"{ENTRY}.priority": f"{LIMITS}what_waits_begins_in_the_order_of_its_priority",
    f"{ENTRY}.session": f"{RUNTIME_TIMERS}an_isolated_timer_that_reuses_its_session_finds_what_it_left",
    f"{ENTRY}.timeout": "integration/test_runtime_executions.py::test_an_execution_past_its_time_fails",
    f"{ENTRY}.on_input": f"{PEOPLE}under_fail_the_node_fails_and_says_what_was_asked",
    f"{ENTRY}.input_default": f"{PEOPLE}under_default_the_given_answer_is_taken_and_told",
    f"{ENTRY}.tools": "acceptance/test_daemon_tools.py::test_hive_yaml_writes_the_policy_of_an_entry_point",
    f"{ENTRY}.model": "integration/test_models_by_place.py::test_the_nearest_model_is_asked",
    f"{ENTRY}.fallbacks": f"{SHELF}fallbacks_that_are_wished_for_stand_in_their_place",
    f"{ENTRY}.max_tokens": "integration/test_models_by_place.py::test_the_nearest_model_is_asked",
    f"{ENTRY}.recovery.max_attempts": f"{LAID_OVER}the_attempts_of_an_entry_point_go_over_those_of_the_daemon",
    "agents[].webhook_routes": "unit/test_webhook_config.py::test_what_is_written_is_what_the_runtime_reads",
    f"{ROUTE}.source_id": f"{WEBHOOK_KEYS}source_id_is_the_stream_of_the_event",
    f"{ROUTE}.path": f"{WEBHOOK_KEYS}path_is_where_requests_arrive",
    f"{ROUTE}.methods": f"{WEBHOOK_KEYS}methods_are_taken_and_others_are_told_which",
    f"{ROUTE}.verify": f"{WEBHOOK_KEYS}verify_names_the_scheme",
    f"{ROUTE}.secret": f"{WEBHOOK_KEYS}secret_is_what_the_proof_is_made_with",
    f"{ROUTE}.secrets": f"{WEBHOOK_KEYS}secrets_are_all_valid",
    f"{ROUTE}.hmac": f"{WEBHOOK_KEYS}hmac_says_how_the_proof_is_written",
    f"{ROUTE}.tolerance": f"{WEBHOOK_KEYS}tolerance_is_how_far_a_signed_moment_may_be_from_now",
    f"{ROUTE}.max_body": f"{WEBHOOK_KEYS}max_body_is_the_largest_body_also_unpacked_whatever_the_listener_says",
    f"{ROUTE}.read_timeout": f"{WEBHOOK_KEYS}read_timeout_is_the_time_for_a_body_shorter_or_longer_than_the_listeners",
    f"{ROUTE}.rate": f"{WEBHOOK_KEYS}rate_is_how_many_are_taken_genuine_or_not_before_the_body_is_read",
    f"{ROUTE}.allow_ips": f"{WEBHOOK_KEYS}allow_ips_is_who_may_send_at_all",
    f"{ROUTE}.headers": f"{WEBHOOK_KEYS}headers_are_the_ones_that_enter_the_event_and_never_a_credential",
    f"{ROUTE}.filters": f"{WEBHOOK_KEYS}filters_say_which_deliveries_set_anything_off",
    f"{ROUTE}.input": f"{WEBHOOK_KEYS}input_is_what_a_delivery_adds_to_the_input",
    f"{ROUTE}.dedupe": f"{WEBHOOK_KEYS}dedupe_is_where_the_name_of_a_delivery_stands",
    f"{ROUTE}.coalesce": f"{WEBHOOK_KEYS}coalesce_makes_one_of_a_burst",
    f"{ROUTE}.respond": f"{WEBHOOK_KEYS}respond_wait_answers_when_the_execution_has_ended",
    f"{ROUTE}.allow_insecure": f"{WEBHOOK_KEYS}allow_insecure_is_what_an_open_route_asks_for",
    "max_concurrent_executions": f"{DAEMON_LIMITS}a_hundred_triggers_run_within_the_lower_limit_and_all_complete",
    "interactive_slots": f"{FLOW}the_slots_kept_for_calls_are_never_taken_by_timers_and_events",
    "timezone": f"{ENGINE}another_zone_of_the_daemon_is_another_schedule_unless_the_timer_names_one",
    "mirror": "integration/test_mirror.py::test_nothing_is_written_when_it_is_off",
    "http.listen": f"{SIGNALS}ready_is_said_when_the_control_socket_and_the_webhook_port_answer",
    "http.health": f"{SETTINGS}the_tcp_port_shows_the_pages_that_are_wanted",
    "http.metrics": f"{SETTINGS}the_tcp_port_shows_the_pages_that_are_wanted",
    "shutdown.drain_seconds": f"{SIGNALS}what_ends_within_the_drain_is_completed",
    "log.level": "unit/test_logging.py::test_levels_are_read_in_any_case_and_as_numbers",
    "log.format": "unit/test_logging.py::test_auto_is_json_in_production_or_where_it_is_asked_for",
    "log.file": f"{SIGNALS}sighup_opens_a_log_file_anew_that_was_moved_away",
    "traces.endpoint": "integration/test_traces.py::test_what_ended_is_sent_to_the_collector",
    "traces.content": "integration/test_traces.py::test_what_ended_is_sent_to_the_collector",
    "llm.model": f"{MODELS}the_first_choice_is_the_file_s_or_another_model_in_its_place",
    "llm.api_key": f"{MODELS}a_key_beside_no_model_is_for_the_agents_model",
    "llm.api_base": SAME_SERVICE,
    "llm.fallbacks": SAME_SERVICE,
    "llm.fallbacks[].model": f"{FACTORY}fallbacks_make_a_chain_over_services_and_transports",
    "llm.fallbacks[].api_key": SAME_SERVICE,
    "llm.fallbacks[].api_base": SAME_SERVICE,
    "llm.transport": f"{FACTORY}a_transport_can_be_chosen",
    "llm.preload": f"{SETTINGS}preload_imports_the_model_library",
    "llm.timeout_seconds": f"{MODELS}transport_and_limits_count_for_every_model_of_the_chain",
    "llm.ttft_timeout_seconds": f"{MODELS}transport_and_limits_count_for_every_model_of_the_chain",
    "llm.stream_idle_timeout_seconds": f"{MODELS}transport_and_limits_count_for_every_model_of_the_chain",
    "llm.max_attempts": f"{MODELS}transport_and_limits_count_for_every_model_of_the_chain",
    "recovery.max_attempts": f"{SIGNALS}a_crash_too_often_is_recovery_exhausted",
    "checkpoints.keep": "integration/test_mirror.py::test_only_the_last_checkpoints_are_kept",
    "control.allow_uids": f"{HOSTILE}a_user_that_the_configuration_names_is_answered",
    "control.allow_gids": f"{HOSTILE}a_user_that_the_configuration_names_is_answered",
    "events.max_history": "unit/test_event_bus.py::test_the_history_is_newest_first_and_bounded",
    "health.loop_blocked_seconds": f"{WATCH}a_blocked_loop_ends_the_process_with_70_and_shows_where_it_hangs",
    "health.non_accepts": f"{HEALTH}every_threshold_can_be_moved",
    "health.doom_loop": f"{HEALTH}every_threshold_can_be_moved",
    "health.same_error": f"{HEALTH}every_threshold_can_be_moved",
    "health.cost_usd": f"{HEALTH}every_threshold_can_be_moved",
    "health.failures": "integration/test_incidents.py::test_so_many_failures_in_a_row_are_an_incident_as_are_written",
    "alerts": f"{ALERTS}the_log_is_told_also_if_nobody_wrote_that",
    "alerts[].to": f"{ALERTS}what_is_written_of_a_rule_holds",
    "alerts[].command": f"{ALERTS}a_command_reads_the_alert_as_json",
    "alerts[].webhook.url": f"{ALERTS}a_webhook_is_posted_and_proves_who_sent_it",
    "alerts[].webhook.secret": f"{ALERTS}a_webhook_is_posted_and_proves_who_sent_it",
    "alerts[].min_severity": f"{ALERTS}what_is_written_of_a_rule_holds",
    "alerts[].cooldown": f"{ALERTS}what_is_written_of_a_rule_holds",
    "alerts[].timeout": f"{ALERTS}a_command_that_does_not_end_is_killed_in_its_time",
    f"{ENTRY}.heal": LAID_OVER_HEALING,
    f"{ENTRY}.max_resurrections": LAID_OVER_HEALING,
    "health.stall_seconds": "integration/test_runtime_stalls.py::test_zero_turns_it_off",
}

OF_TIMERS: dict[str, str] = {
    "cron": f"{RUNTIME_TIMERS}a_cron_timer_fires_at_its_times_of_the_wall_clock",
    "crons": f"{TIMERS}of_several_expressions_any_is_enough_and_an_instant_of_two_is_one",
    "interval_minutes": f"{RUNTIME_TIMERS}an_interval_fires_a_period_after_the_start_and_then_each_period",
    "every": f"{TIMERS}an_interval_may_be_written_with_units",
    "at": f"{TIMERS}a_one_shot_is_due_once_by_the_wall_of_its_zone",
    "timezone": f"{TIMERS}a_written_zone_wins_over_that_of_the_daemon",
    "phase": f"{TIMERS}a_phase_lays_the_instants_of_an_interval_down_wherever_it_is_started",
    "jitter": f"{TIMERS}jitter_moves_the_beginning_of_a_run_and_not_the_instant_it_is_known_by",
    "exclude": f"{TIMERS}an_excluded_minute_is_not_due_of_a_cron_job",
    "start_time": f"{TIMERS}a_start_time_is_the_first_occurrence_of_an_interval",
    "end_time": f"{TIMERS}nothing_is_due_before_the_start_or_after_the_end_and_both_belong_to_it",
    "remaining_actions": f"{ENGINE}a_timer_with_so_many_actions_is_done_after_them_and_says_so",
    "run_immediately": f"{RUNTIME_TIMERS}run_immediately_fires_at_the_start_and_a_period_later",
    "idle_timeout_seconds": f"{RUNTIME_TIMERS}a_timer_skips_while_its_graph_is_at_work_and_has_an_idle_gate",
    "overlap": f"{ENGINE}a_written_overlap_holds_with_one_slot_too",
    "catchup": f"{ENGINE}of_100_missed_instants_the_policy_runs_some_and_each_has_its_row",
    "catchup_window": "unit/test_schedule.py::test_ten_missed_minutes_are_caught_up_as_the_policy_says",
    "pause_on_failure": f"{ENGINE}so_many_failures_in_a_row_pause_a_timer_and_everybody_is_told",
    "paused": f"{ENGINE}a_timer_written_as_paused_begins_so_until_somebody_resumes_it",
    "note": f"{TIMERS}the_rules_carry_what_the_ledger_and_the_operator_need",
}

OF_EVENTS: dict[str, str] = {
    **dict.fromkeys(
        ("event_types", "filter_stream", "filter_node", "filter_execution", "filter_graph"),
        f"{RUNTIME_EVENTS}every_filter_that_is_set_must_match",
    ),
    "exclude_own_graph": f"{RUNTIME_EVENTS}a_graph_that_excludes_itself_still_hears_the_others",
    "where": f"{EVENTS}a_condition_chooses_among_events_of_executions",
    "cancel_on": f"{EVENTS}an_event_of_the_same_correlation_calls_back_what_runs",
    "max_depth": f"{EVENTS}an_entry_point_may_come_as_often_as_it_says",
}

OF_WEBHOOKS: dict[str, str] = {
    "source_id": "integration/test_webhook_runtime.py::test_an_entry_point_may_be_bound_to_a_source_directly",
}

OF_CONCURRENCY: dict[str, str] = {
    "max": f"{FLOW}a_key_bounds_those_with_its_value_and_lets_others_pass",
    "key": f"{FLOW}a_key_bounds_those_with_its_value_and_lets_others_pass",
    "strategy": f"{FLOW}what_takes_over_goes_on_in_the_session_after_the_end_of_the_old",
    "queue_max": f"{FLOW}a_full_queue_refuses_with_its_depth_and_when_to_come_again",
    "queue_timeout": f"{FLOW}what_waits_too_long_is_cancelled_and_never_runs",
}

OF_FLOW: dict[str, str] = {
    **{
        f"dedupe.{key}": f"{FLOW}a_known_dedupe_key_is_the_execution_that_it_started"
        for key in ("key", "ttl")
    },
    **{
        f"rate_limit.{key}": f"{FLOW}a_rate_limit_refuses_and_says_when_to_come_again"
        for key in ("limit", "per", "key")
    },
    "debounce.period": f"{FLOW}a_debounce_begins_once_with_the_newest_input",
    "debounce.key": f"{FLOW}a_debounce_begins_once_with_the_newest_input",
    "debounce.max_wait": f"{FLOW}a_debounce_waits_no_longer_than_its_max_wait",
    "batch.max": f"{FLOW}a_batch_gathers_triggers_into_one_execution",
    "batch.wait": f"{FLOW}a_batch_gathers_triggers_into_one_execution",
    "batch.key": "unit/test_flow.py::test_a_batch_gathers_by_its_key",
    "throttle.limit": f"{FLOW}a_throttle_lets_begin_so_many_and_the_others_wait",
    "throttle.per": f"{FLOW}a_throttle_lets_begin_so_many_and_the_others_wait",
    "throttle.key": "unit/test_flow.py::test_each_part_of_flow_carries_its_own_key",
}

ALL = {
    name
    for table in (SHOWN, OF_TIMERS, OF_EVENTS, OF_WEBHOOKS, OF_CONCURRENCY, OF_FLOW)
    for name in table.values()
}


@cache
def functions_in(path: str) -> frozenset[str]:
    """Return the names of the tests of a module."""
    tree = ast.parse((TESTS / path).read_text())
    found = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(item.name for item in tree.body if isinstance(item, found))


def test_every_key_of_hive_yaml_has_a_test_of_what_it_does():
    assert set(SHOWN) == set(patterns())


def test_every_key_of_a_timer_has_a_test_of_what_it_does():
    assert set(OF_TIMERS) == set(TimerConfig.model_fields)


def test_every_key_of_an_event_entry_point_has_a_test_of_what_it_does():
    assert set(OF_EVENTS) == set(EventConfig.model_fields)


def test_every_key_of_a_webhook_entry_point_has_a_test_of_what_it_does():
    assert set(OF_WEBHOOKS) == KEYS_OF_WEBHOOKS


def test_every_key_of_concurrency_and_flow_has_a_test_of_what_it_does():
    assert set(OF_CONCURRENCY) == set(CONCURRENCY_KEYS)
    assert set(OF_FLOW) == {f"{part}.{key}" for part, keys in FLOW_KEYS.items() for key in keys}


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_test_that_is_named_is_there(name: str):
    path, _, function = name.partition("::")
    assert function in functions_in(path)
