"""Two meshes side by side in clusters that are named by kube contexts, as real ones are: each is whole by itself, has a root of its own,
and knows nothing of the other; taken down, each leaves its cluster as it was. Needs root."""
import json
import pathlib
import tempfile
import unittest

import lab
from lab import LAB, execute, get, isthmus, until

CLUSTERS = {"cluster1": "v1", "cluster2": "v2"}
MESH = """
apiVersion: isthmus.dev/v1
kind: Topology
metadata: {{name: mesh-of-{cluster}}}
spec:
  meshID: mesh-of-{cluster}
  trust: {{directory: {folder}}}
  clusters:
    - name: {cluster}
      context: {cluster}
      network: network-of-{cluster}
      install: {{profile: minimal}}
      workloads:
        - {{namespace: sample, injection: true, files: [samples/helloworld/helloworld.yaml], selector: app=helloworld}}
        - {{namespace: sample, injection: true, files: [samples/helloworld/helloworld.yaml], selector: version={version}}}
        - {{namespace: sample, injection: true, files: [samples/sleep/sleep.yaml]}}
  verify:
    requests:
      - {{from: {{cluster: {cluster}, namespace: sample, app: sleep}}, url: "http://helloworld.sample:5000/hello", count: 10, answers: [{version}]}}
"""


class Meshes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="isthmus-meshes-")
        isthmus("lab", "up", "-f", "tests/e2e/two_clusters.yaml")
        cls.files = {}
        for cluster, version in CLUSTERS.items():
            folder = pathlib.Path(cls.temporary.name) / cluster
            cls.files[cluster] = folder.with_suffix(".yaml")
            cls.files[cluster].write_text(MESH.format(cluster=cluster, version=version, folder=folder))

    @classmethod
    def tearDownClass(cls):
        isthmus("lab", "down", check=False)
        cls.temporary.cleanup()

    def mesh(self, verb, cluster, *more, **how):
        return isthmus(verb, "-c", LAB / "kubeconfig", "-f", self.files[cluster], *more, **{"timeout": 240, **how})

    def test_1_each_is_whole(self):
        for cluster in CLUSTERS:
            self.assertIn("create", self.mesh("plan", cluster))
            self.mesh("up", cluster)
            self.assertEqual([], [c for c in json.loads(self.mesh("plan", cluster, "-o", "json")) if c["action"] != "keep"])

    def test_2_neither_knows_the_other(self):
        roots = set()
        for cluster, version in CLUSTERS.items():
            answers = execute(cluster, "sample", "sleep", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do curl -sS helloworld.sample:5000/hello; done",
                              container="sleep")
            self.assertEqual(8, answers.count(f"version: {version}"), answers)
            clusters = lab.istioctl(cluster, "remote-clusters")
            self.assertEqual(1, clusters.count("synced"), clusters)
            roots.add(get(cluster, "cm", "istio-ca-root-cert", "-n", "sample")["data"]["root-cert.pem"])
        self.assertEqual(2, len(roots))

    def test_3_taken_down_they_leave_nothing(self):
        for cluster in CLUSTERS:
            self.mesh("down", cluster)
        for cluster in CLUSTERS:
            until(lambda c=cluster: not {n["metadata"]["name"] for n in get(c, "ns")["items"]} & {"sample", "istio-system"}, 60, "namespaces gone")
            kinds = "crd,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"
            self.assertEqual([], [i["metadata"]["name"] for i in get(cluster, kinds)["items"] if "istio" in i["metadata"]["name"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
