#!/usr/bin/env python3
"""Sends the same requests to the lab's API server and to a real kube-apiserver, and compares what they answer.

Needs KUBEBUILDER_ASSETS (a folder with kube-apiserver and etcd) and ISTHMUS_BIN (a folder with isthmus-lab); without the
first it is skipped (exit code 77). What differs by nature (uids, times, versions, random names, addresses) is evened out; what
a newer real server adds is listed in NEWER.

    differential_test.py [--real URL TOKEN]    --real uses a server that runs already
"""
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
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

    def send(self, method, path, body=None, kind="application/json", accept="application/json", timeout=30):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Accept", accept)
        request.add_header("User-Agent", "tester/1")
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
    return Server("https://127.0.0.1:%d" % port, cert=(data + "/pki/admin.crt", data + "/pki/admin.key"))


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
            # Nobody here holds back the deletion of a claim, so nobody marks it.
            if key == "finalizers" and child == ["kubernetes.io/pvc-protection"]:
                continue
            if key == "column" or key == "remainingItemCount":
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

    def same(self, method, path, body=None, kind="application/json", accept="application/json", warnings=True):
        self.count += 1
        name = "%s %s %s" % (method, path, json.dumps(body)[:150] if body is not None else "")
        try:
            a, b = self.ours.send(method, path, body, kind, accept), self.real.send(method, path, body, kind, accept)
        except OSError as error:
            return self.note("%s\n    no answer: %s" % (name, error))
        self.differ(name + " (status)", a[0], b[0])
        about = "pods" if "/pods" in path else ""
        self.differ(name, even(parsed(a[1]), about), even(parsed(b[1]), about))
        if warnings:
            self.differ(name + " (warnings)", a[2], b[2])

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
