"""What the mesh's configuration asks of proxies, on one cluster: tokens, external authorization, limits by EnvoyFilter, Lua,
access logs, scopes of namespaces, TLS to the outside. Needs root.
"""
import base64
import json
import subprocess
import tempfile
import time
import unittest

import yaml

import lab
from lab import execute, isthmus, kubectl, until

TOPOLOGY = "topologies/one-cluster.yaml"
CLUSTER = "cluster1"


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An issuer of tokens with a key of its own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.key = f"{self.folder.name}/key.pem"
        self.openssl("genrsa", "-out", self.key, "2048")

    @staticmethod
    def openssl(*words, text=b""):
        return subprocess.run(["openssl", *words], input=text, capture_output=True, check=True).stdout

    def jwks(self):
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
        return json.dumps({"keys": [{"kty": "RSA", "kid": "k", "alg": "RS256", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}]})

    def token(self, **claims):
        now = int(time.time())
        body = {"iss": "https://issuer.example", "sub": "ann", "iat": now, "exp": now + 600, **claims}
        text = ".".join(url64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k", "typ": "JWT"}, body))
        return text + "." + url64(self.openssl("dgst", "-sha256", "-sign", self.key, text=text.encode()))


class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        isthmus("up", "-f", TOPOLOGY, timeout=300)
        cls.made = []

    @classmethod
    def tearDownClass(cls):
        isthmus("down", "-f", TOPOLOGY, check=False)

    def tearDown(self):
        while self.made:
            kubectl(CLUSTER, "delete", "-f", "-", text_in=self.made.pop(), check=False)

    def apply(self, text):
        self.made.append(text)
        kubectl(CLUSTER, "apply", "-f", "-", text_in=text)

    def code(self, path="/get", *words):
        return execute(CLUSTER, "sample", "sleep", "curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *words,
                       f"http://httpbin.sample:8000{path}", container="sleep", check=False).stdout

    def becomes(self, want, *ask, what=""):
        until(lambda: self.code(*ask) == want, 20, f"{what or ask} gives {want}")

    def set_mesh(self, **settings):
        """Changes the mesh configuration; gives what puts it back."""
        before = lab.get(CLUSTER, "cm", "istio", "-n", "istio-system")["data"]["mesh"]

        def put(text):
            kubectl(CLUSTER, "patch", "cm", "istio", "-n", "istio-system", "--type=merge", "-p", json.dumps({"data": {"mesh": text}}))

        put(yaml.safe_dump({**yaml.safe_load(before), **settings}))
        return lambda: put(before)

    def test_1_tokens(self):
        issuer, stranger = Issuer(), Issuer()
        self.apply(f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: sample}}
spec:
  selector: {{matchLabels: {{app: httpbin}}}}
  jwtRules:
    - issuer: https://issuer.example
      jwks: '{issuer.jwks()}'
      outputClaimToHeaders: [{{header: x-sub, claim: sub}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: tokens, namespace: sample}}
spec:
  selector: {{matchLabels: {{app: httpbin}}}}
  rules:
    - from: [{{source: {{requestPrincipals: ['https://issuer.example/*']}}}}]
      when: [{{key: 'request.auth.claims[group]', values: [staff]}}]
""")
        bearer = lambda token: ("-H", f"authorization: Bearer {token}")
        self.becomes("403", "/get", what="no token")
        self.becomes("200", "/get", *bearer(issuer.token(group="staff")), what="a token of staff")
        self.assertEqual("403", self.code("/get", *bearer(issuer.token(group="guests"))))
        self.assertEqual("401", self.code("/get", *bearer(stranger.token(group="staff"))), "signed by somebody else")
        self.assertEqual("401", self.code("/get", *bearer(issuer.token(group="staff", exp=int(time.time()) - 100))), "expired")
        self.assertEqual("401", self.code("/get", *bearer("rubbish")))
        headers = execute(CLUSTER, "sample", "sleep", "curl", "-sS", *bearer(issuer.token(group="staff")), "http://httpbin.sample:8000/headers", container="sleep")
        self.assertIn("ann", headers)

    def test_2_keys_from_a_service_of_the_mesh(self):
        issuer = Issuer()
        server = "import http.server\nclass K(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  b=%r.encode(); s.send_response(200); s.send_header('content-length', str(len(b))); s.end_headers(); s.wfile.write(b)\nhttp.server.ThreadingHTTPServer(('', 8000), K).serve_forever()\n" % issuer.jwks()
        self.apply(f"""
apiVersion: v1
kind: Pod
metadata: {{name: keys, namespace: sample, labels: {{app: keys}}}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: keys, image: debian, command: [python3, -c, {json.dumps(server)}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: keys, namespace: sample}}
spec: {{selector: {{app: keys}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: remote-keys, namespace: sample}}
spec:
  selector: {{matchLabels: {{app: httpbin}}}}
  jwtRules: [{{issuer: 'https://issuer.example', jwksUri: 'http://keys.sample.svc.cluster.local:8000/keys'}}]
""")
        self.becomes("401", "/get", "-H", "authorization: Bearer rubbish", what="a bad token")
        self.becomes("200", "/get", "-H", f"authorization: Bearer {issuer.token()}", what="a token whose key was fetched")
        self.assertEqual("401", self.code("/get", "-H", f"authorization: Bearer {Issuer().token()}"))

    def test_3_limits_and_lua_by_envoy_filter(self):
        self.apply("""
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: sample}
spec:
  workloadSelector: {labels: {app: httpbin}}
  configPatches:
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "@type": type.googleapis.com/udpa.type.v1.TypedStruct
            type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            value:
              stat_prefix: limit
              token_bucket: {max_tokens: 3, tokens_per_fill: 3, fill_interval: 3600s}
              filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
              filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}
              response_headers_to_add: [{append_action: OVERWRITE_IF_EXISTS_OR_ADD, header: {key: x-limited, value: "yes"}}]
    - applyTo: HTTP_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: lua
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            default_source_code: {inline_string: 'function envoy_on_response(h) h:headers():add("x-lua", "here") end'}
""")
        ask = lambda: execute(CLUSTER, "sample", "sleep", "curl", "-s", "-i", "http://httpbin.sample:8000/get", container="sleep")
        until(lambda: "x-lua: here" in ask(), 20, "the header that Lua adds")
        self.becomes("429", "/get", what="more requests than allowed")
        self.assertIn("x-limited: yes", ask())
        kubectl(CLUSTER, "delete", "envoyfilter", "limit", "-n", "sample")
        self.becomes("200", "/get", what="without the filter")

    def test_4_access_logs_by_telemetry(self):
        self.apply("""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: failures, namespace: sample}
spec:
  selector: {matchLabels: {app: httpbin}}
  accessLogging: [{match: {mode: SERVER}, filter: {expression: "response.code >= 400"}}]
""")
        logs = lambda: kubectl(CLUSTER, "logs", "-n", "sample", lab.pod(CLUSTER, "sample", "httpbin"), "-c", "istio-proxy", "--tail=200")

        def only_failures(n=[0]):
            n[0] += 1
            self.code(f"/status/200?good-{n[0]}"), self.code(f"/status/404?bad-{n[0]}")
            until(lambda: f"bad-{n[0]}" in logs(), 5, "the log of the failure")
            return f"good-{n[0]}" not in logs()

        until(only_failures, 30, "only failures are logged")

    def test_5_a_service_is_asked_about_requests(self):
        # The mesh configuration has no provider of that name, so the policy denies; everything else passes.
        self.apply("""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: sample}
spec:
  selector: {matchLabels: {app: httpbin}}
  action: CUSTOM
  provider: {name: asks}
  rules: [{to: [{operation: {paths: [/headers]}}]}]
""")
        self.becomes("403", "/headers", what="an unknown provider")
        self.assertEqual("200", self.code("/get"))
        server = "import http.server\nclass A(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200 if s.headers.get('x-pass')=='yes' else 401); s.send_header('content-length','0'); s.end_headers()\nhttp.server.ThreadingHTTPServer(('', 8000), A).serve_forever()\n"
        self.apply(f"""
apiVersion: v1
kind: Pod
metadata: {{name: asks, namespace: sample, labels: {{app: asks}}}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: asks, image: debian, command: [python3, -c, {json.dumps(server)}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: asks, namespace: sample}}
spec: {{selector: {{app: asks}}, ports: [{{name: http, port: 8000}}]}}
""")
        back = self.set_mesh(extensionProviders=[{"name": "asks", "envoyExtAuthzHttp": {
            "service": "asks.sample.svc.cluster.local", "port": 8000, "timeout": "5s", "includeRequestHeadersInCheck": ["x-pass"]}}])
        try:
            self.becomes("200", "/headers", "-H", "x-pass: yes", what="a request that the service lets in")
            self.assertEqual("401", self.code("/headers", "-H", "x-pass: no"))
            self.assertEqual("200", self.code("/get"), "not asked about")
        finally:
            back()

    def test_6_namespaces_by_discovery_selectors(self):
        held = lambda: lab.istioctl(CLUSTER, "pc", "cluster", "-n", "sample", lab.pod(CLUSTER, "sample", "sleep"))
        self.assertIn("ratings.bookinfo", held())
        back = self.set_mesh(discoverySelectors=[{"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["sample", "istio-system"]}]}])
        try:
            until(lambda: "ratings.bookinfo" not in held() and "httpbin.sample" in held(), 20, "bookinfo is out of sight")
        finally:
            back()
        until(lambda: "ratings.bookinfo" in held(), 20, "bookinfo is back")


if __name__ == "__main__":
    unittest.main(verbosity=2)
