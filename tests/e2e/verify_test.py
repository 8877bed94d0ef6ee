"""`isthmus verify` against a mesh that is broken on purpose, one thing after the other: each time it must fail and name the object that
is the cause, and be content again once that is mended. Needs root."""
import contextlib
import json
import unittest

import lab
from lab import ROOT, get, isthmus, istioctl, kubectl

TOPOLOGY = "tests/e2e/two_clusters.yaml"
VIEW = "view of helloworld.sample:5000"


def verify(*flags):
    """(exit code, list of checks)"""
    done = isthmus("verify", "-f", TOPOLOGY, "-o", "json", *flags, check=False, timeout=180)
    return done.returncode, json.loads(done.stdout)


def apply(cluster, text):
    kubectl(cluster, "apply", "-f", "-", text_in=text)


class Verify(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        isthmus("up", "-f", TOPOLOGY, "--no-traffic", timeout=300)

    @classmethod
    def tearDownClass(cls):
        isthmus("down", "-f", TOPOLOGY, check=False)

    @contextlib.contextmanager
    def broken(self, cause, cluster, mend, traffic=False):
        """Verifies that what was just broken is told, lets the caller look closer, and mends it."""
        try:
            code, checks = verify(*([] if traffic else ["--no-traffic"]))
            self.assertEqual(1, code, checks)
            causes = [(c["object"], c["cluster"]) for c in checks if c["check"] == "cause"]
            self.assertEqual([(cause, cluster)], causes)
            yield checks
        finally:
            mend()
        code, checks = verify("--no-traffic")
        self.assertEqual([], [c for c in checks if not c["ok"]])
        self.assertEqual(0, code)

    def explained(self, checks):
        return next(c["explains"] for c in checks if c["check"] == "cause")

    def test_01_views_and_traffic_of_a_whole_mesh(self):
        out = isthmus("verify", "-f", TOPOLOGY, timeout=180)
        self.assertIn("cluster1 (network network1, control plane cluster1)", out)
        self.assertRegex(out, r"helloworld.sample:5000 +172\.20\.0\.\d+:5000 +pod of cluster1 +\d of \d\n")
        self.assertRegex(out, r" +192\.168\.229\.101:15443 +gateway into network2 +\d of \d\n")
        self.assertRegex(out, r"FROM +TO +REQUESTS +FAILED +cluster1 +cluster2\n")
        self.assertRegex(out, r"cluster1 sample/sleep +http://helloworld.sample:5000/hello +20 +0 +\d+ +\d+\n")
        code, checks = verify()
        self.assertEqual(0, code)
        for row in (c for c in checks if c["check"].startswith("traffic from")):
            self.assertEqual(20, sum(row["sentTo"].values()), row)
            self.assertEqual({"cluster1", "cluster2"}, set(row["sentTo"]))
        view = next(c for c in checks if c["check"] == VIEW and c["cluster"] == "cluster2")
        self.assertEqual({"cluster1": "gateway into network1", "cluster2": "pod of cluster2"},
                         {e["cluster"]: e["origin"] for e in view["expected"]})

    def test_02_remote_secret_deleted(self):
        kubectl("cluster1", "delete", "secret", "-n", "istio-system", "istio-remote-secret-cluster2")

        def mend():
            secret = istioctl("cluster2", "x", "create-remote-secret", "--name=cluster2")
            kubectl("cluster1", "apply", "-f", "-", text_in=secret)

        with self.broken("Secret istio-system/istio-remote-secret-cluster2", "cluster1", mend) as checks:
            view = next(c for c in checks if c["check"] == VIEW and c["cluster"] == "cluster1")
            self.assertFalse(view["ok"])
            self.assertTrue(all("192.168.229.101:15443" not in held for held in view["others"].values()), view)
            self.assertGreater(self.explained(checks), 0)

    def test_03_network_label_wrong(self):
        label = lambda value: kubectl("cluster2", "label", "ns", "istio-system", f"topology.istio.io/network={value}", "--overwrite")
        label("network9")
        with self.broken("Namespace istio-system", "cluster2", lambda: label("network2")):
            pass

    def test_04_gateway_without_address(self):
        patch = lambda value: kubectl("cluster2", "patch", "svc", "-n", "istio-system", "istio-eastwestgateway", "-p",
                                      json.dumps({"spec": {"externalIPs": value}}))
        patch(None)
        with self.broken("Service istio-system/istio-eastwestgateway", "cluster2", lambda: patch(["192.168.229.101"])) as checks:
            self.assertGreater(self.explained(checks), 0)

    def test_05_service_of_the_other_cluster_missing(self):
        kubectl("cluster2", "delete", "svc", "-n", "sample", "helloworld")
        mend = lambda: kubectl("cluster2", "apply", "-n", "sample", "-f", ROOT / "samples/helloworld/helloworld.yaml", "-l", "app=helloworld")
        with self.broken("Service sample/helloworld", "cluster2", mend, traffic=True) as checks:
            self.assertGreater(self.explained(checks), 0)

    def test_06_peer_authentication(self):
        apply("cluster1", "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: plain, namespace: sample}\n"
                          "spec: {mtls: {mode: DISABLE}}\n")
        mend = lambda: kubectl("cluster1", "delete", "peerauthentication", "-n", "sample", "plain")
        with self.broken("PeerAuthentication sample/plain", "cluster1", mend) as checks:
            self.assertGreater(self.explained(checks), 0)

    def test_07_destination_rule_turns_tls_off(self):
        apply("cluster1", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: plain, namespace: sample}\n"
                          "spec: {host: helloworld, trafficPolicy: {tls: {mode: DISABLE}}}\n")
        mend = lambda: kubectl("cluster1", "delete", "destinationrule", "-n", "sample", "plain")
        with self.broken("DestinationRule sample/plain", "cluster1", mend) as checks:
            self.assertGreater(self.explained(checks), 0)

    def test_08_gateway_object_missing(self):
        kubectl("cluster2", "delete", "gw", "-n", "istio-system", "cross-network-gateway")
        mend = lambda: kubectl("cluster2", "apply", "-n", "istio-system", "-f", ROOT / "samples/multicluster/expose-services.yaml")
        with self.broken("Gateway istio-system/cross-network-gateway", "cluster2", mend, traffic=True) as checks:
            self.assertGreater(self.explained(checks), 0)

    def test_09_roots_that_differ(self):
        # As proxies of cluster2 would see it if its control plane had a root of its own. The other one must not stand in: it would put things right.
        def stand_in(setting):
            kubectl("cluster1", "set", "env", "-n", "istio-system", "deploy/istiod", setting)
            kubectl("cluster1", "rollout", "status", "deploy", "-n", "istio-system", "istiod", "--timeout=60s")

        stand_in("ISTHMUS_FAILOVER=false")
        name = ("istio-ca-root-cert", "-n", "istio-system")
        before = get("cluster2", "cm", *name)["data"]["root-cert.pem"]
        kubectl("cluster2", "scale", "deploy", "-n", "istio-system", "istiod", "--replicas=0")
        lab.until(lambda: not get("cluster2", "pods", "-n", "istio-system", "-l", "app=istiod")["items"], 60, "no istiod")
        other = lab.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other", "-days", "1")

        def patch(pem):
            kubectl("cluster2", "patch", "cm", *name, "--type=merge", "-p", json.dumps({"data": {"root-cert.pem": pem}}))

        def mend():
            patch(before)
            kubectl("cluster2", "scale", "deploy", "-n", "istio-system", "istiod", "--replicas=1")
            kubectl("cluster2", "rollout", "status", "deploy", "-n", "istio-system", "istiod", "--timeout=60s")
            stand_in("ISTHMUS_FAILOVER-")

        patch(other)
        with self.broken("Secret istio-system/cacerts", "cluster2", mend):
            pass

    def test_10_gateways_let_no_stranger_in(self):
        """Whoever has no certificate of the mesh gets through the gateway to nobody, and hosts outside of the mesh lead nowhere."""
        def ask(sni):
            line = (f"printf 'GET /hello HTTP/1.1\\r\\nHost: helloworld.sample\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 "
                    f"openssl s_client -connect 192.168.229.101:15443 -servername {sni} -alpn istio -ign_eof 2>&1")
            return isthmus("lab", "shell", "cluster1", "--", "bash", "-c", line, check=False).stdout

        inside = ask("outbound_.5000_._.helloworld.sample.svc.cluster.local")
        self.assertIn("BEGIN CERTIFICATE", inside)  # It is the workload that answers, end to end,
        self.assertNotIn("Hello version", inside)   # and asks who is there.
        for sni in ("outbound_.80_._.example.com", "example.com", "helloworld.sample.svc.cluster.local"):
            outside = ask(sni)
            self.assertNotIn("BEGIN CERTIFICATE", outside, sni)

    def test_99_mended_traffic_flows(self):
        code, checks = verify()
        self.assertEqual([], [c for c in checks if not c["ok"]])
        self.assertEqual(0, code)


if __name__ == "__main__":
    unittest.main(verbosity=2)
