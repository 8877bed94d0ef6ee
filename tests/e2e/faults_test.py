"""It stands up again: every kind of process is killed, links are cut, API servers stop, all under a steady stream of requests.

What is asked of each case: what was broken comes back by itself and in time, requests that do not depend on it do not fail, and no
object is lost. The cases share one lab and run in the order of their names. Needs root.
"""
import json
import re
import time
import unittest

import lab
from lab import execute, get, isthmus, istioctl, kubectl, lab_process, pod, pod_ip, until
from stream import Stream, processes_of

TOPOLOGY = lab.topology("topologies/demo.yaml")
CLUSTERS = ("cluster1", "cluster2")
OTHER = {"cluster1": "cluster2", "cluster2": "cluster1"}
VERSION = {"cluster1": "version: v1", "cluster2": "version: v2"}
PROXIES = 11
# Kinds that come and go by themselves.
PASSING = re.compile(r"^(events|leases|certificatesigningrequests|endpointslices)\b")


def objects(cluster):
    """{"<kind> <namespace>/<name>": uid} of everything that a cluster keeps."""
    names = [name for name in kubectl(cluster, "api-resources", "--verbs=list", "-o", "name").split() if not PASSING.match(name)]
    line = '{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\\n"}{end}'
    out = kubectl(cluster, "get", ",".join(names), "-A", "-o", f"jsonpath={line}")
    return dict(row.rsplit(" ", 1) for row in out.splitlines() if row)


def pods_ready(cluster):
    items = get(cluster, "pods", "-A")["items"]
    return all(status["ready"] for item in items for status in item["status"].get("containerStatuses", [{"ready": False}]))


def proxies_synced(cluster):
    rows = [re.split(r" {2,}", line.strip()) for line in istioctl(cluster, "ps").splitlines()[1:]]
    own = [row for row in rows if row[1] == cluster]
    return len(own) == PROXIES and all(row[2:5] == ["SYNCED"] * 3 for row in own)


def clusterz(cluster, remote):
    out = execute(cluster, "istio-system", "istiod", "pilot-discovery", "request", "GET", "/debug/clusterz")
    return next(row for row in json.loads(out) if row["id"] == remote)


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.streams = {}
        isthmus("up", "-f", TOPOLOGY, "--no-verify", timeout=300)
        try:
            for cluster in CLUSTERS:
                sleep, local = pod(cluster, "sample", "sleep"), pod_ip(cluster, "sample", "helloworld")
                cls.streams[cluster, "hello"] = Stream(sleep, "sleep infinity", "http://helloworld.sample:5000/hello")
                cls.streams[cluster, "details"] = Stream(sleep, "sleep infinity", "http://details.bookinfo:9080/details/0")
                # Not balanced: never leaves the cluster.
                cls.streams[cluster, "local"] = Stream(sleep, "sleep infinity", f"http://{local}:5000/hello")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        for stream in cls.streams.values():
            stream.close()
        isthmus("down", "-f", TOPOLOGY, check=False)

    def setUp(self):
        self.before = {cluster: objects(cluster) for cluster in CLUSTERS}
        self.mark = time.monotonic()

    def no_failure(self, *kinds):
        for (cluster, kind), stream in self.streams.items():
            if kind in kinds:
                self.assertEqual([], stream.failures(self.mark), f"{kind} from {cluster}")

    def whole_again(self, seconds=60):
        """All pods are ready, all proxies in sync, both clusters answer in each, and every object is there with its UID."""
        for cluster in CLUSTERS:
            until(lambda c=cluster: pods_ready(c), seconds, f"ready pods in {cluster}")
            until(lambda c=cluster: proxies_synced(c), seconds, f"proxies of {cluster} in sync")
        mark = time.monotonic()
        for cluster in CLUSTERS:
            stream = self.streams[cluster, "hello"]
            for version in VERSION.values():
                until(lambda s=stream, v=version: s.has(v, mark), 30, f"{version} answers in {cluster}")
        for cluster in CLUSTERS:
            now = objects(cluster)
            self.assertEqual({}, {name: uid for name, uid in self.before[cluster].items() if now.get(name) != uid}, f"lost in {cluster}")

    def kill_in_pod(self, name, pattern):
        """Kills the processes of a pod that fit the pattern and waits until others have taken their place."""
        old = processes_of(name, pattern)
        self.assertTrue(old, f"{pattern} in {name}")
        lab.run("kill", "-9", *old)
        until(lambda: set(processes_of(name, pattern)) - set(old), 30, f"a new {pattern} in {name}")

    def kill_in_lab(self, name):
        old = lab_process(name)
        lab.run("kill", "-9", old)
        until(lambda: lab_process(name) not in (0, old), 15, f"a new {name}")

    def test_1_control_planes(self):
        for cluster in CLUSTERS:
            self.kill_in_pod(pod(cluster, "istio-system", "istiod"), "pilot-discovery discovery")
        self.whole_again()
        self.no_failure("hello", "details", "local")

    def test_2_agent(self):
        # The agent is the first process of its container, so Envoy goes with it.
        self.kill_in_pod(pod("cluster1", "sample", "helloworld"), "pilot-agent proxy")
        mark = time.monotonic()
        for cluster in CLUSTERS:
            until(lambda s=self.streams[cluster, "hello"]: s.has(VERSION["cluster2"], mark), 15, f"v2 goes on answering in {cluster}")
        self.whole_again()
        self.no_failure("details")
        # Only requests that were with the killed proxy, or came before its endpoint was withdrawn.
        for cluster in CLUSTERS:
            self.assertLess(len(self.streams[cluster, "hello"].failures(self.mark)), 10)

    def test_3_envoy(self):
        name = pod("cluster1", "sample", "helloworld")
        agent = processes_of(name, "pilot-agent proxy")
        self.kill_in_pod(name, "bin/envoy -c")
        self.whole_again()
        self.assertEqual(agent, processes_of(name, "pilot-agent proxy"), "the agent went on")
        self.no_failure("details")
        for cluster in CLUSTERS:
            self.assertLess(len(self.streams[cluster, "hello"].failures(self.mark)), 10)

    def test_4_envoy_while_no_control_plane_answers(self):
        name = pod("cluster1", "sample", "helloworld")
        isthmus("lab", "cut", "cluster1", "cluster2")
        kubectl("cluster1", "scale", "deploy/istiod", "-n", "istio-system", "--replicas=0")
        try:
            until(lambda: not [p for p in get("cluster1", "pods", "-n", "istio-system", "-l", "app=istiod")["items"]], 30, "istiod is gone")
            self.kill_in_pod(name, "bin/envoy -c")
            mark = time.monotonic()
            # From the copy that the agent keeps: inbound and outbound are configured, and the certificate is still in its memory.
            until(lambda: self.streams["cluster1", "local"].has(VERSION["cluster1"], mark), 30, "the pod serves again")
            until(lambda: "last configuration" in kubectl("cluster1", "logs", "-n", "sample", name, "-c", "istio-proxy"), 10, "the agent says so")
        finally:
            kubectl("cluster1", "scale", "deploy/istiod", "-n", "istio-system", "--replicas=1")
            isthmus("lab", "mend", "cluster1", "cluster2")
            self.before["cluster1"] = {k: v for k, v in self.before["cluster1"].items() if not k.startswith("Pod istio-system/istiod-")}
        self.whole_again()

    def test_5_api_servers(self):
        for cluster in CLUSTERS:
            self.kill_in_lab(f"{cluster}/apiserver")
            until(lambda c=cluster: get(c, "namespaces"), 15, f"the API server of {cluster} answers")
        self.whole_again()
        self.no_failure("hello", "details", "local")

    def test_6_controllers(self):
        self.kill_in_lab("cluster1/controllers")
        # Its work goes on: another replica comes, is injected, is reached, and goes again.
        kubectl("cluster1", "scale", "deploy/helloworld-v1", "-n", "sample", "--replicas=2")
        kubectl("cluster1", "rollout", "status", "deploy/helloworld-v1", "-n", "sample", "--timeout=60s")
        kubectl("cluster1", "scale", "deploy/helloworld-v1", "-n", "sample", "--replicas=1")
        until(lambda: len(get("cluster1", "pods", "-n", "sample", "-l", "app=helloworld")["items"]) == 1, 60, "one replica again")
        self.no_failure("details", "hello")
        # Which of the two replicas goes is not ours to say.
        self.before["cluster1"] = {k: v for k, v in self.before["cluster1"].items() if not k.startswith("Pod sample/helloworld-")}
        self.whole_again()
        self.streams["cluster1", "local"].close()
        self.streams["cluster1", "local"] = Stream(pod("cluster1", "sample", "sleep"), "sleep infinity",
                                                   f"http://{pod_ip('cluster1', 'sample', 'helloworld')}:5000/hello")

    def test_7_node(self):
        restarts = {i["metadata"]["name"]: [s["restartCount"] for s in i["status"]["containerStatuses"]] for i in get("cluster1", "pods", "-A")["items"]}
        self.kill_in_lab("cluster1/cluster1-node1")
        until(lambda: execute("cluster1", "sample", "sleep", "echo", "here", container="sleep"), 30, "exec works")
        self.whole_again()
        after = {i["metadata"]["name"]: [s["restartCount"] for s in i["status"]["containerStatuses"]] for i in get("cluster1", "pods", "-A")["items"]}
        self.assertEqual(restarts, after, "containers were taken over, not started again")
        self.no_failure("local")
        # The node also answers names: a request that asks for one just then has no answer (code 0).
        for kind in ("hello", "details"):
            failures = self.streams["cluster1", kind].failures(self.mark)
            self.assertLess(len(failures), 5)
            self.assertEqual({0}, {0} | {answer.code for answer in failures})
            self.assertEqual([], self.streams["cluster2", kind].failures(self.mark))

    def test_8_link_cut_and_mended(self):
        isthmus("lab", "cut", "cluster1", "cluster2")
        try:
            for cluster in CLUSTERS:
                until(lambda c=cluster: clusterz(c, OTHER[c]).get("stale"), 90, f"{cluster} says that it does not hear the other")
                # Nothing is withdrawn because it cannot be seen.
                self.assertGreater(clusterz(cluster, OTHER[cluster])["pods"], 5)
                out = istioctl(cluster, "pc", "endpoint", "-n", "sample", pod(cluster, "sample", "sleep"))
                self.assertIn(":15443", "".join(line for line in out.splitlines() if "||helloworld.sample" in line))
        finally:
            isthmus("lab", "mend", "cluster1", "cluster2")
        self.no_failure("local")
        for cluster in CLUSTERS:
            until(lambda c=cluster: not clusterz(c, OTHER[c]).get("stale"), 60, f"{cluster} hears the other again")
        self.whole_again()

    def test_9_api_server_stopped_and_started(self):
        isthmus("lab", "stop", "cluster1")
        try:
            until(lambda: clusterz("cluster2", "cluster1").get("stale"), 60, "cluster2 says that cluster1 is stale")
            self.assertGreater(clusterz("cluster2", "cluster1")["pods"], 5)
            mark = time.monotonic()
            for cluster in CLUSTERS:
                for version in VERSION.values():
                    until(lambda s=self.streams[cluster, "hello"], v=version: s.has(v, mark), 20, f"{version} in {cluster} without API server")
        finally:
            isthmus("lab", "start", "cluster1")
        until(lambda: get("cluster1", "namespaces"), 15, "the API server answers")
        until(lambda: not clusterz("cluster2", "cluster1").get("stale"), 60, "cluster2 hears cluster1 again")
        self.whole_again()
        self.no_failure("hello", "details", "local")

    # ---- Remote clusters come and go

    def remote_rows(self, cluster):
        """{cluster: status} as the control plane of a cluster reports it."""
        lines = istioctl(cluster, "remote-clusters").splitlines()[1:]
        cells = [re.split(r" {2,}", line.strip()) for line in lines]
        return {row[0]: row[-2] for row in cells}

    def secret_of(self, cluster):
        out = istioctl(cluster, "create-remote-secret", "--name", cluster)
        return re.sub(r"^---$", "", out, flags=re.M)

    def apply_secret(self, text):
        kubectl("cluster1", "apply", "-n", "istio-system", "-f", "-", text_in=text)

    def sees_the_other(self, mark):
        until(lambda: self.streams["cluster1", "hello"].has(VERSION["cluster2"], mark), 20, "cluster1 uses cluster2")

    def test_a_remote_secret_rotated(self):
        account = "istio-reader-service-account"
        for item in get("cluster2", "secrets", "-n", "istio-system")["items"]:
            if item.get("type") == "kubernetes.io/service-account-token" and item["metadata"]["annotations"]["kubernetes.io/service-account.name"] == account:
                kubectl("cluster2", "delete", "secret", "-n", "istio-system", item["metadata"]["name"])
        self.before["cluster2"] = {k: v for k, v in self.before["cluster2"].items() if not k.startswith("Secret istio-system/" + account)}
        # The old token is no longer believed, which shows when the API server has to be asked again.
        self.kill_in_lab("cluster2/apiserver")
        until(lambda: "stale" in self.remote_rows("cluster1")["cluster2"], 60, "the expired token shows")
        self.sees_the_other(time.monotonic())
        self.apply_secret(self.secret_of("cluster2"))
        until(lambda: self.remote_rows("cluster1")["cluster2"] == "synced", 30, "synced with the new token")
        self.whole_again()
        self.no_failure("hello", "details", "local")

    def test_b_garbage_changes_nothing(self):
        good = self.secret_of("cluster2")
        self.apply_secret(re.sub(r"(?s)stringData:.*", "stringData: {cluster2: 'not a: [kubeconfig'}\n", good))
        problems = until(lambda: "istio-remote-secret-cluster2" in execute("cluster1", "istio-system", "istiod", "pilot-discovery", "request", "GET",
                                                                           "/debug/problemz"), 15, "the problem is told")
        self.assertTrue(problems)
        self.assertEqual("synced", self.remote_rows("cluster1")["cluster2"])
        self.sees_the_other(time.monotonic())
        self.apply_secret(good)
        self.whole_again()
        self.no_failure("hello", "details", "local")

    def test_c_deleted_and_back(self):
        good = self.secret_of("cluster2")
        kubectl("cluster1", "delete", "secret", "-n", "istio-system", "istio-remote-secret-cluster2")
        self.before["cluster1"].pop("Secret istio-system/istio-remote-secret-cluster2")
        until(lambda: not self.streams["cluster1", "hello"].has(VERSION["cluster2"], time.monotonic() - 2), 30, "cluster1 is alone")
        self.assertNotIn("cluster2", self.remote_rows("cluster1"))
        self.apply_secret(good)
        self.whole_again()
        self.no_failure("details", "local")
        # A request may be on a connection to the gateway that closes as its endpoint goes; Envoy's default retries, which are Istio's, leave it out.
        lost = [answer for cluster in CLUSTERS for answer in self.streams[cluster, "hello"].failures(self.mark)]
        self.assertLessEqual(len(lost), 1, lost)
        self.assertTrue(all("connection termination" in answer.body for answer in lost), lost)

    def test_d_stored_state_where_the_other_is_away_at_the_start(self):
        # The state is written every ten seconds.
        until(lambda: "cluster2.state" in execute("cluster1", "istio-system", "istiod", "ls", "/var/lib/isthmus/state"), 30, "state on disk")
        isthmus("lab", "stop", "cluster2")
        try:
            self.kill_in_pod(pod("cluster1", "istio-system", "istiod"), "pilot-discovery discovery")
            until(lambda: "stored" in self.remote_rows("cluster1")["cluster2"], 30, "what was stored is served, and said to be")
            until(lambda: proxies_synced("cluster1"), 30, "proxies are in sync with it")
            self.sees_the_other(time.monotonic())
        finally:
            isthmus("lab", "start", "cluster2")
        until(lambda: self.remote_rows("cluster1")["cluster2"] == "synced", 60, "synced again")
        self.whole_again()
        self.no_failure("hello", "details", "local")


if __name__ == "__main__":
    unittest.main(verbosity=2)
