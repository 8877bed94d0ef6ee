"""What the end-to-end tests share: programs of the build, clusters of the lab, and conditions to wait for."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("ISTHMUS_BIN", ROOT / "build" / "bin"))
LAB = pathlib.Path(os.environ.get("ISTHMUS_LAB_DIR", "/var/lib/isthmus/lab"))
ANY_PORT = bool(os.environ.get("ISTHMUS_TEST_ANY_PORT"))  # For a lab beside others: no loopback port is asked for by its number.
_files = tempfile.TemporaryDirectory(prefix="isthmus-topologies-")


def topology(file):
    """The path of a topology file, or of its copy for a lab beside others."""
    if not ANY_PORT:
        return file
    document = yaml.safe_load((ROOT / file).read_text())
    leave_ports_open(document)
    copy = pathlib.Path(_files.name) / pathlib.Path(file).name
    copy.write_text(yaml.safe_dump(document))
    return copy


def leave_ports_open(document):
    """Takes any free port where the Topology names one of this machine."""
    for cluster in document["spec"]["clusters"]:
        if "ingressPort" in cluster.get("lab", {}):
            cluster["lab"]["ingressPort"] = 0


def run(*command, check=True, timeout=120, text_in=None, env=None):
    """Runs a command and returns its standard output; a failure carries both streams."""
    done = subprocess.run([str(word) for word in command], input=text_in, capture_output=True, text=True, timeout=timeout,
                          cwd=ROOT, env={**os.environ, **(env or {}), "PATH": f'{BIN}:{os.environ["PATH"]}'})
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} gave {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout if check else done


def isthmus(*words, **how):
    return run(BIN / "isthmus", *words, **how)


def istioctl(cluster, *words, **how):
    return run(BIN / "istioctl", "-c", LAB / "kubeconfig", "--context", cluster, *words, **how)


def kubectl(cluster, *words, **how):
    return run("kubectl", "--kubeconfig", LAB / "kubeconfig", "--context", cluster, *words, **how)


def get(cluster, *words):
    return json.loads(kubectl(cluster, "get", *words, "-o", "json"))


def pod(cluster, namespace, app):
    """The name of the first running pod with that app label."""
    for item in get(cluster, "pods", "-n", namespace, "-l", f"app={app}")["items"]:
        if item["status"].get("phase") == "Running" and "deletionTimestamp" not in item["metadata"]:
            return item["metadata"]["name"]
    raise AssertionError(f"no running pod app={app} in {namespace} of {cluster}")


def pod_ip(cluster, namespace, app):
    return get(cluster, "pod", "-n", namespace, pod(cluster, namespace, app))["status"]["podIP"]


def execute(cluster, namespace, app, *command, container=None, **how):
    which = ["-c", container] if container else []
    return kubectl(cluster, "exec", "-n", namespace, pod(cluster, namespace, app), *which, "--", *command, **how)


def until(condition, timeout=60, what="condition"):
    """Waits until condition() is true and returns its value; the failure says what was waited for (text, or a function that gives
    it at the end) and the last error."""
    end, last = time.monotonic() + timeout, None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, subprocess.TimeoutExpired, KeyError, IndexError) as error:
            last = error
        time.sleep(0.2)
    what = what() if callable(what) else what
    raise AssertionError(f"{what} did not come true in {timeout} s" + (f": {last}" if last else ""))


def host_network():
    """What must be the same before and after a lab."""
    return {name: run(*command, check=False).stdout
            for name, command in {"links": ["ip", "-o", "link"], "routes": ["ip", "route", "show", "table", "all"],
                                  "rules": ["nft", "list", "ruleset"], "namespaces": ["ip", "netns", "list"]}.items()}


def envoys(cluster):
    """(namespace, pod) of every running pod with a proxy."""
    found = []
    for item in get(cluster, "pods", "-A")["items"]:
        names = [c["name"] for c in item["spec"].get("containers", []) + item["spec"].get("initContainers", [])]
        if "istio-proxy" in names and item["status"].get("phase") == "Running":
            found.append((item["metadata"]["namespace"], item["metadata"]["name"]))
    return found


def agent_request(cluster, namespace, name, path):
    return kubectl(cluster, "exec", "-n", namespace, name, "-c", "istio-proxy", "--", "pilot-agent", "request", "GET", path)


def served_by(cluster, of):
    """Proxies of one cluster that the control plane of another serves and that have everything."""
    rows = [re.split(r" {2,}", line.strip()) for line in istioctl(cluster, "ps").splitlines()[1:]]
    return sorted(row[0] for row in rows if row[1] == of and row[2:5] == ["SYNCED"] * 3)


def lab_process(name):
    """The process ID of one of the lab's own processes, as this machine counts; 0 while it is restarted."""
    status = json.loads(isthmus("lab", "status", "--json"))
    return next(p["pid"] for c in status["clusters"] for p in c["processes"] if p["name"] == name)


def has_process(pid):
    """Whether a process is of this lab, and not of another that runs beside it: below the lab's first one."""
    first = int((LAB / "pid").read_text())
    pid = int(pid)
    while pid > 1 and pid != first:
        try:
            pid = int(re.search(r"^PPid:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])
        except OSError:
            return False
    return pid == first
