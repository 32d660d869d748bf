"""Every benchmark runs at a tiny size and gives its numbers. How large they are is the machine's business."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
PATIENCE_SECONDS = 120

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=2)]  # processes of their own


def run(name: str, *arguments: str) -> tuple[str, dict[str, Any]]:
    """The table for people, and the line of JSON after it."""
    done = subprocess.run(
        [sys.executable, str(BENCH / f"{name}.py"), *arguments],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table, _, line = done.stdout.rstrip("\n").rpartition("\n")
    found: dict[str, Any] = json.loads(line)
    return table, found


def test_the_store_bench_measures_every_operation_lists_watches_and_the_weight_of_an_object() -> None:
    table, found = run("store", "--operations", "5", "--objects", "20", "100", "--watchers", "1", "3", "--events", "5")
    assert "per second" in table
    for kind in ("pod", "llmdeployment"):
        for operation in (
            "create", "get", "patch_status", "patch", "update", "apply", "apply_no_change", "delete",
        ):  # fmt: skip
            for place in ("memory", "file_one_writer", "file_32_writers"):
                assert found[f"{kind}_{operation}_{place}_per_second"] > 0
        for what in ("list_20", "list_by_label_100", "events_to_1_watches", "events_to_3_watches"):
            assert found[f"{kind}_{what}_per_second"] > 0
        assert found[f"{kind}_open_seconds"] > 0
        assert found[f"{kind}_json_bytes_per_object"] > 1000
        assert found[f"{kind}_disk_bytes_per_object"] > 1000


def test_the_gateway_bench_compares_with_the_server_alone_and_with_the_proxies_there_are() -> None:
    table, found = run("gateway", "--seconds", "0.3", "--concurrency", "2", "--rate", "20", "--rounds", "1")
    assert found["requests_per_second"] > 0
    proxies = [name for name in ("traefik", "nginx") if f"{name} is not installed" not in table]
    for prefix in ("", *(f"{name}_" for name in proxies)):
        for suffix in ("20", "20_streaming"):
            assert f"{prefix}added_p50_ms_{suffix}" in found
            assert f"{prefix}added_p99_ms_{suffix}" in found
            assert found[f"{prefix}p99_ms_{suffix}"] > 0
    assert found["failed_20"] == found["failed_20_streaming"] == found["direct_failed_20"] == 0


def test_the_soak_bench_loses_no_request_and_leaves_no_process() -> None:
    table, found = run(
        "soak",
        "--requests",
        "40",
        "--releases",
        "1",
        "--warm-up",
        "1",
        "--services",
        "1",
        "--rate",
        "40",
        "--every",
        "0.5",
        "--settle",
        "0",
    )
    assert found["requests"] >= 40
    assert found["failed_requests"] == 0, table
    assert found["releases"] == 2
    assert found["processes_after_down"] == 0
    assert found["up_megabytes_last"] > 10
    assert found["files_last"] > 5
    for what in ("megabytes_per_100_releases", "megabytes_per_1000_requests", "flat", "folder_megabytes_last"):
        assert what in found


def test_the_rollback_bench_loses_no_request_and_tells_how_soon_a_service_is_back() -> None:
    table, found = run("rollback", "--warm", "1", "--cold", "1", "--by-evidence", "0")
    assert "seconds until restored" in table
    assert found["requests"] > 0
    for kind in ("warm", "cold"):
        assert found[f"{kind}_rollbacks"] == 1
        assert found[f"{kind}_p50_seconds"] == found[f"{kind}_longest_seconds"]


def test_the_sim_bench_measures_virtual_time_and_edits() -> None:
    table, found = run("sim", "--seeds", "2", "--edits", "2")
    assert "virtual seconds a second" in table
    assert {"virtual_seconds_per_second", "idle_virtual_seconds_per_second", "ms_per_scenario", "ms_per_edit"} < {
        name for name, value in found.items() if value
    }


def test_the_release_bench_tells_how_soon_and_how_often_wrongly_beside_other_rules() -> None:
    table, found = run("release", "--quick", "--processes", "1")
    for rule in ("outrider", "threshold", "argo", "flagger"):
        assert rule in table
    assert found["rolled_back_share_2rps_20pct"] == 1
    assert 0 < found["p50_seconds_2rps_20pct"] <= found["p99_seconds_2rps_20pct"]
    for what in ("false_rollback_share", "false_rollback_share_clustered"):
        assert 0 <= found[what] <= found[f"{what}_worst"] <= 1
