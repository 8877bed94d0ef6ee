"""Other people's clients: kubectl as this machine has it and Debian's kubectl 1.20, against one cluster of the lab.

Every case does with a namespace of its own what users type. With KUBEBUILDER_ASSETS set the same cases run on a real API
server, which keeps them honest. Needs root.
"""
import base64
import json
import os
import pathlib
import pty
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.request

import yaml

import lab
from lab import ROOT, run, until

OLD = pathlib.Path(os.environ.get("ISTHMUS_THIRD_PARTY", ROOT / ".cache" / "third_party")) / "debian-kubectl" / "kubectl"
TOPOLOGY = """
apiVersion: isthmus.dev/v1
kind: Topology
metadata: {name: kubectl}
spec:
  clusters:
    - name: one
      network: network1
      lab:
        apiServer: 192.168.229.128:6443
        nodes:
          - {name: one-node1, address: 192.168.229.128, podCIDR: 172.20.0.0/24}
          - {name: one-node2, address: 192.168.229.129, podCIDR: 172.20.1.0/24}
        serviceCIDR: 10.68.0.0/16
"""
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 5000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: docker.io/istio/examples-helloworld-v1
          ports: [{containerPort: 5000}]
          readinessProbe: {httpGet: {path: /health, port: 5000}, periodSeconds: 1}
"""
SHELL = """
apiVersion: v1
kind: Pod
metadata: {name: sh, labels: {app: sh}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: main, image: busybox, command: [sh, -c, "echo from main; echo complaint >&2; exec sleep 3600"]}
    - {name: second, image: busybox, command: [sh, -c, "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done"]}
"""


def setUpModule():
    global folder, environment
    folder = tempfile.mkdtemp(prefix="isthmus-kubectl-")
    topology = pathlib.Path(folder, "topology.yaml")
    topology.write_text(TOPOLOGY)
    # Discovery that an earlier run left must not speak for this one.
    environment = {"HOME": folder, "KUBECONFIG": str(lab.LAB / "kubeconfig")}
    run(lab.BIN / "isthmus-lab", "up", "-f", topology, timeout=300)


def tearDownModule():
    run(lab.BIN / "isthmus-lab", "down", check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Cases:
    """The cases, for a class that names the program and the namespace."""
    PROGRAM = NAMESPACE = None

    @classmethod
    def setUpClass(cls):
        version = json.loads(run(cls.PROGRAM, "version", "--client", "-o", "json"))["clientVersion"]
        print(f"{cls.__name__}: kubectl {version['gitVersion']}")
        cls.minor = int(re.match(r"\d+", version["minor"])[0])
        run(cls.PROGRAM, "create", "namespace", cls.NAMESPACE, env=environment)
        cls.k("apply", "-f", "-", text_in=WEB)
        cls.k("apply", "-f", "-", text_in=SHELL)
        cls.k("rollout", "status", "deployment/web", "--timeout=60s")
        cls.k("wait", "--for=condition=Ready", "pod/sh", "--timeout=60s")

    @classmethod
    def k(cls, *words, **how):
        return run(cls.PROGRAM, "-n", cls.NAMESPACE, *words, env={**environment, **how.pop("env", {})}, **how)

    def refused(self, *words, **how):
        done = self.k(*words, check=False, **how)
        self.assertNotEqual(0, done.returncode, done.stdout)
        return done.stderr

    def open(self, *words, **how):
        """Starts a command that goes on until it is killed; its output is a stream of lines."""
        process = subprocess.Popen([self.PROGRAM, "-n", self.NAMESPACE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, env={**os.environ, **environment}, **how)
        ender = threading.Timer(60, process.kill)  # So that reading a line always ends.
        ender.start()
        for clean in (process.stdout.close, process.wait, process.kill, ender.cancel):
            self.addCleanup(clean)
        return process

    def line(self, process, pattern):
        for text in process.stdout:
            if re.search(pattern, text):
                return text
        self.fail(f"the output ended without {pattern}")

    # ---- reading

    def test_get_in_every_form(self):
        rows = [line.split() for line in self.k("get", "pods", "-l", "app=sh").splitlines()]
        self.assertEqual(["NAME", "READY", "STATUS", "RESTARTS", "AGE"], rows[0])
        self.assertEqual(["sh", "2/2", "Running", "0"], rows[1][:4])
        wide = self.k("get", "pods", "sh", "-o", "wide").splitlines()
        self.assertRegex(wide[0], r"IP +NODE +NOMINATED NODE +READINESS GATES")
        self.assertRegex(wide[1], r"172\.20\.\d\.\d+ +one-node\d +<none> +<none>")
        self.assertEqual("sh", json.loads(self.k("get", "pod", "sh", "-o", "json"))["metadata"]["name"])
        self.assertIn("\nkind: Pod\n", self.k("get", "pod", "sh", "-o", "yaml"))
        self.assertEqual("main second", self.k("get", "pod", "sh", "-o", "jsonpath={.spec.containers[*].name}"))
        self.assertEqual("sh", self.k("get", "pods", "-l", "app in (sh)", "-o", "jsonpath={.items[0].metadata.name}"))
        self.assertEqual("pod/sh\n", self.k("get", "pod", "sh", "-o", "name"))
        self.assertEqual("busybox", self.k("get", "pod", "sh", "-o", "go-template={{(index .spec.containers 0).image}}"))
        self.assertEqual(["N", "IMAGE"], self.k("get", "pod", "sh", "-o", "custom-columns=N:.metadata.name,IMAGE:.spec.containers[0].image").split()[:2])
        self.assertIn("sh", self.k("get", "pods", "--field-selector", "status.phase=Running", "--sort-by", ".metadata.name"))
        both = self.k("get", "deploy,svc", "web", "--show-labels")
        self.assertRegex(both, r"deployment.apps/web +1/1 +1 +1 +\S+ +app=web")
        self.assertRegex(both, r"service/web +ClusterIP +10\.68\.\d+\.\d+ +<none> +80/TCP +\S+ +app=web")
        self.assertRegex(self.k("get", "all"), r"replicaset.apps/web-\w+ +1 +1 +1")
        self.assertIn("sh", self.k("get", "pods", "--chunk-size=1", "-A"))
        self.assertIn("web", self.k("get", "endpointslices"))
        self.assertIn('pods "none" not found', self.refused("get", "pod", "none"))
        self.assertIn('the server doesn\'t have a resource type "nonsense"', self.refused("get", "nonsense"))
        nodes = self.k("get", "nodes")
        self.assertRegex(nodes, r"one-node1 +Ready +control-plane")
        self.assertRegex(nodes, r"one-node2 +Ready +<none>")

    def test_describe(self):
        pod = self.k("describe", "pod", "sh")
        for text in ("Status:", "Running", "Containers:", "second:", "Conditions:", "Node:", "QoS Class:", "BestEffort",
                     "Successfully assigned", "Started container"):
            self.assertIn(text, pod)
        web = self.k("describe", "deployment", "web")
        self.assertRegex(web, r"Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable")
        self.assertRegex(web, r"NewReplicaSet: +web-\w+ \(1/1 replicas created\)")
        self.assertIn("Scaled up replica set", web)
        self.assertRegex(self.k("describe", "service", "web"), r"Endpoints: +172\.20\.\d\.\d+:5000")
        node = self.k("describe", "node", "one-node1")
        self.assertRegex(node, r"KubeletReady")
        self.assertIn("Non-terminated Pods:", node)
        for kind in ("serviceaccount/default", "namespace/" + self.NAMESPACE, "configmap/kube-root-ca.crt", "replicaset"):
            self.k("describe", *kind.split("/"))

    def test_watch(self):
        watch = self.open("get", "configmaps", "-w", "-o", "name")
        self.line(watch, "kube-root-ca.crt")
        self.k("create", "configmap", "watched", "--from-literal=a=1")
        self.line(watch, "configmap/watched")
        self.k("delete", "configmap", "watched")
        events = self.open("get", "pods", "sh", "--watch", "--output-watch-events")
        self.assertRegex(self.line(events, "sh"), r"ADDED +sh +2/2")
        self.k("annotate", "pod", "sh", "seen=yes", "--overwrite")
        self.line(events, r"MODIFIED +sh")

    def test_discovery(self):
        self.assertRegex(self.k("api-resources"), r"(?m)^deployments +deploy +apps/v1 +true +Deployment")
        names = self.k("api-resources", "--namespaced=false", "-o", "name").split()
        self.assertIn("nodes", names)
        self.assertNotIn("pods", names)
        self.assertIn("apps/v1", self.k("api-versions").split())
        self.assertIn("is running at https://192.168.229.128:6443", re.sub(r"\x1b\[[\d;]*m", "", self.k("cluster-info")))
        self.assertIn("serverVersion", json.loads(self.k("version", "-o", "json")))
        explained = self.k("explain", "deployment.spec.strategy.rollingUpdate")
        self.assertIn("maxSurge", explained)
        self.assertRegex(explained, r"KIND: +Deployment")
        self.assertIn("containers", self.k("explain", "pod.spec", "--recursive"))
        self.assertIn("does not exist", self.refused("explain", "pod.nonsense"))

    def test_access(self):
        self.assertEqual("yes\n", self.k("auth", "can-i", "create", "deployments"))
        denied = self.k("auth", "can-i", "delete", "nodes", "--as", f"system:serviceaccount:{self.NAMESPACE}:default", check=False)
        self.assertEqual((1, "no"), (denied.returncode, denied.stdout.strip()))
        self.k("create", "role", "reader", "--verb=get,list", "--resource=pods")
        self.k("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={self.NAMESPACE}:default")
        until(lambda: self.k("auth", "can-i", "list", "pods", "--as", f"system:serviceaccount:{self.NAMESPACE}:default", check=False).returncode == 0)
        self.assertIn("sh", self.k("get", "pods", "--as", f"system:serviceaccount:{self.NAMESPACE}:default"))
        self.assertIn("is forbidden: User \"system:serviceaccount:", self.refused("get", "secrets", "--as", f"system:serviceaccount:{self.NAMESPACE}:default"))
        self.assertRegex(self.k("auth", "can-i", "--list", "--as", f"system:serviceaccount:{self.NAMESPACE}:default"), r"pods +\[\] +\[\] +\[get list\]")

    def test_token_of_a_pod(self):
        self.k("create", "role", "lister", "--verb=list", "--resource=services")
        self.k("create", "rolebinding", "lister", "--role=lister", f"--serviceaccount={self.NAMESPACE}:default")
        ask = ("curl -sS --cacert $D/ca.crt -H \"Authorization: Bearer $(cat $D/token)\" "
               f"https://kubernetes.default.svc/api/v1/namespaces/{self.NAMESPACE}/services")
        answer = lambda: json.loads(self.k("exec", "sh", "-c", "main", "--", "sh", "-c", "D=/var/run/secrets/kubernetes.io/serviceaccount; " + ask))
        until(lambda: answer()["kind"] == "ServiceList", 20, "the right to list")
        self.assertIn("web", [item["metadata"]["name"] for item in answer()["items"]])

    def test_certificates(self):
        name = self.NAMESPACE + "-jane"
        key, request = pathlib.Path(folder, name + ".key"), pathlib.Path(folder, name + ".csr")
        run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=jane/O=lookers")
        self.k("apply", "-f", "-", text_in=json.dumps({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": base64.b64encode(request.read_bytes()).decode(), "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}}))
        self.assertRegex(self.k("get", "csr", name), r"kubernetes\.io/kube-apiserver-client +kubernetes-admin .*Pending")
        self.k("certificate", "approve", name)
        text = until(lambda: self.k("get", "csr", name, "-o", "jsonpath={.status.certificate}"), 20, "the certificate")
        pathlib.Path(folder, name + ".crt").write_bytes(base64.b64decode(text))
        config = pathlib.Path(folder, name + ".kubeconfig")
        # Not by kubectl: Debian's falls over its own feet here.
        document = yaml.safe_load((lab.LAB / "kubeconfig").read_text())
        document["users"].append({"name": "jane", "user": {"client-certificate": f"{folder}/{name}.crt", "client-key": str(key)}})
        config.write_text(yaml.safe_dump(document))
        refused = self.refused("--kubeconfig", config, "--user", "jane", "get", "nodes")
        self.assertIn('User "jane" cannot list resource "nodes"', refused)
        self.assertRegex(self.k("get", "csr", name), "Approved,Issued")
        self.k("delete", "csr", name)

    # ---- writing

    def test_create_and_delete(self):
        self.k("create", "configmap", "cm", "--from-literal=a=1", "--from-literal=b=2")
        self.assertEqual("2", self.k("get", "cm", "cm", "-o", "jsonpath={.data.b}"))
        self.k("create", "secret", "generic", "hidden", "--from-literal=word=open")
        self.assertEqual("b3Blbg==", self.k("get", "secret", "hidden", "-o", "jsonpath={.data.word}"))
        self.k("create", "serviceaccount", "robot")
        self.k("create", "service", "clusterip", "made", "--tcp=80:8080")
        self.k("create", "quota", "quota", "--hard=configmaps=100")
        self.k("create", "deployment", "made", "--image=busybox", "--dry-run=server")
        self.assertIn("kind: Job", self.k("create", "job", "made", "--image=busybox", "--dry-run=client", "-o", "yaml"))
        self.assertIn("already exists", self.refused("create", "configmap", "cm"))
        self.assertEqual(["deleted"], list({line.split()[2] for line in self.k("delete", "cm/cm", "secret/hidden", "sa/robot", "svc/made", "quota/quota").splitlines()}))
        self.assertIn("not found", self.refused("delete", "cm", "cm"))
        self.k("delete", "cm", "cm", "--ignore-not-found")
        if self.minor >= 24:
            self.assertEqual(2, self.k("create", "token", "default", "--duration=10m").count("."))

    def test_apply(self):
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '1', b: '2'}\n"
        self.assertEqual("configmap/applied created\n", self.k("apply", "-f", "-", text_in=text))
        self.assertEqual("configmap/applied unchanged\n", self.k("apply", "-f", "-", text_in=text))
        changed = text.replace(", b: '2'", "")
        if shutil.which("diff"):
            diff = self.k("diff", "-f", "-", text_in=changed, check=False)
            self.assertEqual(1, diff.returncode, diff.stderr)
            self.assertIn("-  b:", diff.stdout)
        self.assertEqual("configmap/applied configured\n", self.k("apply", "-f", "-", text_in=changed))
        self.assertEqual({"a": "1"}, json.loads(self.k("get", "cm", "applied", "-o", "json"))["data"])
        self.assertEqual("configmap/served serverside-applied\n", self.k("apply", "--server-side", "-f", "-", text_in=text.replace("applied", "served")))
        conflict = self.refused("apply", "--server-side", "--field-manager=other", "-f", "-", text_in=text.replace("applied", "served").replace("'1'", "'9'"))
        self.assertIn("conflict", conflict)
        self.assertIn("replaced", self.k("replace", "-f", "-", text_in=text))
        wrong = self.refused("apply", "-f", "-", text_in=text.replace("\ndata:", "\ndta:"))
        self.assertRegex(wrong, r"unknown field")
        self.k("delete", "cm", "applied", "served")

    def test_change_in_place(self):
        self.k("create", "configmap", "plain", "--from-literal=a=1")
        self.k("label", "configmap", "plain", "colour=red")
        self.assertIn("colour", self.refused("label", "configmap", "plain", "colour=blue"))
        self.k("label", "configmap", "plain", "colour=blue", "--overwrite")
        self.assertEqual("configmap/plain\n", self.k("get", "cm", "-l", "colour=blue", "-o", "name"))
        self.k("label", "configmap", "plain", "colour-")
        self.k("annotate", "configmap", "plain", "note=here")
        self.k("patch", "configmap", "plain", "-p", '{"data":{"b":"2"}}')
        self.k("patch", "configmap", "plain", "--type=merge", "-p", '{"data":{"a":null}}')
        self.k("patch", "configmap", "plain", "--type=json", "-p", '[{"op":"add","path":"/data/c","value":"3"}]')
        made = json.loads(self.k("get", "cm", "plain", "-o", "json"))
        self.assertEqual({"b": "2", "c": "3"}, made["data"])
        self.assertEqual(("here", None), (made["metadata"]["annotations"]["note"], made["metadata"].get("labels")))
        self.assertIn("edited", self.k("edit", "configmap", "plain", env={"KUBE_EDITOR": "sed -i s/here/there/"}))
        self.assertEqual("there", self.k("get", "cm", "plain", "-o", "jsonpath={.metadata.annotations.note}"))
        self.k("create", "service", "clusterip", "outer", "--tcp=80:8080")
        self.k("patch", "service", "outer", "--type=merge", "-p", '{"spec":{"externalIPs":["192.168.229.77"]}}')
        self.assertRegex(self.k("get", "svc", "outer"), r"192\.168\.229\.77 +80/TCP")
        self.k("delete", "configmap/plain", "service/outer")

    def test_workloads(self):
        self.k("create", "deployment", "grow", "--image=docker.io/istio/examples-helloworld-v1")
        self.k("scale", "deployment/grow", "--replicas=2")
        self.k("rollout", "status", "deployment/grow", "--timeout=60s")
        self.assertEqual("2", self.k("get", "deploy", "grow", "-o", "jsonpath={.status.readyReplicas}"))
        self.k("set", "image", "deployment/grow", "examples-helloworld-v1=docker.io/istio/examples-helloworld-v2")
        self.k("rollout", "status", "deployment/grow", "--timeout=60s")
        self.assertRegex(self.k("rollout", "history", "deployment/grow"), r"(?s)1 .*2 ")
        self.k("rollout", "undo", "deployment/grow")
        self.k("rollout", "status", "deployment/grow", "--timeout=60s")
        self.assertIn("helloworld-v1", self.k("get", "deploy", "grow", "-o", "wide"))
        self.k("rollout", "restart", "deployment/grow")
        self.k("rollout", "pause", "deployment/grow")
        self.k("rollout", "resume", "deployment/grow")
        self.k("rollout", "status", "deployment/grow", "--timeout=60s")
        self.k("expose", "deployment", "grow", "--port=80", "--target-port=5000")
        self.k("autoscale", "deployment", "grow", "--min=1", "--max=3")
        self.assertRegex(self.k("get", "hpa", "grow"), r"Deployment/grow")
        self.k("wait", "--for=condition=Available", "deployment/grow", "--timeout=60s")
        self.k("delete", "deployment/grow", "service/grow", "hpa/grow")
        until(lambda: self.k("get", "pods", "-l", "app=grow", "-o", "name") == "", 60, "the end of the deployment's pods")
        self.k("create", "job", "once", "--image=busybox", "--", "sh", "-c", "echo done once")
        self.k("wait", "--for=condition=complete", "job/once", "--timeout=60s")
        self.assertEqual("done once\n", self.k("logs", "job/once"))
        self.k("delete", "job", "once")

    def test_run_and_nodes(self):
        self.k("run", "fleeting", "--image=busybox", "--restart=Never", "--command", "--", "sh", "-c", "exit 3")
        until(lambda: "Error" in self.k("get", "pod", "fleeting"), 30, "the pod's failure")
        self.assertEqual("3", self.k("get", "pod", "fleeting", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"))
        self.k("delete", "pod", "fleeting", "--grace-period=0", "--force")
        self.k("cordon", "one-node2")
        self.assertRegex(self.k("get", "nodes"), r"one-node2 +Ready,SchedulingDisabled")
        self.k("uncordon", "one-node2")
        self.k("taint", "nodes", "one-node2", "hold=yes:NoExecute-", check=False)

    # ---- inside pods

    def test_exec(self):
        self.assertEqual("hello\n", self.k("exec", "sh", "-c", "main", "--", "echo", "hello"))
        done = self.k("exec", "sh", "-c", "main", "--", "sh", "-c", "echo out; echo bad >&2; exit 7", check=False)
        self.assertEqual((7, "out\n"), (done.returncode, done.stdout))
        self.assertIn("bad", done.stderr)
        big = "0123456789abcdef" * 20000
        self.assertEqual(big, self.k("exec", "-i", "sh", "-c", "main", "--", "cat", text_in=big))
        self.assertIn("web", self.k("exec", "deploy/web", "--", "hostname"))
        self.assertIn("container", self.refused("exec", "sh", "-c", "none", "--", "true"))

    def test_exec_with_terminal(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([self.PROGRAM, "-n", self.NAMESPACE, "exec", "-it", "sh", "-c", "main", "--", "sh"],
                                   stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **environment}, start_new_session=True)
        os.close(slave)
        ender = threading.Timer(60, process.kill)
        ender.start()
        self.addCleanup(ender.cancel)
        os.write(master, b"tty; echo $((40+2)); exit 5\n")
        text = b""
        try:
            while chunk := os.read(master, 4096):
                text += chunk
        except OSError:
            pass  # The other side is closed.
        os.close(master)
        self.assertEqual(5, process.wait(), text)
        self.assertIn(b"/dev/pts/", text)
        self.assertIn(b"42", text)

    def test_logs(self):
        self.assertEqual("from main\ncomplaint\n", self.k("logs", "sh", "-c", "main"))
        self.assertEqual(1, len(self.k("logs", "sh", "-c", "second", "--tail=1").splitlines()))
        self.assertRegex(self.k("logs", "sh", "-c", "main", "--timestamps"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z from main")
        self.assertIn("from main", self.k("logs", "-l", "app=sh", "--all-containers", "--prefix"))
        self.assertIn("line", self.k("logs", "sh", "-c", "second", "--since=60s"))
        follow = self.open("logs", "-f", "sh", "-c", "second", "--tail=1")
        first = int(self.line(follow, r"line \d+").split()[1])
        self.line(follow, f"line {first + 3}$")
        self.assertIn("previous terminated container", self.refused("logs", "sh", "-c", "main", "--previous"))

    def test_port_forward(self):
        for target, port in (("pod/" + self.k("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}"), 5000),
                             ("service/web", 80), ("deployment/web", 5000)):
            forward = self.open("port-forward", target, f":{port}")
            local = re.search(r"127\.0\.0\.1:(\d+) -> 5000", self.line(forward, "Forwarding from 127"))[1]
            for _ in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{local}/hello", timeout=20) as answer:
                    self.assertIn(b"Hello version: v1", answer.read())
            forward.kill()

    def test_copy(self):
        source = pathlib.Path(folder, self.NAMESPACE + ".txt")
        source.write_text("copied\n" * 1000)
        self.k("cp", source, "sh:/tmp/there.txt", "-c", "main")
        self.k("cp", "sh:/tmp/there.txt", source.with_suffix(".back"), "-c", "main")
        self.assertEqual(source.read_text(), source.with_suffix(".back").read_text())

    def test_attach(self):
        self.assertIn("line", self.line(self.open("attach", "sh", "-c", "second"), r"^line \d+"))

    def test_definitions(self):
        plural = "things" + self.NAMESPACE
        crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": "Thing" + self.NAMESPACE.capitalize()},
            "versions": [{"name": "v1", "served": True, "storage": True, "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                          "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                              "size": {"type": "integer", "maximum": 9, "description": "How large."}}}}}}}]}}
        self.k("apply", "-f", "-", text_in=json.dumps(crd))
        self.k("wait", "--for=condition=Established", "crd/" + crd["metadata"]["name"], "--timeout=30s")
        thing = {"apiVersion": "example.com/v1", "kind": crd["spec"]["names"]["kind"], "metadata": {"name": "a"}, "spec": {"size": 3}}
        until(lambda: self.k("apply", "-f", "-", text_in=json.dumps(thing)), 20, "the new kind")
        self.assertRegex(self.k("get", plural), r"(?s)NAME +SIZE\s+a +3")
        until(lambda: "How large." in self.k("explain", plural + ".spec.size"), 20, "its explanation")
        thing["spec"]["size"] = 12
        self.assertIn("should be less than or equal to 9", self.refused("apply", "-f", "-", text_in=json.dumps(thing)))
        self.k("delete", "crd", crd["metadata"]["name"])

    def test_zz_namespace_deletion(self):
        name = self.NAMESPACE + "-gone"
        self.k("create", "namespace", name)
        run(self.PROGRAM, "-n", name, "create", "deployment", "d", "--image=busybox", "--", "sleep", "100", env=environment)
        self.k("delete", "namespace", name, timeout=90)
        self.assertIn("not found", self.refused("get", "namespace", name))


class Present(Cases, unittest.TestCase):
    PROGRAM, NAMESPACE = shutil.which("kubectl") or "kubectl", "present"


@unittest.skipUnless(OLD.exists(), f"Debian's kubectl 1.20 is not at {OLD}: run tools/setup/debian-kubectl")
class Debian(Cases, unittest.TestCase):
    PROGRAM, NAMESPACE = str(OLD), "debian"


if __name__ == "__main__":
    unittest.main(verbosity=2)
