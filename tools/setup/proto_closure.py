#!/usr/bin/env python3
"""Prints the .proto files that the given ones import, themselves included, one a line, imports first.

Usage: proto_closure.py <proto folder> <file> [<file> ...]; imports of google/protobuf/ come with protobuf itself and are left out.
"""
import pathlib
import re
import sys

folder, seen = pathlib.Path(sys.argv[1]), {}


def visit(name):
    if name in seen or name.startswith("google/protobuf/"):
        return
    path = folder / name
    if not path.exists():
        sys.exit(f"{path} does not exist: run tools/setup/fetch.py")
    seen[name] = False
    for other in re.findall(r'^import (?:public )?"([^"]+)";', path.read_text(), re.M):
        visit(other)
    seen.pop(name)
    seen[name] = True


for root in sys.argv[2:]:
    visit(root)
print("\n".join(seen))
