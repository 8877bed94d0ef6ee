#!/usr/bin/env python3
"""Writes lab/apiserver/builtin_wire.txt: how the built-in kinds look in Kubernetes' protobuf form.

Input are the source trees of the Go modules k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver
(GOMODCACHE/k8s.io). Only field numbers, names and wire types are kept.

    api_wire.py ~/go/pkg/mod/k8s.io > lab/apiserver/builtin_wire.txt

    core.v1.Pod              a message; its fields follow, indented
     1 metadata @meta.v1.ObjectMeta
    Types: s string, y bytes, i integer, b boolean, n double, @Name message, [T repeated, {T map from string.
    Marks: * a pointer in Go (zero is a value), ~ written into the parent (inline).
"""
import glob
import os
import re
import sys

SERVED = """core/v1 apps/v1 batch/v1 discovery/v1 autoscaling/v1 autoscaling/v2 policy/v1 rbac/v1 coordination/v1
admissionregistration/v1 authentication/v1 authorization/v1 certificates/v1 networking/v1 scheduling/v1 storage/v1 events/v1
node/v1""".split()


def files(root):
    def newest(module):
        return sorted(glob.glob(os.path.join(root, module + "@*")))[-1]
    for group in SERVED:
        yield group.replace("/", "."), os.path.join(newest("api"), group)
    machinery = newest("apimachinery")
    yield "meta.v1", os.path.join(machinery, "pkg/apis/meta/v1")
    yield "runtime", os.path.join(machinery, "pkg/runtime")
    yield "apiextensions.v1", os.path.join(newest("apiextensions-apiserver"), "pkg/apis/apiextensions/v1")


SCALARS = {"string": "s", "bytes": "y", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "bool": "b", "double": "n"}


def main():
    messages, tags = {}, {}
    for package, folder in files(sys.argv[1]):
        current = None
        for line in open(os.path.join(folder, "generated.proto")):
            line = line.strip()
            if match := re.match(r"message (\w+) \{", line):
                current = package + "." + match[1]
                messages[current] = []
            elif match := re.match(r"(optional |repeated |)(map<string, *([\w.]+)>|[\w.]+) (\w+) = (\d+);", line):
                kind = match[3] or match[2]
                kind = kind.strip(".")
                kind = re.sub(r"^k8s\.io\.(api|apimachinery\.pkg\.apis|apiextensions_apiserver\.pkg\.apis)\.", "", kind)
                if kind.endswith("resource.Quantity"):
                    code = "@Quantity"
                elif kind.endswith("intstr.IntOrString"):
                    code = "@IntOrString"
                elif kind.endswith("runtime.RawExtension"):
                    code = "@runtime.RawExtension"
                elif kind in SCALARS:
                    code = SCALARS[kind]
                else:
                    code = "@" + (kind if "." in kind else package + "." + kind)
                if match[3]:
                    code = "{" + code
                elif match[1] == "repeated ":
                    code = "[" + code
                messages[current].append((int(match[5]), match[4], code))
        for path in glob.glob(os.path.join(folder, "*.go")):
            current = None
            for line in open(path):
                if match := re.match(r"type (\w+) struct", line):
                    current = package + "." + match[1]
                elif line.startswith("}"):
                    current = None
                elif current and (match := re.match(r"\s+(?:\w+\s+)?(\*?)\S+\s+`(.*)`", line)):
                    wire = re.search(r'protobuf:"\w+,(\d+)', match[2])
                    json_name = re.search(r'json:"([^",]*)([^"]*)"', match[2])
                    if wire and json_name:
                        inline = ",inline" in json_name[2] or json_name[1] == ""
                        tags[current, int(wire[1])] = (match[1] == "*", inline, json_name[1])
    wanted, done = [name for name in messages if not name.endswith("List") or True], {}
    print('R"wire(')
    for name in sorted(wanted):
        print(name)
        for number, field, code in messages[name]:
            pointer, inline, json_name = tags.get((name, number), (False, False, field))
            print(" %d %s %s%s%s" % (number, json_name or field, code, " *" if pointer and code in "ibns" else "", " ~" if inline and code[0] == "@" else ""))
    print(')wire"')


main()
