"""Asks both servers the same and notes where the answers part."""
import json
import re

# Fields that only a newer server knows, by their place.
NEWER = ("podSelectorLabels", "observedGeneration", "terminatingReplicas", "resizePolicy", "trafficDistribution")


def even(value, place=""):
    """Takes out what no two servers agree about."""
    if isinstance(value, dict):
        out = {}
        for key, child in value.items():
            if key in ("uid", "creationTimestamp", "resourceVersion", "managedFields", "deletionTimestamp", "selfLink", "time") or key in NEWER:
                continue
            if key in ("clusterIP", "nodePort", "healthCheckNodePort") and child not in ("None", ""):
                child = "<given>"
            if key == "clusterIPs" and child != ["None"]:
                child = ["<given>"]
            # Newer servers count the generations of pods; Go writes the zero value of some fields, which is the same as none.
            if key == "generation" and ("rows" in place or "pods" in place) or child in ("", None):
                continue
            # A real server tells the place of a request that has none with an empty object.
            if key == "details" and child == {}:
                continue
            # Kept inside as a field of its own, which tables do not show.
            if key == "annotations" and "rows" in place and child == {"deprecated.daemonset.template.generation": "1"}:
                continue
            # Its controllers take this from nodes that are ready; the lab's scheduler looks at the condition itself.
            if key == "taints" and child == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]:
                continue
            # Nobody here holds back the deletion of a claim, so nobody marks it.
            if key == "finalizers" and child == ["kubernetes.io/pvc-protection"]:
                continue
            if key == "column" or key == "remainingItemCount":
                continue
            # What is left of a node's when its taints are taken out.
            if key == "spec" and child in ({}, {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}):
                continue
            if key == "description" and place.endswith("columnDefinitions"):
                continue
            out[key] = even(child, place + "." + key)
        return out
    if isinstance(value, list):
        return [even(item, place) for item in value]
    if isinstance(value, str):
        value = re.sub(r"kube-api-access-\w{5}", "kube-api-access-<x>", value)
        value = re.sub(r":3\d{4}/", ":<port>/", value)
        value = re.sub(r"\n@@.*", "", value, flags=re.S)  # The diff that pod updates are refused with.
        # The whole patched object in a message, its keys in the order of Go's structs; what etcd adds; how bytes fail as JSON.
        value = re.sub(r'Invalid value: "\{.*\}": ', 'Invalid value: "<object>": ', value, flags=re.S)
        value = re.sub(r"StorageError: .*AdditionalErrorMsg: ", "", value)
        value = re.sub(r"(continue key is not valid: ).*", r"\1<why>", value, flags=re.S)
        value = re.sub(r'(Available representations: ).*', r"\1<types>", value)
        value = re.sub(r"Go struct field \w*\.", "Go struct field .", value)
        value = re.sub(r"(made-)\w{5}", r"\1<x>", value)
        # Sentences about what cannot be read: that there is one, and where it comes from, is enough.
        value = re.sub(r"^(unable to parse requirement: |found '|invalid selector: |field selector |Unable to find |\"spec.nonsense).*", "<selector>", value, flags=re.S)
        value = re.sub(r"^requested .* without impersonating a user.*", "<impersonation>", value)
        value = re.sub(r"(failed to call webhook: )(couldn't get version/kind|expected webhook response).*", r"\1<no review>", value)
        value = re.sub(r"(connecting to https://127.0.0.1:1|dial tcp 127.0.0.1:1: connect): ", "", value)
        value = re.sub(r" \(it answered \d+ to Post .*\)$", "", value)
        value = re.sub(r"(the patch of webhook .*|error in remove for path: .*)", "<patch>", value)
        if "Object 'Kind' is missing" in value:
            value = value.replace('": ', '":')
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uid>", value)
        if place.endswith("cells") and re.fullmatch(r"\d+s", value):
            return "<age>"
        if re.fullmatch(r"10\.96\.\d+\.\d+", value):
            return "<given>"
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
            return "<time>"
    return value


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


class Comparison:
    def __init__(self, ours, real):
        self.ours, self.real = ours, real
        self.count, self.differences = 0, []
        self.folder = ours.folder

    def note(self, text):
        self.differences.append(text)
        print(text, flush=True)

    def differ(self, what, a, b, path=""):
        """Notes where two evened values part."""
        if type(a) is dict and type(b) is dict:
            for key in sorted(set(a) | set(b)):
                self.differ(what, a.get(key, "<absent>"), b.get(key, "<absent>"), path + "." + key)
        elif type(a) is list and type(b) is list and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b)):
                self.differ(what, x, y, "%s[%d]" % (path, i))
        elif a != b:
            self.note("%s\n    at %s\n    ours: %s\n    real: %s" % (what, path or "top", json.dumps(a)[:400], json.dumps(b)[:400]))

    def same(self, method, path, body=None, kind="application/json", accept="application/json", warnings=True, headers=()):
        self.count += 1
        name = "%s %s %s" % (method, path, json.dumps(body)[:150] if body is not None else "")
        try:
            a, b = (server.send(method, path, body, kind, accept, headers=headers) for server in (self.ours, self.real))
        except OSError as error:
            return self.note("%s\n    no answer: %s" % (name, error))
        self.differ(name + " (status)", a[0], b[0])
        about = "pods" if "/pods" in path else ""
        self.differ(name, even(parsed(a[1]), about), even(parsed(b[1]), about))
        if warnings:
            self.differ(name + " (warnings)", a[2], b[2])

    def owners(self, path):
        """Who manages which fields, without times; for what server-side apply keeps."""
        self.count += 1
        found = []
        for server in (self.ours, self.real):
            fields = json.loads(server.send("GET", path)[1])["metadata"].get("managedFields", [])
            found.append(sorted(({k: v for k, v in each.items() if k != "time"} for each in fields), key=lambda e: json.dumps(e, sort_keys=True)))
        self.differ("OWNERS " + path, *found)

    def resources(self, path):
        """What both serve under a group: every entry of ours must be the real one's; a newer server has more."""
        self.count += 1
        lists = [{entry["name"]: entry for entry in json.loads(server.send("GET", path)[1]).get("resources", [])} for server in (self.ours, self.real)]
        self.differ("DISCOVERY " + path + " (unknown to the real server)", sorted(set(lists[0]) - set(lists[1])), [])
        for name in sorted(set(lists[0]) & set(lists[1])):
            strip = lambda entry: {k: v for k, v in entry.items() if k != "storageVersionHash"}
            self.differ("DISCOVERY %s %s" % (path, name), strip(lists[0][name]), strip(lists[1][name]))

    def discovered(self, path):
        """The same in the one document that newer clients read."""
        self.count += 1
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        found = []
        for server in (self.ours, self.real):
            groups = json.loads(server.send("GET", path, accept=accept)[1]).get("items", [])
            found.append({(group["metadata"].get("name", ""), version["version"], resource["resource"]): resource
                          for group in groups for version in group["versions"] for resource in version.get("resources", [])})
        for key in sorted(found[0]):
            if key not in found[1]:
                self.note("DISCOVERED %s: unknown to the real server" % (key,))
            else:
                subs = lambda entry: dict(entry, subresources={s["subresource"]: s for s in entry.get("subresources", [])})
                ours, real = subs(found[0][key]), subs(found[1][key])
                real["subresources"] = {k: v for k, v in real["subresources"].items() if k in ours["subresources"]}
                self.differ("DISCOVERED %s" % (key,), ours, real)

    def pages(self, path, limit):
        """Reads a list in chunks, each server with its own token."""
        self.count += 1
        found = []
        for server in (self.ours, self.real):
            token, chunks = "", []
            for _ in range(20):
                _, text, _ = server.send("GET", "%s%slimit=%d&continue=%s" % (path, "&" if "?" in path else "?", limit, token))
                answer = json.loads(text)
                metadata = answer["metadata"]
                # A real server may say after the last one that there could be more.
                if answer["items"]:
                    chunks.append(([item["metadata"]["name"] for item in answer["items"]], metadata.get("remainingItemCount")))
                token = metadata.get("continue", "")
                if not token:
                    break
            found.append(chunks)
        self.differ("PAGES " + path, *found)

    def story(self, path, steps):
        """Watches from now on while the steps are taken, and compares the events."""
        self.count += 1
        found = []
        for server in (self.ours, self.real):
            version = json.loads(server.send("GET", path.split("?")[0])[1])["metadata"]["resourceVersion"]
            for step in steps:
                server.send(*step)
            _, events = server.watch(path + ("&" if "?" in path else "?") + "resourceVersion=" + version)
            found.append([even(event, event["type"]) for event in events if event["type"] != "BOOKMARK"])
        self.differ("STORY " + path, *found)

    def watch(self, path, accept="application/json"):
        self.count += 1
        a, b = self.ours.watch(path, accept), self.real.watch(path, accept)
        keep = lambda events: [even(event, event["type"]) for event in events if event["type"] != "BOOKMARK"]
        self.differ("WATCH " + path, keep(a[1]), keep(b[1]))
