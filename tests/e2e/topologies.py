#!/usr/bin/env python3
"""Brings up every topology of the catalogue, natively and by its steps, and prints one table of how each compares. Needs root.

Usage: topologies.py [--repeat N] [--only ID,...] [--mode native|steps] [--beside]

With --beside both ways go on at the same time, each in a lab of its own; never with the same topology, for its certificates are shared.

Logs: build/topologies/. Exit code 0 only when every run is as the catalogue says. `make topologies` runs this.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import catalogue
import lab
from lab import ROOT
from mesh_run import MODES
from topologies_test import COLUMNS

TEST = pathlib.Path(__file__).with_name("topologies_test.py")
RUN_LIMIT = 600  # Seconds after which a run is taken for stuck.


def perform(entry, mode, folder, number, environment):
    """One run in a process of its own, so that nothing of one is left for the next."""
    name = f"{entry}-{mode}-{number}"
    result_file = folder / f"{name}.json"
    result_file.unlink(missing_ok=True)
    command = [sys.executable, str(TEST), entry, mode, "--log", str(folder / f"{name}.log"), "--result", str(result_file)]
    began = time.monotonic()
    try:
        with (folder / f"{name}.out").open("w") as out:
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=RUN_LIMIT,
                           env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        lab.isthmus("lab", "down", check=False, env=environment)
    if result_file.exists():
        return json.loads(result_file.read_text())
    return {"topology": entry, "mode": mode, "found": {column: None for column in COLUMNS}, "passed": False,
            "error": f"no result; see {folder}/{name}.out", "seconds": round(time.monotonic() - began, 1)}


def cell(result, column):
    if result["error"] and result["found"][column] is None:
        return "?"
    found = result["found"][column]
    return "-" if found is None else "same" if not found else "DIFFERS"


def row_of(result):
    cells = [result["topology"], *(cell(result, column) for column in COLUMNS), result["mode"], f"{result['seconds']:.1f}"]
    return [*cells, "" if result["passed"] else "FAILED"]


HEADER = ["topology", *COLUMNS, "how", "seconds", ""]
WIDTHS = [max(map(len, catalogue.ids())), *(max(7, len(column)) for column in COLUMNS), 6, 7, 6]


def line(cells):
    return "  ".join(text.ljust(width) for text, width in zip(cells, WIDTHS)).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", default="", help="comma-separated IDs, or beginnings of IDs")
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--beside", action="store_true")
    options = parser.parse_args()
    wanted = [word for word in options.only.split(",") if word]
    entries = [name for name in catalogue.ids() if not wanted or any(name.startswith(word) for word in wanted)]
    if not entries:
        sys.exit(f"no topology begins with {options.only}")
    folder = ROOT / "build/topologies"
    folder.mkdir(parents=True, exist_ok=True)
    modes = [options.mode] if options.mode else list(MODES)
    results, began = [], time.monotonic()
    with (folder / "table.txt").open("w") as table:
        def say(text):
            print(text, flush=True)
            table.write(text + "\n")
            table.flush()

        busy, writing = {entry: threading.Lock() for entry in entries}, threading.Lock()

        def run_all(order, environment):
            for number in range(1, options.repeat + 1):
                for entry, mode in order:
                    with busy[entry]:
                        result = perform(entry, mode, folder, number, environment)
                    with writing:
                        results.append(result)
                        say(line(row_of(result)))

        say(line(HEADER))
        if options.beside:
            half = len(entries) // 2  # So that the two ways do not wait for each other's topology.
            orders = {mode: entries[at * half:] + entries[:at * half] for at, mode in enumerate(modes)}
            with concurrent.futures.ThreadPoolExecutor() as pool:
                runs = [pool.submit(run_all, [(entry, mode) for entry in order],
                                    {"ISTHMUS_LAB_DIR": f"/var/lib/isthmus/test/{mode}", "ISTHMUS_TEST_ANY_PORT": "yes"})
                        for mode, order in orders.items()]
            for run in runs:
                run.result()
        else:
            run_all([(entry, mode) for entry in entries for mode in modes], {})
        failed = [result for result in results if not result["passed"]]
        for result in failed:
            reasons = [text for found in result["found"].values() for text in found or []] + result["error"].splitlines()[:3]
            say(f"{result['topology']} {result['mode']}: " + "; ".join(reasons)[:400])
        say(f"{len(results) - len(failed)} passed, {len(failed)} failed, {time.monotonic() - began:.0f} s; logs in {folder}")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
