"""The commands of the guides, typed as written (or in the form that kubectl of today takes), against two small clusters in one mesh.
Numbers C03 and so on are those of the list of forms that the guides use. Needs root."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import lab
from lab import BIN, LAB, ROOT, get, isthmus, until

TOPOLOGY = "tests/e2e/two_clusters.yaml"
ENV = {"KUBECONFIG": str(LAB / "kubeconfig"), "CTX_CLUSTER1": "cluster1", "CTX_CLUSTER2": "cluster2", "EDITOR": "true"}
SLEEP = """"$(kubectl get pod --context="${CTX_CLUSTER1}" -n sample -l app=sleep -o jsonpath='{.items[0].metadata.name}')\""""
# (number, line, what its output must match)
READING = [
    ("C03", "kubectl version --context=$CTX_CLUSTER1", r"Client Version[\s\S]*Server Version[\s\S]*v1\.32"),
    ("C06", "kubectl config view -o json | python3 -c 'import json, sys; [print(c[\"name\"]) for c in json.load(sys.stdin)[\"clusters\"]]'",
     r"cluster1\ncluster2"),
    ("C07", "kubectl config use-context cluster1; export ORIGINAL_CONTEXT=$(kubectl config current-context); kubectl config use-context "
            "$CTX_CLUSTER2; kubectl config use-context $ORIGINAL_CONTEXT; unset ORIGINAL_CONTEXT; kubectl config current-context", r"cluster1$"),
    ("C08", "kubectl --context=$CTX_CLUSTER2 config view --minify=true -o jsonpath='{.clusters[].name}'", r"^cluster2$"),
    ("C08", "kubectl --context=$CTX_CLUSTER2 config view --minify=true -o jsonpath='{.clusters[].cluster.server}'",
     r"^https://192\.168\.229\.131:6443$"),
    ("C09", "kubectl --context=\"${CTX_CLUSTER1}\" cluster-info dump | grep -m 1 service-cluster-ip-range | grep -Eoe '[0-9./]{9,}'",
     r"^10\.68\.0\.0/16$"),
    ("C31", "kubectl get namespace istio-system --context=cluster1 && kubectl label namespace istio-system --context=cluster1 "
            "topology.istio.io/network=network1 --overwrite", r"istio-system +Active +\S+\nnamespace/istio-system (not )?labeled"),
    ("C32", "kubectl --context=cluster1 annotate namespace istio-system topology.istio.io/controlPlaneClusters=cluster1 --overwrite",
     r"namespace/istio-system annotated"),
    ("C38", "kubectl get pods --context=$CTX_CLUSTER1 -n istio-system -l 'istio!=ingressgateway'", r"NAME +READY +STATUS +RESTARTS +AGE\n[\s\S]*istiod-"),
    ("C38", "kubectl get pods --context=$CTX_CLUSTER1 -n istio-system -l istio=eastwestgateway", r"istio-eastwestgateway-\S+ +1/1 +Running"),
    ("C39", "kubectl get mutatingwebhookconfiguration/istio-sidecar-injector --context=\"${CTX_CLUSTER2}\" -o json", r'"caBundle": "LS0t'),
    ("C51", "kubectl --context=cluster1 get svc istio-eastwestgateway -n istio-system",
     r"NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE\nistio-eastwestgateway +LoadBalancer +10\.68\.\S+ +192\.168\.229\.100 +15021:\d+/TCP,15443:\d+/TCP,15012"),
    ("C52", "kubectl --context=cluster1 get svc istio-eastwestgateway -n istio-system -o jsonpath='{.spec.clusterIP}'", r"^10\.68\."),
    ("C52", "kubectl get --context=$CTX_CLUSTER1 svc --selector=app=istio-eastwestgateway -n istio-system -o jsonpath='{.items[0].spec.externalIPs[0]}'",
     r"^192\.168\.229\.100$"),
    ("C50", "kubectl --context=cluster1 patch svc -n istio-system istio-eastwestgateway -p '{\"spec\":{\"externalIPs\":[\"192.168.229.100\"]}}'",
     r"service/istio-eastwestgateway patched"),
    ("C85", "kubectl get pod --context=cluster1 -n sample -l app=helloworld", r"helloworld-v1-\S+ +2/2 +Running"),
    ("C85", "kubectl get po --context=cluster2 -n sample", r"sleep-\S+ +2/2 +Running"),
    ("C90", "istioctl --context=cluster1 ps", r"NAME +CLUSTER +CDS +LDS +EDS +RDS +ECDS +ISTIOD +VERSION\n[\s\S]*sleep-\S+\.sample +cluster1 +SYNCED"),
    ("C91", f"istioctl --context=cluster1 pc endpoint -n sample {SLEEP} | grep helloworld",
     r"(?m)^192\.168\.229\.101:15443 +HEALTHY +OK +outbound\|5000\|\|helloworld\.sample\.svc\.cluster\.local$"),
    ("C91", f"istioctl --context=cluster1 pc endpoint {SLEEP} -n sample | grep helloworld", r"HEALTHY +OK"),
    ("C92", f"kubectl exec --context=\"${{CTX_CLUSTER1}}\" -n sample -c sleep {SLEEP} -- curl -sS helloworld.sample:5000/hello", r"Hello version: v[12], instance: helloworld-v[12]-"),
    ("C92", f"kubectl exec --context=cluster1 -i -n sample -c sleep {SLEEP} -- curl -sS helloworld.sample:5000/hello", r"Hello version: v"),
    ("C94", f"kubectl logs --context=cluster1 -n sample {SLEEP} istio-proxy --tail=5", r"."),
    ("C94", "kubectl logs --context=cluster1 -n sample -l app=sleep -c istio-proxy --tail=3", r"."),
]


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix="isthmus-commands-")
        cls.folder = pathlib.Path(cls.temporary.name)
        isthmus("lab", "up", "-f", TOPOLOGY)
        cls.before = {c: cls.inventory(c) for c in ("cluster1", "cluster2")}
        isthmus("up", "-f", TOPOLOGY, "--no-traffic", timeout=300)

    @classmethod
    def tearDownClass(cls):
        isthmus("lab", "down", check=False)
        cls.temporary.cleanup()

    @classmethod
    def type(cls, line, **how):
        """Types a line on this machine, whose kubeconfig has a context for each cluster."""
        return lab.run("bash", "-ec", f"cd {cls.folder} && {line}", env=ENV, **{"timeout": 180, **how})

    @classmethod
    def inventory(cls, cluster):
        """Names of all objects of a cluster but those that come and go by themselves."""
        kinds = cls.type(f"kubectl --context {cluster} api-resources --verbs=list -o name").split()
        kinds = [k for k in kinds if not re.match(r"(events|leases|endpointslices|endpoints|pods|nodes)\b", k)]
        names = set()
        for item in json.loads(cls.type(f"kubectl --context {cluster} get {','.join(kinds)} -A -o json"))["items"]:
            names.add(f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}")
        return names

    def expect(self, line, pattern):
        self.assertRegex(self.type(line), pattern, line)

    def test_10_flags_before_and_behind(self):
        for line in ("istioctl --context=cluster2 ps", "istioctl ps --context=cluster2", f"istioctl -c {LAB}/kubeconfig ps --context cluster2",
                     f"istioctl x -c {LAB}/kubeconfig proxy-status --context=cluster2"):
            with self.subTest(line=line):
                self.expect(line, r"helloworld-v2-\S+\.sample +cluster2")

    def test_11_versions(self):
        self.expect("istioctl version --context=cluster1",
                    r"client version: (\S+)\ncontrol plane version: \1\ndata plane version: \1 \(3 proxies\)\n")
        data = json.loads(self.type("istioctl version --context=cluster1 -o json"))
        self.assertEqual(3, len(data["dataPlaneVersion"]))

    def test_12_old_forms(self):
        done = self.type("istioctl verify-install", check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("analyze", done.stderr)

    def test_15_forms_that_read(self):
        for number, line, pattern in READING:
            with self.subTest(number=number, line=line):
                until(lambda l=line, p=pattern: re.search(p, self.type(l)), 20, f"{number} {line}: {pattern}")

    def test_20_profiles(self):
        self.expect("istioctl profile list", r"    default\n    demo\n    empty\n")
        for profile, gateways in (("default", ["ingressGateways"]), ("demo", ["ingressGateways", "egressGateways"]), ("minimal", []), ("empty", [])):
            spec = json.loads(self.type(f"istioctl profile dump {profile} -o json"))["spec"]
            on = [kind for kind in ("ingressGateways", "egressGateways") if any(g.get("enabled", True) for g in spec["components"].get(kind, []))]
            self.assertEqual(gateways, on, profile)
        self.assertEqual(self.type("istioctl profile dump"), self.type("istioctl profile dump default"))
        self.assertEqual(1, self.type("istioctl profile diff default demo", check=False).returncode)
        self.assertEqual(0, self.type("istioctl profile diff demo demo", check=False).returncode)

    def test_21_manifests(self):
        out = self.type("istioctl manifest generate --set profile=demo --set hub=example.com/mesh --set values.global.imagePullPolicy=IfNotPresent "
                        "--set values.global.proxy.clusterDomain=cluster.local")
        self.assertIn("image: example.com/mesh/pilot:", out)
        self.assertIn("imagePullPolicy: IfNotPresent", out)
        gateway = (f"{ROOT}/samples/multicluster/gen-eastwest-gateway.sh --mesh mesh1 --cluster cluster2 --network network2 > gateway.yaml && "
                   "sed -i 's/istio-eastwestgateway/second-gateway/' gateway.yaml && "
                   "istioctl manifest generate -f gateway.yaml --set values.global.istioNamespace=istio-system")
        before = self.inventory("cluster2")
        self.expect(f"{gateway} | kubectl apply --context=\"${{CTX_CLUSTER2}}\" -f -", r"deployment.apps/second-gateway created")
        self.type("kubectl --context cluster2 -n istio-system rollout status deploy second-gateway --timeout=90s")
        self.expect(f"{gateway} | kubectl --context=$CTX_CLUSTER2 delete -f -", r'deployment.apps "second-gateway" deleted')
        until(lambda: self.inventory("cluster2") == before, 60, "all of the second gateway gone")

    def test_22_definitions_alone(self):
        for path in ("manifests/charts/base/crds/crd-all.gen.yaml", "manifests/charts/base/files/crd-all.gen.yaml"):
            self.expect(f"kubectl apply --server-side --force-conflicts -f {ROOT}/{path} --context=\"${{CTX_CLUSTER2}}\"",
                        r"customresourcedefinition.apiextensions.k8s.io/virtualservices.networking.istio.io serverside-applied")

    def test_30_remote_secret_forms(self):
        forms = ("istioctl x create-remote-secret --context=\"${CTX_CLUSTER2}\" --name=cluster2",
                 f"istioctl x -c {LAB}/kubeconfig create-remote-secret --context=\"${{CTX_CLUSTER2}}\" --name=cluster2",
                 "istioctl create-remote-secret --context=cluster2 --name=cluster2 --type=remote --namespace=istio-system --create-service-account=false",
                 "istioctl x create-remote-secret --context=cluster2 --name=cluster2 --server=https://192.168.229.131:6443")
        for form in forms:
            with self.subTest(form=form):
                self.expect(f"{form} | kubectl apply -f - --context=\"${{CTX_CLUSTER1}}\"", r"secret/istio-remote-secret-cluster2 (configured|unchanged)")
        self.expect(f"{forms[3]} | grep server:", r"server: https://192\.168\.229\.131:6443")
        self.expect("istioctl remote-clusters --context=cluster1", r"cluster2 +istio-system/istio-remote-secret-cluster2 +synced")

    def test_31_secret_by_hand_labelled_later(self):
        """C72: the data key names the cluster, and the label may come later."""
        (self.folder / "n2-k8s-config").write_text(json.loads(self.type("istioctl create-remote-secret --context=cluster2 --name=c -o json"))["stringData"]["c"])
        self.type("kubectl create --context=$CTX_CLUSTER1 secret generic n2-k8s-secret --from-file n2-k8s-config -n istio-system")
        try:
            self.type("kubectl label --context=$CTX_CLUSTER1 secret n2-k8s-secret istio/multiCluster=true -n istio-system")
            until(lambda: re.search(r"n2-k8s-config +istio-system/n2-k8s-secret +synced", self.type("istioctl remote-clusters --context=cluster1")),
                  30, "the cluster of the labelled secret")
        finally:
            self.type("kubectl delete secret n2-k8s-secret -n istio-system --context=cluster1")
        until(lambda: "n2-k8s-config" not in self.type("istioctl remote-clusters --context=cluster1"), 30, "the cluster forgotten")

    def test_40_gateway_service(self):
        ports = {p["name"]: p["port"] for p in get("cluster1", "svc", "istio-eastwestgateway", "-n", "istio-system")["spec"]["ports"]}
        self.assertEqual({"status-port": 15021, "tls": 15443, "tls-istiod": 15012, "tls-webhook": 15017}, ports)

    def test_50_api_versions(self):
        for version in ("v1alpha3", "v1beta1", "v1"):
            self.type(f"kubectl apply --context=cluster1 -n sample -f - <<EOF\napiVersion: networking.istio.io/{version}\nkind: Gateway\n"
                      "metadata: {name: cluster-aware-gateway}\nspec:\n  selector: {istio: ingressgateway}\n  servers:\n"
                      "  - port: {number: 443, name: tls, protocol: TLS}\n    tls: {mode: AUTO_PASSTHROUGH}\n    hosts: ['*.local']\nEOF")
            self.assertEqual("networking.istio.io/v1", get("cluster1", "gateways.v1.networking.istio.io", "cluster-aware-gateway", "-n", "sample")["apiVersion"])
        self.expect("kubectl delete gw cluster-aware-gateway -n sample --context=cluster1", r"deleted")

    def test_51_edit_and_delete(self):
        """C37, C80, C82, C96, C97."""
        editor = self.folder / "editor"
        editor.write_text("#!/usr/bin/env python3\nimport pathlib, re, sys\nfile = pathlib.Path(sys.argv[1])\n"
                          "file.write_text(re.sub(r'meshNetworks: (\\|-?\\n +)?.*', 'meshNetworks: \"networks: {network1: {endpoints: "
                          "[{fromRegistry: cluster1}]}}\"', file.read_text()))\n")
        editor.chmod(0o755)
        self.expect(f"EDITOR={editor} kubectl edit cm istio -n istio-system --context=cluster1", r"configmap/istio edited")
        self.expect("kubectl --context=cluster1 get cm istio -n istio-system -o jsonpath='{.data.meshNetworks}'", "fromRegistry: cluster1")
        self.expect("kubectl create ns chapter08 --context=cluster1 && kubectl label --context=cluster1 namespace chapter08 istio-injection=enabled",
                    r"namespace/chapter08 created\nnamespace/chapter08 labeled")
        self.expect(f"kubectl create configmap envoy-dummy --from-file={editor} -n chapter08 --context=cluster1", r"configmap/envoy-dummy created")
        self.expect("kubectl delete ns chapter08 --context=cluster1", r'namespace "chapter08" deleted')
        for _ in range(2):  # It must not fail where the label is missing.
            self.type("kubectl label namespace istio-system --context=cluster1 topology.istio.io/nosuch-")
        self.expect("kubectl label namespace istio-system --context=cluster1 istio.test=1 && kubectl label namespace istio-system --context=cluster1 istio.test-",
                    r"namespace/istio-system (un)?labeled\n$")

    def test_52_configuration_stays_with_its_control_plane(self):
        route = lambda cluster: self.type(f"istioctl pc route --context={cluster} deploy/sleep.sample --name 5000 -o json")
        before = route("cluster2")
        self.type("kubectl apply --context=cluster1 -n sample -f - <<EOF\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
                  "metadata: {name: here}\nspec: {hosts: [helloworld], http: [{match: [{uri: {prefix: /only-here}}], "
                  "route: [{destination: {host: helloworld}}]}, {route: [{destination: {host: helloworld}}]}]}\nEOF")
        until(lambda: "/only-here" in route("cluster1"), 20, "the route in cluster1")
        self.assertEqual(before, route("cluster2"))
        self.expect("kubectl delete vs here -n sample --context=cluster1", "deleted")

    def test_55_tenants(self):
        """Users with a role in one namespace of one cluster write there and nowhere else, and do not see the key of the CA."""
        self.type("kubectl --context=cluster1 create role developer -n sample --verb=get,list,create,delete --resource=configmaps,deployments.apps && "
                  "kubectl --context=cluster1 create rolebinding dev1 -n sample --role=developer --user=dev1")
        may = lambda cluster, what: self.type(f"kubectl --context={cluster} --as=dev1 auth can-i {what}", check=False).stdout.strip()
        self.assertEqual("yes", may("cluster1", "create configmaps -n sample"))
        self.type("kubectl --context=cluster1 --as=dev1 create configmap mine -n sample && kubectl --context=cluster1 --as=dev1 delete configmap mine -n sample")
        for cluster, what in (("cluster2", "create configmaps -n sample"), ("cluster1", "create configmaps -n istio-system"),
                              ("cluster1", "get secret/cacerts -n istio-system"), ("cluster1", "update mutatingwebhookconfigurations")):
            self.assertEqual("no", may(cluster, what), (cluster, what))
        refused = self.type("kubectl --context=cluster1 --as=dev1 get secret cacerts -n istio-system", check=False)
        self.assertIn("Forbidden", refused.stderr)
        self.type("kubectl --context=cluster1 delete role/developer rolebinding/dev1 -n sample")

    def test_60_pods_and_logs(self):
        self.expect("kubectl rollout restart deploy -n sample --context=cluster2", r"deployment.apps/helloworld-v2 restarted\ndeployment.apps/sleep restarted")
        self.type("for d in helloworld-v2 sleep; do kubectl --context cluster2 -n sample rollout status deploy $d --timeout=90s; done")
        until(lambda: re.search(r"(?m)^helloworld-v2-\S+ +2/2 +Running", self.type("kubectl get po -n sample --context=cluster2")), 30, "2/2")
        self.expect("kubectl logs -n sample --context=cluster2 deploy/helloworld-v2 --tail=3 2>&1", r"helloworld serves on")

    def test_70_looking_for_faults(self):
        self.expect("istioctl x describe pod --context=cluster1 deploy/helloworld-v1.sample",
                    r"Pod: helloworld-v1-\S+\.sample\n[\s\S]*Service: helloworld\.sample\n   Port: http 5000/HTTP[\s\S]*Workload mTLS mode: PERMISSIVE")
        self.expect("istioctl x describe svc --context=cluster1 helloworld.sample", r"Service: helloworld\.sample")
        self.expect("istioctl x check-inject --context=cluster1 deploy/sleep.sample", r"istio-sidecar-injector +default +✔ +Namespace label istio-injection=enabled")
        self.expect("istioctl x injector list --context=cluster1", r"sample +default +default: 2\n")
        self.expect("istioctl x internal-debug clusterz --context=cluster1", r'"id": "cluster2"')
        self.expect("istioctl x internal-debug --list --context=cluster1", r"/debug/syncz")
        self.expect("istioctl x envoy-stats deploy/sleep.sample --context=cluster1", r"cluster_manager\.cds\.update_success")
        self.expect("istioctl x authz check deploy/sleep.sample --context=cluster1", r"No AuthorizationPolicy")
        self.expect("istioctl x precheck --context=cluster1 2>&1", r"No issues found")
        self.expect("istioctl analyze --context=cluster1 -n sample 2>&1", r"No validation issues found")
        self.expect("istioctl bug-report --context=cluster1 --include sample 2>&1 && tar tzf bug-report.tar.gz | sort",
                    r"bug-report/istio/istiod-\S+/debug/syncz\n[\s\S]*bug-report/proxies/sample/sleep-\S+/config_dump")
        secrets = self.type("tar xzOf bug-report.tar.gz bug-report/cluster/secrets.yaml")
        self.assertIn("redacted", secrets)
        self.assertNotIn("LS0t", secrets)

    def test_72_port_forward(self):
        for line, path, text in (("istioctl port-forward deploy/helloworld-v1.sample :5000 --context=cluster1", "/hello", "Hello version: v1"),
                                 ("istioctl dashboard istiod-debug --context=cluster1", "/debug/clusterz", "cluster2")):
            process = subprocess.Popen(["bash", "-c", f"exec {line}"], stdout=subprocess.PIPE, text=True,
                                       env={**os.environ, **ENV, "PATH": f"{BIN}:{os.environ['PATH']}"})
            try:
                port = re.search(r"localhost:(\d+)", process.stdout.readline()).group(1)
                for _ in range(3):
                    self.expect(f"curl -sS -m 10 http://127.0.0.1:{port}{path}", text)
            finally:
                process.terminate()
                self.assertEqual(0, process.wait(20))
                process.stdout.close()

    def test_71_explain(self):
        out = self.type("istioctl explain deploy/sleep.sample helloworld.sample:5000 --context=cluster1")
        self.assertRegex(out, r"172\.20\.0\.\d+:5000 +cluster1 +network1 \(\S[^)]*\) +EndpointSlice \S.* +yes +itself: same network")
        self.assertRegex(out, r"172\.21\.0\.\d+:5000 +cluster2 +network2 \(\S[^)]*\) +EndpointSlice \S.* +yes +192\.168\.229\.101:15443: gateway into network2")

    def test_75_tags(self):
        self.expect("istioctl tag set prod --revision default --context=cluster1", r'Revision tag "prod" created')
        self.type("kubectl create ns tagged --context=cluster1 && kubectl label ns tagged istio.io/rev=prod --context=cluster1")
        self.expect("istioctl tag list --context=cluster1", r"prod +default +tagged")
        again = self.type("istioctl tag set prod --revision default --context=cluster1", check=False)
        self.assertEqual(1, again.returncode)
        self.assertIn("--overwrite", again.stderr)
        self.type(f"kubectl apply -n tagged -f {ROOT}/samples/sleep/sleep.yaml --context=cluster1")
        until(lambda: re.search(r"2/2 +Running", self.type("kubectl get po -n tagged --context=cluster1")), 60, "injected by the tag")
        self.type("kubectl delete ns tagged --context=cluster1")
        self.expect("istioctl tag remove prod -y --context=cluster1", r"Revision tag prod removed")

    def test_90_uninstall_leaves_nothing(self):
        iop = self.folder / "cluster1.yaml"
        iop.write_text("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n")
        out = self.type(f"istioctl x uninstall -f {iop} --context=cluster1 -y")
        self.assertIn("Uninstall complete", out)
        left = {name for name in self.inventory("cluster1") if " istio-system/" in name and name.startswith(("Deployment", "Service "))}
        self.assertEqual(set(), left)
        for cluster in ("cluster1", "cluster2"):
            self.expect(f"echo y | istioctl uninstall --purge --context={cluster}", r"All Istio resources will be pruned[\s\S]*Uninstall complete")
            self.type(f"kubectl delete ns istio-system sample --context={cluster}")
            until(lambda c=cluster: not self.inventory(c) - self.before[c], 60, f"nothing left in {cluster}: {self.inventory(cluster) - self.before[cluster]}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
