"""The two API servers on loopback: how they are started, and how they are asked."""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TOKEN = "differential"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, url, token=None, cert=None):
        self.url, self.token = url, token
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        if cert:
            self.context.load_cert_chain(*cert)

    def send(self, method, path, body=None, kind="application/json", accept="application/json", timeout=30, headers=()):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Accept", accept)
        request.add_header("User-Agent", "tester/1")
        for name, value in headers:
            request.add_header(name, value)
        if body is not None:
            request.add_header("Content-Type", kind)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=timeout) as answer:
                return answer.status, answer.read().decode(), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers.get_all("Warning") or []

    def watch(self, path, accept="application/json"):
        """The events of one second. A busy real server may answer that it does not have the newest version yet, and asks to come again."""
        for _ in range(20):
            status, text, _ = self.send("GET", path + ("&" if "?" in path else "?") + "watch=1&timeoutSeconds=1", accept=accept)
            events = [json.loads(line) for line in text.splitlines() if line]
            if not any(event["type"] == "ERROR" and event["object"].get("reason") == "Timeout" for event in events):
                break
        return status, events

    def wait(self):
        for _ in range(300):
            try:
                if self.send("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("%s did not come up" % self.url)


class Processes:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="isthmus-differential-")
        self.running = []

    def start(self, name, *command):
        log = open(os.path.join(self.folder, name + ".log"), "wb")
        self.running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))

    def stop(self):
        for process in self.running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_real(processes, assets):
    client, peer, port = free_port(), free_port(), free_port()
    folder = processes.folder
    subprocess.run(["openssl", "genrsa", "-out", folder + "/sa.key", "2048"], check=True, capture_output=True)
    open(folder + "/tokens.csv", "w").write('%s,kubernetes-admin,1,"system:masters"\n' % TOKEN)
    processes.start("etcd", assets + "/etcd", "--data-dir", folder + "/etcd", "--listen-client-urls", "http://127.0.0.1:%d" % client,
                    "--advertise-client-urls", "http://127.0.0.1:%d" % client, "--listen-peer-urls", "http://127.0.0.1:%d" % peer, "--unsafe-no-fsync")
    processes.start("kube-apiserver", assets + "/kube-apiserver", "--etcd-servers=http://127.0.0.1:%d" % client, "--secure-port=%d" % port,
                    "--bind-address=127.0.0.1", "--cert-dir=" + folder + "/certs", "--service-account-key-file=" + folder + "/sa.key",
                    "--service-account-signing-key-file=" + folder + "/sa.key", "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                    "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file=" + folder + "/tokens.csv",
                    "--enable-priority-and-fairness=false")
    return Server("https://127.0.0.1:%d" % port, TOKEN)


def start_ours(processes, programs):
    port = free_port()
    data = processes.folder + "/ours"
    processes.start("isthmus-lab", os.path.abspath(programs) + "/isthmus-lab", "apiserver", "--data-dir", data, "--port", str(port))
    for _ in range(100):
        if os.path.exists(data + "/admin.kubeconfig"):
            break
        time.sleep(0.05)
    server = Server("https://127.0.0.1:%d" % port, cert=(data + "/pki/admin.crt", data + "/pki/admin.key"))
    server.folder = processes.folder
    return server
