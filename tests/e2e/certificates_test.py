"""Workload certificates of a CA outside: each cluster asks its own signer through the Kubernetes API, under one root, and
renews under traffic without a failed request. Needs root.
"""
import json
import tempfile
import unittest

import yaml

import csr_signer
import lab
from lab import ROOT, agent_request, execute, get, isthmus, kubectl, until

CLUSTERS = ("cluster1", "cluster2")
LIFE = 24  # Seconds; renewed at half of it.


def topology(root_pem):
    def cluster(index, name):
        return {
            "name": name, "network": "network1",
            "install": {
                "profile": "minimal",
                "meshConfig": {"caCertificates": [{"pem": root_pem, "certSigners": [f"example.com/{name}"]}]},
                "values": {"pilot": {"env": {"EXTERNAL_CA": "ISTIOD_RA_KUBERNETES_API", "K8S_SIGNER": f"example.com/{name}"}}}},
            "workloads": [{"namespace": "sample", "injection": True,
                           "files": [str(ROOT / "tests/e2e/locality/where.yaml"), str(ROOT / "samples/sleep/sleep.yaml")]}],
            "lab": {"nodes": [{"name": f"{name}-node1", "address": f"192.168.229.{128 + 3 * index}", "podCIDR": f"172.{20 + index}.0.0/24"}],
                    "apiServer": f"192.168.229.{128 + 3 * index}:6443", "serviceCIDR": f"10.{68 + index}.0.0/16"}}
    return {"apiVersion": "isthmus.dev/v1", "kind": "Topology", "metadata": {"name": "external-ca"},
            "spec": {"clusters": [cluster(i, name) for i, name in enumerate(CLUSTERS)]}}


class ExternalCa(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = csr_signer.make_root(cls.folder.name, "root")
        cls.file = f"{cls.folder.name}/topology.yaml"
        with open(cls.file, "w") as out:
            yaml.safe_dump(topology(root), out)
        isthmus("lab", "up", "-f", cls.file, timeout=200)
        cls.signers = [csr_signer.Signer(c, f"example.com/{c}", cls.folder.name, "root", LIFE) for c in CLUSTERS]
        for signer in cls.signers:
            signer.__enter__()
        isthmus("up", "-f", cls.file, "--no-verify", timeout=300)

    @classmethod
    def tearDownClass(cls):
        for signer in cls.signers:
            signer.__exit__()
        isthmus("down", "-f", cls.file, check=False)
        cls.folder.cleanup()

    def certificate(self, cluster, app):
        """The leaf that a proxy presents, and its chain's subjects."""
        certs = json.loads(agent_request(cluster, "sample", lab.pod(cluster, "sample", app), "certs"))["certificates"]
        return next(c["cert_chain"] for c in certs if c.get("cert_chain"))[0]

    def test_1_each_cluster_asks_its_own_signer(self):
        for signer in self.signers:
            self.assertGreaterEqual(len(signer.signed), 2, signer.problems)
            leaf = self.certificate(signer.cluster, "where")
            names = {san.get("uri") for san in leaf["subject_alt_names"]}
            self.assertEqual({"spiffe://cluster.local/ns/sample/sa/default"}, names)
            # Requests are taken away when they are answered.
            until(lambda s=signer: len([i for i in get(s.cluster, "certificatesigningrequests")["items"]
                                        if i["spec"]["signerName"] == s.name]) <= 2, 20, "no leftovers")

    def test_2_both_clusters_trust_the_common_root(self):
        policy = ("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: sample}\n"
                  "spec: {mtls: {mode: STRICT}}\n")
        for cluster in CLUSTERS:
            kubectl(cluster, "apply", "-f", "-", text_in=policy)
        pods = {name for c in CLUSTERS for name in [lab.pod(c, "sample", "where")]}
        ask = lambda: execute("cluster1", "sample", "sleep", "curl", "-sS", "-m", "5", "http://where.sample:8080/?[1-40]", container="sleep").split()
        until(lambda: set(ask()) == pods, 40, "answers of both clusters under STRICT")

    def test_3_renewal_under_traffic(self):
        before = {c: self.certificate(c, "where")["serial_number"] for c in CLUSTERS}
        signed = [len(s.signed) for s in self.signers]
        # One request at a time, 20 a second, each on a connection of its own, for longer than two certificates live.
        count = 20 * 2 * LIFE
        out = execute("cluster1", "sample", "sleep", "curl", "-s", "-m", "5", "--rate", "20/s", "-w", "%{http_code}\n", "-o", "/dev/null",
                      "-H", "connection: close", f"http://where.sample:8080/?[1-{count}]", container="sleep", check=False, timeout=6 * LIFE)
        codes = out.stdout.split()
        self.assertEqual({"200"}, set(codes), out.stderr[-500:])
        self.assertGreaterEqual(len(codes), count)
        after = {c: self.certificate(c, "where")["serial_number"] for c in CLUSTERS}
        for i, cluster in enumerate(CLUSTERS):
            self.assertNotEqual(before[cluster], after[cluster])
            self.assertGreaterEqual(len(self.signers[i].signed) - signed[i], 4, "sleep and where, twice each")
        print(f"  {count} requests, none failed; certificates signed meanwhile: {[len(s.signed) - n for s, n in zip(self.signers, signed)]}")

    def test_4_a_signer_that_is_away_for_a_while(self):
        for signer in self.signers:
            signer.paused = True
        try:
            until(lambda: all(any(i["spec"]["signerName"] == s.name for i in get(s.cluster, "certificatesigningrequests")["items"])
                              for s in self.signers), LIFE, "requests that wait")
            self.assertIn("where", execute("cluster1", "sample", "sleep", "curl", "-sS", "-m", "5", "http://where.sample:8080/", container="sleep"))
        finally:
            for signer in self.signers:
                signer.paused = False
        serial = self.certificate("cluster1", "where")["serial_number"]
        until(lambda: self.certificate("cluster1", "where")["serial_number"] != serial, 2 * LIFE, "a new certificate")


if __name__ == "__main__":
    unittest.main(verbosity=2)
