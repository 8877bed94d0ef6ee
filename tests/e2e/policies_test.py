"""What configuration asks of real traffic over the border of two networks: who may do what, tokens, mTLS alone, shares, limits, logs,
spans, tenants, who reaches a gateway, and what is seen on the wire. Needs root.

httpbin runs in cluster2 only, and its clients in cluster1; all configuration is given in cluster1, whose control plane serves both.
"""
import base64
import contextlib
import json
import subprocess
import tempfile
import time
import unittest

import yaml

import lab
from lab import BIN, ROOT, execute, isthmus, kubectl, until
from stream import Stream

TOPOLOGY = "tests/e2e/policies.yaml"
CLIENT, SERVER = "cluster1", "cluster2"
MACHINES = {"cluster1": ("192.168.229.128", "192.168.229.100"), "cluster2": ("192.168.229.131", "192.168.229.101")}
HTTPBIN, HELLO = "http://httpbin.sample:8000", "http://helloworld.sample:5000/hello"
SYSTEM = "istio-system"


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An issuer of tokens with a key of its own."""

    def __init__(self, folder, name):
        self.key = f"{folder}/{name}.pem"
        self.openssl("genrsa", "-out", self.key, "2048")

    @staticmethod
    def openssl(*words, text=b""):
        return subprocess.run(["openssl", *words], input=text, capture_output=True, check=True).stdout

    def jwks(self):
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
        return json.dumps({"keys": [{"kty": "RSA", "kid": "k", "alg": "RS256", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}]})

    def bearer(self, **claims):
        """Words for curl."""
        now = int(time.time())
        body = {"iss": "https://issuer.example", "sub": "ann", "iat": now, "exp": now + 600, **claims}
        text = ".".join(url64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k", "typ": "JWT"}, body))
        return header("authorization", f"Bearer {text}.{url64(self.openssl('dgst', '-sha256', '-sign', self.key, text=text.encode()))}")


def header(name, value):
    return "-H", f"{name}: {value}"


def curl(*words, ns="sample", cluster=CLIENT, check=True):
    done = execute(cluster, ns, "sleep", "curl", "-s", "-m", "5", *words, container="sleep", check=check)
    return done if check else done.stdout


def code(path="/get", *words, ns="sample"):
    """The status of a request to httpbin."""
    return curl("-o", "/dev/null", "-w", "%{http_code}", *words, HTTPBIN + path, ns=ns, check=False)


def istio(kind, name, spec, ns="sample"):
    version = {"Telemetry": "telemetry.istio.io/v1", "EnvoyFilter": "networking.istio.io/v1alpha3"}.get(
        kind, ("networking" if kind in ("VirtualService", "DestinationRule", "ServiceEntry", "Sidecar") else "security") + ".istio.io/v1")
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": ns}, "spec": spec}


def for_httpbin(kind, name, spec):
    return istio(kind, name, {"selector": {"matchLabels": {"app": "httpbin"}}, **spec})


def clusters_of(app, ns):
    return lab.istioctl(CLIENT, "pc", "cluster", "-n", ns, lab.pod(CLIENT, ns, app))


class Policies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(lambda: isthmus("down", "-f", TOPOLOGY, check=False))
        isthmus("up", "-f", TOPOLOGY, "--no-verify", timeout=400)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.issuer, cls.stranger = Issuer(folder.name, "issuer"), Issuer(folder.name, "stranger")
        labels = {"name": "helper", "namespace": "sample", "labels": {"app": "helper"}}
        command = ["python3", "-c", (ROOT / "tests/e2e/policies_helper.py").read_text()]
        container = {"name": "helper", "image": "debian", "command": command, "env": [{"name": "KEYS", "value": cls.issuer.jwks()}]}
        cls.put({"apiVersion": "v1", "kind": "Pod", "metadata": labels, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}},
                {"apiVersion": "v1", "kind": "Service", "metadata": labels, "spec": {"selector": {"app": "helper"}, "ports": [
                    {"name": "http", "port": 8000}, {"name": "tcp-one", "port": 9000}, {"name": "tcp-two", "port": 9001}]}})
        kubectl(CLIENT, "wait", "-n", "sample", "pod/helper", "--for=condition=Ready", "--timeout=60s")

    @staticmethod
    def put(*objects, verb="apply", check=True):
        kubectl(CLIENT, verb, "-f", "-", text_in=yaml.safe_dump_all(objects), check=check)

    def apply(self, *objects):
        """Applied until the test's end."""
        self.addCleanup(self.put, *objects, verb="delete", check=False)
        self.put(*objects)

    def becomes(self, want, *ask, what="", **how):
        """Connections that are open go by the configuration before until they close, so every answer may take a while."""
        until(lambda: code(*ask, **how) == want, 30, f"{want} for {what or ask}")

    @contextlib.contextmanager
    def mesh(self, **settings):
        """Changes the mesh configuration for a while."""
        before = lab.get(CLIENT, "cm", "istio", "-n", SYSTEM)["data"]["mesh"]

        def put(text):
            kubectl(CLIENT, "patch", "cm", "istio", "-n", SYSTEM, "--type=merge", "-p", json.dumps({"data": {"mesh": text}}))

        put(yaml.safe_dump({**yaml.safe_load(before), **settings}))
        try:
            yield
        finally:
            put(before)

    def test_01_only_tls_to_the_gateway_is_on_the_wire(self):
        # Clients that have not asked yet make new connections, whose beginning is seen.
        command = [BIN / "isthmus", "lab", "shell", SERVER, "--", "python3", ROOT / "tests/e2e/wire.py", *MACHINES[CLIENT]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as listener:
            self.assertEqual("listening\n", listener.stdout.readline())
            self.becomes("200", ns="other")
            until(lambda: "version: v2" in curl(HELLO), 20, "an answer from the other network")
            seen = json.loads(listener.communicate()[0])
        self.assertIn(15443, seen["ports"])
        self.assertLessEqual(set(seen["ports"]), {15443, 15012, 15017, 6443}, "gateways and API servers")
        self.assertEqual([], seen["protocols"])
        self.assertEqual([], seen["plain"])
        for name in ("outbound_.8000_._.httpbin.sample.svc.cluster.local", "outbound_.5000_._.helloworld.sample.svc.cluster.local"):
            self.assertIn(name, seen["names"])

    def test_02_who_may_do_what(self):
        self.apply(
            for_httpbin("AuthorizationPolicy", "allow", {"rules": [
                {"from": [{"source": {"principals": ["cluster.local/ns/sample/sa/sleep"]}}],
                 "to": [{"operation": {"methods": ["GET"], "paths": ["/get", "/status/*"]}}]},
                {"from": [{"source": {"namespaces": ["other"]}}], "to": [{"operation": {"paths": ["/headers", "/ip"]}}]}]}),
            for_httpbin("AuthorizationPolicy", "deny", {"action": "DENY", "rules": [
                {"from": [{"source": {"notNamespaces": ["sample"]}}], "to": [{"operation": {"paths": ["/ip"]}}]}]}))
        self.becomes("403", "/post", "-d", "x", what="a method that is not allowed")
        self.becomes("403", "/ip", ns="other", what="a path that is denied")
        for want, *ask, ns in (("200", "/get", "sample"), ("204", "/status/204", "sample"), ("403", "/headers", "sample"), ("403", "/get", "other"),
                               ("200", "/headers", "other")):
            self.becomes(want, *ask, ns=ns, what=f"{ask} from {ns}")

    def test_03_tokens(self):
        claims = "request.auth.claims[group]"
        self.apply(
            for_httpbin("RequestAuthentication", "tokens", {"jwtRules": [
                {"issuer": "https://issuer.example", "jwks": self.issuer.jwks(), "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}]}]}),
            for_httpbin("AuthorizationPolicy", "tokens", {"rules": [
                {"from": [{"source": {"requestPrincipals": ["https://issuer.example/*"]}}], "when": [{"key": claims, "values": ["staff"]}]}]}))
        self.becomes("403", what="no token")
        staff = self.issuer.bearer(group="staff")
        self.becomes("200", "/get", *staff, what="a token of staff")
        self.becomes("403", "/get", *self.issuer.bearer(group="guests"), what="a token of guests")
        self.becomes("401", "/get", *self.stranger.bearer(group="staff"), what="a token signed by somebody else")
        self.becomes("401", "/get", *self.issuer.bearer(group="staff", exp=int(time.time()) - 100), what="an expired token")
        self.becomes("401", "/get", *header("authorization", "Bearer rubbish"), what="rubbish")
        until(lambda: "ann" in curl(*staff, HTTPBIN + "/headers"), 30, "the claim in a header")

    def test_04_keys_from_a_service_of_the_mesh(self):
        self.apply(for_httpbin("RequestAuthentication", "remote-keys", {"jwtRules": [
            {"issuer": "https://issuer.example", "jwksUri": "http://helper.sample.svc.cluster.local:8000/keys"}]}))
        self.becomes("401", "/get", *header("authorization", "Bearer rubbish"), what="a bad token")
        self.becomes("200", "/get", *self.issuer.bearer(), what="a token whose key was fetched from the other network")
        self.becomes("401", "/get", *self.stranger.bearer(), what="a token signed by somebody else")

    def test_05_limits_and_lua_by_envoy_filter(self):
        manager = {"name": "envoy.filters.network.http_connection_manager"}

        def insert(value, **match):
            return {"applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_BEFORE", "value": value},
                    "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {**manager, **match}}}}}

        limit = {"stat_prefix": "limit", "token_bucket": {"max_tokens": 3, "tokens_per_fill": 3, "fill_interval": "3600s"},
                 "filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
                 "filter_enforced": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}},
                 "response_headers_to_add": [{"append_action": "OVERWRITE_IF_EXISTS_OR_ADD", "header": {"key": "x-limited", "value": "yes"}}]}
        self.apply(istio("EnvoyFilter", "limit", {"workloadSelector": {"labels": {"app": "httpbin"}}, "configPatches": [
            insert({"name": "envoy.filters.http.local_ratelimit", "typed_config": {
                "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
                "type_url": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", "value": limit}}),
            insert({"name": "lua", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": 'function envoy_on_response(h) h:headers():add("x-lua", "here") end'}}},
                   subFilter={"name": "envoy.filters.http.router"})]}))
        until(lambda: "x-lua: here" in curl("-i", HTTPBIN + "/get"), 30, "the header that Lua adds")
        self.becomes("429", what="more requests than allowed")
        until(lambda: "x-limited: yes" in curl("-i", HTTPBIN + "/get"), 30, "the header of what limits")
        kubectl(CLIENT, "delete", "envoyfilter", "limit", "-n", "sample")
        self.becomes("200", what="a request without the filter")

    def test_06_access_logs_by_telemetry(self):
        self.apply(for_httpbin("Telemetry", "failures", {"accessLogging": [
            {"match": {"mode": "SERVER"}, "providers": [{"name": "envoy"}], "filter": {"expression": "response.code >= 400"}}]}))
        logs = lambda: kubectl(SERVER, "logs", "-n", "sample", lab.pod(SERVER, "sample", "httpbin"), "-c", "istio-proxy", "--tail=200")
        tries = iter(range(100))

        def logged():
            number = next(tries)
            code(f"/status/200?good-{number}"), code(f"/status/404?bad-{number}")
            until(lambda: f"bad-{number}" in logs(), 5, "the log of the failure")
            return f"good-{number}" not in logs()

        until(logged, 40, "only failures are logged")

    def test_07_a_service_is_asked_about_requests(self):
        # The mesh configuration has no provider of that name, so the policy denies; everything else passes.
        self.apply(for_httpbin("AuthorizationPolicy", "asked", {
            "action": "CUSTOM", "provider": {"name": "asks"}, "rules": [{"to": [{"operation": {"paths": ["/headers"]}}]}]}))
        self.becomes("403", "/headers", what="an unknown provider")
        self.becomes("200", what="a path that nobody is asked about")
        with self.mesh(extensionProviders=[{"name": "asks", "envoyExtAuthzHttp": {
                "service": "helper.sample.svc.cluster.local", "port": 8000, "timeout": "5s", "includeRequestHeadersInCheck": ["x-pass"]}}]):
            self.becomes("200", "/headers", *header("x-pass", "yes"), what="a request that the service lets in")
            self.becomes("401", "/headers", *header("x-pass", "no"), what="a request that the service does not let in")
            self.assertEqual("200", code(), "not asked about")

    def test_08_namespaces_by_discovery_selectors(self):
        held = lambda: clusters_of("sleep", "sample")
        self.assertIn("sleep.other", held())
        with self.mesh(discoverySelectors=[{"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["sample", SYSTEM]}]}]):
            until(lambda: "sleep.other" not in held() and "httpbin.sample" in held(), 30, "one namespace out of sight")
        until(lambda: "sleep.other" in held(), 30, "the namespace is back")

    def test_09_strict_for_the_whole_mesh_while_its_traffic_goes_on(self):
        streams = [Stream(lab.pod(cluster, "sample", "sleep"), "sleep infinity", url)
                   for cluster in MACHINES for url in (HELLO, HTTPBIN + "/get")]
        try:
            until(lambda: all(stream.since(0) for stream in streams), 20, "first answers")
            mark = time.monotonic()
            self.apply(istio("PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}, ns=SYSTEM))
            for cluster in MACHINES:
                url = f"http://{lab.pod_ip(cluster, 'sample', 'helloworld')}:5000/hello"
                plain = lambda c=cluster, u=url: isthmus("lab", "shell", c, "--", "curl", "-sS", "-m", "3", u, check=False)
                until(lambda: plain().returncode != 0, 30, f"plaintext refused in {cluster}")
            strict = time.monotonic()
            until(lambda: all(len(stream.since(strict)) >= 10 for stream in streams), 60, "answers under STRICT")
            for stream in streams:
                self.assertEqual([], stream.failures(mark), stream.url)
            for stream in streams[::2]:
                self.assertTrue(stream.has("version: v1", strict) and stream.has("version: v2", strict), "answers of both clusters")
        finally:
            for stream in streams:
                stream.close()

    def test_10_shares_of_versions_over_clusters(self):
        def route(v1, v2):
            return istio("VirtualService", "helloworld", {"hosts": ["helloworld"], "http": [{"route": [
                {"destination": {"host": "helloworld", "subset": "v1"}, "weight": v1},
                {"destination": {"host": "helloworld", "subset": "v2"}, "weight": v2}]}]})

        subsets = [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")]
        self.apply(istio("DestinationRule", "helloworld", {"host": "helloworld", "subsets": subsets}), route(0, 100))
        shares = lambda count: curl(f"{HELLO}?[1-{count}]").count("version: v2") / count
        until(lambda: shares(20) == 1, 30, "all answers from v2")
        for v2 in (20, 80):
            self.put(route(100 - v2, v2))
            # Six standard deviations of 400 requests.
            until(lambda: abs(shares(400) - v2 / 100) < 0.12, 30, f"{v2} per cent from v2")

    def test_11_addresses_of_their_own_tell_tcp_services_apart(self):
        address = lab.pod_ip(CLIENT, "sample", "helper")
        ports = {"one": 9000, "two": 9001}
        self.apply(*(istio("ServiceEntry", name, {
            "hosts": [f"{name}.example"], "ports": [{"name": "tcp", "number": 9000, "protocol": "TCP"}], "resolution": "STATIC",
            "endpoints": [{"address": address, "ports": {"tcp": port}}]}) for name, port in ports.items()))

        def ask(name):
            script = (f"import socket; s = socket.create_connection(('{name}.example', 9000), 5); "
                      "s.sendall(b'hello there'); print(s.getpeername()[0], s.recv(9).decode())")
            done = execute(CLIENT, "sample", "sleep", "python3", "-c", script, container="sleep", check=False)
            return done.stdout.split() if done.returncode == 0 else []

        reached = {name: until(lambda n=name: ask(n), 30, f"an answer of {name}.example") for name in ports}
        self.assertEqual({name: str(port) for name, port in ports.items()}, {name: said for name, (_, said) in reached.items()})
        self.assertEqual(2, len({at for at, _ in reached.values()}))
        for at, _ in reached.values():
            self.assertTrue(at.startswith("240.240."), at)

    def test_12_who_reaches_a_gateway(self):
        gateway = MACHINES[SERVER][1]
        knock = lambda: isthmus("lab", "shell", CLIENT, "--", "curl", "-sS", "-m", "2", "-o", "/dev/null", f"http://{gateway}:15443/", check=False).returncode

        def limit(ranges):
            kubectl(SERVER, "patch", "svc", "istio-eastwestgateway", "-n", SYSTEM, "--type=merge", "-p",
                    json.dumps({"spec": {"loadBalancerSourceRanges": ranges}}))

        self.addCleanup(limit, None)
        limit(["192.168.229.140/32"])
        # curl: 28 is a time-out, 52 and 56 are an empty or broken answer of one that listens.
        until(lambda: knock() == 28, 30, "a stranger gets no answer")
        limit(["192.168.229.128/32"])
        until(lambda: knock() in (52, 56), 30, "the other cluster reaches the gateway")
        self.becomes("200", what="a request through the gateway")

    def test_13_one_trace_over_clusters(self):
        self.apply(istio("Telemetry", "mesh", {"tracing": [{"providers": [{"name": "zipkin"}], "randomSamplingPercentage": 100}]}, ns=SYSTEM))
        numbers = iter(range(1, 100))

        def traced():
            """Whether both ends of a request tell of it, the server's span under the client's."""
            trace = f"{0xabc:016x}{next(numbers):016x}"
            words = [word for name, value in (("x-b3-traceid", trace), ("x-b3-spanid", "00000000000000aa"), ("x-b3-sampled", "1"))
                     for word in header(name, value)]
            self.assertEqual("200", code("/get", *words))
            spans = until(lambda: self.spans(trace), 10, "spans of a request")
            until(lambda: {"sleep.sample", "httpbin.sample"} <= {s["localEndpoint"]["serviceName"] for s in self.spans(trace)}, 10, str(spans))
            return self.spans(trace)

        spans = {span["localEndpoint"]["serviceName"]: span for span in until(traced, 60, "spans of both clusters")}
        self.assertEqual("CLIENT", spans["sleep.sample"]["kind"])
        self.assertEqual("SERVER", spans["httpbin.sample"]["kind"])
        self.assertEqual(spans["sleep.sample"]["id"], spans["httpbin.sample"]["parentId"])

    @staticmethod
    def spans(trace):
        text = curl(f"http://zipkin.tracing:9411/api/v2/trace/{trace}")
        return json.loads(text) if text.startswith("[") else []

    def test_14_tenants_see_and_reach_their_own(self):
        # What the case before took back is on its way, still.
        self.becomes("200", ns="other", what="a request before the limit")
        self.assertIn("httpbin.sample", clusters_of("sleep", "other"))
        self.apply(istio("Sidecar", "default", {"egress": [{"hosts": ["./*", f"{SYSTEM}/*"]}], "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
                         ns="other"))
        until(lambda: "httpbin.sample" not in clusters_of("sleep", "other"), 30, "the other tenant out of sight")
        self.becomes("000", ns="other", what="a request to the other tenant")
        self.assertEqual("200", code(), "within the tenant")
        kubectl(CLIENT, "delete", "sidecar", "default", "-n", "other")
        self.becomes("200", ns="other", what="a request without the limit")

        def export(value):
            for cluster in MACHINES:
                kubectl(cluster, "annotate", "svc", "httpbin", "-n", "sample", "--overwrite", f"networking.istio.io/exportTo{value}")

        self.addCleanup(export, "-")
        # The gateway between the networks has to see it, too.
        export(f"=.,{SYSTEM}")
        until(lambda: "httpbin.sample" not in clusters_of("sleep", "other"), 30, "a service that its owner keeps")
        self.assertIn("httpbin.sample", clusters_of("sleep", "sample"))
        self.assertEqual("200", code())


if __name__ == "__main__":
    unittest.main(verbosity=2)
