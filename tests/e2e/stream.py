"""A steady stream of requests out of a pod, which needs nothing but the pod: no API server, no kubelet, no exec."""
import collections
import re
import subprocess
import threading
import time

import lab

Answer = collections.namedtuple("Answer", "at code body")


def processes_of(pod, pattern):
    """Process IDs of the containers of a pod whose command line fits the pattern."""
    return processes_of_pods({pod}, pattern)


def processes_of_pods(pods, pattern="."):
    """Process IDs of everything that runs in pods and whose command line fits the pattern; pods have unique host names."""
    hosts, found = {f"HOSTNAME={pod}".encode() for pod in pods}, []
    for line in lab.run("pgrep", "-f", pattern, check=False).stdout.split():
        try:
            with open(f"/proc/{line}/environ", "rb") as file:
                environment = set(file.read().split(b"\0"))
        except OSError:
            continue
        if hosts & environment:
            found.append(int(line))
    return found


class Stream:
    """Asks for a URL again and again from a container of a pod, until it is closed."""

    def __init__(self, pod, program, url, pause=0.1):
        self.url, self.answers = url, []
        pid = processes_of(pod, program)[0]
        loop = f"while :; do curl -s -m 10 -w ' #%{{http_code}}\\n' {url}; sleep {pause}; done"
        self.process = subprocess.Popen(["nsenter", "-t", str(pid), "-n", "-m", "-u", "-r", "-w", "sh", "-c", loop],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        body = ""
        for line in self.process.stdout:
            body += line
            if ended := re.search(r"#(\d{3})\n$", body):
                self.answers.append(Answer(time.monotonic(), int(ended[1]), body[:ended.start()].strip()))
                body = ""

    def since(self, mark):
        return [answer for answer in list(self.answers) if answer.at >= mark]

    def failures(self, mark=0.0):
        return [answer for answer in self.since(mark) if answer.code != 200]

    def has(self, text, mark):
        return any(text in answer.body for answer in self.since(mark))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
