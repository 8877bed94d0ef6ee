"""Bad input, typed as users do: a message that names the object, the field, the reason and what to do, an exit code that is not 0, and
nothing half done. Needs root for the one lab that it starts."""
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

import lab
from lab import BIN, ROOT, isthmus, kubectl

CLUSTER = """
    - name: {name}
      network: {network}
      lab:
        apiServer: {address}:6443
        nodes: [{{name: {name}-node, address: {address}, podCIDR: {pods}}}]
        serviceCIDR: {services}
"""
FIRST = dict(name="cluster1", network="network1", address="192.168.229.128", pods="172.20.0.0/24", services="10.68.0.0/16")
SECOND = dict(name="cluster2", network="network1", address="192.168.229.131", pods="172.21.0.0/24", services="10.69.0.0/16")


def topology(*clusters, name="bad-input", change=lambda text: text):
    text = "".join(CLUSTER.format(**cluster) for cluster in clusters)
    return change(f"apiVersion: isthmus.dev/v1\nkind: Topology\nmetadata: {{name: {name}}}\nspec:\n  clusters:{text}")


class BadInput(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="isthmus-bad-input-")
        self.addCleanup(self.folder.cleanup)
        self.lab_dir = pathlib.Path(self.folder.name) / "lab"

    def file(self, name, text):
        path = pathlib.Path(self.folder.name) / name
        path.write_text(text)
        return path

    def refused(self, *command, code=1, says=(), env=None, text_in=None):
        """The command fails with the code, and its message holds every one of the texts."""
        done = lab.run(*command, check=False, timeout=60, text_in=text_in, env={"ISTHMUS_LAB_DIR": str(self.lab_dir), **(env or {})})
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertLess(len(done.stderr.splitlines()), 8, done.stderr)
        self.assertFalse((self.lab_dir / "pid").exists(), "a lab was started")
        return done.stderr

    def up(self, text, **how):
        return self.refused(BIN / "isthmus", "up", "-f", self.file("topology.yaml", text), **how)

    def istioctl(self, *words, **how):
        return self.refused(BIN / "istioctl", *words, **how)

    # Files

    def test_broken_yaml(self):
        self.up("apiVersion: isthmus.dev/v1\nkind: Topology\nspec: [", says=["topology.yaml", "line 3"])
        broken = self.file("iop.yaml", "spec:\n  profile: demo\n bad\n")
        self.istioctl("install", "-y", "-f", broken, says=["iop.yaml", "line 3"])
        self.istioctl("validate", "-f", broken, says=["iop.yaml", "line 3"])
        self.refused(BIN / "istioctl", "analyze", "--use-kube=false", broken, code=65, says=["iop.yaml", "line 3"])
        self.istioctl("install", "-y", "-f", "/no/such.yaml", says=["/no/such.yaml", "No such file"])
        self.refused(BIN / "isthmus", "up", code=64, says=["--filename is required"])

    def test_unknown_fields_and_kinds(self):
        self.up(topology(FIRST, change=lambda t: t.replace("network:", "netwerk:")), says=["spec.clusters[0].netwerk", "correct the name"])
        self.up(topology(FIRST, change=lambda t: t.replace("Topology", "Topologie")), says=['kind is "Topologie"', "Topology"])
        self.refused(BIN / "isthmus", "lab", "up", "-f", self.file("lab.yaml", topology(FIRST, change=lambda t: t.replace("network:", "netwerk:"))),
                     says=["spec.clusters[0].netwerk"])
        iop = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: demo, values: {global: {netwrok: n1}}}\n"
        self.istioctl("install", "-y", "-f", self.file("iop.yaml", iop), says=["iop.yaml", "spec.values.global.netwrok", "correct the name"])
        self.istioctl("install", "-y", "-f", self.file("iop.yaml", iop.replace("IstioOperator", "IstioOperatr")),
                      says=["iop.yaml", "IstioOperatr", "IstioOperator is expected"])
        self.istioctl("install", "-y", "--set", "profile=dmeo", says=["dmeo", "demo"])
        self.istioctl("install", "-y", "--set", "values.global.network", says=["--set values.global.network", "path=value"])
        rule = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [a], htp: []}\n"
        self.istioctl("validate", "-f", self.file("rule.yaml", rule), says=["VirtualService/v", "htp"])

    def test_commands_that_do_not_exist(self):
        self.refused(BIN / "istioctl", "proxy-statu", code=64, says=['unknown command "proxy-statu"', "proxy-status"])
        self.refused(BIN / "istioctl", "ps", "--nosuch", code=64, says=["--nosuch"])
        self.refused(BIN / "isthmus", "vrify", code=64, says=["verify"])

    # Topologies that cannot work

    def test_two_clusters_with_the_same_name(self):
        self.up(topology(FIRST, {**SECOND, "name": "cluster1"}), says=["two clusters named cluster1", "rename one"])

    def test_overlapping_pod_ranges(self):
        self.up(topology(FIRST, {**SECOND, "pods": "172.20.0.128/25"}),
                says=["cluster1", "cluster2", "network1", "172.20.0.0/24", "172.20.0.128/25", "overlap", "change one"])

    def test_gateway_without_address(self):
        gateway = lambda t: t.replace("      lab:\n", "      eastWestGateway: {exposes: [services]}\n      lab:\n")
        self.up(topology(FIRST, {**SECOND, "network": "network2"}, change=gateway),
                says=["cluster1", "cluster2", "eastWestGateway gets no address", "externalIPs", "loadBalancer"])

    def test_missing_file_of_a_workload(self):
        files = lambda t: t.replace("      lab:\n", "      workloads: [{namespace: x, files: [no/such.yaml]}]\n      lab:\n")
        self.up(topology(FIRST, change=files), says=["cluster1", "no/such.yaml", "does not exist"])

    # The machine

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            text = topology(FIRST) + f"        ingressPort: {port}\n"
            self.up(text, says=["cluster1", f"ingressPort {port}", "in use", "another one"])

    def test_no_root(self):
        if os.geteuid() != 0:
            self.skipTest("is not root already")
        program = BIN / "isthmus"
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x", BIN / "isthmus-lab"], check=False)
        if done.returncode:
            self.skipTest("setpriv cannot be used here, or only root may see the programs")
        os.chmod(self.folder.name, 0o755)
        path = self.file("topology.yaml", topology(FIRST))
        self.refused("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "up", "-f", path, says=["root", "sudo"])

    def test_missing_packages(self):
        # A machine without nft: neither in PATH nor where Debian puts it is hard to make, so only the order of checks is looked at.
        empty = pathlib.Path(self.folder.name) / "empty"
        empty.mkdir()
        done = lab.run("unshare", "--mount", "sh", "-c", f"mount --bind {empty} /usr/sbin && PATH={BIN} exec {BIN}/isthmus-lab up -f "
                       f"{self.file('topology.yaml', topology(FIRST))}", check=False, env={"ISTHMUS_LAB_DIR": str(self.lab_dir)})
        self.assertEqual(1, done.returncode, done.stderr)
        self.assertRegex(done.stderr, r"program nft is missing; install Debian's package nftables")

    def test_envoy_missing(self):
        self.up(topology(FIRST), env={"ISTHMUS_ENVOY": "/no/such/envoy"}, says=["ISTHMUS_ENVOY", "/no/such/envoy", "tools/setup/fetch.py"])

    # Clusters

    def test_wrong_kubeconfig(self):
        self.istioctl("-c", "/no/such", "ps", says=["/no/such", "No such file"])
        self.istioctl("-c", self.file("k", "a: b\n"), "ps", says=["kubeconfig", "/k", "is it a kubeconfig?"])
        config = ("apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]\n"
                  "clusters: [{name: b, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: c, user: {token: x}}]\n")
        path = self.file("config", config)
        self.istioctl("-c", path, "--context", "other", "ps", says=['context "other" does not exist; there are: a'])
        self.istioctl("-c", path, "install", "-y", says=["127.0.0.1:1", "connection refused", "is it running"])
        text = "apiVersion: isthmus.dev/v1\nkind: Topology\nmetadata: {name: t}\nspec: {clusters: [{name: c, context: other}]}\n"
        self.refused(BIN / "isthmus", "up", "-c", path, "-f", self.file("t.yaml", text), says=["cluster c", 'context "other"', "there are: a"])


class WithALab(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="isthmus-bad-input-")
        cls.path = pathlib.Path(cls.folder.name)
        (cls.path / "topology.yaml").write_text(topology(FIRST))
        isthmus("lab", "up", "-f", cls.path / "topology.yaml")

    @classmethod
    def tearDownClass(cls):
        isthmus("lab", "down", check=False)
        cls.folder.cleanup()

    def refused(self, *words, says=()):
        done = lab.run(*words, check=False, timeout=60)
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)

    def test_an_old_lab_still_running(self):
        other = self.path / "other.yaml"
        other.write_text(topology(FIRST, name="other"))
        self.refused(BIN / "isthmus", "up", "-f", other, says=["another lab (bad-input) runs", "isthmus-lab down", "ISTHMUS_LAB_DIR"])
        self.assertIn("bad-input", isthmus("lab", "status"))

    def istioctl(self, *words, says=()):
        self.refused(BIN / "istioctl", "-c", lab.LAB / "kubeconfig", "--context", "cluster1", *words, says=says)

    def test_intermediate_that_does_not_chain_to_the_root(self):
        run = lambda line: lab.run("bash", "-ec", f"cd {self.path} && {line}")
        for root in ("one", "two"):
            run(f"mkdir -p {root} && cd {root} && make -f {ROOT}/tools/certs/Makefile.selfsigned.mk ROOTCA_KEYSZ=2048 INTERMEDIATE_KEYSZ=2048 root-ca cluster1-cacerts")
        files = " ".join(f"--from-file=one/cluster1/{n}.pem" for n in ("ca-cert", "ca-key", "cert-chain"))
        kubectl("cluster1", "create", "ns", "istio-system")
        try:
            kubectl_line = f"kubectl --kubeconfig {lab.LAB}/kubeconfig --context cluster1"
            run(f"{kubectl_line} create secret generic cacerts -n istio-system {files} --from-file=root-cert.pem=two/root-cert.pem")
            self.istioctl("install", "-y", says=["secret cacerts", "ca-cert.pem does not chain to root-cert.pem", "Makefile.selfsigned.mk"])
            # Nothing half done.
            found = kubectl("cluster1", "get", "deploy,svc,cm,sa", "-n", "istio-system", "-o", "name").split()
            self.assertEqual(set(), {name for name in found if "kube-root-ca" not in name and not name.endswith("/default")})
            self.assertNotIn("istio", kubectl("cluster1", "get", "crd", "-o", "name"))
            kubectl("cluster1", "delete", "secret", "cacerts", "-n", "istio-system")
            run(f"{kubectl_line} create secret generic cacerts -n istio-system {files}")
            self.istioctl("install", "-y", says=["secret cacerts", "root-cert.pem is missing"])
        finally:
            kubectl("cluster1", "delete", "ns", "istio-system")

    def test_a_remote_secret_with_a_bad_name(self):
        self.istioctl("create-remote-secret", "--name", "Cluster_1", says=["--name Cluster_1", "lower-case letters"])

    def test_what_is_not_there(self):
        self.istioctl("ps", says=["istio-system", "is the control plane installed"])
        self.istioctl("pc", "endpoint", "nosuch", says=['pod "nosuch" is not in namespace "default"', "POD.NAMESPACE"])
        self.istioctl("uninstall", says=["--purge", "-f FILE"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
