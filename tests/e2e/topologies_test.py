#!/usr/bin/env python3
"""One entry of the catalogue, brought up natively or by its steps, and compared with what the catalogue expects. Needs root.

Usage: topologies_test.py ENTRY native|steps [--log FILE] [--result FILE]

native: `isthmus up -f topologies/ENTRY.yaml`. steps: an empty lab, then every step of the entry typed on its cluster.
"""
import argparse
import json
import pathlib
import sys
import time
import traceback

import catalogue
import expectations
import failures_old_forms  # noqa: F401  (registers its kinds)
import lab
import steps
import steps_old_forms
import traffic
from lab import ROOT
from mesh_run import MODES, Failed, MeshRun

COLUMNS = [*expectations.CHECKS, "traffic", "failure test"]
SETTLE = 60  # Seconds that a mesh may take to become what is expected, once everything is applied.


def settled(check, run):
    """Repeats a check until it finds nothing, or time is up; gives the last differences."""
    end = time.monotonic() + SETTLE
    while True:
        try:
            differences = check(run)
        except AssertionError as error:
            differences = [str(error)]
        if not differences or time.monotonic() > end:
            return differences
        run.log("not yet: " + "; ".join(differences)[:2000])
        time.sleep(0.5)


def bring_up(run):
    if run.mode == "native":
        run.up_natively()
        return
    run.lab_up()
    run.say("lab is up")
    if not steps_old_forms.before(run):
        steps.before(run)
    for item in run.entry.steps:
        run.say(" ".join(str(value) for value in item.values()))
        steps.take(run, item)


def compare(run):
    """What differs, by column of the table; None where the entry expects nothing."""
    expected, found = run.entry.expected, {}
    run.wait_for_rollouts()
    for name, checks in expectations.CHECKS.items():
        if name == "endpoints" and asks_samples(run.entry):
            traffic.deploy_samples(run)
        found[name] = [line for check in checks for line in settled(check, run)]
        run.say(f"{name}: {'as expected' if not found[name] else 'DIFFERS'}")
    # Requests are made once: what is ready when deployments are must answer every one.
    found["traffic"] = traffic.traffic(run)
    run.say(f"traffic: {'as expected' if not found['traffic'] else 'DIFFERS'}")
    found["failure test"] = traffic.failures(run) if "ha_test" in expected else None
    if "gateway_views" not in expected:
        found["gateway views"] = None
    found["other"] += expectations.restarts(run)
    return found


def asks_samples(entry):
    """An entry without workloads, whose traffic is asked from the samples, gets them after its `ps` rows were seen."""
    return not any(cluster["workloads"] for cluster in entry.data["clusters"])


def perform(name, mode, log):
    """Runs one entry in one mode and gives what the table shows of it."""
    run = MeshRun(catalogue.Entry(name), mode, log)
    host_before = lab.host_network()
    result = {"topology": name, "mode": mode, "found": {column: None for column in COLUMNS}, "error": ""}
    try:
        bring_up(run)
        result["up_seconds"] = round(time.monotonic() - run.began, 1)
        run.say("up")
        result["found"] = compare(run)
    except (AssertionError, Failed) as error:
        result["error"] = str(error)
    except Exception:  # A mistake of ours.
        result["error"] = traceback.format_exc()
    finally:  # However a run ends, interrupted too, its lab does not outlive it.
        if result["error"] or any(result["found"].values()):
            run.diagnose()
        run.down()
    if lab.host_network() != host_before and not result["error"]:
        result["error"] = "the machine's own network is not what it was before the lab"
    result["seconds"] = round(time.monotonic() - run.began, 1)
    result["passed"] = not result["error"] and not any(result["found"].values())
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entry", choices=catalogue.ids(), metavar="ENTRY")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--log", type=pathlib.Path)
    parser.add_argument("--result", type=pathlib.Path)
    options = parser.parse_args()
    log_path = options.log or ROOT / f"build/topologies/{options.entry}-{options.mode}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w") as log:
        result = perform(options.entry, options.mode, log)
        for column, differences in result["found"].items():
            for line in differences or []:
                print(f"{column}: {line}")
                log.write(f"{column}: {line}\n")
        if result["error"]:
            print(result["error"])
            log.write(result["error"] + "\n")
    if options.result:
        options.result.write_text(json.dumps(result))
    print(f"{options.entry} {options.mode}: {'passed' if result['passed'] else 'FAILED'} in {result['seconds']} s, log {log_path}")
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
