"""Catalogue entry s000-2c-multiprimary-diffnet typed by hand, step after step, as its guide does; it must end in the catalogue's result. Needs root."""
import pathlib
import re
import tempfile
import unittest

import yaml

import lab
from lab import ROOT, isthmus, until

ENTRY = "s000-2c-multiprimary-diffnet"
TOPOLOGY = lab.topology(f"topologies/{ENTRY}.yaml")
CLUSTERS = ("cluster1", "cluster2")
EXTRA = {"cluster1": "sentinel-rls-server", "cluster2": "nginx"}


class ByHand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        catalogue = yaml.safe_load((ROOT / "tests/catalogue/topologies.yaml").read_text())
        cls.entry = next(t for t in catalogue["topologies"] if t["id"] == ENTRY)
        cls.folder = tempfile.TemporaryDirectory()
        cls.host_before = lab.host_network()
        isthmus("lab", "up", "-f", TOPOLOGY)

    @classmethod
    def tearDownClass(cls):
        isthmus("lab", "down", check=False)
        cls.folder.cleanup()

    def on(self, cluster, line, **how):
        """Types a line on the first machine of a cluster."""
        return isthmus("lab", "shell", cluster, "--", "bash", "-ec", f"cd {self.folder.name} && {line}", **{"timeout": 240, **how})

    def step(self, step):
        cluster, do = step["at"], step["do"]
        multicluster = ROOT / "samples/multicluster"
        lines = {
            "label_network": lambda: f"kubectl label namespace istio-system topology.istio.io/network={step['network']}",
            "create_remote_secret": lambda: f"istioctl x create-remote-secret --name={step['name']} --server={step['server']} > remote-secret-{step['name']}.yaml",
            "apply_remote_secret": lambda: f"kubectl apply -f remote-secret-{step['of']}.yaml",
            "install": lambda: f"echo y | istioctl install -f {step['file']}",
            "install_east_west_gateway": lambda: f"{multicluster}/gen-eastwest-gateway.sh --mesh {step['mesh']} --cluster {step['cluster']} "
                                                 f"--network {step['network']} | istioctl install -y -f -",
            "patch_external_ip": lambda: "kubectl patch svc -n istio-system istio-eastwestgateway -p "
                                         "'{\"spec\":{\"externalIPs\":[\"" + step["ip"] + "\"]}}'",
            "expose_services": lambda: f"kubectl apply -n istio-system -f {multicluster}/expose-services.yaml",
            "restart_deployments": lambda: "; ".join(f"kubectl rollout restart deploy -n {ns}" for ns in step["namespaces"]),
            "exec_check": lambda: 'kubectl exec -n istio "$(kubectl get pod -n istio -l app=ratings -o jsonpath=\'{.items[0].metadata.name}\')" '
                                  "-- curl -sS productpage.istio:9080/productpage",
            "apply_config": lambda: f"kubectl apply -n istio -f {step['object']}.yaml",
        }
        if do == "exec_check":
            self.wait_for_deployments()
            page = until(lambda: self.on(cluster, lines[do]()), 60, "the product page")
            self.assertIn("Simple Bookstore App", page)
        else:
            self.on(cluster, lines[do]())

    def wait_for_deployments(self):
        for cluster in CLUSTERS:
            for ns in ("istio-system", "istio"):
                self.on(cluster, f"for d in $(kubectl get deploy -n {ns} -o name); do kubectl rollout status -n {ns} $d --timeout=180s; done")

    def write_files(self):
        folder = pathlib.Path(self.folder.name)
        for cluster in self.entry["clusters"]:
            (folder / f"{cluster['name']}.yaml").write_text(yaml.safe_dump(cluster["install"]["istio_operator"]))
        catalogue = yaml.safe_load((ROOT / "tests/catalogue/topologies.yaml").read_text())
        for name in ("bookinfo-gateway", "bookinfo"):
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(catalogue["objects"][name]))

    def before_the_steps(self):
        """What the catalogue takes for granted: certificates of one root, namespaces, bookinfo."""
        makefile = ROOT / "tools/certs/Makefile.selfsigned.mk"
        self.on("cluster1", f"mkdir -p certs && cd certs && make -f {makefile} root-ca && " +
                " && ".join(f"make -f {makefile} {c}-cacerts" for c in CLUSTERS))
        for cluster in CLUSTERS:
            files = " ".join(f"--from-file=certs/{cluster}/{n}.pem" for n in ("ca-cert", "ca-key", "root-cert", "cert-chain"))
            self.on(cluster, f"kubectl create namespace istio-system && kubectl create secret generic cacerts -n istio-system {files}")
            self.on(cluster, "kubectl create ns istio && kubectl label ns istio istio-injection=enabled")
            self.on(cluster, f"kubectl apply -n istio -f {ROOT}/samples/bookinfo/platform/kube/bookinfo.yaml -f {ROOT}/topologies/extra/{EXTRA[cluster]}.yaml")

    def rows(self, cluster):
        lines = self.on(cluster, "istioctl ps").splitlines()
        cells = [re.split(r" {2,}", line.strip()) for line in lines]
        return {(re.sub(r"-[a-z0-9]+-[a-z0-9]{5}\.", ".", c[0]), c[1], *c[2:5]) for c in cells[1:]}

    def expected_rows(self, cluster):
        return {(f"{row['proxy']}.{row['namespace']}", row["from_clusters"][0], *row["sync"][:3])
                for row in self.entry["expected"]["proxy_status"][cluster]["rows"]}

    def held_endpoints(self, view):
        gateway = lab.pod(view["viewer"], "istio-system", "istio-ingressgateway")
        out = self.on(view["viewer"], f"istioctl pc endpoint -n istio-system {gateway} | grep productpage")
        return {tuple(re.split(r" {2,}", line.strip())) for line in out.splitlines() if view["envoy_cluster"] in line}

    def wanted_endpoints(self, view):
        wanted = set()
        for want in view["want"]:
            address = want.get("address")
            if want["kind"] == "pod":
                address = f"{lab.pod_ip(want['cluster'], 'istio', 'productpage')}:{want['port']}"
            wanted.add((address, view["status"], view["outlier_check"], view["envoy_cluster"]))
        return wanted

    def test_steps_end_in_the_catalogues_result(self):
        self.write_files()
        self.before_the_steps()
        for step in self.entry["steps"]:
            with self.subTest(step=step):
                self.step(step)
        for cluster in CLUSTERS:
            until(lambda c=cluster: self.rows(c) == self.expected_rows(c), 60, f"ps rows of {cluster}")
        for view in self.entry["expected"]["endpoints"]:
            until(lambda v=view: self.held_endpoints(v) == self.wanted_endpoints(v), 30, f"endpoints of {view['viewer']}")
        for cluster in CLUSTERS:
            out = self.on(cluster, "istioctl remote-clusters")
            self.assertEqual(2, out.count("synced"), out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
