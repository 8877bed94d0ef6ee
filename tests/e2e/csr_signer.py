"""A signer of CertificateSigningRequests that stands for cert-manager: one CA of openssl's, one signer name, one cluster."""
import base64
import datetime
import json
import pathlib
import subprocess
import threading
import time

import lab


def openssl(*words, folder):
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"openssl {' '.join(words)}: {done.stderr}")
    return done.stdout


def make_root(folder, name):
    """A root in FOLDER/NAME.pem with its key in FOLDER/NAME.key; gives the certificate's text."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "10",
            "-subj", f"/O=Elsewhere/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", folder=folder)
    return (pathlib.Path(folder) / f"{name}.pem").read_text()


class Signer:
    """Signs what is approved, for `seconds` each; signs nothing while paused."""

    def __init__(self, cluster, name, folder, root, seconds):
        self.cluster, self.name, self.root, self.seconds = cluster, name, root, seconds
        self.folder = pathlib.Path(folder) / f"signer-{cluster}"
        self.folder.mkdir()
        (self.folder / "index.txt").touch()
        (self.folder / "serial").write_text("1000\n")
        self.intermediate(pathlib.Path(folder))
        self.signed, self.paused, self.problems = [], False, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def intermediate(self, folder):
        """An intermediate of its own, so that tests can tell whose certificates are whose."""
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.csr", "-subj", f"/O=Elsewhere/CN=signer of {self.cluster}",
                folder=self.folder)
        (self.folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
        openssl("x509", "-req", "-in", "ca.csr", "-CA", str(folder / f"{self.root}.pem"), "-CAkey", str(folder / f"{self.root}.key"),
                "-CAcreateserial", "-days", "9", "-extfile", "ca.ext", "-out", "ca.pem", folder=self.folder)
        (self.folder / "ca.cnf").write_text(f"""
[ca]
default_ca = one
[one]
dir = {self.folder}
database = {self.folder}/index.txt
serial = {self.folder}/serial
new_certs_dir = {self.folder}
certificate = {self.folder}/ca.pem
private_key = {self.folder}/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
x509_extensions = leaf
[any]
organizationName = optional
[leaf]
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth,clientAuth
""")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stop.set()
        self.thread.join()

    def run(self):
        while not self.stop.is_set():
            try:
                if not self.paused:
                    self.sign_all()
            except (AssertionError, subprocess.TimeoutExpired) as error:
                self.problems.append(str(error))
            time.sleep(0.3)

    def sign_all(self):
        for item in lab.get(self.cluster, "certificatesigningrequests")["items"]:
            conditions = {c["type"]: c["status"] for c in item["status"].get("conditions", [])}
            if item["spec"]["signerName"] == self.name and conditions.get("Approved") == "True" and not item["status"].get("certificate"):
                self.sign(item)

    def sign(self, item):
        (self.folder / "request.csr").write_bytes(base64.b64decode(item["spec"]["request"]))
        now = datetime.datetime.now(datetime.timezone.utc)
        form = "%Y%m%d%H%M%SZ"
        openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-in", "request.csr", "-out", "leaf.pem", "-subj", "/O=mesh",
                "-startdate", (now - datetime.timedelta(seconds=5)).strftime(form),
                "-enddate", (now + datetime.timedelta(seconds=self.seconds)).strftime(form), folder=self.folder)
        chain = (self.folder / "leaf.pem").read_text() + (self.folder / "ca.pem").read_text()
        item["status"]["certificate"] = base64.b64encode(chain.encode()).decode()
        path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{item['metadata']['name']}/status"
        lab.kubectl(self.cluster, "replace", "--raw", path, "-f", "-", text_in=json.dumps(item))
        self.signed.append(item["metadata"]["name"])
