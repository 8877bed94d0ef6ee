#include "config/validate.h"

#include <gtest/gtest.h>

#include <string>

namespace isthmus::config {
namespace {

/// One object and what is said about it: "E <field>" or "W <field>" of every issue expected, in
/// order; others fail.
struct Case {
  const char* kind;
  std::string spec;
  std::string want;
};

std::string Describe(const Validation& validation) {
  std::string text;
  auto add = [&text](const char* mark, const std::vector<Issue>& issues) {
    for (const Issue& issue : issues) {
      std::string field = issue.field;
      if (field.starts_with("spec.")) field = field.substr(5);
      text += (text.empty() ? "" : " ") + std::string(mark) + field;
    }
  };
  add("", validation.errors);
  add("?", validation.warnings);
  return text;
}

class RulesTest : public testing::TestWithParam<Case> {};
TEST_P(RulesTest, SaysExactly) {
  const Case& c = GetParam();
  auto spec = kubeapi::ParseYaml(c.spec);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  const Kind* kind = FindKindByName(c.kind);
  ASSERT_NE(kind, nullptr);
  const kubeapi::Json object = {{"apiVersion", kind->group + "/v1"},
                                {"kind", c.kind},
                                {"metadata", {{"name", "x"}, {"namespace", "a"}}},
                                {"spec", *spec}};
  const Validation validation = Validate(object);
  std::string all = validation.text();
  for (const Issue& issue : validation.warnings) all += "\n" + issue.text();
  EXPECT_EQ(Describe(validation), c.want) << c.spec << "\n" << all;
}

constexpr char kTo[] = "route: [{destination: {host: b}}]";
std::string Http(const std::string& rule) { return "{hosts: [b], http: [{" + rule + "}]}"; }
std::string Routed(const std::string& rule) { return Http(std::string(kTo) + ", " + rule); }

INSTANTIATE_TEST_SUITE_P(
    VirtualService, RulesTest,
    testing::Values(
        Case{"VirtualService", Http(kTo), ""}, Case{"VirtualService", "{hosts: [b]}", "spec"},
        Case{"VirtualService", "{hosts: [b, b], http: [{" + std::string(kTo) + "}]}", "hosts[1]"},
        Case{"VirtualService", "{hosts: ['*.b.c', a.b.c], http: [{" + std::string(kTo) + "}]}",
             "hosts[1]"},
        Case{"VirtualService", "{hosts: ['*'], http: [{" + std::string(kTo) + "}]}", "hosts[0]"},
        Case{"VirtualService", "{hosts: ['*'], gateways: [g], http: [{" + std::string(kTo) + "}]}",
             ""},
        Case{"VirtualService",
             "{hosts: ['*'], gateways: [g, mesh], http: [{" + std::string(kTo) + "}]}", "hosts[0]"},
        Case{"VirtualService", "{hosts: [b_c], http: [{" + std::string(kTo) + "}]}", "hosts[0]"},
        Case{"VirtualService",
             "{hosts: ['a*.b'], gateways: [g], http: [{" + std::string(kTo) + "}]}", "hosts[0]"},
        Case{"VirtualService",
             "{hosts: [b], gateways: ['x/y/z'], http: [{" + std::string(kTo) + "}]}",
             "gateways[0]"},
        Case{"VirtualService",
             "{hosts: [b], gateways: [g.ns.svc], http: [{" + std::string(kTo) + "}]}",
             "?gateways[0]"},
        Case{"VirtualService", "{hosts: [b], exportTo: [., a], http: [{" + std::string(kTo) + "}]}",
             "exportTo[1]"},
        Case{"VirtualService",
             "{hosts: [b], exportTo: ['*', c], http: [{" + std::string(kTo) + "}]}", "exportTo"},
        Case{"VirtualService", "{hosts: [b], exportTo: ['~'], http: [{" + std::string(kTo) + "}]}",
             "exportTo[0]"},
        Case{"VirtualService", Http("name: x"), "http[0]"},
        Case{"VirtualService", Routed("redirect: {uri: /x}"), "http[0].route"},
        Case{"VirtualService", Http("redirect: {}"), "http[0].redirect"},
        Case{"VirtualService", Http("redirect: {uri: /x, redirectCode: 200}"),
             "http[0].redirect.redirectCode"},
        Case{"VirtualService", Http("redirect: {scheme: ftp}"), "http[0].redirect.scheme"},
        Case{"VirtualService", Http("redirect: {uri: '%PREFIX()%'}"), "http[0].redirect.uri"},
        Case{"VirtualService", Http("redirect: {port: 80, derivePort: FROM_REQUEST_PORT}"),
             "http[0].redirect.port"},
        Case{"VirtualService", Http("directResponse: {status: 503}"), ""},
        Case{"VirtualService",
             Http("directResponse: {status: 5}, fault: {abort: {httpStatus: 500}}"),
             "http[0].fault http[0].directResponse.status"},
        Case{"VirtualService", Http("delegate: {name: d}"), ""},
        Case{"VirtualService", "{http: [{delegate: {name: d}}]}", "http[0].delegate"},
        Case{"VirtualService", "{gateways: [g], http: [{" + std::string(kTo) + "}]}", "gateways"},
        Case{"VirtualService", Http("route: [{destination: {host: '*'}}]"),
             "http[0].route[0].destination.host"},
        Case{"VirtualService", Http("route: [{weight: 1}]"), "http[0].route[0].destination"},
        Case{"VirtualService", Http("route: [{destination: {host: b}}, {destination: {host: c}}]"),
             "http[0].route"},
        Case{"VirtualService",
             Http("route: [{destination: {host: b, port: {number: 70000}}, weight: -1}]"),
             "http[0].route[0].destination.port.number http[0].route[0].weight"},
        Case{"VirtualService", Routed("match: [{uri: {regex: '(a'}}]"),
             "http[0].match[0].uri.regex"},
        Case{"VirtualService", Routed("match: [{uri: {regex: 'a(?=b)'}}]"),
             "http[0].match[0].uri.regex"},
        Case{"VirtualService", Routed("match: [{uri: {regex: '^(?i)/(a|b)[^/]+(\\.x)?$'}}]"), ""},
        Case{"VirtualService", Routed("match: [{headers: {x: {prefix: ''}}}]"),
             "http[0].match[0].headers.x.prefix"},
        Case{"VirtualService",
             Routed("match: [{headers: {'@request.auth.claims.sub': {exact: x}}}]"),
             "http[0].match[0].headers"},
        Case{"VirtualService",
             Routed("match: [{sourceNamespace: 'A B', sourceLabels: {a: 'b c'}}]"),
             "http[0].match[0].sourceLabels.a http[0].match[0].sourceNamespace"},
        Case{"VirtualService", Routed("rewrite: {}"), "http[0].rewrite"},
        Case{"VirtualService",
             Routed("rewrite: {uri: /a, uriRegexRewrite: {match: a, rewrite: b}}"),
             "http[0].rewrite"},
        Case{"VirtualService", Routed("fault: {}"), "http[0].fault"},
        Case{"VirtualService",
             Routed("fault: {delay: {fixedDelay: 5s, percentage: {value: 0.00001}}}"),
             "http[0].fault.delay.percentage"},
        Case{"VirtualService", Routed("fault: {delay: {fixedDelay: 100us}}"),
             "http[0].fault.delay.fixedDelay"},
        Case{"VirtualService", Routed("fault: {abort: {httpStatus: 700}}"),
             "http[0].fault.abort.httpStatus"},
        Case{"VirtualService", Routed("fault: {abort: {grpcStatus: NOPE}}"),
             "http[0].fault.abort.grpcStatus"},
        Case{"VirtualService", Routed("fault: {abort: {percentage: {value: 5}}}"),
             "?http[0].fault.abort"},
        Case{"VirtualService", Routed("retries: {attempts: 0, retryOn: 5xx}"), "http[0].retries"},
        Case{"VirtualService", Routed("retries: {attempts: 2, retryOn: '5xx,503,what'}"),
             "http[0].retries.retryOn"},
        Case{"VirtualService", Routed("timeout: 0s"), ""},
        Case{"VirtualService", Routed("timeout: 1.5ms"), "http[0].timeout"},
        Case{"VirtualService", Routed("mirror: {host: m}, mirrors: [{destination: {host: o}}]"),
             "http[0].mirrors"},
        Case{"VirtualService", Routed("mirror: {host: m}, mirrorPercent: 5"),
             "?http[0].mirrorPercent"},
        Case{"VirtualService",
             Routed("corsPolicy: {allowMethods: [FETCH], allowHeaders: ['a b'], maxAge: 1500ms}"),
             "http[0].corsPolicy.allowMethods[0] http[0].corsPolicy.allowHeaders[0] "
             "http[0].corsPolicy.maxAge"},
        Case{"VirtualService",
             Routed("headers: {request: {set: {':path': x}, remove: [Host]}, response: {set: "
                    "{host: x}}}"),
             "http[0].headers.request.set http[0].headers.request.remove[0] "
             "http[0].headers.response.set"},
        Case{"VirtualService", Routed("headers: {request: {set: {a: '100%'}}}"),
             "http[0].headers.request.set.a"},
        Case{"VirtualService", Routed("headers: {request: {set: {a: '100%%', b: '%REQ(x)%'}}}"),
             ""},
        Case{"VirtualService",
             "{hosts: [b], http: [{" + std::string(kTo) + "}, {" + kTo +
                 ", match: [{uri: {prefix: /a}}]}]}",
             "?http[1]"},
        Case{"VirtualService",
             "{hosts: [b], http: [{" + std::string(kTo) + ", match: [{uri: {prefix: /a}}]}, {" +
                 kTo + ", match: [{uri: {prefix: /a}}]}]}",
             "?http[1].match[0]"},
        Case{"VirtualService",
             "{hosts: [b.c], tls: [{match: [{sniHosts: [b.c]}], " + std::string(kTo) + "}]}", ""},
        Case{"VirtualService", "{hosts: [b.c], tls: [{" + std::string(kTo) + "}]}", "tls[0].match"},
        Case{"VirtualService",
             "{hosts: [b.c], tls: [{match: [{sniHosts: [x.c]}, {port: 1}], " + std::string(kTo) +
                 "}]}",
             "tls[0].match[0].sniHosts[0] tls[0].match[1].sniHosts"},
        Case{"VirtualService",
             "{hosts: [b], tcp: [{match: [{destinationSubnets: [x], port: 99999}]}]}",
             "tcp[0].match[0].destinationSubnets[0] tcp[0].match[0].port tcp[0].route"}));

std::string Rule(const std::string& policy) { return "{host: b, trafficPolicy: {" + policy + "}}"; }

INSTANTIATE_TEST_SUITE_P(
    DestinationRule, RulesTest,
    testing::Values(
        Case{"DestinationRule",
             Rule("tls: {mode: ISTIO_MUTUAL}, outlierDetection: {interval: 1s, "
                  "consecutive5xxErrors: 1}"),
             ""},
        Case{"DestinationRule", "{}", "host"}, Case{"DestinationRule", Rule(""), "trafficPolicy"},
        Case{"DestinationRule",
             "{host: b, subsets: [{name: v1}, {name: v1}, {labels: {a: b}}, {name: 'v_1'}]}",
             "subsets[1].name subsets[2].name subsets[3].name"},
        Case{"DestinationRule", Rule("connectionPool: {}"), "trafficPolicy.connectionPool"},
        Case{"DestinationRule",
             Rule("connectionPool: {tcp: {maxConnections: -1}, http: {h2UpgradePolicy: UPGRADE, "
                  "useClientProtocol: true}}"),
             "trafficPolicy.connectionPool.tcp.maxConnections "
             "trafficPolicy.connectionPool.http.useClientProtocol"},
        Case{"DestinationRule",
             Rule("portLevelSettings: [{port: {number: 80}}, {tls: {mode: SIMPLE}}]"),
             "trafficPolicy.portLevelSettings[0] trafficPolicy.portLevelSettings[1].port"},
        Case{"DestinationRule",
             Rule("outlierDetection: {consecutiveErrors: 3, consecutiveLocalOriginFailures: 1, "
                  "maxEjectionPercent: 101}"),
             "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures "
             "trafficPolicy.outlierDetection.maxEjectionPercent "
             "?trafficPolicy.outlierDetection.consecutiveErrors"},
        Case{
            "DestinationRule",
            Rule(
                "loadBalancer: {consistentHash: {httpCookie: {ttl: 0s}, maglev: {tableSize: 10}}}"),
            "trafficPolicy.loadBalancer.consistentHash.httpCookie.name "
            "trafficPolicy.loadBalancer.consistentHash.maglev.tableSize"},
        Case{"DestinationRule",
             Rule("loadBalancer: {localityLbSetting: {distribute: [{from: r1, to: {r1: 60, r2: "
                  "30}}]}}"),
             "trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to"},
        Case{"DestinationRule",
             Rule("loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r1}, {from: r1/z, "
                  "to: r2}]}}"),
             "trafficPolicy.loadBalancer.localityLbSetting.failover[0] "
             "trafficPolicy.loadBalancer.localityLbSetting.failover[1].from "
             "?trafficPolicy.loadBalancer.localityLbSetting"},
        Case{"DestinationRule",
             Rule("loadBalancer: {warmup: {minimumPercent: 120, aggression: 0}}"),
             "trafficPolicy.loadBalancer.warmup.duration "
             "trafficPolicy.loadBalancer.warmup.minimumPercent "
             "trafficPolicy.loadBalancer.warmup.aggression"},
        Case{"DestinationRule", Rule("tls: {mode: MUTUAL}"),
             "trafficPolicy.tls.clientCertificate trafficPolicy.tls.privateKey"},
        Case{"DestinationRule", Rule("tls: {mode: SIMPLE, credentialName: c, caCertificates: /x}"),
             "trafficPolicy.tls.credentialName"},
        Case{"DestinationRule",
             Rule("tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [x]}"),
             "trafficPolicy.tls.insecureSkipVerify"},
        Case{"DestinationRule",
             Rule("tunnel: {protocol: GET, targetHost: b, targetPort: 0}, proxyProtocol: {version: "
                  "V2}"),
             "trafficPolicy.proxyProtocol trafficPolicy.tunnel.protocol "
             "trafficPolicy.tunnel.targetPort"},
        Case{"DestinationRule", "{host: b, workloadSelector: {matchLabels: {a: b}}, exportTo: [c]}",
             "exportTo"}));

std::string Server(const std::string& port, const std::string& rest) {
  return "{selector: {a: b}, servers: [{port: {" + port + "}, hosts: ['*'], " + rest + "}]}";
}

INSTANTIATE_TEST_SUITE_P(
    Gateway, RulesTest,
    testing::Values(
        Case{"Gateway",
             Server("number: 15443, name: tls, protocol: tls", "tls: {mode: AUTO_PASSTHROUGH}"),
             ""},
        Case{"Gateway", "{}", "servers"},
        Case{"Gateway", "{servers: [{}]}", "servers[0].port servers[0].hosts"},
        Case{"Gateway", Server("number: 443, name: https, protocol: HTTPS", "name: x"),
             "servers[0].tls"},
        Case{"Gateway",
             Server("number: 80, name: http, protocol: HTTP", "tls: {httpsRedirect: true}"), ""},
        Case{"Gateway",
             Server("number: 80, name: http, protocol: HTTP",
                    "tls: {mode: SIMPLE, credentialName: c}"),
             "servers[0].tls"},
        Case{"Gateway", Server("number: 443, name: https, protocol: HTTPS", "tls: {mode: SIMPLE}"),
             "servers[0].tls.serverCertificate servers[0].tls.privateKey"},
        Case{"Gateway",
             Server("number: 443, name: https, protocol: HTTPS",
                    "tls: {mode: MUTUAL, serverCertificate: a, privateKey: b}"),
             "servers[0].tls.caCertificates"},
        Case{"Gateway",
             Server("number: 443, name: https, protocol: HTTPS",
                    "tls: {mode: MUTUAL, credentialName: c}"),
             ""},
        Case{"Gateway",
             Server("number: 443, name: https, protocol: HTTPS",
                    "tls: {mode: ISTIO_MUTUAL, credentialName: c}"),
             "servers[0].tls"},
        Case{"Gateway",
             Server("number: 443, name: t, protocol: TLS",
                    "tls: {mode: PASSTHROUGH, credentialName: c}"),
             "?servers[0].tls"},
        Case{"Gateway",
             Server("number: 443, name: https, protocol: HTTPS",
                    "tls: {credentialName: c, mode: SIMPLE, cipherSuites: [X, X]}"),
             "?servers[0].tls.cipherSuites[0] ?servers[0].tls.cipherSuites[1] "
             "?servers[0].tls.cipherSuites[1]"},
        Case{"Gateway",
             Server("number: 0, name: x, protocol: SPDY, targetPort: 5", "bind: nonsense"),
             "servers[0].port.number servers[0].port.protocol servers[0].port.targetPort "
             "servers[0].bind"},
        Case{"Gateway",
             "{servers: [{port: {number: 80, name: a, protocol: HTTP}, hosts: [short, 'Bad "
             "Ns/x.y', './x.y', '*/*.z', 10.0.0.1]}, "
             "{port: {number: 81, name: a, protocol: HTTP}, hosts: ['*']}]}",
             "servers[0].hosts[0] servers[0].hosts[1] servers[1].port.name"}));

std::string Entry(const std::string& rest) {
  return "{hosts: [a.b], ports: [{number: 443, name: tls, protocol: TLS}], " + rest + "}";
}

INSTANTIATE_TEST_SUITE_P(
    ServiceEntry, RulesTest,
    testing::Values(
        Case{"ServiceEntry", Entry("resolution: DNS"), ""}, Case{"ServiceEntry", "{}", "hosts"},
        Case{"ServiceEntry", Entry("resolution: DNS, addresses: [10.0.0.0/8, x]"),
             "addresses[0] addresses[1]"},
        Case{"ServiceEntry", Entry("resolution: NONE, endpoints: [{address: 1.1.1.1}]"),
             "endpoints"},
        Case{"ServiceEntry",
             Entry("resolution: STATIC, endpoints: [{address: b.c}, {ports: {x: 1}}]"),
             "endpoints[0].address endpoints[1].address endpoints[1].ports"},
        Case{"ServiceEntry", Entry("resolution: STATIC, endpoints: [{network: net}]"),
             "?endpoints[0].address"},
        Case{"ServiceEntry",
             Entry("resolution: STATIC, endpoints: [{address: 1.1.1.1}], workloadSelector: "
                   "{labels: {a: b}}"),
             "endpoints"},
        Case{"ServiceEntry",
             Entry("resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.c}, {address: c.d}]"),
             "endpoints"},
        Case{"ServiceEntry",
             "{hosts: ['*.b'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}",
             "endpoints"},
        Case{"ServiceEntry",
             "{hosts: ['*.b'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: "
             "DYNAMIC_DNS}",
             ""},
        Case{"ServiceEntry", Entry("resolution: DYNAMIC_DNS"), "hosts[0]"},
        Case{"ServiceEntry",
             "{hosts: [a.b], resolution: NONE, ports: [{number: 1, name: t, protocol: TCP}, "
             "{number: 1, name: t, protocol: X}]}",
             "ports[1].name ports[1].number ports[1].protocol ?ports[0] ?ports[1]"},
        Case{"ServiceEntry",
             "{hosts: [a.b, c.d], resolution: DNS, ports: [{number: 1, name: t, protocol: TCP}]}",
             "ports[0]"},
        Case{"ServiceEntry",
             "{hosts: ['*'], resolution: NONE, ports: [{number: 1, name: t, protocol: TLS}], "
             "exportTo: ['~']}",
             "hosts[0]"},
        Case{"WorkloadEntry", "{address: 1.1.1.1, ports: {http: 80}}", ""},
        Case{"WorkloadEntry", "{}", "address"},
        Case{"WorkloadEntry", "{address: 'unix:///x', ports: {http: 80}}", "ports"},
        Case{"WorkloadEntry", "{address: 'unix://x'}", "address"},
        Case{"WorkloadGroup",
             "{template: {serviceAccount: x}, probe: {httpGet: {port: 0, scheme: FTP}, "
             "periodSeconds: -1}}",
             "probe.periodSeconds probe.httpGet.port probe.httpGet.scheme"},
        Case{"WorkloadGroup", "{probe: {}}", "template probe"}));

INSTANTIATE_TEST_SUITE_P(
    Sidecar, RulesTest,
    testing::Values(
        Case{"Sidecar", "{egress: [{hosts: ['./*', 'istio-system/*']}]}", ""},
        Case{"Sidecar", "{}", "spec"},
        Case{"Sidecar", "{egress: [{hosts: []}, {hosts: ['x', 'a/short', '~/*']}]}",
             "egress[0].hosts egress[0] egress[1].hosts[0] egress[1].hosts[1] egress[1]"},
        Case{"Sidecar", "{egress: [{hosts: ['*/*', 'a/*']}]}", "?egress[0].hosts"},
        Case{"Sidecar",
             "{ingress: [{port: {number: 80, name: h, protocol: HTTP}, defaultEndpoint: "
             "'10.0.0.1:80'}, "
             "{port: {number: 80, name: h, protocol: HTTP}, defaultEndpoint: 'unix://x'}, {}]}",
             "ingress[0].defaultEndpoint ingress[1].port.number ingress[1].defaultEndpoint "
             "ingress[2].port"},
        Case{"Sidecar",
             "{ingress: [{port: {number: 443, name: h, protocol: HTTPS}, defaultEndpoint: "
             "'127.0.0.1:80', "
             "tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}]}",
             ""},
        Case{"Sidecar", "{outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: b}}}",
             "outboundTrafficPolicy.egressProxy"}));

INSTANTIATE_TEST_SUITE_P(
    Security, RulesTest,
    testing::Values(
        Case{"PeerAuthentication", "{mtls: {mode: STRICT}}", ""},
        Case{"PeerAuthentication",
             "{selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: DISABLE}}}", ""},
        Case{"PeerAuthentication", "{portLevelMtls: {70000: {mode: DISABLE}}}",
             "portLevelMtls portLevelMtls"},
        Case{"PeerAuthentication", "{selector: {matchLabels: {'a*': b}}}", "selector"},
        Case{"PeerAuthentication", "{selector: {}}", "?selector"},
        Case{"AuthorizationPolicy", "{}", ""},
        Case{"AuthorizationPolicy", "{action: DENY}", "rules"},
        Case{"AuthorizationPolicy", "{action: CUSTOM}", "rules provider.name"},
        Case{"AuthorizationPolicy", "{action: ALLOW, provider: {name: x}, rules: [{}]}",
             "provider"},
        Case{"AuthorizationPolicy",
             "{rules: [{from: [{}, {source: {}}, {source: {principals: ['']}}]}]}",
             "rules[0].from[0].source rules[0].from[1].source "
             "rules[0].from[2].source.principals[0]"},
        Case{"AuthorizationPolicy",
             "{rules: [{from: [{source: {ipBlocks: [x]}}], to: [{operation: {ports: ['0'], paths: "
             "['/{**}/a']}}]}]}",
             "rules[0].from[0].source.ipBlocks[0] rules[0].to[0].operation.paths[0] "
             "rules[0].to[0].operation.ports[0]"},
        Case{"AuthorizationPolicy",
             "{rules: [{when: [{key: nonsense, values: [x]}, {key: source.ip}, {key: "
             "'request.headers[x]', values: [z]}]}]}",
             "rules[0].when[0].key rules[0].when[1]"},
        Case{
            "AuthorizationPolicy",
            "{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {namespaces: [a]}}]}]}",
            "rules[0].from[0].source.namespaces"},
        Case{"AuthorizationPolicy",
             "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}", "?rules[0]"},
        Case{"AuthorizationPolicy",
             "{rules: [{from: [{source: {serviceAccounts: ['a/b/c'], namespaces: [x]}}]}]}",
             "rules[0].from[0].source.serviceAccounts[0] rules[0].from[0].source.serviceAccounts"},
        Case{"AuthorizationPolicy",
             "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Pod, namespace: x}]}",
             "spec targetRefs[0].name targetRefs[0].namespace targetRefs[0].kind"},
        Case{"RequestAuthentication", "{jwtRules: [{issuer: x, jwksUri: 'https://y/keys'}]}", ""},
        Case{"RequestAuthentication",
             "{jwtRules: [{audiences: ['']}, {issuer: x, jwksUri: 'ftp://y', jwks: '{}', "
             "fromHeaders: [{}]}]}",
             "jwtRules[0] jwtRules[0].audiences[0] jwtRules[1].jwksUri jwtRules[1].jwks "
             "jwtRules[1].fromHeaders[0].name"},
        Case{"RequestAuthentication",
             "{jwtRules: [{issuer: x, jwks: '{\"keys\": [{\"kty\": \"RSA\", \"d\": \"x\"}]}'}]}",
             "?jwtRules[0].jwks"}));

INSTANTIATE_TEST_SUITE_P(
    Other, RulesTest,
    testing::Values(
        Case{"Telemetry", "{accessLogging: [{providers: [{name: envoy}]}]}", ""},
        Case{"Telemetry",
             "{tracing: [{providers: [{}], randomSamplingPercentage: 101, customTags: {a: {}}}]}",
             "tracing[0].providers[0].name tracing[0].randomSamplingPercentage "
             "tracing[0].customTags.a"},
        Case{"Telemetry", "{metrics: [{overrides: [{tagOverrides: {a: {}, }}]}]}",
             "metrics[0].overrides[0].tagOverrides.a.value"},
        Case{"EnvoyFilter", "{configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}",
             "?spec"},
        Case{"EnvoyFilter",
             "{configPatches: [{match: {cluster: {name: x}}}, {applyTo: LISTENER, match: {cluster: "
             "{name: x}}, patch: {operation: MERGE}}]}",
             "configPatches[0].applyTo configPatches[0].patch.operation "
             "configPatches[0].patch.value "
             "configPatches[1].patch.value configPatches[1].match ?spec"},
        Case{"ProxyConfig", "{concurrency: -1}", "concurrency"},
        Case{"WasmPlugin", "{url: 'oci://x/y'}", ""},
        Case{"WasmPlugin",
             "{url: 'ftp://x', sha256: X, vmConfig: {env: [{name: a, valueFrom: HOST, value: b}, "
             "{name: a}]}}",
             "url sha256 vmConfig.env[0].value vmConfig.env[1].name"}));

TEST(ValidateTest, ShapeComesFirst) {
  auto object = kubeapi::ParseYaml(
      "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: x}, spec: "
      "{hosts: [b], htp: []}, data: 1}");
  ASSERT_TRUE(object.ok());
  const Validation validation = Validate(*object);
  ASSERT_EQ(validation.errors.size(), 3u);
  EXPECT_EQ(validation.errors[0].field, "data");
  EXPECT_EQ(validation.errors[1].field, "spec.htp");
  EXPECT_NE(validation.text().find("spec.htp: is not a field of VirtualService"),
            std::string::npos);
}

TEST(ValidateTest, TypesThatDoNotFitAreToldAlone) {
  auto object = kubeapi::ParseYaml(
      "{apiVersion: networking.istio.io/v1beta1, kind: Gateway, metadata: {name: x}, spec: "
      "{servers: 1}}");
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(Validate(*object).text(), "spec.servers: 1 is not a list");
}

TEST(ValidateTest, AnnotationsAndForeignKinds) {
  auto object = kubeapi::ParseYaml(
      "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: x, "
      "annotations: {istio.io/dry-run: maybe, "
      "internal.istio.io/webhook-always-reject: 'true'}}}");
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(Validate(*object).errors.size(), 2u);
  EXPECT_FALSE(Validate(kubeapi::Json{{"apiVersion", "v1"}, {"kind", "Pod"}}).ok());
  EXPECT_FALSE(Validate(kubeapi::Json::array()).ok());
  EXPECT_FALSE(Validate(*FindKindByName("vs"), kubeapi::Json(5)).ok());
}

}  // namespace
}  // namespace isthmus::config
