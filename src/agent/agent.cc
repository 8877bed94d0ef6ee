#include "agent/agent.h"

#include "agent/app_probe.h"
#include "agent/bootstrap.h"
#include "agent/ca_client.h"
#include "agent/capture_command.h"
#include "agent/config_store.h"
#include "agent/control_plane.h"
#include "agent/dns_proxy.h"
#include "agent/drain.h"
#include "agent/envoy.h"
#include "agent/metrics_merge.h"
#include "agent/readiness.h"
#include "agent/sds_server.h"
#include "agent/status_server.h"
#include "agent/workload_secret.h"
#include "agent/xds_proxy.h"
#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strings.h"

namespace isthmus::agent {
namespace {

using base::Code;

// By then Envoy has its certificate and its configuration.
constexpr auto kSettled = std::chrono::seconds(15);
constexpr char kStorePath[] = "./var/lib/istio/data/xds";
constexpr char kTokenFile[] = "./var/run/secrets/tokens/istio-token";
constexpr char kRootFile[] = "./var/run/secrets/istio/root-cert.pem";
constexpr char kFileRoot[] = "./etc/certs/root-cert.pem";

/// Variables PREFIX<name> as extra metadata.
http::Headers HeadersOf(const Environment& env, std::string_view prefix) {
  http::Headers headers;
  for (const auto& [name, value] : env.all())
    if (name.starts_with(prefix) && name.size() > prefix.size())
      headers.Set(base::ToLower(name.substr(prefix.size())), value);
  return headers;
}

std::string RootFile(const Environment& env, const std::string& variable, bool file_certificates) {
  if (const std::string path = env.Get(variable); !path.empty()) return path;
  if (file_certificates && base::Exists(kFileRoot)) return kFileRoot;
  if (const std::string folder = env.Get("PROV_CERT"); !folder.empty())
    return folder + "/root-cert.pem";
  return kRootFile;
}

std::string ServerName(const Environment& env, const std::string& address, bool may_override) {
  const std::string host = address.substr(0, address.rfind(':'));
  if (const std::string san = env.Get("ISTIOD_SAN"); may_override && !san.empty()) return san;
  return host == "localhost" || host == "127.0.0.1" ? "istiod.istio-system.svc" : host;
}

/// The certificate of PROV_CERT, read anew each time since it may be replaced.
std::shared_ptr<const pki::KeyCertificate> ProvidedCertificate(const std::string& folder) {
  const base::Result<std::string> key = base::ReadFile(folder + "/key.pem");
  const base::Result<std::string> chain = base::ReadFile(folder + "/cert-chain.pem");
  if (!key.ok() || !chain.ok()) return nullptr;
  base::Result<pki::KeyCertificate> pair = pki::KeyCertificate::FromPem(*key, *chain);
  return pair.ok() ? std::make_shared<const pki::KeyCertificate>(std::move(*pair)) : nullptr;
}

base::Result<WorkloadSecretOptions> SecretOptions(const Settings& settings) {
  WorkloadSecretOptions options;
  const Environment& env = settings.env;
  options.spiffe_id = settings.spiffe_id();
  options.output_folder = env.Get("OUTPUT_CERTS");
  ASSIGN_OR_RETURN(const auto ttl, env.GetDuration("SECRET_TTL", options.ttl), "settings");
  options.ttl = std::chrono::duration_cast<std::chrono::seconds>(ttl);
  const auto number = [&](const char* name, double fallback) {
    const std::string text = env.Get(name);
    return text.empty() ? fallback : std::atof(text.c_str());
  };
  options.grace_ratio = number("SECRET_GRACE_PERIOD_RATIO", options.grace_ratio);
  options.grace_jitter = number("SECRET_GRACE_PERIOD_RATIO_JITTER", options.grace_jitter);
  const std::string bits = env.Get("WORKLOAD_RSA_KEY_SIZE");
  if (env.Get("ECC_SIGNATURE_ALGORITHM") == "ECDSA") return options;
  if (!bits.empty()) {
    ASSIGN_OR_RETURN(const int64_t value, base::ParseInt(bits),
                     "environment WORKLOAD_RSA_KEY_SIZE");
    if (value < 2048 || value > 8192)
      return base::Error(Code::kInvalidArgument,
                         "environment WORKLOAD_RSA_KEY_SIZE: {} is not from 2048 to 8192", value);
    options.rsa_bits = static_cast<int>(value);
  }
  return options;
}

}  // namespace

struct Agent::Impl {
  Impl(base::Loop& loop, const base::Clock& clock, Options options)
      : loop(loop), clock(clock), options(std::move(options)) {}

  base::Loop& loop;
  const base::Clock& clock;
  Options options;
  base::MetricRegistry metrics;
  std::unique_ptr<ControlPlane> ca_plane;
  std::unique_ptr<ControlPlane> xds_plane;
  std::unique_ptr<CaClient> ca;
  std::unique_ptr<WorkloadSecretSource> secrets;
  std::unique_ptr<SdsServer> sds;
  std::unique_ptr<ConfigStore> store;
  std::unique_ptr<XdsProxy> xds;
  std::unique_ptr<DnsProxy> dns;
  std::unique_ptr<Readiness> readiness;
  std::unique_ptr<MetricsMerger> merger;
  std::unique_ptr<AppProber> prober;
  std::unique_ptr<StatusServer> status;
  std::unique_ptr<Drainer> drainer;
  std::unique_ptr<EnvoyProcess> envoy;
  base::Timer settled;  ///< When the start is long over.
  bool terminating = false;
  bool drained = false;

  const Settings& settings() const { return options.settings; }
  const Environment& env() const { return options.settings.env; }

  base::Status Start() {
    RETURN_IF_ERROR(MakeControlPlanes(), "control plane");
    RETURN_IF_ERROR(MakeSecrets(), "certificates");
    RETURN_IF_ERROR(MakeXds(), "xDS");
    RETURN_IF_ERROR(MakeDns(), "DNS");
    RETURN_IF_ERROR(MakeStatus(), "status port");
    return options.run_envoy ? StartEnvoy() : base::Status();
  }

  base::Status MakeControlPlanes() {
    const std::string provided = env().Get("PROV_CERT");
    const auto certificate = [this, provided]() -> std::shared_ptr<const pki::KeyCertificate> {
      if (!provided.empty()) return ProvidedCertificate(provided);
      const std::shared_ptr<const WorkloadSecret> secret =
          secrets == nullptr ? nullptr : secrets->current();
      if (secret == nullptr) return nullptr;
      return std::shared_ptr<const pki::KeyCertificate>(secret, &secret->identity);
    };
    ControlPlaneOptions xds_options;
    xds_options.addresses = base::SplitList(settings().proxy.discovery_address);
    if (xds_options.addresses.empty())
      return base::Error(Code::kInvalidArgument, "no discoveryAddress");
    xds_options.plaintext = settings().proxy.plaintext_control_plane;
    xds_options.server_name = ServerName(env(), xds_options.addresses.front(), true);
    xds_options.root_file = RootFile(env(), "XDS_ROOT_CA", true);
    xds_options.token_file = env().Get("JWT_POLICY") == "none" ? "" : kTokenFile;
    xds_options.cluster_id = settings().cluster_id;
    xds_options.headers = HeadersOf(env(), "XDS_HEADER_");
    xds_options.certificate = certificate;
    ControlPlaneOptions ca_options = xds_options;
    const std::string ca_address = env().Get("CA_ADDR");
    if (!ca_address.empty()) {
      ca_options.addresses = base::SplitList(ca_address);
      ca_options.server_name = ServerName(env(), ca_options.addresses.front(), false);
    }
    ca_options.plaintext = ca_options.addresses.front().ends_with(":15010");
    ca_options.root_file =
        RootFile(env(), "CA_ROOT_CA", env().Get("PILOT_CERT_PROVIDER") == "custom");
    ca_options.headers = HeadersOf(env(), "CA_HEADER_");
    xds_plane = std::make_unique<ControlPlane>(loop, clock, std::move(xds_options));
    ca_plane = std::make_unique<ControlPlane>(loop, clock, std::move(ca_options));
    return {};
  }

  base::Status MakeSecrets() {
    ASSIGN_OR_RETURN(WorkloadSecretOptions secret_options, SecretOptions(settings()), "settings");
    ca = std::make_unique<CaClient>(loop, *ca_plane, env().Get("ISTIO_META_CERT_SIGNER"));
    secrets = std::make_unique<WorkloadSecretSource>(loop, clock, *ca, std::move(secret_options));
    sds = std::make_unique<SdsServer>(loop, *secrets, kSdsSocket);
    RETURN_IF_ERROR(sds->Start(), "SDS");
    metrics.AddGaugeFunction("istio_agent_cert_expiry_seconds",
                             "Seconds until the workload's certificate ends.",
                             {{"resource_name", "default"}}, [this] {
                               const auto secret = secrets->current();
                               if (secret == nullptr) return 0.0;
                               return std::chrono::duration<double>(
                                          secret->identity.chain.front().not_after() - clock.Now())
                                   .count();
                             });
    secrets->Start();
    return {};
  }

  base::Status MakeXds() {
    base::Result<std::unique_ptr<ConfigStore>> opened = ConfigStore::Open(kStorePath);
    if (opened.ok())
      store = std::move(*opened);
    else
      LOG_WARN("xdsproxy", "no configuration is kept on disk: {}", opened.status().message());
    XdsProxyOptions xds_options;
    xds_options.socket_path = XdsSocket(settings());
    xds_options.name_table = settings().dns_capture;
    xds =
        std::make_unique<XdsProxy>(loop, *xds_plane, store.get(), metrics, std::move(xds_options));
    xds->OnMeshTrust([this](MeshTrust trust) { secrets->SetMeshTrust(std::move(trust)); });
    return xds->Start();
  }

  base::Status MakeDns() {
    if (!settings().dns_capture) return {};
    base::Result<std::string> resolv_conf = base::ReadFile("/etc/resolv.conf");
    const std::string text = resolv_conf.ok() ? *resolv_conf : std::string();
    DnsProxyOptions dns_options;
    bool v4 = false, v6 = false;
    for (const std::string& ip : NameserversOf(text)) {
      ASSIGN_OR_RETURN(base::SocketAddress upstream, base::SocketAddress::From(ip, 53),
                       "nameserver");
      (upstream.is_v6() ? v6 : v4) = true;
      dns_options.upstreams.push_back(upstream);
    }
    ASSIGN_OR_RETURN(const base::HostPort listen,
                     base::HostPort::Parse(env().Get("DNS_PROXY_ADDR", "localhost:15053"), 15053),
                     "environment DNS_PROXY_ADDR");
    std::vector<std::string> hosts = {listen.host};
    if (listen.host == "localhost") {
      hosts.clear();
      if (v4 || !v6) hosts.push_back("127.0.0.1");
      if (v6) hosts.push_back("::1");
    }
    for (const std::string& host : hosts) {
      ASSIGN_OR_RETURN(base::SocketAddress address, base::SocketAddress::From(host, listen.port),
                       "environment DNS_PROXY_ADDR");
      dns_options.listen.push_back(address);
    }
    ASSIGN_OR_RETURN(dns_options.timeout,
                     env().GetDuration("DNS_FORWARD_TIMEOUT", dns_options.timeout), "settings");
    dns_options.scope.ns = settings().pod_namespace;
    dns_options.scope.domain = settings().domain;
    if (std::string_view domain = settings().domain;
        base::ConsumePrefix(domain, settings().pod_namespace + "."))
      dns_options.scope.domain = std::string(domain);
    dns_options.scope.search = FirstSearchDomain(text);
    dns_options.table = [this] { return xds->name_table(); };
    dns = std::make_unique<DnsProxy>(loop, metrics, std::move(dns_options));
    return dns->Start();
  }

  base::Status MakeStatus() {
    const std::string admin = fmt::format("http://127.0.0.1:{}", settings().proxy.admin_port);
    readiness = std::make_unique<Readiness>(loop, admin, [this]() -> std::string {
      return dns != nullptr && xds->name_table() == nullptr ? "the DNS name table has not come yet"
                                                            : "";
    });
    ASSIGN_OR_RETURN(std::vector<ScrapeTarget> targets,
                     ParseScrapeTargets(env().Get("ISTIO_PROMETHEUS_ANNOTATIONS")), "settings");
    if (!settings().is_sidecar()) targets.clear();
    merger = std::make_unique<MetricsMerger>(loop, metrics, settings().envoy_prometheus_port,
                                             std::move(targets));
    ASSIGN_OR_RETURN(auto probes, ParseAppProbes(env().Get("ISTIO_KUBE_APP_PROBERS")), "settings");
    // As the kubelet would: to the pod's address. From the address that the capture rules let
    // through.
    const bool legacy = env().GetBool("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION", false) ||
                        settings().ips.empty();
    const std::string target = legacy ? "127.0.0.1" : settings().ips.front();
    const std::string source = legacy                                  ? ""
                               : target.find(':') == std::string::npos ? "127.0.0.6"
                                                                       : "::6";
    prober = std::make_unique<AppProber>(loop, std::move(probes), target, source);
    drainer = std::make_unique<Drainer>(loop, admin, settings().is_sidecar());
    if (settings().proxy.status_port == 0) return {};
    const bool only_v6 =
        !settings().ips.empty() && settings().ips.front().find(':') != std::string::npos;
    status = std::make_unique<StatusServer>(
        loop, only_v6 ? "::" : "0.0.0.0", settings().proxy.status_port,
        StatusActions{*readiness, *merger, *prober, [this] { return xds->name_table(); },
                      [this] {
                        drained = true;
                        StopEnvoy();
                      },
                      [this] {
                        drained = true;
                        drainer->Drain(true, nullptr);
                      }});
    return status->Start();
  }

  base::Status StartEnvoy() {
    const std::string path = settings().proxy.custom_config_file.empty()
                                 ? BootstrapPath(settings())
                                 : settings().proxy.custom_config_file;
    if (settings().proxy.custom_config_file.empty()) {
      ASSIGN_OR_RETURN(const std::string bootstrap, MakeBootstrap(settings()), "Envoy");
      RETURN_IF_ERROR(base::MakeDirs(settings().proxy.config_path), "Envoy");
      RETURN_IF_ERROR(base::WriteFile(path, bootstrap), "Envoy");
    }
    std::vector<std::string> argv = options.launcher;
    for (std::string& argument : EnvoyArguments(settings(), path))
      argv.push_back(std::move(argument));
    envoy = std::make_unique<EnvoyProcess>(
        loop, std::move(argv),
        EnvoyProcess::Events{.started =
                                 [this] {
                                   readiness->EnvoyStarted();
                                   settled =
                                       base::Timer::After(loop, kSettled, base::ReleaseMemory);
                                 },
                             .gave_up = [this](base::ExitStatus) { End(1); }});
    envoy->Start();
    return {};
  }

  void Terminate() {
    if (std::exchange(terminating, true)) return StopEnvoy();
    readiness->ShuttingDown();
    // /drain has done its part already, as native sidecars do before they are told to end.
    if (drained || envoy == nullptr || envoy->pid() == 0) return StopEnvoy();
    LOG_INFO("default", "drain started");
    const bool until_idle = env().GetBool("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", false);
    const base::Result<base::Duration> least =
        env().GetDuration("MINIMUM_DRAIN_DURATION", std::chrono::seconds(5));
    drainer->Drain(false, nullptr);
    drainer->Wait(until_idle,
                  until_idle ? (least.ok() ? *least : base::Duration(std::chrono::seconds(5)))
                             : settings().proxy.termination_drain_duration,
                  [this] {
                    LOG_INFO("default", "drain finished");
                    StopEnvoy();
                  });
  }

  void StopEnvoy() {
    terminating = true;
    if (envoy == nullptr) return End(0);
    envoy->Stop(std::chrono::seconds(2), [this] { End(0); });
  }

  void End(int code) {
    if (settings().proxy.custom_config_file.empty())
      (void)base::RemoveFile(BootstrapPath(settings()));
    if (const auto ended = std::exchange(options.ended, nullptr)) ended(code);
  }
};

Agent::Agent(base::Loop& loop, const base::Clock& clock, Options options)
    : impl_(std::make_unique<Impl>(loop, clock, std::move(options))) {}
Agent::~Agent() = default;

base::Status Agent::Start() { return impl_->Start(); }
void Agent::Terminate() { impl_->Terminate(); }
int Agent::envoy_pid() const { return impl_->envoy == nullptr ? 0 : impl_->envoy->pid(); }

}  // namespace isthmus::agent
