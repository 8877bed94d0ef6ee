#!/usr/bin/env python3
"""Brings up every topology of the catalogue, natively and by its steps, and prints one table of how each compares. Needs root.

Usage: topologies.py [--repeat N] [--only ID,...] [--mode native|steps]

Logs: build/topologies/. Exit code 0 only when every run is as the catalogue says. `make topologies` runs this.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

import catalogue
import lab
from lab import ROOT
from mesh_run import MODES
from topologies_test import COLUMNS

TEST = pathlib.Path(__file__).with_name("topologies_test.py")
RUN_LIMIT = 600  # Seconds after which a run is taken for stuck.


def perform(entry, mode, folder, number):
    """One run in a process of its own, so that nothing of one is left for the next."""
    name = f"{entry}-{mode}-{number}"
    result_file = folder / f"{name}.json"
    result_file.unlink(missing_ok=True)
    command = [sys.executable, str(TEST), entry, mode, "--log", str(folder / f"{name}.log"), "--result", str(result_file)]
    began = time.monotonic()
    try:
        with (folder / f"{name}.out").open("w") as out:
            subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=RUN_LIMIT)
    except subprocess.TimeoutExpired:
        lab.isthmus("lab", "down", check=False)
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
    options = parser.parse_args()
    wanted = [word for word in options.only.split(",") if word]
    entries = [name for name in catalogue.ids() if not wanted or any(name.startswith(word) for word in wanted)]
    if not entries:
        sys.exit(f"no topology begins with {options.only}")
    folder = ROOT / "build/topologies"
    folder.mkdir(parents=True, exist_ok=True)
    results, began = [], time.monotonic()
    with (folder / "table.txt").open("w") as table:
        def say(text):
            print(text, flush=True)
            table.write(text + "\n")
            table.flush()
        say(line(HEADER))
        for number in range(1, options.repeat + 1):
            for entry in entries:
                for mode in [options.mode] if options.mode else MODES:
                    results.append(perform(entry, mode, folder, number))
                    say(line(row_of(results[-1])))
        failed = [result for result in results if not result["passed"]]
        for result in failed:
            reasons = [text for found in result["found"].values() for text in found or []] + result["error"].splitlines()[:3]
            say(f"{result['topology']} {result['mode']}: " + "; ".join(reasons)[:400])
        say(f"{len(results) - len(failed)} passed, {len(failed)} failed, {time.monotonic() - began:.0f} s; logs in {folder}")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
