"""A mesh whose control plane runs in a cluster outside of it. Needs root."""
import json
import tempfile
import time
import unittest

import yaml

import lab
from lab import ROOT, get, isthmus, istioctl, kubectl, pod, served_by, until
from stream import Stream

URL = "http://helloworld.sample:5000/hello"
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


class External(unittest.TestCase):
    """A control plane outside of the clusters it serves. It is also the only one, so its end is a loss of control and no more."""
    FILE = ROOT / "topologies/external-control-plane.yaml"

    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="isthmus-external-")
        cls.streams = {}
        try:
            isthmus("up", "-f", cls.FILE, timeout=400)
            for name in ("cluster1", "cluster2"):
                cls.streams[name] = Stream(pod(name, "sample", "sleep"), "sleep infinity", URL)
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        for stream in cls.streams.values():
            stream.close()
        isthmus("lab", "down", check=False)
        cls.temporary.cleanup()

    def setUp(self):
        self.mark = time.monotonic()

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
