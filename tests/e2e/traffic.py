"""Makes the requests of a catalogue entry and finds out who answered; and its failure tests."""
import collections
import re

import expectations
import lab
from lab import ROOT

ENOUGH = 40  # Requests of a check: with three clusters, one of them is missed by chance once in some ten million runs.
ROUNDS = 4  # How often that many are made until each cluster has answered.

_failure_functions = {}


def failure_step(kind):
    """Registers a function(run, step) for a step of a failure test; it gives differences."""
    def register(function):
        _failure_functions[kind] = function
        return function
    return register


def traffic(run):
    differences = []
    for item in run.entry.expected["traffic"]:
        differences += _kinds[item["kind"]](run, item)
    return differences + access_logs(run)


def failures(run):
    """The failure test of an entry, step by step."""
    differences = []
    for item in run.entry.expected.get("ha_test", {}).get("steps", []):
        function = _failure_functions.get(item["do"])
        differences += function(run, item) if function else [f"no function for failure step {item['do']}"]
    return differences


# What a proxy's access log says of the requests that were made

def access_logs(run):
    differences = []
    for want in run.entry.expected.get("access_log", []):
        cluster, fields = want["cluster"], want["fields"]
        view = next(view for view in run.entry.expected["endpoints"] if view["viewer"] == cluster)
        wanted = {address for one in view["want"] for address in expectations.addresses_of(one, view["service"])}
        line = re.compile(f'"{re.escape(fields["request"])}" {fields["code"]} .*"{re.escape(fields["authority"])}" "([0-9.:]+)" '
                          + re.escape(fields["upstream_cluster"]))
        sleep = lab.pod(cluster, "sample", "sleep")
        hosts = set()

        def told():  # Envoy writes its log every second or so.
            hosts.update(line.findall(lab.kubectl(cluster, "logs", "-n", "sample", sleep, "-c", "istio-proxy")))
            return hosts >= wanted
        try:
            lab.until(told, 10, "the access log")
        except AssertionError:
            pass
        if hosts != wanted:
            differences.append(f"access log of sleep in {cluster}: upstream hosts {sorted(hosts)}, not {sorted(wanted)}")
    return differences


# From a pod

def exec_requests(run, item):
    where = item["from"]
    cluster, namespace, selector = where["cluster"], where["namespace"], where["selector"]
    kubectl = run.kubectl(cluster)
    pod = f"$({kubectl} get pod -n {namespace} -l {selector} -o jsonpath='{{.items[0].metadata.name}}')"
    container = f" -c {where['container']}" if where.get("container") else ""
    count = ENOUGH if item.get("must_answer") else 3
    script = f"for i in $(seq {count}); do {item['command']} || echo request failed; done"
    done = run.type(cluster, f'{kubectl} exec -n {namespace}{container} "{pod}" -- sh -c "{shell_quoted(script)}"', check=False)
    what = f"{item['command']} from {selector} in {cluster}"
    if done.returncode or "request failed" in done.stdout:
        return [f"{what}: {(done.stderr or done.stdout).strip()[:300]}"]
    if not item.get("must_answer"):
        pages = done.stdout.count("Simple Bookstore App</title>")
        return [] if pages == count else [f"{what}: {pages} pages of {count}: {done.stdout[:300]}"]
    answers = item.get("answers") or [{"version": f"v{number}", "line": f"Hello version: v{number}, instance: helloworld-v{number}-<suffix>"}
                                      for number, _ in enumerate(item["must_answer"], 1)]
    return missing_answers(what, done.stdout.splitlines(), answers)


def shell_quoted(text):
    """For use between double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", text)


def missing_answers(what, lines, answers):
    """Every line must be one of the wanted answers, and every wanted answer must occur."""
    patterns = {answer["version"]: re.compile(re.escape(answer["line"].strip()).replace(re.escape("<suffix>"), r"\S+")) for answer in answers}
    seen, strange = collections.Counter(), []
    for line in filter(None, (line.strip() for line in lines)):
        versions = [version for version, pattern in patterns.items() if pattern.fullmatch(line)]
        seen.update(versions)
        if not versions:
            strange.append(line)
    differences = [f"{what}: no answer of {version} among {sum(seen.values())}" for version in patterns if not seen[version]]
    return differences + [f"{what}: strange answer {line[:200]!r}" for line in strange[:3]]


# From outside, through an ingress gateway

def browse(run, item):
    """Asks for the page at the gateway's node port, and reads in the page's own logs which clusters answered."""
    cluster, gateway = item["enters_at"]["cluster"], item["enters_at"]["gateway"]
    service = lab.get(cluster, "svc", "-n", "istio-system", gateway)
    node_port = next(port["nodePort"] for port in service["spec"]["ports"] if port["port"] == 80)
    url = re.sub(r":\d+/", f":{node_port}/", item["url"])  # The ports of the guide are those of its author.
    before = {name: page_count(name) for name in item["must_answer"]}
    what, differences = f"{url} ({cluster})", []
    # A connection through a gateway stays with one pod, so chance may leave a cluster out for as long as the first connections last.
    for _ in range(ROUNDS):
        answers = requests_from_outside(run, cluster, url, {})
        good = sum(1 for code, body in answers if code == "200" and "Simple Bookstore App" in body)
        if good != ENOUGH:
            differences.append(f"{what}: {good} of {ENOUGH} answers are the page; the first other: "
                               f"{next((a for a in answers if a[0] != '200'), answers[:1])}")
        counts = {name: page_count(name) - before[name] for name in item["must_answer"]}
        run.log(f"{what}: answers by cluster {counts}")
        if all(counts.values()):
            break
    return differences + [f"{what}: {name} never answered, {counts}" for name, count in counts.items() if count == 0]


def page_count(cluster):
    log = lab.kubectl(cluster, "logs", "-n", "istio", lab.pod(cluster, "istio", "productpage"), "-c", "productpage")
    return len(re.findall(r'"GET /productpage\b', log))


def requests_from_outside(run, cluster, url, headers, count=ENOUGH):
    """[(code, body)] of requests from the first machine of a cluster, in a network that holds no pod."""
    options = " ".join(f'-H "{name}: {value}"' for name, value in headers.items())
    # Several at a time, as a browser does: a connection through a gateway stays with one pod, and requests one after the other share it.
    script = f"seq {count} | xargs -P 8 -I+ sh -c 'curl -sS -m 10 {options} -w \" %{{http_code}}\" \"{url}\" > answer-+ 2>&1'"
    run.log(f"{cluster} (machine)$ {script}")
    run.on_machine(cluster, f"rm -f answer-*; {script} || true")
    answers = []
    for file in run.folder.glob("answer-*"):
        body, _, code = file.read_text().strip().rpartition(" ")
        answers.append((code, body))
    return answers


def ingress(run, item):
    """The page by which each version is known comes through the gateway's own address."""
    cluster = item["enters_at"]["cluster"]
    answers = requests_from_outside(run, cluster, item["url"], item.get("headers", {}), max(ENOUGH, item.get("repeat", 0)))
    bad = [answer for answer in answers if answer[0] != "200"]
    differences = [f"{item['url']}: {len(bad)} of {len(answers)} failed: {bad[0]}"] if bad else []
    return differences + missing_answers(item["url"], [body for code, body in answers if code == "200"], item["answers"])


_kinds = {"exec": exec_requests, "browse": browse, "ingress": ingress}


def deploy_samples(run):
    """For entries without workloads of their own, whose traffic is asked from the samples."""
    hello, sleep = ROOT / "samples/helloworld/helloworld.yaml", ROOT / "samples/sleep/sleep.yaml"
    for number, cluster in enumerate(run.entry.clusters, 1):
        kubectl = run.kubectl(cluster)
        run.type(cluster, f"{kubectl} create ns sample && {kubectl} label ns sample istio-injection=enabled")
        run.type(cluster, f"{kubectl} apply -n sample -f {sleep} && {kubectl} apply -n sample -f {hello} -l service=helloworld && "
                          f"{kubectl} apply -n sample -f {hello} -l version=v{number}")
    run.wait_for_rollouts(["sample"])
