#!/usr/bin/env python3
"""Sends the same requests to the lab's API server and to a real kube-apiserver, and compares what they answer.

Needs KUBEBUILDER_ASSETS (a folder with kube-apiserver and etcd) and ISTHMUS_BIN (a folder with isthmus-lab); without the
first it is skipped (exit code 77). What differs by nature (uids, times, versions, random names, addresses) is evened out; what
a newer real server adds is listed in NEWER.

    differential_test.py [--real URL TOKEN]    --real uses a server that runs already
"""
import base64
import http.server
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

TOKEN = "differential"
# Fields that only a newer server knows, by their place.
NEWER = ("podSelectorLabels", "observedGeneration", "terminatingReplicas", "resizePolicy", "trafficDistribution")


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, url, token=None, cert=None):
        self.url, self.token = url, token
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        if cert:
            self.context.load_cert_chain(*cert)

    def send(self, method, path, body=None, kind="application/json", accept="application/json", timeout=30, headers=()):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Accept", accept)
        request.add_header("User-Agent", "tester/1")
        for name, value in headers:
            request.add_header(name, value)
        if body is not None:
            request.add_header("Content-Type", kind)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=timeout) as answer:
                return answer.status, answer.read().decode(), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers.get_all("Warning") or []

    def watch(self, path, accept="application/json"):
        status, text, _ = self.send("GET", path + ("&" if "?" in path else "?") + "watch=1&timeoutSeconds=1", accept=accept)
        return status, [json.loads(line) for line in text.splitlines() if line]

    def wait(self):
        for _ in range(300):
            try:
                if self.send("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("%s did not come up" % self.url)


class Processes:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="isthmus-differential-")
        self.running = []

    def start(self, name, *command):
        log = open(os.path.join(self.folder, name + ".log"), "wb")
        self.running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_real(processes, assets):
    client, peer, port = free_port(), free_port(), free_port()
    folder = processes.folder
    subprocess.run(["openssl", "genrsa", "-out", folder + "/sa.key", "2048"], check=True, capture_output=True)
    open(folder + "/tokens.csv", "w").write('%s,kubernetes-admin,1,"system:masters"\n' % TOKEN)
    processes.start("etcd", assets + "/etcd", "--data-dir", folder + "/etcd", "--listen-client-urls", "http://127.0.0.1:%d" % client,
                    "--advertise-client-urls", "http://127.0.0.1:%d" % client, "--listen-peer-urls", "http://127.0.0.1:%d" % peer, "--unsafe-no-fsync")
    processes.start("kube-apiserver", assets + "/kube-apiserver", "--etcd-servers=http://127.0.0.1:%d" % client, "--secure-port=%d" % port,
                    "--bind-address=127.0.0.1", "--cert-dir=" + folder + "/certs", "--service-account-key-file=" + folder + "/sa.key",
                    "--service-account-signing-key-file=" + folder + "/sa.key", "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                    "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file=" + folder + "/tokens.csv",
                    "--enable-priority-and-fairness=false")
    return Server("https://127.0.0.1:%d" % port, TOKEN)


def start_ours(processes, programs):
    port = free_port()
    data = processes.folder + "/ours"
    processes.start("isthmus-lab", os.path.abspath(programs) + "/isthmus-lab", "apiserver", "--data-dir", data, "--port", str(port))
    for _ in range(100):
        if os.path.exists(data + "/admin.kubeconfig"):
            break
        time.sleep(0.05)
    server = Server("https://127.0.0.1:%d" % port, cert=(data + "/pki/admin.crt", data + "/pki/admin.key"))
    server.folder = processes.folder
    return server


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


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
MERGE, STRATEGIC, JSONP, APPLY = ("application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml")


def container(name="c", **more):
    return dict({"name": name, "image": "registry.example/app:v1"}, **more)


def deployment(name, **spec):
    base = {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container()]}}}
    base.update(spec)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": base}


def named(kind, version, name, **more):
    return dict({"apiVersion": version, "kind": kind, "metadata": {"name": name}}, **more)


def run(c):
    ns = "/api/v1/namespaces/diff"
    apps, batch, net = ("/apis/%s/v1/namespaces/diff" % g for g in ("apps", "batch", "networking.k8s.io"))
    c.same("POST", "/api/v1/namespaces", named("Namespace", "v1", "diff"))
    c.same("GET", "/api/v1/namespaces/diff", accept=TABLE)
    c.same("POST", ns + "/serviceaccounts", named("ServiceAccount", "v1", "default"))
    basics(c, ns)
    pods(c, ns)
    workloads(c, ns, apps, batch)
    services(c, ns)
    others(c, ns, net)
    patches(c, ns, apps)
    errors(c, ns, apps)
    definitions(c)
    discovery(c)
    lists(c, ns)
    subresources(c, ns, apps)
    ownership(c, ns, apps)
    access(c, ns)
    with Hook(c.folder) as hook:
        admission(c, ns, hook)
    deletions(c, ns)


def basics(c, ns):
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "one", data={"a": "1"}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "one"))
    c.same("GET", ns + "/configmaps/one")
    c.same("GET", ns + "/configmaps/one", accept=TABLE)
    c.same("GET", ns + "/configmaps/one", accept=PARTIAL)
    c.same("GET", ns + "/configmaps", accept=PARTIAL_LIST)
    c.same("GET", ns + "/configmaps/none")
    c.same("GET", ns + "/configmaps?labelSelector=a%3Db")
    c.same("GET", ns + "/configmaps?fieldSelector=metadata.name%3Done")
    c.same("PUT", ns + "/configmaps/one", named("ConfigMap", "v1", "one", data={"a": "2"}))
    c.same("PUT", ns + "/configmaps/other", named("ConfigMap", "v1", "one", data={"a": "2"}))
    c.same("PUT", ns + "/configmaps/absent", named("ConfigMap", "v1", "absent"))
    c.same("POST", ns + "/secrets", named("Secret", "v1", "s", stringData={"k": "v"}))
    c.same("POST", ns + "/secrets", named("Secret", "v1", "tls", type="kubernetes.io/tls"))
    c.same("POST", ns + "/configmaps?dryRun=All", named("ConfigMap", "v1", "dry"))
    c.same("GET", ns + "/configmaps/dry")
    c.same("POST", ns + "/configmaps?fieldValidation=Strict", named("ConfigMap", "v1", "strict", dta={}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "loose", dta={}))
    c.watch(ns + "/configmaps?resourceVersion=0")
    c.watch(ns + "/configmaps?resourceVersion=0", TABLE)


def pods(c, ns):
    plain = named("Pod", "v1", "plain", spec={"containers": [container()]})
    c.same("POST", ns + "/pods", plain)
    full = named("Pod", "v1", "full", spec={
        "initContainers": [container("i", restartPolicy="Always")],
        "containers": [container("a", image="app", ports=[{"containerPort": 80, "name": "http"}], resources={"limits": {"cpu": "1", "memory": "1Gi"}},
                                 readinessProbe={"httpGet": {"path": "/", "port": 80}}, livenessProbe={"tcpSocket": {"port": "http"}},
                                 env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}], volumeMounts=[{"name": "v", "mountPath": "/v"}],
                                 securityContext={"runAsUser": 1337, "capabilities": {"drop": ["ALL"]}})],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}},
                    {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "path": "token"}}]}},
                    {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}],
        "securityContext": {"fsGroup": 1337}, "terminationGracePeriodSeconds": 5})
    c.same("POST", ns + "/pods", full)
    c.same("GET", ns + "/pods", accept=TABLE)
    c.same("GET", ns + "/pods?fieldSelector=status.phase%3DPending,spec.nodeName%3D")
    c.same("PATCH", ns + "/pods/plain", {"spec": {"restartPolicy": "Never"}}, MERGE)
    c.same("PATCH", ns + "/pods/plain", {"metadata": {"labels": {"a": "b"}}}, STRATEGIC)
    c.same("PATCH", ns + "/pods/plain", {"spec": {"containers": [{"name": "c", "image": "registry.example/app:v2"}]}}, STRATEGIC)
    c.same("POST", ns + "/pods", named("Pod", "v1", "Bad_Name", spec={"containers": [container()]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "empty", spec={"containers": []}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "twice", spec={"containers": [container(), container()]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "mount", spec={"containers": [container(volumeMounts=[{"name": "x", "mountPath": "/x"}])]}))
    c.same("POST", ns + "/pods", named("Pod", "v1", "who", spec={"serviceAccountName": "nobody", "containers": [container()]}))
    c.same("POST", ns + "/pods/plain/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "plain"}, "target": {"kind": "Node", "name": "n"}})
    c.same("PATCH", ns + "/pods/plain/status", {"status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}], "containerStatuses": [
        {"name": "c", "ready": True, "started": True, "restartCount": 0, "image": "i", "imageID": "i", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}, MERGE)
    c.same("GET", ns + "/pods/plain", accept=TABLE)
    c.same("PATCH", ns + "/pods/full/status", {"status": {"containerStatuses": [
        {"name": "a", "ready": False, "restartCount": 3, "image": "i", "imageID": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}, MERGE)
    c.same("GET", ns + "/pods/full", accept=TABLE)
    c.same("DELETE", ns + "/pods/plain")
    c.same("GET", ns + "/pods/plain", accept=TABLE)
    c.same("DELETE", ns + "/pods/plain", {"gracePeriodSeconds": 0})
    c.same("GET", ns + "/pods/plain")


def workloads(c, ns, apps, batch):
    c.same("POST", apps + "/deployments", deployment("web", replicas=2))
    c.same("POST", apps + "/deployments", deployment("re", strategy={"type": "Recreate"}))
    c.same("GET", apps + "/deployments", accept=TABLE)
    c.same("GET", apps + "/deployments/web/scale")
    c.same("PATCH", apps + "/deployments/web/scale", {"spec": {"replicas": 0}}, MERGE)
    c.same("GET", apps + "/deployments/web")
    c.same("PATCH", apps + "/deployments/web/status", {"status": {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2}}, MERGE)
    c.same("GET", apps + "/deployments/web", accept=TABLE)
    c.same("POST", apps + "/deployments", deployment("bad", selector={"matchLabels": {"app": "x"}}))
    c.same("PATCH", apps + "/deployments/web", {"spec": {"selector": {"matchLabels": {"app": "y"}}}}, MERGE)
    c.same("PATCH", apps + "/deployments/web", {"spec": {"replicas": "many"}}, MERGE)
    template = deployment("x")["spec"]["template"]
    c.same("POST", apps + "/daemonsets", named("DaemonSet", "apps/v1", "ds", spec={"selector": {"matchLabels": {"app": "x"}}, "template": template}))
    c.same("POST", apps + "/statefulsets", named("StatefulSet", "apps/v1", "sts", spec={"serviceName": "s", "selector": {"matchLabels": {"app": "x"}}, "template": template}))
    c.same("POST", apps + "/replicasets", named("ReplicaSet", "apps/v1", "rs", spec={"selector": {"matchLabels": {"app": "x"}}, "template": template}))
    for kind in ("daemonsets", "statefulsets", "replicasets"):
        c.same("GET", apps + "/" + kind, accept=TABLE)
    job = dict(template, spec=dict(template["spec"], restartPolicy="Never"))
    c.same("POST", batch + "/jobs", named("Job", "batch/v1", "job", spec={"template": job}))
    c.same("GET", batch + "/jobs", accept=TABLE)
    c.same("POST", batch + "/cronjobs", named("CronJob", "batch/v1", "cron", spec={"schedule": "* * * * *", "jobTemplate": {"spec": {"template": job}}}))
    c.same("GET", batch + "/cronjobs", accept=TABLE)


def services(c, ns):
    ports = [{"port": 80, "name": "http"}, {"port": 443, "name": "https", "targetPort": "tls", "protocol": "TCP"}]
    c.same("POST", ns + "/services", named("Service", "v1", "plain", spec={"selector": {"app": "x"}, "ports": [{"port": 80}]}))
    c.same("POST", ns + "/services", named("Service", "v1", "lb", spec={"type": "LoadBalancer", "selector": {"app": "x"}, "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "np", spec={"type": "NodePort", "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "headless", spec={"clusterIP": "None", "ports": ports}))
    c.same("POST", ns + "/services", named("Service", "v1", "ext", spec={"type": "ExternalName", "externalName": "example.com"}))
    c.same("GET", ns + "/services", accept=TABLE)
    c.same("PATCH", ns + "/services/lb", {"spec": {"externalIPs": ["192.168.229.100"]}}, STRATEGIC, warnings=False)
    c.same("PATCH", ns + "/services/lb/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}, MERGE)
    c.same("GET", ns + "/services/lb", accept=TABLE)
    c.same("PATCH", ns + "/services/lb", {"spec": {"type": "ClusterIP"}}, MERGE, warnings=False)
    c.same("PATCH", ns + "/services/plain", {"spec": {"clusterIP": "10.96.77.77"}}, MERGE)
    c.same("POST", ns + "/services", named("Service", "v1", "noports", spec={}))
    c.same("POST", ns + "/services", named("Service", "v1", "range", spec={"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}))
    c.same("POST", ns + "/services", named("Service", "v1", "names", spec={"ports": [{"port": 80}, {"port": 81}]}))
    c.same("POST", ns + "/endpoints", named("Endpoints", "v1", "ep", subsets=[{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}]), warnings=False)
    c.same("GET", ns + "/endpoints/ep", accept=TABLE, warnings=False)
    c.same("POST", "/apis/discovery.k8s.io/v1/namespaces/diff/endpointslices",
           named("EndpointSlice", "discovery.k8s.io/v1", "es", addressType="IPv4", endpoints=[{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}], ports=[{"port": 80}]))
    c.same("GET", "/apis/discovery.k8s.io/v1/namespaces/diff/endpointslices", accept=TABLE)


def others(c, ns, net):
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    c.same("POST", rbac + "/namespaces/diff/roles", named("Role", "rbac.authorization.k8s.io/v1", "r", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]))
    c.same("POST", rbac + "/namespaces/diff/rolebindings", named("RoleBinding", "rbac.authorization.k8s.io/v1", "rb", subjects=[{"kind": "User", "name": "jane"}],
           roleRef={"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}))
    c.same("GET", rbac + "/namespaces/diff/rolebindings", accept=TABLE)
    c.same("PATCH", rbac + "/namespaces/diff/rolebindings/rb", {"roleRef": {"name": "other"}}, MERGE)
    for user, verb, resource in (("jane", "get", "pods"), ("jane", "list", "pods"), ("kubernetes-admin", "get", "pods")):
        c.same("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": user, "resourceAttributes": {"namespace": "diff", "verb": verb, "resource": resource}}})
    c.same("POST", net + "/ingresses", named("Ingress", "networking.k8s.io/v1", "ing", spec={"rules": [{"host": "a.example", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}))
    c.same("GET", net + "/ingresses", accept=TABLE)
    c.same("POST", net + "/networkpolicies", named("NetworkPolicy", "networking.k8s.io/v1", "np", spec={"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}))
    c.same("POST", "/apis/autoscaling/v2/namespaces/diff/horizontalpodautoscalers", named("HorizontalPodAutoscaler", "autoscaling/v2", "hpa", spec={
        "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}))
    c.same("GET", "/apis/autoscaling/v2/namespaces/diff/horizontalpodautoscalers", accept=TABLE)
    c.same("GET", "/apis/autoscaling/v1/namespaces/diff/horizontalpodautoscalers/hpa")
    c.same("POST", "/apis/policy/v1/namespaces/diff/poddisruptionbudgets", named("PodDisruptionBudget", "policy/v1", "pdb", spec={"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}))
    c.same("GET", "/apis/policy/v1/namespaces/diff/poddisruptionbudgets", accept=TABLE)
    c.same("POST", "/apis/coordination.k8s.io/v1/namespaces/diff/leases", named("Lease", "coordination.k8s.io/v1", "l", spec={"holderIdentity": "me", "leaseDurationSeconds": 10}))
    c.same("GET", "/apis/coordination.k8s.io/v1/namespaces/diff/leases", accept=TABLE)
    c.same("POST", "/api/v1/nodes", named("Node", "v1", "n1", metadata={"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
           status={"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}], "nodeInfo": {"kubeletVersion": "v1.32.0"}}))
    c.same("GET", "/api/v1/nodes/n1", accept=TABLE)
    c.same("POST", ns + "/events", named("Event", "v1", "ev", involvedObject={"kind": "Pod", "name": "p", "namespace": "diff"}, reason="R", message="m", type="Normal",
           firstTimestamp="2026-01-01T00:00:00Z", lastTimestamp="2026-01-01T00:00:00Z", count=2, source={"component": "c"}))
    c.same("GET", "/apis/events.k8s.io/v1/namespaces/diff/events/ev")
    hooks = [{"name": "a.b.c", "clientConfig": {"url": "https://127.0.0.1:1/x"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
              "rules": [{"operations": ["CREATE"], "apiGroups": ["nothing.example"], "apiVersions": ["*"], "resources": ["*"]}]}]
    c.same("POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", named("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "m", webhooks=hooks))
    c.same("POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", named("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "v", webhooks=hooks))
    c.same("GET", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", accept=TABLE)
    c.same("POST", ns + "/persistentvolumeclaims", named("PersistentVolumeClaim", "v1", "pvc", spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "x", "resources": {"requests": {"storage": "1Gi"}}}))
    c.same("GET", ns + "/persistentvolumeclaims", accept=TABLE)


def patches(c, ns, apps):
    one = named("ConfigMap", "v1", "ssa", data={"a": "1", "b": "2"})
    path = ns + "/configmaps/ssa"
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m2", named("ConfigMap", "v1", "ssa", data={"a": "9"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m2&force=true", named("ConfigMap", "v1", "ssa", data={"a": "9"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m1", named("ConfigMap", "v1", "ssa", data={"b": "2"}), APPLY)
    c.same("PATCH", path + "?fieldManager=m2", named("ConfigMap", "v1", "ssa"), APPLY)
    c.same("PATCH", path, named("ConfigMap", "v1", "ssa"), APPLY)
    c.same("PATCH", apps + "/deployments/applied?fieldManager=m1", deployment("applied"), APPLY)
    c.same("PATCH", apps + "/deployments/applied?fieldManager=m2", deployment("applied", replicas=3), APPLY)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "add", "path": "/metadata/labels", "value": {"x": "y"}}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "test", "path": "/spec/replicas", "value": 99}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", [{"op": "remove", "path": "/spec/nothing"}], JSONP)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "x:1"}]}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"spec": {"containers": [{"name": "d", "$patch": "delete"}]}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/applied", {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}, STRATEGIC)
    c.same("PATCH", apps + "/deployments/absent", {}, MERGE)
    c.same("PATCH", apps + "/deployments/applied", {}, "text/plain")


def errors(c, ns, apps):
    c.same("GET", "/apis/none.example/v1/things")
    c.same("GET", "/api/v1/nothing")
    c.same("POST", "/api/v1/namespaces/absent/configmaps", named("ConfigMap", "v1", "x"))
    c.same("POST", ns + "/configmaps", named("Secret", "v1", "x"))
    c.same("POST", ns + "/configmaps", {"apiVersion": "v1", "kind": "ConfigMap"})
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "namespace": "other"}))
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "labels": {"a b": "c"}}))
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "x"), metadata={"name": "x", "resourceVersion": "5"}))
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "x", data={"a/b": "c"}))
    c.same("PUT", ns + "/configmaps/one", dict(named("ConfigMap", "v1", "one"), metadata={"name": "one", "resourceVersion": "1"}))
    c.same("PUT", ns + "/configmaps/one", dict(named("ConfigMap", "v1", "one"), metadata={"name": "one", "uid": "wrong"}))
    c.same("DELETE", "/api/v1/namespaces/default")
    c.same("DELETE", ns + "/configmaps/one?propagationPolicy=Sideways")
    c.same("POST", ns + "/configmaps/one", {})
    c.same("GET", ns + "/configmaps?continue=nonsense")
    c.same("GET", ns + "/configmaps", accept="application/xml")
    c.same("POST", ns + "/serviceaccounts/default/token", {"spec": {"expirationSeconds": 10}})
    c.same("POST", ns + "/serviceaccounts/nobody/token", {"spec": {}})


def definitions(c):
    schema = {"type": "object", "properties": {"spec": {"type": "object", "required": ["color"], "properties": {
        "color": {"type": "string", "enum": ["red", "blue"]}, "size": {"type": "integer", "minimum": 1, "default": 3},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}, "tags": {"type": "array", "items": {"type": "string"}}}},
        "status": {"type": "object", "properties": {"done": {"type": "boolean"}}}}}
    version = lambda name, storage: {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
                                     "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}, {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                                                                  {"name": "Done", "type": "boolean", "jsonPath": ".status.done"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]}
    crd = named("CustomResourceDefinition", "apiextensions.k8s.io/v1", "paints.test.example", spec={
        "group": "test.example", "scope": "Namespaced", "names": {"plural": "paints", "kind": "Paint", "shortNames": ["pt"]}, "versions": [version("v1", True), version("v1beta1", False)]})
    c.same("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", dict(crd, metadata={"name": "wrong.test.example"}))
    for server in (c.ours, c.real):
        server.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    for _ in range(100):
        if c.real.send("GET", "/apis/test.example/v1/paints")[0] == 200:
            break
        time.sleep(0.1)
    time.sleep(1)
    paints = "/apis/test.example/v1/namespaces/diff/paints"
    paint = lambda name, **spec: named("Paint", "test.example/v1", name, spec=spec)
    c.same("POST", paints, paint("a", color="red", unknown=1, any={"x": 1}))
    c.same("POST", paints + "?fieldValidation=Strict", paint("s", color="red", unknown=1))
    c.same("POST", paints, paint("b", color="green"))
    c.same("POST", paints, paint("b", color="red", size=0))
    c.same("POST", paints, paint("b", size="x"))
    c.same("POST", paints, paint("b"))
    c.same("POST", paints, {"metadata": {"name": "b"}})
    c.same("GET", paints + "/a", accept=TABLE)
    c.same("GET", "/apis/test.example/v1beta1/namespaces/diff/paints/a")
    c.same("PATCH", paints + "/a", {"spec": {"size": 5}}, MERGE)
    c.same("PATCH", paints + "/a", {"spec": {"size": 5}}, STRATEGIC)
    c.same("PATCH", paints + "/a/status", {"status": {"done": True}, "spec": {"size": 9}}, MERGE)
    c.same("PUT", paints + "/a", paint("a", color="blue"))
    c.same("PATCH", paints + "/a?fieldManager=m", paint("a", color="blue"), APPLY)
    c.watch(paints + "?resourceVersion=0")
    c.same("GET", "/apis/test.example")
    c.same("DELETE", paints + "/a")


def discovery(c):
    for path in ("/api/v1", "/apis/apps/v1", "/apis/batch/v1", "/apis/rbac.authorization.k8s.io/v1", "/apis/apiextensions.k8s.io/v1", "/apis/autoscaling/v2",
                 "/apis/admissionregistration.k8s.io/v1", "/apis/certificates.k8s.io/v1", "/apis/policy/v1", "/apis/networking.k8s.io/v1", "/apis/discovery.k8s.io/v1",
                 "/apis/coordination.k8s.io/v1", "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1", "/apis/test.example/v1", "/apis/events.k8s.io/v1"):
        c.resources(path)
    for path in ("/apis/apps", "/apis/batch", "/apis/rbac.authorization.k8s.io", "/apis/nothing.example", "/apis/apps/v9"):
        c.same("GET", path)
    c.discovered("/api")
    c.discovered("/apis")


def lists(c, ns):
    for i in range(7):
        name = "page-%d" % i
        c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", name), metadata={"name": name, "labels": {"set": "a" if i % 2 else "b", "n": str(i)}}))
    for size in (1, 3, 7):
        c.pages(ns + "/configmaps?labelSelector=set", size)
    c.pages("/apis/rbac.authorization.k8s.io/v1/namespaces/diff/roles", 1)
    for selector in ("set=a", "set!=a", "set in (a,b)", "set notin (a)", "!set", "set,n=3", "set==a,n notin (1,3)", "n>2", "set in (", "a b", "=x"):
        c.same("GET", ns + "/configmaps?labelSelector=" + urllib.parse.quote(selector))
    for selector in ("metadata.name=page-1", "metadata.name!=page-1,metadata.namespace=diff", "spec.nonsense=1", "metadata.name"):
        c.same("GET", ns + "/configmaps?fieldSelector=" + urllib.parse.quote(selector))
    c.same("GET", ns + "/configmaps?limit=x")
    c.same("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddiff&labelSelector=n%3D1")
    c.same("GET", ns + "/configmaps?resourceVersion=0&resourceVersionMatch=Exact")
    c.same("GET", ns + "/configmaps?resourceVersion=zero")
    labelled = lambda **labels: dict(named("ConfigMap", "v1", "moves"), metadata={"name": "moves", "labels": labels})
    one = ns + "/configmaps/moves"
    c.story(ns + "/configmaps?labelSelector=w%3D1", [("POST", ns + "/configmaps", labelled(w="1")), ("PATCH", one, {"data": {"k": "v"}}, MERGE),
            ("PATCH", one, {"metadata": {"labels": {"w": "2"}}}, MERGE), ("PATCH", one, {"metadata": {"labels": {"w": "1"}}}, MERGE), ("DELETE", one)])
    c.watch(ns + "/configmaps?resourceVersion=0&labelSelector=n%3D3", PARTIAL)
    c.watch(ns + "/configmaps?fieldSelector=metadata.name%3Dpage-2")
    c.same("GET", ns + "/configmaps?watch=1&resourceVersion=nonsense&timeoutSeconds=1")
    c.same("DELETE", ns + "/configmaps?labelSelector=set%3Da")
    c.same("GET", ns + "/configmaps?labelSelector=set")


def subresources(c, ns, apps):
    c.same("POST", apps + "/deployments", deployment("sub"))
    path = apps + "/deployments/sub"
    c.same("GET", path + "/scale")
    c.same("PATCH", path + "/scale", {"spec": {"replicas": 4}}, MERGE)
    c.same("PUT", path + "/scale", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "sub", "namespace": "diff"}, "spec": {"replicas": 2}})
    c.same("PATCH", path + "/scale", {"spec": {"replicas": -1}}, MERGE)
    c.same("GET", path + "/status")
    c.same("PATCH", path + "/status", {"status": {"replicas": 2, "readyReplicas": 1}, "spec": {"replicas": 9}}, MERGE)
    c.same("GET", path)
    c.same("GET", path + "/nothing")
    c.same("POST", path + "/status", {})
    c.same("GET", apps + "/deployments/none/scale")
    c.same("POST", ns + "/pods", named("Pod", "v1", "evict", spec={"containers": [container()]}))
    c.same("POST", ns + "/pods/evict/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evict"}})
    c.same("GET", ns + "/pods/evict")
    c.same("POST", ns + "/pods", dict(named("Pod", "v1", "", spec={"containers": [container()]}), metadata={"generateName": "made-", "labels": {"bad label": "x"}}))
    c.same("POST", ns + "/serviceaccounts/default/token", {"spec": {"audiences": ["a"], "expirationSeconds": 5}})
    c.same("GET", ns + "/pods/none/log")
    csr = named("CertificateSigningRequest", "certificates.k8s.io/v1", "csr", spec={"request": "bm90IG9uZQ==", "signerName": "example.com/x", "usages": ["client auth"]})
    c.same("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", csr)
    c.same("PUT", "/api/v1/namespaces/diff/finalize", named("Namespace", "v1", "other"))


def ownership(c, ns, apps):
    one = named("ConfigMap", "v1", "owned", data={"a": "1", "b": "2"})
    path = ns + "/configmaps/owned"
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=editor", {"data": {"b": "3", "c": "4"}}, MERGE)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", one, APPLY)
    c.same("PATCH", path + "?fieldManager=m1&force=true", one, APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", named("ConfigMap", "v1", "owned", data={"a": "1"}), APPLY)
    c.owners(path)
    path = apps + "/deployments/owned"
    c.same("PATCH", path + "?fieldManager=m1", deployment("owned", replicas=2), APPLY)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m2", deployment("owned", template={"metadata": {"labels": {"app": "owned"}}, "spec": {"containers": [container("side")]}}), APPLY)
    c.owners(path)
    c.same("PATCH", path + "/scale?fieldManager=scaler", {"spec": {"replicas": 5}}, MERGE)
    c.owners(path)
    c.same("PATCH", path + "?fieldManager=m1", deployment("owned", replicas=2), APPLY)
    c.same("PUT", path, {"apiVersion": "apps/v1"})


def access(c, ns):
    for server in (c.ours, c.real):
        server.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", named("ClusterRole", "rbac.authorization.k8s.io/v1", "looking",
                    rules=[{"apiGroups": ["", "apps"], "resources": ["pods", "configmaps", "deployments"], "verbs": ["get", "list", "watch"]}]))
        server.send("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", named("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "viewers",
                    subjects=[{"kind": "Group", "name": "lookers", "apiGroup": "rbac.authorization.k8s.io"}],
                    roleRef={"kind": "ClusterRole", "name": "looking", "apiGroup": "rbac.authorization.k8s.io"}))
    time.sleep(0.5)
    as_user = lambda user, *groups: [("Impersonate-User", user)] + [("Impersonate-Group", group) for group in groups]
    c.same("GET", ns + "/pods", headers=as_user("someone"))
    c.same("GET", ns + "/secrets/s", headers=as_user("someone", "lookers"))
    c.same("GET", ns + "/configmaps/one", headers=as_user("someone", "lookers"))
    c.same("DELETE", "/api/v1/nodes/n1", headers=as_user("someone", "lookers"))
    c.same("GET", "/metrics", headers=as_user("someone"))
    c.same("GET", ns + "/pods", headers=[("Impersonate-Group", "alone")])
    for attributes in ({"verb": "get", "resource": "pods"}, {"verb": "delete", "resource": "pods"}, {"verb": "list", "resource": "deployments", "group": "apps"}):
        c.same("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": "someone", "groups": ["lookers"], "resourceAttributes": dict(attributes, namespace="diff")}})
    c.same("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}})
    c.same("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, headers=as_user("someone", "lookers"))


class Hook:
    """An admission webhook on loopback that both servers call: it says no to `deny`, changes `change`, warns of `warn`."""
    def __init__(self, folder):
        key, self.cert = folder + "/hook.key", folder + "/hook.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.cert, "-days", "1", "-subj", "/CN=hook",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = review["request"]
                name = request["name"] or ((request.get("object") or {}).get("metadata") or {}).get("name", "")
                response = {"uid": request["uid"], "allowed": not name.startswith("deny")}
                if name == "deny-plain":
                    response["status"] = {"message": "not this one"}
                if name == "deny-code":
                    response["status"] = {"message": "later", "code": 429, "reason": "TooManyRequests"}
                if name == "change":
                    patch = json.dumps([{"op": "add", "path": "/data", "value": {"by": "hook"}}]).encode()
                    response.update(patchType="JSONPatch", patch=base64.b64encode(patch).decode())
                if name == "broken":
                    response.update(patchType="JSONPatch", patch=base64.b64encode(b'[{"op":"remove","path":"/none"}]').decode())
                if name == "warn":
                    response["warnings"] = ["mind this"]
                body = b"no json" if name == "garbage" else json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).encode()
                self.send_response(500 if name == "fails" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def config(self, **more):
        client = {"url": "https://127.0.0.1:%d/hook" % self.server.server_port, "caBundle": base64.b64encode(open(self.cert, "rb").read()).decode()}
        return dict({"name": "hook.test.example", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                     "objectSelector": {"matchLabels": {"hooked": "yes"}},
                     "rules": [{"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}, **more)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def admission(c, ns, hook):
    kinds = "/apis/admissionregistration.k8s.io/v1/"
    hooked = lambda name: dict(named("ConfigMap", "v1", name), metadata={"name": name, "labels": {"hooked": "yes"}})

    def install(kind, **more):
        for server in (c.ours, c.real):
            server.send("DELETE", kinds + kind.lower() + "s/hook")
            server.send("POST", kinds + kind.lower() + "s", named(kind, "admissionregistration.k8s.io/v1", "hook", webhooks=[hook.config(**more)]))
            # A real server takes a moment to know its hooks.
            for _ in range(100):
                if server.send("POST", ns + "/configmaps?dryRun=All", hooked("deny-probe"))[0] != 201:
                    break
                time.sleep(0.1)

    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        install(kind)
        for name in ("deny", "deny-plain", "deny-code", "change", "warn", "garbage", "fails") + (("broken",) if kind.startswith("M") else ()):
            c.same("POST", ns + "/configmaps", hooked(name))
        c.same("PATCH", ns + "/configmaps/warn", {"data": {"x": "y"}}, MERGE)
        c.same("DELETE", ns + "/configmaps/warn")
        c.same("DELETE", ns + "/configmaps/change")
        c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "deny-unlabelled-" + kind.lower()[0]))
        for server in (c.ours, c.real):
            server.send("DELETE", kinds + kind.lower() + "s/hook")
            for _ in range(100):
                if server.send("POST", ns + "/configmaps?dryRun=All", hooked("deny-probe"))[0] == 201:
                    break
                time.sleep(0.1)
    install("ValidatingWebhookConfiguration", clientConfig=dict(hook.config()["clientConfig"], url="https://127.0.0.1:1/hook"))
    c.same("POST", ns + "/configmaps", hooked("unreachable"))
    for server in (c.ours, c.real):
        server.send("DELETE", kinds + "validatingwebhookconfigurations/hook")


def deletions(c, ns):
    c.same("POST", ns + "/configmaps", dict(named("ConfigMap", "v1", "held"), metadata={"name": "held", "finalizers": ["example.com/x"]}))
    c.same("DELETE", ns + "/configmaps/held")
    c.same("DELETE", ns + "/configmaps/held")
    c.same("PATCH", ns + "/configmaps/held", {"metadata": {"finalizers": None}}, MERGE)
    c.same("GET", ns + "/configmaps/held")
    c.same("DELETE", ns + "/configmaps/one", {"preconditions": {"uid": "wrong"}})
    c.same("DELETE", ns + "/configmaps/one")
    c.same("DELETE", ns + "/services/plain")
    c.same("DELETE", "/apis/apps/v1/namespaces/diff/deployments/web", {"propagationPolicy": "Foreground"})
    c.same("DELETE", ns + "/secrets?labelSelector=none%3Dsuch")
    c.same("DELETE", "/api/v1/namespaces/diff")
    c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "late"))


def main():
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    given = sys.argv[2:4] if sys.argv[1:2] == ["--real"] else None
    if not given and not os.path.exists(os.path.join(assets, "kube-apiserver")):
        print("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver")
        return 77
    processes = Processes()
    try:
        real = Server(*given) if given else start_real(processes, assets)
        ours = start_ours(processes, os.environ.get("ISTHMUS_BIN", "build/dev/bin"))
        ours.wait()
        real.wait()
        comparison = Comparison(ours, real)
        run(comparison)
    finally:
        processes.stop()
    print("%d requests, %d differences" % (comparison.count, len(comparison.differences)))
    return 1 if comparison.differences else 0


sys.exit(main())
