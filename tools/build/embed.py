#!/usr/bin/env python3
"""Writes a C++ source that holds the files of a folder, for programs that must not look for them on disk.

Usage: embed.py <folder> <output.cc> <namespace> <header to include>; the function is
std::string_view EmbeddedFile(std::string_view name), empty for a name that is not there.
"""
import pathlib
import sys

folder, output, namespace, header = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
lines = [f'#include "{header}"', "", f"namespace {namespace} {{", "",
         "std::string_view EmbeddedFile(std::string_view name) {"]
# charts/ is made from what is built in, for users' kubectl.
for file in sorted(p for p in folder.rglob("*") if p.is_file() and "charts" not in p.relative_to(folder).parts):
    text = file.read_text()
    # A literal may not be longer than the compiler allows, so it is written in pieces.
    pieces = [text[i:i + 8000] for i in range(0, len(text), 8000)] or [""]
    literal = "\n      ".join(f'R"~~({piece})~~"' for piece in pieces)
    lines.append(f'  if (name == "{file.relative_to(folder).as_posix()}")\n    return {literal};')
lines += ["  return {};", "}", "", f"}}  // namespace {namespace}", ""]
pathlib.Path(output).write_text("\n".join(lines))
