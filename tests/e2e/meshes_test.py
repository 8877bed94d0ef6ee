"""Two meshes side by side in clusters that are named by kube contexts, as real ones are: each is whole by itself, has a root and a trust
domain of its own, and knows nothing of the other until they exchange their roots; taken down, each leaves its cluster as it was. Needs root."""
import json
import pathlib
import tempfile
import unittest

import lab
from lab import LAB, agent_request, execute, get, isthmus, kubectl, pod, until

CLUSTERS = {"cluster1": "v1", "cluster2": "v2"}
GATEWAY = {"cluster1": "192.168.229.100", "cluster2": "192.168.229.101"}
THEIRS = "http://helloworld.theirs:5000/hello"
SNI = "outbound_.5000_._.helloworld.sample.svc.cluster.local"
# helloworld of the other mesh under another name, by its gateway.
IMPORTED = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: theirs, namespace: sample}}
spec:
  hosts: [helloworld.theirs]
  addresses: [240.0.0.9]
  ports: [{{name: http, number: 5000, protocol: HTTP}}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{{address: {GATEWAY["cluster2"]}, ports: {{http: 15443}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: theirs, namespace: sample}}
spec:
  host: helloworld.theirs
  trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL, sni: {SNI}, subjectAltNames: [spiffe://cluster2.example/ns/sample/sa/default]}}}}
"""
ONLY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: only, namespace: sample}}
spec: {{rules: [{{from: [{{source: {{principals: [{principal}]}}}}]}}]}}
"""
MESH = """
apiVersion: isthmus.dev/v1
kind: Topology
metadata: {{name: mesh-of-{cluster}}}
spec:
  meshID: mesh-of-{cluster}
  trustDomain: {cluster}.example
  trust: {{directory: {folder}}}
  clusters:
    - name: {cluster}
      context: {cluster}
      network: network-of-{cluster}
      install: {{profile: minimal, meshConfig: {{defaultConfig: {{proxyMetadata: {{ISTIO_META_DNS_CAPTURE: "true"}}}}}}}}
      eastWestGateway: {{externalIPs: [{gateway}], exposes: [services]}}
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
            cls.files[cluster].write_text(MESH.format(cluster=cluster, version=version, folder=folder, gateway=GATEWAY[cluster]))

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

    def ask(self, url):
        return execute("cluster1", "sample", "sleep", "curl", "-s", "-m", "5", "-w", " %{http_code}", url, container="sleep", check=False).stdout

    def test_3_they_talk_after_exchanging_roots(self):
        kubectl("cluster1", "apply", "-f", "-", text_in=IMPORTED)
        until(lambda: self.ask(THEIRS).endswith(" 503"), 30, "strangers that do not believe each other")
        # By hand: what one prints is given to the other.
        bundle = lab.istioctl("cluster2", "x", "trust-bundle", "export")
        self.assertIn("cluster1.example believes cluster2.example", lab.istioctl("cluster1", "x", "trust-bundle", "import", text_in=bundle))
        self.assertTrue(self.ask(THEIRS).endswith(" 503"), "the other side believes nobody yet")
        # One command for both directions; what is there already stays.
        said = lab.istioctl("cluster1", "x", "trust-bundle", "exchange", "--with", "cluster2")
        self.assertIn("cluster2.example believes cluster1.example", said)
        until(lambda: "version: v2" in self.ask(THEIRS), 60, "an answer of the other mesh")
        # The name that both have still means the own one.
        for _ in range(5):
            self.assertIn("version: v1", self.ask("http://helloworld.sample:5000/hello"))
        mine = json.loads(agent_request("cluster1", "sample", pod("cluster1", "sample", "sleep"), "certs"))
        self.assertIn("spiffe://cluster1.example/ns/sample/sa/sleep", json.dumps(mine))

    def test_4_policies_name_identities_of_the_other_mesh(self):
        for principal, want in (("cluster2.example/ns/sample/sa/sleep", "403"), ("cluster1.example/ns/sample/sa/sleep", "200")):
            kubectl("cluster2", "apply", "-f", "-", text_in=ONLY.format(principal=principal))
            until(lambda w=want: self.ask(THEIRS).endswith(f" {w}"), 30, f"{want} where {principal} is let in")

    def test_5_a_root_stands_for_its_own_trust_domain_only(self):
        """A certificate of mesh 1's root with an identity of mesh 2 is refused, and one of its own is not."""
        folder = pathlib.Path(self.temporary.name)
        for domain, taken in (("cluster1.example", True), ("cluster2.example", False)):
            made = folder / domain
            lab.run("openssl", "req", "-x509", "-CA", folder / "cluster1/root-cert.pem", "-CAkey", folder / "cluster1/root-key.pem", "-newkey", "rsa:2048",
                    "-nodes", "-keyout", f"{made}.key", "-out", f"{made}.pem", "-subj", "/O=x", "-days", "1",
                    "-addext", f"subjectAltName=critical,URI:spiffe://{domain}/ns/sample/sa/sleep", "-addext", "basicConstraints=critical,CA:FALSE",
                    "-addext", "extendedKeyUsage=clientAuth", "-addext", "keyUsage=critical,digitalSignature")
            line = ("printf 'GET /hello HTTP/1.1\\r\\nHost: helloworld.sample\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 openssl s_client "
                    f"-connect {GATEWAY['cluster2']}:15443 -servername {SNI} -alpn istio-http/1.1 -cert {made}.pem -key {made}.key -ign_eof 2>&1")
            said = isthmus("lab", "shell", "cluster1", "--", "bash", "-c", line, check=False).stdout
            self.assertEqual(taken, "Hello version: v2" in said, said[-1500:])

    def test_9_taken_down_they_leave_nothing(self):
        for cluster in CLUSTERS:
            self.mesh("down", cluster)
        for cluster in CLUSTERS:
            until(lambda c=cluster: not {n["metadata"]["name"] for n in get(c, "ns")["items"]} & {"sample", "istio-system"}, 60, "namespaces gone")
            kinds = "crd,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"
            self.assertEqual([], [i["metadata"]["name"] for i in get(cluster, kinds)["items"] if "istio" in i["metadata"]["name"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
