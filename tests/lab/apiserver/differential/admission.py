"""Requests that an admission webhook is asked about."""
import base64
import http.server
import json
import ssl
import subprocess
import threading
import time

from objects import MERGE, named


class Hook:
    """An admission webhook on loopback that both servers call: it says no to `deny`, changes `change`, warns of `warn`."""
    def __init__(self, folder):
        key, self.cert = folder + "/hook.key", folder + "/hook.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.cert, "-days", "1", "-subj", "/CN=hook",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                request = review["request"]
                name = request["name"] or ((request.get("object") or {}).get("metadata") or {}).get("name", "")
                response = {"uid": request["uid"], "allowed": not name.startswith("deny")}
                if name == "deny-plain":
                    response["status"] = {"message": "not this one"}
                if name == "deny-code":
                    response["status"] = {"message": "later", "code": 429, "reason": "TooManyRequests"}
                if name == "change":
                    patch = json.dumps([{"op": "add", "path": "/data", "value": {"by": "hook"}}]).encode()
                    response.update(patchType="JSONPatch", patch=base64.b64encode(patch).decode())
                if name == "broken":
                    response.update(patchType="JSONPatch", patch=base64.b64encode(b'[{"op":"remove","path":"/none"}]').decode())
                if name == "warn":
                    response["warnings"] = ["mind this"]
                body = b"no json" if name == "garbage" else json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}).encode()
                self.send_response(500 if name == "fails" else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def config(self, **more):
        client = {"url": "https://127.0.0.1:%d/hook" % self.server.server_port, "caBundle": base64.b64encode(open(self.cert, "rb").read()).decode()}
        return dict({"name": "hook.test.example", "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                     "objectSelector": {"matchLabels": {"hooked": "yes"}},
                     "rules": [{"operations": ["CREATE", "UPDATE", "DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]}, **more)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def admission(c, ns, hook):
    kinds = "/apis/admissionregistration.k8s.io/v1/"
    hooked = lambda name: dict(named("ConfigMap", "v1", name), metadata={"name": name, "labels": {"hooked": "yes"}})

    def install(kind, **more):
        for server in (c.ours, c.real):
            server.send("DELETE", kinds + kind.lower() + "s/hook")
            server.send("POST", kinds + kind.lower() + "s", named(kind, "admissionregistration.k8s.io/v1", "hook", webhooks=[hook.config(**more)]))
            # A real server takes a moment to know its hooks.
            for _ in range(100):
                if server.send("POST", ns + "/configmaps?dryRun=All", hooked("deny-probe"))[0] != 201:
                    break
                time.sleep(0.1)

    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        install(kind)
        for name in ("deny", "deny-plain", "deny-code", "change", "warn", "garbage", "fails") + (("broken",) if kind.startswith("M") else ()):
            c.same("POST", ns + "/configmaps", hooked(name))
        c.same("PATCH", ns + "/configmaps/warn", {"data": {"x": "y"}}, MERGE)
        c.same("DELETE", ns + "/configmaps/warn")
        c.same("DELETE", ns + "/configmaps/change")
        c.same("POST", ns + "/configmaps", named("ConfigMap", "v1", "deny-unlabelled-" + kind.lower()[0]))
        for server in (c.ours, c.real):
            server.send("DELETE", kinds + kind.lower() + "s/hook")
            for _ in range(100):
                if server.send("POST", ns + "/configmaps?dryRun=All", hooked("deny-probe"))[0] == 201:
                    break
                time.sleep(0.1)
    install("ValidatingWebhookConfiguration", clientConfig=dict(hook.config()["clientConfig"], url="https://127.0.0.1:1/hook"))
    c.same("POST", ns + "/configmaps", hooked("unreachable"))
    for server in (c.ours, c.real):
        server.send("DELETE", kinds + "validatingwebhookconfigurations/hook")
