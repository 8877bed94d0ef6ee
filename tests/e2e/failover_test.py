"""Control planes stand in for each other (docs/failover.md), on one network and on two, two and three of them. Needs root.

With the istiod of cluster1 scaled to zero, and killed, another primary serves its proxies: discovery, certificates, injection, all with
cluster1's own configuration; everything goes home when it is back; and no request fails on the way. The last primary stands in for all
others, unless that is switched off.
"""
import os
import re
import subprocess
import tempfile
import time
import unittest

import yaml

import lab
from lab import execute, get, isthmus, istioctl, kubectl, pod, served_by, until
from stream import Stream, processes_of

SECONDS = 5  # The promise.
# Certificates that live so short are renewed during the test.
TTL = 40
ONLY_V2 = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: helloworld, namespace: sample}
spec:
  hosts: [helloworld]
  http: [{route: [{destination: {host: helloworld, subset: v2}}]}]
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: helloworld, namespace: sample}
spec: {host: helloworld, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""
INGRESS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: hello, namespace: sample}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hello, namespace: sample}
spec:
  hosts: ["*"]
  gateways: [hello]
  http: [{route: [{destination: {host: helloworld, port: {number: 5000}}}]}]
"""


def topology(networks):
    def cluster(number):
        file = "samples/helloworld/helloworld.yaml"
        return {
            "name": f"cluster{number}", "network": networks[number - 1],
            "install": {"profile": "default", "meshConfig": {"accessLogFile": "/dev/stdout",
                                                             "defaultConfig": {"proxyMetadata": {"SECRET_TTL": f"{TTL}s"}}}},
            # Services are exposed, istiod is not: the east-west gateway leads to it all the same.
            **({"eastWestGateway": {"externalIPs": [f"192.168.229.{99 + number}"], "exposes": ["services"]}} if len(set(networks)) > 1 else {}),
            "workloads": [{"namespace": "sample", "injection": True, "files": [file], "selector": "service=helloworld"},
                          {"namespace": "sample", "injection": True, "files": [file], "selector": f"version=v{min(number, 2)}"},
                          {"namespace": "sample", "injection": True, "files": ["samples/sleep/sleep.yaml"]}],
            "lab": {"apiServer": f"192.168.229.{125 + 3 * number}:6443", "serviceCIDR": f"10.{67 + number}.0.0/16", "ingressPort": 18083 + number,
                    "nodes": [{"name": f"cluster{number}-node1", "address": f"192.168.229.{125 + 3 * number}", "podCIDR": f"172.{19 + number}.0.0/24"}]}}
    return {"apiVersion": "isthmus.dev/v1", "kind": "Topology", "metadata": {"name": "failover"},
            "spec": {"meshID": "mesh1", "clusters": [cluster(number) for number, _ in enumerate(networks, 1)]}}


class Mesh:
    """A mesh of primaries, one on each of NETWORKS, with a stream of requests from each."""
    NETWORKS = ()

    @classmethod
    def setUpClass(cls):
        cls.streams = []
        cls.clusters = [f"cluster{number}" for number, _ in enumerate(cls.NETWORKS, 1)]
        cls.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        yaml.safe_dump(topology(cls.NETWORKS), cls.file)
        cls.file.flush()
        try:
            isthmus("up", "-f", cls.file.name, "--no-verify", timeout=300)
            for cluster in cls.clusters:
                kubectl(cluster, "apply", "-f", "-", text_in=SUBSETS)
                cls.streams.append(Stream(pod(cluster, "sample", "sleep"), "sleep infinity", "http://helloworld.sample:5000/hello"))
            # In cluster1 only: another primary that served its own configuration would take this away. By address, since the
            # gateways of the others, which have no such route, are endpoints of the same service.
            kubectl("cluster1", "apply", "-f", "-", text_in=INGRESS)
            gateway = lab.pod_ip("cluster1", "istio-system", "istio-ingressgateway")
            cls.streams.append(Stream(pod("cluster1", "sample", "sleep"), "sleep infinity", f"http://{gateway}:8080/hello"))
            until(lambda: cls.streams[-1].has("Hello", 0), 30, "the ingress gateway answers")
            until(lambda: all(len(cls.standby(cluster)) == len(cls.clusters) - 1 for cluster in cls.clusters), 30, "control planes stand by")
        except BaseException:
            cls.tearDownClass()
            raise
        cls.proxies = 4 if len(set(cls.NETWORKS)) > 1 else 3
        cls.began = time.monotonic()

    @classmethod
    def tearDownClass(cls):
        for stream in cls.streams:
            stream.close()
        isthmus("down", "-f", cls.file.name, check=False)
        cls.file.close()

    @classmethod
    def standby(cls, cluster):
        items = get(cluster, "endpointslices", "-n", "istio-system", "-l", "endpointslice.kubernetes.io/managed-by=standby.isthmus.dev")["items"]
        return [e["addresses"][0] for i in items for e in i["endpoints"]]

    def setUp(self):
        self.mark = time.monotonic()

    def no_failure(self):
        for stream in self.streams:
            failed = stream.failures(max(self.mark, self.began))
            self.assertEqual([], failed, "" if not failed else f"{stream.url}\n{self.refusals()}")

    def refusals(self):
        """What the proxies say of requests that did not succeed."""
        return "\n".join(f"{cluster} {name}: {line}" for cluster in self.clusters for name, log in proxy_logs(cluster) for line in log
                         if re.match(r'\[[^]]*\] "[^"]*" (5\d\d|0) ', line))

    def who_serves(self, *clusters):
        """What every control plane says, and what the agents of these clusters have said last."""
        tables = [istioctl(cluster, "ps") for cluster in self.clusters]
        logs = [f"{name}:\n" + "\n".join([line for line in log if not line.startswith("[")][-15:])
                for cluster in clusters for name, log in proxy_logs(cluster)]
        return "\n".join(tables + logs)

    def away(self, *clusters):
        for cluster in clusters:
            kubectl(cluster, "scale", "deploy/istiod", "-n", "istio-system", "--replicas=0")
        for cluster in clusters:
            until(lambda c=cluster: not processes_of_istiod(c), 30, f"istiod of {cluster} is gone")
        return time.monotonic()

    def back(self, *clusters):
        for cluster in clusters:
            kubectl(cluster, "scale", "deploy/istiod", "-n", "istio-system", "--replicas=1")
        for cluster in clusters:
            kubectl(cluster, "rollout", "status", "deploy/istiod", "-n", "istio-system", "--timeout=60s")
            until(lambda c=cluster: len(served_by(c, c)) >= self.proxies, 15, lambda c=cluster: f"proxies of {c} are home\n{self.who_serves(c)}")
            for other in set(self.clusters) - set(clusters):
                until(lambda c=cluster, o=other: not served_by(o, c), 15, "and not elsewhere")


class Failover(Mesh):
    def test_1_offers(self):
        want = {"cluster1": "cluster2", "cluster2": "cluster1"}
        for cluster, other in want.items():
            if len(set(self.NETWORKS)) > 1:
                self.assertEqual([f"192.168.229.{99 + int(other[-1])}"], self.standby(cluster))
            else:
                self.assertEqual([lab.pod_ip(other, "istio-system", "istiod")], self.standby(cluster))

    def test_2_scaled_to_zero(self):
        gone = self.away("cluster1")
        try:
            until(lambda: len(served_by("cluster2", "cluster1")) == self.proxies, 3 * SECONDS, "proxies of cluster1 at cluster2")
            took = time.monotonic() - gone
            print(f"{self.NETWORKS}: proxies served again after {took:.1f} s")
            self.assertLess(took, SECONDS)
            self.new_pods_start_and_are_reached()
            self.configuration_of_cluster1_is_in_force()
            self.certificates_are_renewed()
            self.no_failure()
        finally:
            self.back("cluster1")
        self.no_failure()

    def new_pods_start_and_are_reached(self):
        began = time.monotonic()
        kubectl("cluster1", "scale", "deploy/helloworld-v1", "-n", "sample", "--replicas=2")
        kubectl("cluster1", "rollout", "status", "deploy/helloworld-v1", "-n", "sample", "--timeout=60s")
        print(f"{self.NETWORKS}: a new pod was ready after {time.monotonic() - began:.1f} s")
        names = [i["metadata"]["name"] for i in get("cluster1", "pods", "-n", "sample", "-l", "app=helloworld")["items"]]
        self.assertEqual(2, len(names))
        for stream in self.streams[:2] if len(set(self.NETWORKS)) == 1 else self.streams[:1]:
            for name in names:
                until(lambda s=stream, n=name: s.has(n, began), 30, f"answers of {name}")
        # A namespace that is made now gets the roots, without which no proxy starts.
        kubectl("cluster1", "create", "namespace", "late")
        kubectl("cluster1", "label", "namespace", "late", "istio-injection=enabled")
        kubectl("cluster1", "apply", "-n", "late", "-f", lab.ROOT / "samples/sleep/sleep.yaml")
        kubectl("cluster1", "rollout", "status", "deploy/sleep", "-n", "late", "--timeout=60s")
        answer = until(lambda: execute("cluster1", "late", "sleep", "curl", "-sS", "helloworld.sample:5000/hello", container="sleep"), 20, "an answer")
        self.assertIn("Hello", answer)
        kubectl("cluster1", "delete", "namespace", "late", "--wait=false")

    def configuration_of_cluster1_is_in_force(self):
        kubectl("cluster1", "apply", "-f", "-", text_in=ONLY_V2)
        try:
            ask = lambda cluster: execute(cluster, "sample", "sleep", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do curl -sS helloworld.sample:5000/hello; done",
                                          container="sleep")
            until(lambda: ask("cluster1").count("version: v2") == 8, 20, "the new route of cluster1 holds there")
            self.assertIn("version: v1", ask("cluster2") + ask("cluster2") + ask("cluster2"), "and not in cluster2")
            refused = kubectl("cluster1", "apply", "-f", "-", text_in=ONLY_V2.replace("http:", "htttp:"), check=False)
            self.assertNotEqual(0, refused.returncode, "validation works too")
        finally:
            kubectl("cluster1", "delete", "vs/helloworld", "-n", "sample")
        until(lambda: "version: v1" in ask("cluster1"), 20, "both versions again")

    def certificates_are_renewed(self):
        serial = certificate_of(pod("cluster1", "sample", "sleep"))
        until(lambda: certificate_of(pod("cluster1", "sample", "sleep")) != serial, 2 * TTL, "a new certificate")

    def test_3_killed(self):
        for _ in range(3):
            old = processes_of_istiod("cluster1")
            lab.run("kill", "-9", *old)
            killed = time.monotonic()
            until(lambda: len(set(served_by("cluster2", "cluster1") + own_rows())) >= self.proxies, SECONDS + 3, "every proxy is served by somebody")
            print(f"{self.NETWORKS}: served again {time.monotonic() - killed:.1f} s after the kill")
            until(lambda: len(served_by("cluster1", "cluster1")) >= self.proxies, 60, "proxies of cluster1 are home")
        self.no_failure()

    def test_4_api_server_stopped(self):
        sleep = pod("cluster1", "sample", "sleep")
        isthmus("lab", "stop", "cluster1")
        try:
            serial = certificate_of(sleep)
            until(lambda: certificate_of(sleep) != serial, 2 * TTL, "a certificate renewed by the one before")
            # Discovery goes on: what changes in cluster2 arrives.
            scaled = time.monotonic()
            kubectl("cluster2", "scale", "deploy/helloworld-v2", "-n", "sample", "--replicas=0")
            until(lambda: not self.streams[0].has("version: v2", time.monotonic() - 2), 30, "cluster1 knows that v2 is gone")
            kubectl("cluster2", "scale", "deploy/helloworld-v2", "-n", "sample", "--replicas=1")
            mark = time.monotonic()
            until(lambda: self.streams[0].has("version: v2", mark), 30, "and that it is back")
            # An Envoy that starts anew asks for all; its agent has the certificate to be let in.
            envoy = processes_of(sleep, "bin/envoy -c")
            self.streams[0].close()
            lab.run("kill", "-9", *envoy)
            until(lambda: set(processes_of(sleep, "bin/envoy -c")) - set(envoy), 20, "a new Envoy")
            self.streams[0] = Stream(sleep, "sleep infinity", "http://helloworld.sample:5000/hello")
            for version in ("v1", "v2"):
                until(lambda v=version: self.streams[0].has(f"version: {v}", 0), 20, f"{version} through the new Envoy")
        finally:
            isthmus("lab", "start", "cluster1")
        until(lambda: get("cluster1", "pods", "-A"), 15, "the API server answers")
        # A request may be with the pod that ends.
        self.assertEqual([], [answer for answer in self.streams[1].failures(self.mark) if not scaled <= answer.at < scaled + 3])


def processes_of_istiod(cluster):
    """Of the running control plane, whatever its pod is called."""
    address = f"10.{67 + int(cluster[-1])}.0.1"
    found = []
    for line in lab.run("pgrep", "-f", "pilot-discovery discovery", check=False).stdout.split():
        try:
            with open(f"/proc/{line}/environ", "rb") as file:
                if f"KUBERNETES_SERVICE_HOST={address}".encode() in file.read().split(b"\0") and lab.has_process(line):
                    found.append(int(line))
        except OSError:
            continue
    return found


def proxy_logs(cluster):
    for item in get(cluster, "pods", "-A", "-l", "service.istio.io/canonical-name")["items"]:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        yield name, kubectl(cluster, "logs", name, "-n", namespace, "-c", "istio-proxy", check=False).stdout.splitlines()


def own_rows():
    try:
        return served_by("cluster1", "cluster1")
    except (AssertionError, subprocess.TimeoutExpired):
        return []  # No pod to ask.


def certificate_of(name):
    """The serial number of the workload's certificate, asked of Envoy without the API server."""
    pid = str(processes_of(name, "pilot-agent proxy")[0])
    out = lab.run("nsenter", "-t", pid, "-n", "curl", "-sS", "-m", "5", "127.0.0.1:15000/certs")
    return re.search(r'"cert_chain".*?"serial_number": "(\w+)"', out, re.S)[1]


class ThreePrimaries(Mesh, unittest.TestCase):
    """Two of them on one network, the third behind its gateway."""
    NETWORKS = ("network1", "network1", "network2")

    def offers(self, cluster):
        return set(self.standby(cluster))

    def test_1_offers(self):
        self.assertEqual({lab.pod_ip("cluster2", "istio-system", "istiod"), "192.168.229.102"}, self.offers("cluster1"))
        self.assertEqual({"192.168.229.100", "192.168.229.101"}, self.offers("cluster3"))

    def test_2_the_last_one_serves_all(self):
        gone = self.away("cluster1", "cluster2")
        try:
            until(lambda: all(len(served_by("cluster3", cluster)) == self.proxies for cluster in self.clusters), 3 * SECONDS, "all at cluster3")
            took = time.monotonic() - gone
            print(f"{self.NETWORKS}: proxies of two clusters served by the third after {took:.1f} s")
            self.assertLess(took, SECONDS, "" if took < SECONDS else self.who_serves(*self.clusters))
            kubectl("cluster2", "scale", "deploy/helloworld-v2", "-n", "sample", "--replicas=2")
            kubectl("cluster2", "rollout", "status", "deploy/helloworld-v2", "-n", "sample", "--timeout=60s")
            self.no_failure()
        finally:
            self.back("cluster1", "cluster2")
        self.no_failure()

    def test_3_switched_off(self):
        text = topology(self.NETWORKS)
        text["spec"]["clusters"][2]["install"]["values"] = {"pilot": {"env": {"ISTHMUS_FAILOVER": "false"}}}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(text, file)
            file.flush()
            isthmus("up", "-f", file.name, "--no-verify", timeout=300)
        here = lab.pod_ip("cluster2", "istio-system", "istiod")
        until(lambda: self.offers("cluster1") == {here}, 30, "cluster3 has taken its offer back")
        self.assertEqual({"192.168.229.100", "192.168.229.101"}, self.offers("cluster3"), "others stand in for it as before")
        try:
            self.away("cluster1")
            until(lambda: len(served_by("cluster2", "cluster1")) == self.proxies, 3 * SECONDS, "proxies of cluster1 at cluster2")
            self.away("cluster2")
            # Nobody is left who may serve them; they go on with what they have.
            asked = time.monotonic()
            until(lambda: all(len(stream.since(asked)) > 20 for stream in self.streams), 30, "requests while nobody serves")
            self.assertEqual([], served_by("cluster3", "cluster1") + served_by("cluster3", "cluster2"))
        finally:
            self.back("cluster1", "cluster2")
        self.no_failure()


class SameNetwork(Failover, unittest.TestCase):
    NETWORKS = ("network1", "network1")


class DifferentNetworks(Failover, unittest.TestCase):
    NETWORKS = ("network1", "network2")


if __name__ == "__main__":
    unittest.main(verbosity=2)
