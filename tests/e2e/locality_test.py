"""Which cluster serves how much: shares by ready pods, locality rules, failover from readiness and from failures.

Three clusters in three regions on two networks (tests/e2e/locality); cluster1 and cluster2 use the same pod addresses. The
cases run in the order of their names on one lab. What goes through a gateway is balanced there by connection, so the rules
ask for one request a connection where shares are measured. Needs root.
"""
import collections
import unittest

import lab
from lab import ROOT, execute, get, isthmus, istioctl, kubectl, until

FOLDER = ROOT / "tests/e2e/locality"
CLUSTERS = ("cluster1", "cluster2", "cluster3")
REQUESTS = 240


def rule(traffic_policy):
    return ("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: where, namespace: sample}\n"
            "spec:\n  host: where\n  trafficPolicy:\n"
            "    connectionPool: {http: {maxRequestsPerConnection: 1}}\n" + traffic_policy)


OUTLIER = "    outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 300s, maxEjectionPercent: 100}\n"


class Locality(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        isthmus("up", "-f", FOLDER / "one-gateway.yaml", timeout=400)
        for cluster in CLUSTERS:
            kubectl(cluster, "apply", "-f", "-", text_in=rule(""))

    @classmethod
    def tearDownClass(cls):
        isthmus("down", "-f", FOLDER / "one-gateway.yaml", check=False)

    def setUp(self):
        self.rule_set, self.marked, self.scaled = False, set(), set()

    def tearDown(self):
        """Takes back what the case did, and waits until all three clusters answer again, so that the next starts from there."""
        changed = self.rule_set or self.marked or self.scaled
        if self.rule_set:
            self.set_rule("")
        for cluster, name, file in self.marked:
            kubectl(cluster, "exec", "-n", "sample", name, "-c", "where", "--", "rm", "-f", f"/tmp/{file}")
        for cluster in self.scaled:
            self.scale(cluster, 1)
        if changed:
            self.await_answers("cluster1", CLUSTERS)

    def pods(self, cluster):
        """Names of the pods that may answer; a pod's name tells its cluster apart, since every deployment's has its own."""
        names = []
        for item in get(cluster, "pods", "-n", "sample", "-l", "app=where")["items"]:
            if "deletionTimestamp" not in item["metadata"] and item["status"].get("phase") == "Running":
                names.append(item["metadata"]["name"])
        return names

    def scale(self, cluster, replicas):
        kubectl(cluster, "scale", "deploy/where", "-n", "sample", f"--replicas={replicas}")
        kubectl(cluster, "rollout", "status", "deploy/where", "-n", "sample", "--timeout=60s")
        until(lambda: len(self.pods(cluster)) == replicas, 30, f"{replicas} pods in {cluster}")

    def scale_for_this_case(self, cluster, replicas):
        self.scaled.add(cluster)
        self.scale(cluster, replicas)

    def mark(self, cluster, file, how="touch"):
        """Makes the first pod of a cluster unready or failing, by the file that it looks for; `rm -f` takes it back."""
        name = self.pods(cluster)[0]
        kubectl(cluster, "exec", "-n", "sample", name, "-c", "where", "--", *how.split(), f"/tmp/{file}")
        self.marked.add((cluster, name, file))

    def set_rule(self, traffic_policy):
        self.rule_set = bool(traffic_policy)
        for cluster in CLUSTERS:
            kubectl(cluster, "apply", "-f", "-", text_in=rule(traffic_policy))

    def shares(self, cluster, host="where", count=REQUESTS):
        """Per cent of the answers that each cluster gave, and "failed" when some request failed."""
        owner = {name: c for c in CLUSTERS for name in self.pods(c)}
        out = execute(cluster, "sample", "sleep", "curl", "-sS", "-m", "5", "-w", "%{http_code}\n",
                      f"http://{host}.sample:8080/?[1-{count}]", container="sleep", check=False).stdout
        lines = out.split()
        answers = collections.Counter(owner.get(name, "failed") if code == "200" else "failed"
                                      for name, code in zip(lines[::2], lines[1::2]))
        answers["failed"] += count - sum(answers.values())
        return {c: round(100 * n / count) for c, n in answers.items() if n}

    def await_answers(self, cluster, clusters, host="where"):
        """Waits until a few requests are answered by these clusters and no other."""
        last = {}

        def settled():
            last["few"] = self.shares(cluster, host, 40)
            return set(last["few"]) == set(clusters)

        until(settled, 60, lambda: f"answers from {sorted(clusters)} seen from {cluster} (last {last})")

    def await_shares(self, cluster, wanted, tolerance=9, host="where"):
        """Waits until the clusters that answer are the wanted ones, each with its share of many requests, none of which failed."""
        self.await_answers(cluster, wanted, host)
        if len(wanted) == 1:  # It has all, then.
            return
        last = {}

        def fits():
            last["shares"] = shares = self.shares(cluster, host)
            return set(shares) == set(wanted) and all(abs(shares[c] - share) <= tolerance for c, share in wanted.items())

        # Who answers may be right a little before the weights are.
        until(fits, 15, lambda: f"shares {wanted} seen from {cluster} (last {last})")
        print(f"  {self.id().rsplit('.', 1)[-1]}: from {cluster} {last['shares']}")

    def test_01_shares_follow_ready_pods_through_one_gateway(self):
        self.scale_for_this_case("cluster3", 2)
        for cluster in CLUSTERS:
            self.await_shares(cluster, {"cluster1": 25, "cluster2": 25, "cluster3": 50})
        # Not ready is enough to be left out, and the others share by their numbers.
        self.mark("cluster3", "unready")
        self.await_shares("cluster1", {"cluster1": 33, "cluster2": 33, "cluster3": 33})
        self.mark("cluster1", "unready")
        self.await_shares("cluster1", {"cluster2": 50, "cluster3": 50})
        self.await_shares("cluster2", {"cluster2": 50, "cluster3": 50})

    def test_02_services_kept_to_their_cluster(self):
        for cluster in CLUSTERS:
            self.await_shares(cluster, {cluster: 100}, host="own")

    def test_03_distribute_through_one_gateway(self):
        # The client keeps to 70:30; what comes to the gateway it deals by the pods of its network.
        self.set_rule("    loadBalancer:\n      localityLbSetting:\n        distribute:\n"
                      "          - {from: r1/*, to: {r1/*: 70, r2/*: 20, r3/*: 10}}\n")
        self.await_shares("cluster1", {"cluster1": 70, "cluster2": 15, "cluster3": 15})

    def test_04_a_second_gateway_joins_the_running_mesh(self):
        isthmus("up", "-f", FOLDER / "two-gateways.yaml", "--no-verify", timeout=300)
        out = istioctl("cluster1", "pc", "endpoint", "-n", "sample", lab.pod("cluster1", "sample", "sleep"))
        rows = [line for line in out.splitlines() if "outbound|8080||where.sample" in line]
        self.assertEqual(3, len(rows), out)

    def test_05_shares_follow_ready_pods_through_two_gateways(self):
        self.scale_for_this_case("cluster3", 2)
        for cluster in CLUSTERS:
            self.await_shares(cluster, {"cluster1": 25, "cluster2": 25, "cluster3": 50})

    def test_06_distribute_through_two_gateways(self):
        # Each gateway obeys the rule for its own place, so the client's shares arrive where they were meant.
        self.set_rule("    loadBalancer:\n      localityLbSetting:\n        distribute:\n"
                      "          - {from: r1/*, to: {r1/*: 70, r2/*: 20, r3/*: 10}}\n"
                      "          - {from: r2/*, to: {r2/*: 100}}\n"
                      "          - {from: r3/*, to: {r3/*: 100}}\n")
        self.await_shares("cluster1", {"cluster1": 70, "cluster2": 20, "cluster3": 10})
        self.await_shares("cluster2", {"cluster2": 100})

    def test_07_failover_from_readiness(self):
        self.set_rule(("    loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}\n" + OUTLIER))
        self.await_shares("cluster1", {"cluster1": 100})
        self.mark("cluster1", "unready")
        self.await_shares("cluster1", {"cluster3": 100})
        self.mark("cluster3", "unready")
        self.await_shares("cluster1", {"cluster2": 100})
        self.mark("cluster1", "unready", "rm -f")
        self.await_shares("cluster1", {"cluster1": 100})

    def test_08_failover_from_failures(self):
        self.set_rule(("    loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}\n" + OUTLIER))
        self.await_shares("cluster1", {"cluster1": 100})
        # Ready, but all it says is 503.
        self.mark("cluster1", "failing")
        self.await_shares("cluster1", {"cluster3": 100})

    def test_09_failover_by_labels(self):
        self.set_rule("    loadBalancer:\n      localityLbSetting:\n"
                      "        failoverPriority: [topology.istio.io/network, topology.kubernetes.io/region]\n" + OUTLIER)
        self.await_shares("cluster3", {"cluster3": 100})
        self.mark("cluster3", "unready")
        # The own network comes before the other.
        self.await_shares("cluster3", {"cluster2": 100})

    def test_10_traffic_distribution_of_a_service(self):
        for cluster in CLUSTERS:
            kubectl(cluster, "patch", "svc/where", "-n", "sample", "-p", '{"spec":{"trafficDistribution":"PreferClose"}}')
        try:
            for cluster in CLUSTERS:
                self.await_shares(cluster, {cluster: 100})
            self.mark("cluster2", "unready")
            self.await_shares("cluster2", {"cluster3": 100})
        finally:
            for cluster in CLUSTERS:
                kubectl(cluster, "patch", "svc/where", "-n", "sample", "-p", '{"spec":{"trafficDistribution":null}}')

    def test_11_a_cluster_leaves_and_joins_again(self):
        isthmus("up", "-f", FOLDER / "without-cluster3.yaml", "--no-verify", timeout=300)
        for cluster in ("cluster1", "cluster2"):
            self.assertNotIn("cluster3", istioctl(cluster, "remote-clusters"))
        self.await_answers("cluster1", ("cluster1", "cluster2"))
        isthmus("up", "-f", FOLDER / "one-gateway.yaml", "--no-verify", timeout=300)
        self.await_answers("cluster1", CLUSTERS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
