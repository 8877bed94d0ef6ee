#!/usr/bin/env python3
"""Writes lab/apiserver/builtin_types.txt, the shapes of the built-in kinds.

Input is the /openapi/v2 document of a real API server, which knows field names, types and merge keys. Only those facts
are kept, one field a line; no prose. The result is a C++ raw string literal that types.cc includes.

    api_types.py openapi-v2.json > lab/apiserver/builtin_types.txt

    apps.v1.DeploymentSpec            a type; its fields follow, indented
     selector! @meta.v1.LabelSelector '!' marks a required field
    Types: s string, y base64 bytes, t time, i integer, n number, b boolean, q quantity, x integer or string, * anything,
    @Name another type, [T list of T, {T map to T.
    Marks: k=a,b list map keys; set; mk=a strategic merge key; pm merge of scalars; rk retainKeys; at atomic map.
"""
import json
import sys

PREFIXES = [
    ("io.k8s.apimachinery.pkg.apis.meta.v1.", "meta.v1."),
    ("io.k8s.apiextensions-apiserver.pkg.apis.", ""),
    ("io.k8s.kube-aggregator.pkg.apis.", ""),
    ("io.k8s.api.", ""),
]
SERVED = """core.v1 apps.v1 batch.v1 discovery.v1 autoscaling.v1 autoscaling.v2 policy.v1 rbac.v1 coordination.v1
admissionregistration.v1 apiextensions.v1 apiregistration.v1 authentication.v1 authorization.v1 certificates.v1
networking.v1 scheduling.v1 storage.v1 events.v1 node.v1""".split()
SKIP = ("core.v1.ComponentStatus", "networking.v1.IPAddress", "networking.v1.ServiceCIDR", "admissionregistration.v1.Mutating"
        "AdmissionPolicy", "storage.v1.VolumeAttributes")


def short(name):
    for prefix, replacement in PREFIXES:
        if name.startswith(prefix):
            return replacement + name[len(prefix):]
    return name


def main():
    definitions = json.load(open(sys.argv[1]))["definitions"]

    def type_code(schema):
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            tail = name.rsplit(".", 1)[1]
            target = definitions[name]
            if tail == "Quantity":
                return "q"
            if tail == "IntOrString":
                return "x"
            if tail in ("Time", "MicroTime"):
                return "t"
            if "properties" not in target:
                if target.get("type") == "string":
                    return "s"
                return "*"
            wanted.append(name)
            return "@" + short(name)
        kind = schema.get("type")
        if kind == "array":
            return "[" + type_code(schema["items"])
        if kind == "object":
            if "additionalProperties" in schema:
                return "{" + type_code(schema["additionalProperties"])
            return "*"
        if kind == "string":
            return {"byte": "y", "date-time": "t"}.get(schema.get("format"), "s")
        return {"integer": "i", "number": "n", "boolean": "b"}.get(kind, "*")

    wanted = []
    for name, definition in definitions.items():
        if not definition.get("x-kubernetes-group-version-kind") or name.endswith("List"):
            continue
        code = short(name)
        if code.rsplit(".", 1)[0] in SERVED and not code.startswith(SKIP):
            wanted.append(name)
    wanted.append("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
    wanted.append("io.k8s.apimachinery.pkg.apis.meta.v1.Status")
    done = {}
    while wanted:
        name = wanted.pop()
        if name in done:
            continue
        definition = definitions[name]
        lines = []
        required = definition.get("required", [])
        for field, schema in sorted(definition["properties"].items()):
            marks = []
            if schema.get("x-kubernetes-list-type") == "map":
                marks.append("k=" + ",".join(schema["x-kubernetes-list-map-keys"]))
            if schema.get("x-kubernetes-list-type") == "set":
                marks.append("set")
            if schema.get("x-kubernetes-map-type") == "atomic":
                marks.append("at")
            strategy = schema.get("x-kubernetes-patch-strategy", "")
            if "merge" in strategy.split(","):
                key = schema.get("x-kubernetes-patch-merge-key")
                marks.append("mk=" + key if key else "pm")
            if "retainKeys" in strategy:
                marks.append("rk")
            code = type_code(schema)
            lines.append(" ".join([field + ("!" if field in required else ""), code] + marks))
        atomic = " at" if definition.get("x-kubernetes-map-type") == "atomic" else ""
        done[name] = (short(name) + atomic, lines)
    print('R"types(')
    for head, lines in sorted(done.values()):
        print(head)
        for line in lines:
            print(" " + line)
    print(')types"')


main()
