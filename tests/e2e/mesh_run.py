"""One run of a catalogue entry: where its commands are typed, and what was typed."""
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

import yaml

import corrections
import lab
from lab import LAB, ROOT, isthmus

MODES = ("native", "steps")


class Failed(AssertionError):
    """A command of the run failed; the rest of the run makes no sense."""


class MeshRun:
    """An entry of the catalogue, brought up in a lab of its own. Owns the lab and a folder in which files are written."""

    def __init__(self, entry, mode, log):
        self.entry = entry
        self.mode = mode
        entry.shown, entry.registered = corrections.names(entry.id, mode)
        self.log_file = log
        self.temporary = tempfile.TemporaryDirectory(prefix=f"isthmus-{entry.id}-")
        self.folder = pathlib.Path(self.temporary.name)
        self.variables = {}  # Shell variables that steps have set, as `export` does.
        self.topology = self._topology()
        self.began = time.monotonic()

    def _topology(self):
        """The entry's Topology file, or its copy for a lab beside others.

        Where a step opens the way between the clusters' pods, it is closed until then.
        """
        file = ROOT / "topologies" / f"{self.entry.id}.yaml"
        closed = self.mode == "steps" and self.entry.has_step("open_firewall")
        if not lab.ANY_PORT and not closed:
            return file
        text = yaml.safe_load(file.read_text())
        if closed:
            text["spec"].setdefault("lab", {})["routed"] = []
        if lab.ANY_PORT:
            lab.leave_ports_open(text)
        copy = self.folder / file.name
        copy.write_text(yaml.safe_dump(text))
        return copy

    # What is said

    def log(self, text):
        self.log_file.write(f"{time.monotonic() - self.began:7.1f}  {text}\n")
        self.log_file.flush()

    def say(self, text):
        """For the log and for whoever watches."""
        self.log(text)
        print(f"{time.monotonic() - self.began:7.1f}  {text}", flush=True)

    # Typing

    def kubectl(self, cluster):
        return "kubectl" + self._context(cluster)

    def istioctl(self, cluster):
        return "istioctl" + self._context(cluster)

    def _context(self, cluster):
        return f' --context="${{CTX_{cluster.upper()}}}"' if self.entry.uses_contexts() else ""

    def environment(self):
        contexts = {f"CTX_{cluster.upper()}": cluster for cluster in self.entry.clusters}
        return {**contexts, **self.variables}

    def type(self, cluster, line, check=True, timeout=240):
        """Types a line where the entry has it typed: on the one machine with all contexts, or on the first machine of the cluster.

        Gives its standard output; without `check` the finished process.
        """
        self.log(f"{cluster if not self.entry.uses_contexts() else ''}$ {line}")
        if self.entry.uses_contexts():
            done = lab.run("bash", "-ec", f"cd {self.folder}\n{line}", check=False, timeout=timeout,
                           env={**self.environment(), "KUBECONFIG": str(LAB / "kubeconfig")})
        else:
            done = self.on_machine(cluster, line, timeout=timeout)
        self.log_output(done)
        if check and done.returncode:
            raise Failed(f"{cluster}: {line}\ngave {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout if check else done

    def on_machine(self, cluster, line, timeout=240):
        """Runs a line on the first machine of a cluster: in its network, with its kubeconfig."""
        try:
            return isthmus("lab", "shell", cluster, "--", "bash", "-ec", f"cd {self.folder}\n{line}", check=False, timeout=timeout,
                           env=self.environment())
        except subprocess.TimeoutExpired:
            raise Failed(f"{cluster}: {line}\ndid not end in {timeout} s") from None

    def log_output(self, done):
        for stream in (done.stdout, done.stderr):
            for line in stream.splitlines()[:200]:
                self.log(f"    {line}")

    # The lab

    def lab_up(self):
        self.log(isthmus("lab", "up", "-f", self.topology, timeout=180))

    def down(self):
        isthmus("lab", "down", check=False, timeout=120)
        self.temporary.cleanup()

    def up_natively(self):
        done = isthmus("up", "-f", self.topology, check=False, timeout=300)
        self.log_output(done)
        if done.returncode:
            raise Failed(f"isthmus up gave {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")

    def wait_for_rollouts(self, namespaces=None):
        """Waits until every deployment (of the namespaces) in every cluster is what its newest version says, and no old pod is left."""
        for cluster in self.entry.clusters:
            lab.until(lambda c=cluster: self._settled(c, namespaces), 150, f"rollouts in {cluster}")

    def _settled(self, cluster, namespaces):
        for item in lab.get(cluster, "deployments", "-A")["items"]:
            meta, wanted, status = item["metadata"], item["spec"]["replicas"], item.get("status", {})
            if namespaces and meta["namespace"] not in namespaces:
                continue
            counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
            assert status.get("observedGeneration", 0) >= meta["generation"] and counts == [wanted] * 3, \
                f"{meta['namespace']}/{meta['name']}: {status}"
        going = [pod["metadata"]["name"] for pod in lab.get(cluster, "pods", "-A")["items"] if "deletionTimestamp" in pod["metadata"]]
        assert not going, f"still there: {going}"
        return True

    def diagnose(self):
        """Writes to the log what one looks at first when a run failed."""
        self.log_output(isthmus("lab", "status", check=False))
        kept = pathlib.Path(self.log_file.name).with_suffix(".lab")
        shutil.rmtree(kept, ignore_errors=True)
        if (LAB / "logs").exists():  # A lab that somebody ended has none.
            shutil.copytree(LAB / "logs", kept, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        for cluster in self.entry.clusters:
            for command in (("get", "pods", "-A", "-o", "wide"), ("get", "svc", "-A"),
                            ("get", "events", "-A", "--field-selector=type=Warning")):
                self.log(f"{cluster}$ kubectl {' '.join(command)}")
                self.log_output(lab.kubectl(cluster, *command, check=False))
            for word in ("ps", "remote-clusters"):
                self.log(f"{cluster}$ istioctl {word}")
                self.log_output(lab.istioctl(cluster, word, check=False))
            self.log(f"{cluster}: istiod's log")
            self.log_output(lab.kubectl(cluster, "logs", "-n", "istio-system", "deploy/istiod", "--tail=60", check=False))


def as_yaml(documents):
    """Objects of the catalogue as a file for kubectl or istioctl."""
    documents = documents if isinstance(documents, list) else [documents]
    return "---\n".join(yaml.safe_dump(json.loads(json.dumps(one)), sort_keys=False) for one in documents)
