#include "controlplane/control_plane.h"

#include <fmt/format.h>

#include <utility>

#include "ads/debug.h"
#include "ads/server.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/strings.h"
#include "base/version.h"
#include "ca/authenticator.h"
#include "ca/authority.h"
#include "ca/certificate_authority.h"
#include "ca/certificate_service.h"
#include "ca/kubernetes_issuer.h"
#include "ca/root_publisher.h"
#include "ca/serving_certificate.h"
#include "ca/token_authenticator.h"
#include "controlplane/adoption.h"
#include "controlplane/debug_pages.h"
#include "controlplane/identifier.h"
#include "controlplane/injector_source.h"
#include "controlplane/led_clusters.h"
#include "controlplane/metrics.h"
#include "controlplane/standby.h"
#include "controlplane/validation_gate.h"
#include "controlplane/views.h"
#include "controlplane/web.h"
#include "controlplane/webhook_patcher.h"
#include "controlplane/webhook_server.h"
#include "controlplane/xds_authenticator.h"
#include "http/server.h"
#include "istio/mesh/v1alpha1/config.pb.h"
#include "istio/mesh/v1alpha1/proxy.pb.h"
#include "kubeapi/resources.h"
#include "kubeclient/client.h"
#include "registry/mesh_registry.h"
#include "rpc/server.h"
#include "translate/translator.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::kMutatingWebhooks;
using kubeapi::kValidatingWebhooks;

/// How long the webhooks answer once the end has begun.
constexpr base::Duration kWebhookFarewell = std::chrono::seconds(3);

using base::Status;

registry::MeshRegistry::Options RegistryOptions(const Settings& settings) {
  registry::MeshRegistry::Options options;
  options.cluster_id = model::ClusterId(settings.cluster_id);
  options.domain_suffix = settings.domain;
  options.system_namespace = settings.ns;
  options.mesh_config_map = settings.revision.empty() ? "istio" : "istio-" + settings.revision;
  options.mesh_file = settings.mesh_config;
  options.networks_file = settings.networks_config;
  options.remote_timeout = settings.remote_timeout;
  options.state_folder = settings.state_folder;
  options.allowed_kubeconfig_entries = base::SplitList(settings.insecure_kubeconfig_options);
  return options;
}

ca::CertificateAuthorityOptions CaOptions(const Settings& settings) {
  ca::CertificateAuthorityOptions options;
  options.folder = settings.ca_folder;
  options.multi_root = settings.multi_root;
  options.self_signed.ns = settings.ns;
  options.self_signed.root_ttl = settings.root_ttl;
  options.self_signed.limits.default_ttl = settings.default_cert_ttl;
  options.self_signed.limits.max_ttl = settings.max_cert_ttl;
  return options;
}

ads::ServerOptions XdsOptions(const Settings& settings) {
  ads::ServerOptions options;
  options.check_identity = settings.check_identity;
  options.control_plane = ControlPlaneIdentifier(settings.pod_name, settings.ShownRevision());
  options.max_stream_age = settings.max_connection_age;
  return options;
}

}  // namespace

// Members are made in the order in which they need each other and go in the opposite one.
struct ControlPlane::Impl {
  Impl(base::Loop& loop_in, const base::Clock& clock_in, Settings settings_in,
       kubeclient::RestConfig cluster_in)
      : loop(loop_in),
        clock(clock_in),
        settings(std::move(settings_in)),
        cluster(std::move(cluster_in)),
        views(translator, [this](const model::ClusterId& claimed) { return KnownAs(claimed); }),
        xds(loop, views, clock, XdsOptions(settings)),
        debug(xds, views, settings.ns, [this](std::string_view page) { return ShowDebug(page); }) {
    xds.SetDebug(&debug);
  }

  base::Status Start();
  void StartKubernetes();
  void StartFailover();
  void InjectionSources(const std::string& cluster,
                        const std::function<void(const WebhookServer::Sources&)>& then);
  void StartAuthentication();
  void StartIssuer();
  std::shared_ptr<const pki::TrustBundle> ClientRoots() const;
  void StartWebhooks();
  void StartLeading();
  void AddPages();
  Status OpenEarly();
  void OnSnapshot(std::shared_ptr<const model::Snapshot> snapshot, const model::ChangeSet& changes);
  void MaybeServe();
  Status OpenServing();
  Status Open(std::unique_ptr<http::Server>& server, http::ServerOptions options,
              http::Handler handler, std::string_view what);
  http::TlsServerOptions Tls(http::TlsServerOptions::ClientCertificate client) const;
  std::string WaitingFor() const;
  model::ClusterId KnownAs(const model::ClusterId& claimed) const;
  base::Result<std::string> ShowDebug(std::string_view page) const;

  base::Loop& loop;
  const base::Clock& clock;
  const Settings settings;
  const kubeclient::RestConfig cluster;
  base::MetricRegistry metrics;
  std::unique_ptr<kubeclient::Client> client;

  ca::Authority authority;
  std::unique_ptr<ca::CertificateAuthority> ca_loader;
  std::unique_ptr<ca::ServingCertificate> serving;
  std::unique_ptr<ca::RootPublisher> roots;
  std::unique_ptr<ca::AuthenticatorChain> callers;
  std::unique_ptr<XdsAuthenticator> xds_callers;
  std::unique_ptr<ca::Issuer> issuer;
  ca::KubernetesIssuer* registration = nullptr;  // `issuer`, when a CA outside signs.
  std::unique_ptr<ca::CertificateService> certificates;

  translate::Translator translator;
  Views views;
  ads::Server xds;
  ads::Debug debug;
  std::unique_ptr<registry::MeshRegistry> registry;
  std::unique_ptr<Adoption> adoption;
  std::unique_ptr<Standby> standby;
  std::unique_ptr<DebugPages> debug_pages;

  std::unique_ptr<InjectorSource> injector;
  std::unique_ptr<WebhookServer> webhooks;
  std::unique_ptr<ValidationGate> gate;
  std::unique_ptr<WebhookPatcher> mutating;
  std::unique_ptr<WebhookPatcher> validating;
  std::unique_ptr<LedClusters> led;  ///< Null: we lead no remote.

  rpc::Router secure_router;
  rpc::Router plain_router;
  Pages http_pages;
  Pages monitoring_pages;
  std::unique_ptr<http::Server> grpc_server;
  std::unique_ptr<http::Server> secure_server;
  std::unique_ptr<http::Server> http_server;
  std::unique_ptr<http::Server> https_server;
  std::unique_ptr<http::Server> monitoring_server;
  std::shared_ptr<void> authority_changes;
  std::function<void(const Status&)> on_failure;
  base::Timer drain;
  base::MemoryKeeper memory{loop};
  bool world_read =
      false;  // The registry has published; before that its snapshot is empty, not true.
  bool serving_now = false;
  bool draining = false;
};

Status ControlPlane::Impl::Start() {
  ASSIGN_OR_RETURN(client, kubeclient::Client::Create(loop, cluster),
                   "connecting to the API server");
  ca_loader = std::make_unique<ca::CertificateAuthority>(loop, clock, authority, client.get(),
                                                         CaOptions(settings));
  StartKubernetes();
  AddPages();
  RETURN_IF_ERROR(OpenEarly(), "starting");
  authority_changes = authority.OnChange([this] {
    if (mutating) mutating->BundleChanged();
    if (validating) validating->BundleChanged();
    if (led) led->BundleChanged();
    loop.Post([this, alive = std::weak_ptr<void>(authority_changes)] {
      if (!alive.expired()) MaybeServe();
    });
  });
  RETURN_IF_ERROR(ca_loader->Start(), "starting the certificate authority");
  StartWebhooks();
  StartLeading();
  return {};
}

void ControlPlane::Impl::StartKubernetes() {
  registry = std::make_unique<registry::MeshRegistry>(
      loop, *client, clock, metrics, RegistryOptions(settings),
      [this](std::shared_ptr<const model::Snapshot> snapshot, const model::ChangeSet& changes) {
        OnSnapshot(std::move(snapshot), changes);
      });
  debug_pages =
      std::make_unique<DebugPages>(DebugSources{xds, debug, *registry, settings.cluster_id});
  injector = std::make_unique<InjectorSource>(loop, *client, settings.inject_folder, settings.ns,
                                              settings.revision);
  webhooks = std::make_unique<WebhookServer>(
      [this](const std::string& cluster, const auto& then) { InjectionSources(cluster, then); },
      settings.native_sidecars == "true", settings.inject_enabled, settings.validation_enabled);
  StartFailover();
  AddMetrics(metrics, xds, translator, webhooks->injection_stats(), webhooks->validation_stats());
}

// Other clusters' control planes may be away: we stand in for them, and say where we are found.
void ControlPlane::Impl::StartFailover() {
  StandbyOptions options;
  options.enabled = settings.failover;
  options.cluster = settings.cluster_id;
  options.ns = settings.ns;
  options.root_config_map = settings.root_config_map;
  options.roots = [this] { return authority.roots_pem(); };
  standby = std::make_unique<Standby>(loop, *registry, std::move(options));
  if (!settings.failover) return;
  AdoptionOptions adopted;
  adopted.registry = RegistryOptions(settings);
  adopted.revision = settings.revision;
  adopted.root_config_map = settings.root_config_map;
  const auto of = [this](const model::ClusterId& cluster) {
    return [this, cluster](const model::Proxy& proxy) {
      return adoption->Serves(cluster, registry->KnownAs(proxy.cluster));
    };
  };
  adoption = std::make_unique<Adoption>(
      loop, clock, *registry, authority, std::move(adopted),
      Adoption::Events{
          [this] { xds.Changed(); },
          [this, of](const model::ClusterId& cluster, const Status& why) {
            xds.CloseProxies(of(cluster), why);
          },
          [this, of](const model::ClusterId& cluster) { return xds.HasProxy(of(cluster)); }});
  views.SetAdoption(adoption.get());
}

void ControlPlane::Impl::InjectionSources(
    const std::string& cluster, const std::function<void(const WebhookServer::Sources&)>& then) {
  const model::ClusterId id = registry->KnownAs(model::ClusterId(cluster));
  if (adoption != nullptr && !cluster.empty() && adoption->Concerns(id)) {
    adoption->WhenLoaded(id, [then](Adoption::World* world) {
      then(world == nullptr ? WebhookServer::Sources()
                            : WebhookServer::Sources{world->injector, world->mesh});
    });
    return;
  }
  const auto& snapshot = registry->snapshot();
  then({injector->config(), snapshot == nullptr ? nullptr : snapshot->mesh});
}

// The trust domain is known from the mesh configuration, so this waits for the first snapshot.
void ControlPlane::Impl::StartAuthentication() {
  const auto& mesh = *registry->snapshot()->mesh;
  ca::TokenAuthenticatorOptions tokens;
  tokens.trust_domain = mesh.trust_domain();
  tokens.audiences = settings.token_audiences;
  tokens.client_of = [this](std::string_view id) -> kubeclient::Client* {
    if (id.empty()) return client.get();
    return registry->ClientFor(KnownAs(model::ClusterId(std::string(id))));
  };
  std::vector<std::string> trust_domains = {mesh.trust_domain()};
  for (const std::string& alias : mesh.trust_domain_aliases()) trust_domains.push_back(alias);
  std::vector<std::unique_ptr<ca::Authenticator>> members;
  members.push_back(std::make_unique<ca::ClientCertificateAuthenticator>(std::move(trust_domains)));
  members.push_back(std::make_unique<ca::TokenAuthenticator>(std::move(tokens)));
  callers = std::make_unique<ca::AuthenticatorChain>(std::move(members),
                                                     ca::AuthenticatorChain::Plaintext::kRefuse);
  xds_callers = std::make_unique<XdsAuthenticator>(*callers);
  StartIssuer();
  if (settings.ca_enabled) {
    certificates = std::make_unique<ca::CertificateService>(*issuer, *callers, metrics);
    certificates->Register(secure_router);
    ca::AddExpiryMetrics(authority, clock, metrics);
  }
  xds.AddTo(secure_router, settings.xds_auth ? xds_callers.get() : nullptr);
  xds.AddTo(plain_router, settings.xds_auth_plaintext ? xds_callers.get() : nullptr);
  ca::ServingNames names;
  names.ns = settings.ns;
  names.revision = settings.revision;
  names.custom_hosts = settings.custom_hosts;
  names.discovery_address = mesh.default_config().discovery_address();
  serving = std::make_unique<ca::ServingCertificate>(loop, clock, authority, ca::DnsNamesOf(names));
}

// Who signs for workloads. Our own serving certificates stay with our own CA.
void ControlPlane::Impl::StartIssuer() {
  if (settings.external_ca.empty()) {
    issuer = std::make_unique<ca::AuthorityIssuer>(authority);
    return;
  }
  ca::KubernetesIssuerOptions options;
  options.signer = settings.k8s_signer;
  options.signer_domain = settings.cert_signer_domain;
  options.default_ttl = settings.default_cert_ttl;
  options.max_ttl = settings.max_cert_ttl;
  options.mesh_roots = [this] {
    std::vector<ca::SignerRoots> roots;
    for (const auto& given : registry->snapshot()->mesh->ca_certificates())
      if (!given.pem().empty())
        roots.push_back({{given.cert_signers().begin(), given.cert_signers().end()}, given.pem()});
    return roots;
  };
  auto made = std::make_unique<ca::KubernetesIssuer>(loop, clock, *client, std::move(options));
  registration = made.get();
  issuer = std::move(made);
}

// Workloads come with certificates of whoever signs for them.
std::shared_ptr<const pki::TrustBundle> ControlPlane::Impl::ClientRoots() const {
  if (registration == nullptr || !authority.ready()) return authority.roots();
  std::vector<pki::Certificate> roots = registration->Roots().roots();
  const auto& own = authority.roots()->roots();
  roots.insert(roots.end(), own.begin(), own.end());
  return std::make_shared<const pki::TrustBundle>(std::move(roots));
}

void ControlPlane::Impl::StartLeading() {
  if (!settings.leads_remotes) return;
  led = std::make_unique<LedClusters>(
      loop, metrics, authority,
      LedClustersOptions{settings.cluster_id, settings.ns, settings.ShownRevision(),
                         settings.root_config_map});
  registry->OnClustersChanged([this] { led->Set(registry->Remotes()); });
  led->Set(registry->Remotes());
}

void ControlPlane::Impl::StartWebhooks() {
  const auto bundle = [this] { return authority.roots_pem(); };
  if (settings.inject_enabled && !settings.injection_webhook.empty())
    mutating = std::make_unique<WebhookPatcher>(
        loop, *client, metrics,
        WebhookPatcherOptions{
            kMutatingWebhooks, settings.ShownRevision(), "sidecar-injector.istio.io", bundle, {}});
  if (!settings.validation_enabled || settings.validation_webhook.empty()) return;
  gate = std::make_unique<ValidationGate>(loop, *client, settings.ns, settings.ShownRevision());
  validating = std::make_unique<WebhookPatcher>(
      loop, *client, metrics,
      WebhookPatcherOptions{kValidatingWebhooks, settings.ShownRevision(), "", bundle,
                            [this](const kubeapi::Json& object) { gate->Consider(object); }});
}

model::ClusterId ControlPlane::Impl::KnownAs(const model::ClusterId& claimed) const {
  auto alias = settings.cluster_aliases.find(claimed.text());
  if (alias != settings.cluster_aliases.end()) return model::ClusterId(alias->second);
  return registry->KnownAs(claimed);
}

std::string ControlPlane::Impl::WaitingFor() const {
  if (draining) return "shutting down";
  if (registry != nullptr && !registry->ready()) return registry->waiting_for();
  if (!authority.ready()) return "the certificate authority has no key yet";
  return serving_now ? "" : "the ports are not open yet";
}

base::Result<std::string> ControlPlane::Impl::ShowDebug(std::string_view page) const {
  if (debug_pages == nullptr) return base::Error(base::Code::kUnavailable, "starting");
  return debug_pages->Show(page);
}

void ControlPlane::Impl::AddPages() {
  const auto ready = [this](const http::RequestHead&) {
    const std::string waiting = WaitingFor();
    if (waiting.empty()) return Page{200, "text/plain; charset=utf-8", ""};
    return Page{503, "text/plain; charset=utf-8", "not ready: " + waiting + "\n"};
  };
  const auto version = [](const http::RequestHead&) {
    return Page{200, "text/plain; charset=utf-8", std::string(base::kVersion) + "\n"};
  };
  const auto show_debug = [this](const http::RequestHead& head) {
    return debug_pages->Answer(head);
  };
  for (Pages* pages : {&http_pages, &monitoring_pages}) {
    pages->Add("/ready", ready);
    pages->Add("/version", version);
    if (pages == &http_pages && !settings.debug_on_http) continue;
    pages->Add("/debug", show_debug, settings.debug_auth);
    pages->Add("/debug/", show_debug, settings.debug_auth);
  }
  monitoring_pages.Add("/metrics", [this](const http::RequestHead&) {
    return Page{200, "text/plain; version=0.0.4; charset=utf-8", metrics.Text()};
  });
}

Status ControlPlane::Impl::Open(std::unique_ptr<http::Server>& server, http::ServerOptions options,
                                http::Handler handler, std::string_view what) {
  options.keepalive = settings.keepalive;
  server = std::make_unique<http::Server>(loop, std::move(options), std::move(handler));
  const Status started = server->Start();
  if (!started.ok()) {
    server.reset();
    return started.In(what);
  }
  LOG_INFO("controlplane", "{} on port {}", what, server->port());
  return {};
}

Status ControlPlane::Impl::OpenEarly() {
  if (!settings.http_addr.empty())
    RETURN_IF_ERROR(Open(
                        http_server, ListenOn(settings.http_addr),
                        [this](std::shared_ptr<http::ServerStream> stream) {
                          // Without a port of their own the webhooks are served here.
                          if (settings.https_addr.empty() && webhooks->Serves(stream->head()))
                            return webhooks->Serve(stream);
                          http_pages.Serve(stream);
                        },
                        "readiness and debug"),
                    "opening ports");
  if (!settings.monitoring_addr.empty())
    RETURN_IF_ERROR(
        Open(
            monitoring_server, ListenOn(settings.monitoring_addr),
            [this](std::shared_ptr<http::ServerStream> stream) { monitoring_pages.Serve(stream); },
            "metrics"),
        "opening ports");
  return {};
}

void ControlPlane::Impl::OnSnapshot(std::shared_ptr<const model::Snapshot> snapshot,
                                    const model::ChangeSet& changes) {
  translator.Update(std::move(snapshot), changes);
  world_read = true;
  standby->Changed();
  if (adoption != nullptr) adoption->Check();
  if (serving_now) return xds.Changed();
  MaybeServe();
}

void ControlPlane::Impl::MaybeServe() {
  if (serving_now || draining || !world_read || !authority.ready()) return;
  serving_now = true;
  StartAuthentication();
  const Status opened = OpenServing();
  if (!opened.ok()) {
    serving_now = false;
    LOG_ERROR("controlplane", "{}", opened.message());
    if (on_failure) on_failure(opened);
    return;
  }
  roots = std::make_unique<ca::RootPublisher>(loop, *client, authority, settings.root_config_map);
  xds.SetReady(true);
  xds.Changed();
  memory.Started();
  LOG_INFO("controlplane", "serving cluster {} in namespace {}, revision {}", settings.cluster_id,
           settings.ns, settings.ShownRevision());
}

http::TlsServerOptions ControlPlane::Impl::Tls(
    http::TlsServerOptions::ClientCertificate client_certificate) const {
  http::TlsServerOptions tls;
  tls.certificate = [this] { return serving->Get(); };
  tls.client_roots = [this] { return ClientRoots(); };
  tls.client_certificate = client_certificate;
  return tls;
}

Status ControlPlane::Impl::OpenServing() {
  const auto serve = [this](rpc::Router& router) {
    return [this, &router](std::shared_ptr<http::ServerStream> stream) {
      if (rpc::Router::IsGrpc(stream->head())) return router.Serve(std::move(stream));
      // API servers of other networks come through a gateway that leads here.
      if (&router == &secure_router && settings.failover && webhooks->Serves(stream->head()))
        return webhooks->Serve(stream);
      stream->Respond(415, "text/plain; charset=utf-8", "only gRPC is served here\n");
    };
  };
  using ClientCertificate = http::TlsServerOptions::ClientCertificate;
  if (!settings.secure_grpc_addr.empty()) {
    http::ServerOptions options = ListenOn(settings.secure_grpc_addr);
    options.tls = Tls(ClientCertificate::kOptional);
    RETURN_IF_ERROR(
        Open(secure_server, std::move(options), serve(secure_router), "xDS and CA (TLS)"),
        "opening ports");
  }
  if (!settings.grpc_addr.empty())
    RETURN_IF_ERROR(
        Open(grpc_server, ListenOn(settings.grpc_addr), serve(plain_router), "xDS (plaintext)"),
        "opening ports");
  if (!settings.https_addr.empty()) {
    http::ServerOptions options = ListenOn(settings.https_addr);
    options.tls = Tls(ClientCertificate::kIgnore);
    RETURN_IF_ERROR(
        Open(
            https_server, std::move(options),
            [this](std::shared_ptr<http::ServerStream> stream) { webhooks->Serve(stream); },
            "webhooks"),
        "opening ports");
  }
  return {};
}

ControlPlane::ControlPlane(base::Loop& loop, const base::Clock& clock, Settings settings,
                           kubeclient::RestConfig cluster)
    : impl_(std::make_unique<Impl>(loop, clock, std::move(settings), std::move(cluster))) {}
ControlPlane::~ControlPlane() = default;

Status ControlPlane::Start() { return impl_->Start(); }
bool ControlPlane::ready() const { return impl_->WaitingFor().empty(); }
void ControlPlane::OnFailure(std::function<void(const Status&)> callback) {
  impl_->on_failure = std::move(callback);
}

ControlPlane::Ports ControlPlane::ports() const {
  const auto port = [](const std::unique_ptr<http::Server>& server) -> uint16_t {
    return server == nullptr ? 0 : server->port();
  };
  return {port(impl_->grpc_server), port(impl_->secure_server), port(impl_->http_server),
          port(impl_->https_server), port(impl_->monitoring_server)};
}

void ControlPlane::Shutdown(std::function<void()> done) {
  impl_->draining = true;
  impl_->standby->Leave();
  impl_->xds.SetReady(false);
  impl_->xds.CloseAll(Status(base::Code::kUnavailable, "the control plane is shutting down"));
  auto open = std::make_shared<int>(0);
  auto finish = std::make_shared<std::function<void()>>(std::move(done));
  const auto one_done = [this, open, finish] {
    if (--*open > 0) return;
    if (!*finish) return;
    impl_->drain.Cancel();
    std::exchange(*finish, nullptr)();
  };
  for (http::Server* server :
       {impl_->secure_server.get(), impl_->grpc_server.get(), impl_->https_server.get()})
    *open += server != nullptr;
  ++*open;  // For this call itself, so that `done` comes even if nothing is open.
  const base::Duration grace = impl_->settings.shutdown_duration;
  for (http::Server* server : {impl_->secure_server.get(), impl_->grpc_server.get()})
    if (server != nullptr) server->Shutdown(grace, one_done);
  // API servers call webhooks until they see that this endpoint is withdrawn.
  if (impl_->https_server != nullptr)
    impl_->drain = base::Timer::After(
        impl_->loop, std::min<base::Duration>(kWebhookFarewell, grace),
        [this, grace, one_done] { impl_->https_server->Shutdown(grace, one_done); });
  impl_->loop.Post(one_done);
}

}  // namespace isthmus::controlplane
