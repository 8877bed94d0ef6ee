"""Meshes of other shapes: three clusters that become four and three again, a remote that is left to its leader, a cluster that stops
whole under requests, a gateway that stops or vanishes, a gateway with a host name, a control plane outside of its mesh.

cluster1 leads cluster2, cluster3 and cluster4 lead themselves. Each is on a network of its own but cluster4, which shares that of
cluster1; cluster1 and cluster2 use the same pod addresses. The cases share one lab and run in the order of their names. Needs root.
"""
import base64
import json
import os
import pathlib
import signal
import tempfile
import time
import unittest

import yaml

import lab
from lab import ROOT, get, isthmus, istioctl, kubectl, lab_process, pod, served_by, until
from stream import Stream, processes_of_pods

HELLO = "samples/helloworld/helloworld.yaml"
URL = "http://helloworld.sample:5000/hello"
NETWORKS = {"cluster1": "network1", "cluster2": "network2", "cluster3": "network3", "cluster4": "network1"}
LEADERS = {"cluster1": "cluster1", "cluster2": "cluster1", "cluster3": "cluster3", "cluster4": "cluster4"}
# cluster1 and cluster2 are on different networks, so that they may have the same.
PODS = {"cluster1": "172.20.0.0/24", "cluster2": "172.20.0.0/24", "cluster3": "172.22.0.0/24", "cluster4": "172.23.0.0/24"}
ISTIOD = ("-n", "istio-system", "deploy/istiod")
GATEWAY = ("-n", "istio-system", "deploy/istio-eastwestgateway")
# What comes through a gateway is dealt to the clusters behind it by connection.
EACH_ANEW = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: anew, namespace: sample}
spec: {host: helloworld, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
"""
ONLY_V2 = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: helloworld, namespace: sample}
spec: {host: helloworld, subsets: [{name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: helloworld, namespace: sample}
spec:
  hosts: [helloworld]
  http: [{route: [{destination: {host: helloworld, subset: v2}}]}]
"""


def cluster(name, folder, gateways):
    number = int(name[-1])
    address = f"192.168.229.{125 + 3 * number}"
    gateway = {"eastWestGateway": {"externalIPs": [f"192.168.229.{99 + number}"],
                                   "exposes": ["services", "istiod"] if name == "cluster1" else ["services"]}}
    return {
        "name": name, "network": NETWORKS[name], "controlPlane": LEADERS[name],
        "install": {"profile": "minimal" if LEADERS[name] == name else "remote"},
        **(gateway if name in gateways else {}),
        "workloads": [{"namespace": "sample", "injection": True, "files": [HELLO], "selector": "service=helloworld"},
                      {"namespace": "sample", "injection": True, "files": [HELLO], "selector": "version=v1"},
                      {"namespace": "sample", "injection": True, "files": ["samples/sleep/sleep.yaml"]}],
        "config": [{"namespace": "sample", "files": [f"{folder}/anew.yaml"]}],
        "lab": {"apiServer": f"{address}:6443", "serviceCIDR": f"10.{67 + number}.0.0/16",
                "nodes": [{"name": f"{name}-node1", "address": address, "podCIDR": PODS[name]}]}}


class UnderRequests(unittest.TestCase):
    """A lab, a folder of its own, and streams of requests that go on while the cases run."""

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="isthmus-models-")
        cls.streams = {}
        cls.addClassCleanup(cls.end)

    @classmethod
    def end(cls):
        for stream in cls.streams.values():
            stream.close()
        isthmus("lab", "down", check=False)
        cls.temporary.cleanup()

    def setUp(self):
        self.mark = time.monotonic()


class Models(UnderRequests):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owners = {}
        pathlib.Path(cls.temporary.name, "anew.yaml").write_text(EACH_ANEW)
        cls.up("cluster1", "cluster2", "cluster3")
        for name in ("cluster1", "cluster2", "cluster3"):
            cls.watch(name)
        for name in cls.streams:
            cls.seen_by(name, {"cluster1", "cluster2", "cluster3"})

    @classmethod
    def file(cls, *names, gateways=("cluster1", "cluster2", "cluster3")):
        path = f"{cls.temporary.name}/{len(names)}-{len(gateways)}.yaml"
        with open(path, "w") as out:
            yaml.safe_dump({"apiVersion": "isthmus.dev/v1", "kind": "Topology", "metadata": {"name": "models"},
                            "spec": {"meshID": "mesh1", "trust": {"directory": f"{cls.temporary.name}/root"},
                                     "clusters": [cluster(name, cls.temporary.name, gateways) for name in names]}}, out)
        return path

    @classmethod
    def up(cls, *names, **which):
        return isthmus("up", "-f", cls.file(*names, **which), "--no-verify", timeout=400)

    @classmethod
    def watch(cls, name):
        """Sends requests from a cluster from now on, and learns whose its pod is."""
        if name in cls.streams:
            cls.streams.pop(name).close()
        cls.owners[pod(name, "sample", "helloworld")] = name
        cls.streams[name] = Stream(pod(name, "sample", "sleep"), "sleep infinity", URL)

    @classmethod
    def answered(cls, name, mark, last=0):
        """The clusters whose pods have answered requests from one since, or the last of them."""
        bodies = [answer.body for answer in cls.streams[name].since(mark)[-last:] if answer.code == 200]
        return {owner for pod_name, owner in cls.owners.items() if any(pod_name in body for body in bodies)}

    @classmethod
    def seen_by(cls, name, owners):
        """Waits until requests from a cluster are answered by just these."""
        mark = time.monotonic()
        until(lambda: cls.answered(name, mark) >= owners, 60, f"{sorted(owners)} answer {name}")
        until(lambda: len(cls.streams[name].since(mark)) > 20 and cls.answered(name, mark, 20) <= owners, 60,
              f"nobody but {sorted(owners)} answers {name}")

    def lost(self, *names):
        return [(name, answer.code, answer.body) for name in names or self.streams for answer in self.streams[name].failures(self.mark)]

    def no_failure(self, *names):
        self.assertEqual([], self.lost(*names))

    def few_lost(self, *names):
        """A request that is on a connection when that ends is lost: Envoy's default retries, which are Istio's, leave it out."""
        lost = self.lost(*names)
        self.assertLessEqual(len(lost), len(names or self.streams), lost)
        for _, _, body in lost:
            self.assertRegex(body, "connection termination|connection timeout|delayed connect error|remote connection failure")

    def plan(self, *names, **which):
        lines = json.loads(isthmus("plan", "-f", self.file(*names, **which), "-o", "json"))
        return {(line["cluster"], line["action"], line["object"]) for line in lines if line["action"] != "keep"}

    def scaled(self, name, what, replicas):
        kubectl(name, "scale", *what, f"--replicas={replicas}")
        app = what[-1].split("/")[1]
        if replicas:
            kubectl(name, "rollout", "status", *what, "--timeout=60s")
        else:
            until(lambda: not get(name, "pods", *what[:2], "-l", f"app={app}")["items"], 30, f"no {app} in {name}")

    def served(self, leader, of, by):
        """Waits until all proxies of a cluster have everything from the named control planes."""
        wanted = {f"{name}.{ns}" for ns, name in lab.envoys(of)}
        until(lambda: set().union(*(served_by(one, of) for one in by)) >= wanted, 40, f"{', '.join(by)} serve {of} instead of {leader}")

    # ---- A cluster more, and less

    def test_1_a_fourth_cluster_joins(self):
        before = {name: lab_process(f"{name}/{name}-node1") for name in ("cluster1", "cluster2", "cluster3")}
        self.assertIn(("cluster1", "create", "Secret istio-system/istio-remote-secret-cluster4"), self.plan(*NETWORKS))
        self.up(*NETWORKS, gateways=tuple(NETWORKS))
        self.watch("cluster4")
        for name in self.streams:
            self.seen_by(name, set(NETWORKS))
        self.assertEqual(before, {name: lab_process(f"{name}/{name}-node1") for name in before}, "machines were left alone")
        self.no_failure("cluster1", "cluster2", "cluster3")
        isthmus("verify", "-f", self.file(*NETWORKS, gateways=tuple(NETWORKS)), timeout=200)

    def test_1_and_its_gateway_goes(self):
        self.assertEqual(set(), self.plan(*NETWORKS, gateways=tuple(NETWORKS)))
        surplus = {f"{kind} istio-system/istio-eastwestgateway" for kind in ("Deployment", "Service", "HorizontalPodAutoscaler")}
        surplus |= {"Gateway istio-system/cross-network-gateway"}
        plan = self.plan(*NETWORKS)
        self.assertLessEqual({("cluster4", "remove", name) for name in surplus}, plan)
        self.assertEqual({("cluster4", "remove")}, {line[:2] for line in plan})
        self.up(*NETWORKS)
        until(lambda: not get("cluster4", "pods", "-n", "istio-system", "-l", "app=istio-eastwestgateway")["items"], 60, "no gateway")
        self.assertEqual(set(), self.plan(*NETWORKS))
        # Their network is reached through the other one.
        for name in self.streams:
            self.seen_by(name, set(NETWORKS))
        self.few_lost()

    # ---- Who leads whom

    def test_2_a_remote_is_left_to_its_leader(self):
        hook = ("mutatingwebhookconfiguration", "istio-sidecar-injector")
        bundle = lambda name: get(name, *hook)["webhooks"][0]["clientConfig"].get("caBundle", "")
        clear = '[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]'
        self.scaled("cluster1", ISTIOD, 0)
        try:
            for name in ("cluster2", "cluster3"):
                kubectl(name, "patch", *hook, "--type=json", "-p", clear)
            until(lambda: bundle("cluster3"), 20, "cluster3 cares for its own")
            self.assertEqual("", bundle("cluster2"), "and not for that of cluster2, which names cluster1")
        finally:
            self.scaled("cluster1", ISTIOD, 1)
        until(lambda: bundle("cluster2"), 30, "cluster1 cares for cluster2")
        self.assertIn(b"BEGIN CERTIFICATE", base64.b64decode(bundle("cluster2")))
        self.served("cluster1", "cluster2", ["cluster1"])
        self.no_failure()

    def test_2_either_control_plane_serves_all(self):
        for away, concerned in (("cluster1", ("cluster1", "cluster2")), ("cluster3", ("cluster3",))):
            others = [name for name in ("cluster1", "cluster3", "cluster4") if name != away]
            self.scaled(away, ISTIOD, 0)
            try:
                for name in concerned:
                    self.served(away, name, others)
                # What changes now arrives everywhere.
                kubectl("cluster2", "scale", "deploy/helloworld-v1", "-n", "sample", "--replicas=0")
                for name in self.streams:
                    self.seen_by(name, set(NETWORKS) - {"cluster2"})
                kubectl("cluster2", "scale", "deploy/helloworld-v1", "-n", "sample", "--replicas=1")
                kubectl("cluster2", "rollout", "status", "deploy/helloworld-v1", "-n", "sample", "--timeout=60s")
                self.owners[pod("cluster2", "sample", "helloworld")] = "cluster2"
                for name in self.streams:
                    self.seen_by(name, set(NETWORKS))
            finally:
                self.scaled(away, ISTIOD, 1)
            for name in concerned:
                self.served("nobody", name, [away])
        self.no_failure()

    # ---- The way of a remote to its control plane

    def connected_since(self, name, moment):
        return all("connected to delta upstream" in kubectl(name, "logs", "-n", ns, one, "-c", "istio-proxy", "--since-time", moment)
                   for ns, one in lab.envoys(name))

    def test_2_the_gateway_to_the_control_plane_stops(self):
        self.scaled("cluster1", GATEWAY, 0)
        try:
            until(lambda: not served_by("cluster1", "cluster2"), 30, "cluster2 has no control plane")
            # Its proxies go on, and so does everything but what that gateway led to.
            for name in ("cluster2", "cluster3"):
                mark = time.monotonic()
                until(lambda n=name, m=mark: len(self.streams[n].since(m)) > 40, 30, "requests")
                self.assertLessEqual({"cluster2", "cluster3"}, self.answered(name, mark))
                self.assertEqual([], self.streams[name].failures(mark + 1))
        finally:
            self.scaled("cluster1", GATEWAY, 1)
        self.served("nobody", "cluster2", ["cluster1"])
        for name in self.streams:
            self.seen_by(name, set(NETWORKS))
        self.no_failure("cluster1", "cluster4")
        self.few_lost("cluster2", "cluster3")

    def test_2_the_gateway_to_the_control_plane_vanishes(self):
        old = pod("cluster1", "istio-system", "istio-eastwestgateway")
        # Its network goes before it can say good-bye: nobody is told that their connections are over.
        lab.run("nsenter", "-t", processes_of_pods({old})[0], "-n", "ip", "link", "set", "eth0", "down")
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        kubectl("cluster1", "delete", "pod", "-n", "istio-system", old, "--force", "--grace-period=0")
        kubectl("cluster1", "rollout", "status", *GATEWAY, "--timeout=60s")
        until(lambda: self.connected_since("cluster2", moment), 30, "the proxies of cluster2 are back")
        for name in self.streams:
            self.seen_by(name, set(NETWORKS))

    # ---- What others do about one cluster

    def test_3_a_cluster_stops_whole(self):
        names = {item["metadata"]["name"] for item in get("cluster3", "pods", "-A")["items"]}
        machine = lab_process("cluster3/cluster3-node1")
        others = ("cluster1", "cluster2", "cluster4")
        os.kill(machine, signal.SIGSTOP)  # Or it would start its pods again.
        try:
            isthmus("lab", "stop", "cluster3")
            for process in processes_of_pods(names):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            mark = time.monotonic()
            for name in others:
                until(lambda n=name: len(self.streams[n].since(mark)) > 60, 60, "requests")
                self.assertEqual(set(others), self.answered(name, mark + 1))
                self.assertEqual([], self.streams[name].failures(mark + 1), name)
            # What the others do still reaches each other.
            self.scaled("cluster4", ("-n", "sample", "deploy/helloworld-v1"), 0)
            for name in others:
                self.seen_by(name, {"cluster1", "cluster2"})
            self.scaled("cluster4", ("-n", "sample", "deploy/helloworld-v1"), 1)
        finally:
            isthmus("lab", "start", "cluster3")
            os.kill(machine, signal.SIGCONT)
        until(lambda: get("cluster3", "namespaces"), 30, "the API server answers")
        for what in (ISTIOD, GATEWAY, ("-n", "sample", "deploy/helloworld-v1"), ("-n", "sample", "deploy/sleep")):
            kubectl("cluster3", "rollout", "status", *what, "--timeout=90s")
        self.owners[pod("cluster4", "sample", "helloworld")] = "cluster4"
        self.watch("cluster3")
        for name in self.streams:
            self.seen_by(name, set(NETWORKS))
        self.few_lost(*others)

    def test_4_a_gateway_with_a_host_name(self):
        host = "gateway-of-cluster3.istio-system.svc.cluster.local"
        names = """
apiVersion: v1
kind: Service
metadata: {name: gateway-of-cluster3, namespace: istio-system}
spec: {clusterIP: None, ports: [{name: tls, port: 15443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: gateway-of-cluster3, namespace: istio-system, labels: {kubernetes.io/service-name: gateway-of-cluster3}}
addressType: IPv4
endpoints: [{addresses: [192.168.229.112]}]
ports: [{name: tls, port: 15443}]
"""
        # Another Service keeps the address alive; the one that is the network's gateway has only the name.
        other = """
apiVersion: v1
kind: Service
metadata: {name: keeper, namespace: istio-system}
spec: {externalIPs: [192.168.229.112], selector: {app: istio-eastwestgateway}, ports: [{name: tls, port: 15443}]}
"""
        gateway = ("svc/istio-eastwestgateway", "-n", "istio-system")

        def put_status(status):
            service = {**get("cluster3", *gateway), "status": status}
            # Debian's kubectl has no --subresource.
            kubectl("cluster3", "replace", "--raw", "/api/v1/namespaces/istio-system/services/istio-eastwestgateway/status", "-f", "-",
                    text_in=json.dumps(service))

        try:
            for name in ("cluster1", "cluster4"):
                kubectl(name, "apply", "-f", "-", text_in=names)
            kubectl("cluster3", "apply", "-f", "-", text_in=other)
            put_status({"loadBalancer": {"ingress": [{"hostname": host}]}})
            kubectl("cluster3", "patch", *gateway, "-p", '{"spec": {"externalIPs": null}}')
            client = pod("cluster1", "sample", "sleep")
            endpoints = lambda: istioctl("cluster1", "pc", "endpoint", "-n", "sample", client, "--cluster", "outbound|5000||helloworld.sample.svc.cluster.local")
            until(lambda: "192.168.229.112:15443" in endpoints() and "192.168.229.102" not in endpoints(), 60, "the address behind the name")
            self.seen_by("cluster1", set(NETWORKS))
        finally:
            kubectl("cluster3", "patch", *gateway, "-p", '{"spec": {"externalIPs": ["192.168.229.102"]}}')
            put_status({"loadBalancer": {}})
            until(lambda: "192.168.229.102:15443" in endpoints(), 30, "the address again")
        self.few_lost("cluster1")

    def test_5_the_fourth_cluster_leaves(self):
        three = ("cluster1", "cluster2", "cluster3")
        surplus = {(name, "remove", "Secret istio-system/istio-remote-secret-cluster4") for name in ("cluster1", "cluster3")}
        self.assertLessEqual(surplus, self.plan(*three))
        self.up(*three)
        for name in three:
            self.seen_by(name, set(three))
        self.few_lost(*three)
        self.assertEqual(set(), self.plan(*three))


class External(UnderRequests):
    """A control plane outside of the clusters it serves. It is also the only one, so its end is a loss of control and no more."""
    FILE = ROOT / "topologies/external-control-plane.yaml"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        isthmus("up", "-f", cls.FILE, timeout=400)
        for name in ("cluster1", "cluster2"):
            cls.streams[name] = Stream(pod(name, "sample", "sleep"), "sleep infinity", URL)

    def no_failure(self):
        for name, stream in self.streams.items():
            self.assertEqual([], stream.failures(self.mark), name)

    def hears_only(self, name, version):
        mark = time.monotonic()
        stream = self.streams[name]
        until(lambda: len(stream.since(mark)) > 20 and all(version in answer.body for answer in stream.since(mark)[-20:]), 60,
              f"only {version} in {name}")

    def test_1_istiod_runs_elsewhere(self):
        for name in ("cluster1", "cluster2"):
            self.assertEqual([], get(name, "deployments", "-n", "istio-system", "-l", "app=istiod")["items"])
            self.assertNotIn("cacerts", [item["metadata"]["name"] for item in get(name, "secrets", "-n", "istio-system")["items"]])
            wanted = {f"{pod_name}.{ns}" for ns, pod_name in lab.envoys(name)}
            self.assertEqual(3, len(wanted))
            until(lambda n=name, w=wanted: set(served_by("provider", n)) == w, 20, f"proxies of {name} at provider")
        self.assertEqual([], lab.envoys("provider"))
        plan = json.loads(isthmus("plan", "-f", self.FILE, "-o", "json"))
        self.assertEqual([], [line for line in plan if line["action"] != "keep"])

    def test_2_users_need_nothing_of_the_provider(self):
        config = yaml.safe_load((lab.LAB / "kubeconfig").read_text())
        for kind in ("clusters", "contexts", "users"):
            config[kind] = [item for item in config[kind] if item["name"] != "provider"]
        config["current-context"] = "cluster1"
        mine = f"{self.temporary.name}/kubeconfig"
        with open(mine, "w") as out:
            yaml.safe_dump(config, out)
        topology = yaml.safe_load(self.FILE.read_text())
        topology["spec"].pop("lab", None)
        for one in topology["spec"]["clusters"]:
            one.pop("lab")
            one["context"] = one["name"]
        with open(f"{self.temporary.name}/mesh.yaml", "w") as out:
            yaml.safe_dump(topology, out)
        user = lambda *words, **how: lab.run("kubectl", "--kubeconfig", mine, *words, **how)
        user("apply", "-f", "-", text_in=ONLY_V2)
        try:
            for name in self.streams:
                self.hears_only(name, "version: v2")
            refused = user("apply", "-f", "-", text_in=ONLY_V2.replace("http:", "htttp:"), check=False)
            self.assertNotEqual(0, refused.returncode, "configuration is checked")
        finally:
            user("delete", "vs/helloworld", "-n", "sample")
        # New pods are injected and join.
        for name in self.streams:
            user("--context", name, "create", "namespace", "mine")
            user("--context", name, "label", "namespace", "mine", "istio-injection=enabled")
            user("--context", name, "apply", "-n", "mine", "-f", ROOT / "samples/sleep/sleep.yaml")
            user("--context", name, "rollout", "status", "deploy/sleep", "-n", "mine", "--timeout=60s")
        isthmus("verify", "-c", mine, "-f", f"{self.temporary.name}/mesh.yaml", timeout=120)
        self.no_failure()

    def test_3_without_it_only_control_is_lost(self):
        istiod = ("-n", "istio-system", "deploy/istiod")
        kubectl("provider", "scale", *istiod, "--replicas=0")
        until(lambda: not get("provider", "pods", "-n", "istio-system", "-l", "app=istiod")["items"], 30, "istiod is gone")
        known = lambda name: "another.sample" in istioctl(name, "pc", "cluster", "-n", "sample", pod(name, "sample", "sleep"))
        try:
            # Istio's objects are refused, since nobody checks them; what is changed otherwise does not arrive.
            self.assertNotEqual(0, kubectl("cluster1", "apply", "-f", "-", text_in=ONLY_V2, check=False).returncode)
            kubectl("cluster1", "create", "service", "clusterip", "another", "-n", "sample", "--tcp=80")
            mark = time.monotonic()
            for name, stream in self.streams.items():
                until(lambda s=stream: len(s.since(mark)) > 50, 60, "requests")
                self.assertFalse(known(name), name)
                for version in ("version: v1", "version: v2"):
                    until(lambda s=stream, v=version: s.has(v, mark), 30, version)
        finally:
            kubectl("provider", "scale", *istiod, "--replicas=1")
        for name in self.streams:
            until(lambda n=name: known(n), 30, f"the change arrives in {name}")
        self.no_failure()


if __name__ == "__main__":
    unittest.main(verbosity=2)
