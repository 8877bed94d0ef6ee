"""The failure tests of seed s004: with the istiod of one primary off, the application of its cluster is taken away and put back."""
import lab
from lab import ROOT, until
from traffic import failure_step, missing_answers, requests_from_outside

ENOUGH = 40


@failure_step("turn_off_istiod")
def turn_off_istiod(run, item):
    cluster = where(run, item)
    run.type(cluster, f"{run.kubectl(cluster)} scale deploy istiod -n istio-system --replicas=0")
    until(lambda: not lab.get(cluster, "pods", "-n", "istio-system", "-l", "app=istiod")["items"], 60, "istiod gone")
    return []


def where(run, item):
    """A cluster, or "one primary", "that primary": the first."""
    return item["at"] if item["at"] in run.entry.clusters else run.entry.clusters[0]


def manifest(run, cluster):
    return ROOT / f"samples/envoydummy/envoydummy-{run.entry.clusters.index(cluster) + 1}.yaml"


@failure_step("delete_workload")
def delete_workload(run, item):
    cluster = where(run, item)
    run.type(cluster, f"{run.kubectl(cluster)} delete -f {manifest(run, cluster)} -n chapter08")
    return []


@failure_step("deploy_workload")
def deploy_workload(run, item):
    cluster = where(run, item)
    run.type(cluster, f"{run.kubectl(cluster)} create -f {manifest(run, cluster)} -n chapter08")
    run.type(cluster, f"{run.kubectl(cluster)} rollout status deploy/envoydummy -n chapter08 --timeout=60s")
    return []


@failure_step("redeploy_workload")
def redeploy_workload(run, item):
    return delete_workload(run, item) + deploy_workload(run, item)


@failure_step("send_requests")
def send_requests(run, item):
    """What is gone stops answering within the time that a change takes; after that every answer counts."""
    wanted = run.entry.expected["traffic"][0]
    answers = [answer for answer in wanted["answers"] if answer["version"] in item["expect"]] or wanted["answers"]

    def differences():
        got = requests_from_outside(run, wanted["enters_at"]["cluster"], wanted["url"], wanted["headers"], ENOUGH)
        failed = [answer for answer in got if answer[0] != "200"]
        found = [f"{item['expect']}: {len(failed)} of {ENOUGH} failed: {failed[0]}"] if failed else []
        return found + missing_answers(item["expect"], [body for code, body in got if code == "200"], answers)

    last = []

    def settled():
        last[:] = differences()
        return not last
    try:
        until(settled, 20, item["expect"])
    except AssertionError:
        return last
    return []
