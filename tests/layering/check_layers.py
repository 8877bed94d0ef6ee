"""Compares the declared arrows between modules with the #include lines.

Usage: check_layers.py <source folder> <layers.txt>, where layers.txt has one line "src/<module>: <deps...>" a module.
"""
import pathlib
import re
import sys


def module_of(include, layers):
    parts = include.split("/")
    if len(parts) > 2 and f"{parts[0]}/{parts[1]}" in layers:
        return f"{parts[0]}/{parts[1]}"
    if len(parts) > 1 and f"src/{parts[0]}" in layers:
        return f"src/{parts[0]}"
    return None


def main():
    root, layers = pathlib.Path(sys.argv[1]), {}
    for line in open(sys.argv[2]):
        module, _, deps = line.strip().partition(":")
        if module:
            named = {d if d.startswith("lab/") else f"src/{d}" for d in deps.split()}
            layers[module] = {module, *named}
    wrong, seen = [], 0
    for module, allowed in layers.items():
        for file in sorted((root / module).rglob("*.[hc]*")):
            for include in re.findall(r'#include "([\w./-]+)"', file.read_text()):
                other = module_of(include, layers)
                seen += 1
                if other and other not in allowed:
                    wrong.append(f"{file.relative_to(root)}: {module} does not declare {other}")
    if not seen:
        sys.exit("no include line was read: is the source folder right?")
    sys.exit("\n".join(wrong) or 0)


main()
