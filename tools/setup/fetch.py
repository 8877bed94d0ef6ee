#!/usr/bin/env python3
"""Brings the third-party files of third_party.json from their package registries, by version and hash.

Usage: fetch.py [target folder, default .cache/third_party of the project]

Each entry is fetched with the registry's own client (pip or npm), checked against its SHA-256 and unpacked once;
a stamp file remembers what is there, so that a second run does nothing. Exit code 1 with a sentence that names the
package when one cannot be had or differs from its hash.
"""
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def download(entry, folder):
    name = f'{entry["package"]}{"==" if entry["registry"] == "pypi" else "@"}{entry["version"]}'
    if entry["registry"] == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                   "--disable-pip-version-check", "-d", str(folder), name]
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), name]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not installed, and {name} is fetched with it: run tools/setup/packages first")
    if done.returncode:
        sys.exit(f"{name} cannot be had from the registry ({entry['registry']}):\n{done.stderr.strip()}")
    (file,) = folder.iterdir()
    return file


def members(archive):
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            for name in z.namelist():
                if not name.endswith("/"):
                    yield name, z.read(name)
    else:
        with tarfile.open(archive) as t:
            for member in t:
                if member.isfile():
                    yield member.name, t.extractfile(member).read()


def unpack(entry, archive, target):
    missing = set(entry["take"])
    for name, content in members(archive):
        for source, place in entry["take"].items():
            if name == source or (source.endswith("/") and name.startswith(source)):
                missing.discard(source)
                out = target / (place + name[len(source):])
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(content)
    if missing:
        sys.exit(f'{entry["package"]} {entry["version"]} does not contain {", ".join(sorted(missing))}')
    for name in entry.get("executable", []):
        (target / name).chmod(0o755)


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".cache" / "third_party")
    target.mkdir(parents=True, exist_ok=True)
    for key, entry in json.loads((HERE / "third_party.json").read_text()).items():
        stamp, want = target / f".{key}", json.dumps(entry, sort_keys=True)
        if stamp.exists() and stamp.read_text() == want:
            continue
        print(f'fetching {entry["package"]} {entry["version"]}', flush=True)
        with tempfile.TemporaryDirectory() as folder:
            archive = download(entry, pathlib.Path(folder))
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != entry["sha256"]:
                sys.exit(f'{entry["package"]} {entry["version"]} has the hash {found}, not the pinned {entry["sha256"]}')
            unpack(entry, archive, target)
        stamp.write_text(want)
    shutil.rmtree(target / "protos" / "google" / "protobuf", ignore_errors=True)


main()
