#include "lab/node/node.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <csignal>
#include <set>
#include <thread>

#include "base/files.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/strings.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"
#include "kubeclient/informer.h"
#include "lab/network/netlink.h"
#include "lab/network/nft.h"
#include "lab/node/dns_server.h"
#include "lab/node/dns_zone.h"
#include "lab/node/event_writer.h"
#include "lab/node/kubelet_server.h"
#include "lab/node/pod.h"
#include "lab/node/registration.h"
#include "lab/node/status_writer.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using kubeclient::Informer;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using Objects = std::map<std::string, Json>;

NodeFacts FactsOf(const NodeOptions& options) {
  NodeFacts facts{options.name, options.address};
  struct sysinfo info {};
  if (sysinfo(&info) == 0) facts.memory_bytes = static_cast<int64_t>(info.totalram) * info.mem_unit;
  // As many as a small cloud machine: the lab's pods share the real ones anyway.
  facts.cpu_milli = std::max(4u, std::thread::hardware_concurrency()) * 1000;
  return facts;
}

}  // namespace

struct Node::Impl final : PodSource {
  Impl(base::Loop& loop_in, NodeOptions options_in)
      : loop(loop_in), options(std::move(options_in)) {}

  base::Status Start();
  base::Status StartApi();
  void Watch(const kubeapi::Resource& resource, Objects* store, std::function<void()> changed,
             const std::string& field_selector = "");
  void Synced();
  void TakeUpLeftovers();
  void PodChanged(const std::string& key, const Json* now);
  void AddPod(const Json& object);
  void ScheduleNetwork();
  void ApplyNetwork();
  void ApplyExternalAddresses(const std::vector<ServiceEntry>& services);
  void SourcesChanged();
  base::Result<std::string> FindProgram(const std::string& name) const;

  const Json* ConfigMap(std::string_view ns, std::string_view name) override {
    return Get(config_maps, ns, name);
  }
  const Json* Secret(std::string_view ns, std::string_view name) override {
    return Get(secrets, ns, name);
  }
  std::vector<std::string> ServiceEnv(std::string_view ns, bool links) override;
  void RequestToken(const Json& pod, const std::string& audience, int64_t seconds,
                    std::function<void(base::Result<ServiceAccountToken>)> done) override;
  void Event(const Json& pod, std::string_view container, bool warning, std::string_view reason,
             const std::string& message) override {
    events->Write(pod, container, warning, reason, message);
  }
  static const Json* Get(const Objects& objects, std::string_view ns, std::string_view name) {
    const auto found = objects.find(kubeapi::KeyOf(ns, name));
    return found == objects.end() ? nullptr : &found->second;
  }

  base::Loop& loop;
  NodeOptions options;  // Only its rules ever change.
  ImageTable images = ImageTable::BuiltIn();
  std::unique_ptr<kubeclient::Client> client;
  std::unique_ptr<StatusWriter> statuses;
  std::unique_ptr<EventWriter> events;
  std::unique_ptr<Registration> registration;
  std::unique_ptr<PodNetwork> network;
  std::unique_ptr<PodContext> context;
  Objects services, slices, config_maps, secrets, api_pods;
  std::map<std::string, std::unique_ptr<Pod>> pods;  // By uid.
  DnsZone zone;
  std::unique_ptr<DnsServer> dns;
  std::unique_ptr<KubeletServer> kubelet;
  std::vector<std::unique_ptr<Informer>> informers;
  bool synced = false;
  base::Timer network_timer, sources_timer;
  std::string applied_rules;
  std::set<std::string> external;
};

base::Status Node::Impl::Start() {
  for (const std::string& path : options.image_tables) {
    ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path), "image table");
    RETURN_IF_ERROR(images.Add(text), path);
  }
  ASSIGN_OR_RETURN(const network::Cidr range, network::Cidr::Parse(options.pod_range), "pod range");
  ASSIGN_OR_RETURN(PodNetwork opened,
                   PodNetwork::Open(options.dir + "/net", range, options.address), "pod networks");
  network = std::make_unique<PodNetwork>(std::move(opened));
  context = std::make_unique<PodContext>(
      PodContext{.loop = loop,
                 .source = *this,
                 .network = *network,
                 .images = images,
                 .node = FactsOf(options),
                 .dir = options.dir,
                 .program = "/proc/self/exe",
                 .dns_address = options.dns_address,
                 .cluster_domain = options.cluster_domain,
                 .hidden = options.hidden,
                 .find_program = [this](const std::string& name) { return FindProgram(name); }});
  zone = DnsZone(options.cluster_domain);
  RETURN_IF_ERROR(StartApi(), "node " + options.name);
  Watch(kubeapi::kServices, &services, [this] { ScheduleNetwork(), SourcesChanged(); });
  Watch(kubeapi::kEndpointSlices, &slices, [this] { ScheduleNetwork(); });
  Watch(kubeapi::kConfigMaps, &config_maps, [this] { SourcesChanged(); });
  Watch(kubeapi::kSecrets, &secrets, [this] { SourcesChanged(); });
  Watch(
      kubeapi::kPods, &api_pods, [] {}, "spec.nodeName=" + options.name);
  return {};
}

base::Status Node::Impl::StartApi() {
  ASSIGN_OR_RETURN(kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(options.kubeconfig, ""), "kubeconfig");
  ASSIGN_OR_RETURN(client, kubeclient::Client::Create(loop, std::move(config)), "API client");
  statuses = std::make_unique<StatusWriter>(loop, *client);
  events = std::make_unique<EventWriter>(*client, options.name);
  registration = std::make_unique<Registration>(loop, *client, context->node, options.pod_range,
                                                options.labels);
  KubeletServerOptions server{.address = options.address};
  ASSIGN_OR_RETURN(server.certificate_pem, base::ReadFile(options.kubelet_certificate),
                   "kubelet certificate");
  ASSIGN_OR_RETURN(server.key_pem, base::ReadFile(options.kubelet_key), "kubelet key");
  ASSIGN_OR_RETURN(server.client_ca_pem, base::ReadFile(options.client_ca), "client authority");
  auto find = [this](std::string_view ns, std::string_view name) -> Pod* {
    for (const auto& [uid, pod] : pods)
      if (kubeapi::NameOf(pod->object()) == name && kubeapi::NamespaceOf(pod->object()) == ns)
        return pod.get();
    return nullptr;
  };
  auto all = [this] {
    std::vector<const Pod*> list;
    for (const auto& [uid, pod] : pods) list.push_back(pod.get());
    return list;
  };
  ASSIGN_OR_RETURN(kubelet, KubeletServer::Start(loop, server, find, all), "kubelet API");
  if (options.rules.dns_port != 0) {
    ASSIGN_OR_RETURN(dns,
                     DnsServer::Start(loop, options.address, options.rules.dns_port,
                                      [this](std::string_view query, size_t limit) {
                                        return AnswerDns(zone, query, limit);
                                      }),
                     "cluster DNS");
  }
  registration->Start();
  return {};
}

void Node::Impl::Watch(const kubeapi::Resource& resource, Objects* store,
                       std::function<void()> changed, const std::string& field_selector) {
  kubeclient::ListOptions list{.field_selector = field_selector};
  informers.push_back(std::make_unique<Informer>(
      loop, *client, resource, "", list,
      kubeclient::InformerEvents{
          .changed =
              [this, store, changed](const std::string& key, const Json* now) {
                if (now != nullptr)
                  (*store)[key] = *now;
                else
                  store->erase(key);
                if (store == &api_pods && synced) PodChanged(key, now);
                changed();
              },
          .synced = [this] { Synced(); },
          .health =
              [resource](const base::Status& status) {
                if (!status.ok())
                  LOG_WARN("node", "watching {}: {}", resource.plural, status.message());
              }}));
}

// Pods start only when everything they may refer to is known, or they would see a half of their
// world.
void Node::Impl::Synced() {
  if (synced || informers.size() < 5) return;
  for (const auto& informer : informers)
    if (!informer->synced()) return;
  synced = true;
  LOG_INFO("node", "{} has synced; {} pods", options.name, api_pods.size());
  ApplyNetwork();
  for (const auto& [key, object] : Objects(api_pods)) PodChanged(key, &object);
  TakeUpLeftovers();
}

// What an earlier process ran and the API does not know any more.
void Node::Impl::TakeUpLeftovers() {
  auto names = base::ListDir(options.dir + "/pods");
  for (const std::string& uid : names.ok() ? *names : std::vector<std::string>()) {
    if (pods.count(uid) != 0) continue;
    auto text = base::ReadFile(context->PodDir(uid) + "/pod.json");
    auto object = text.ok() ? kubeapi::ParseJson(*text) : base::Result<Json>(text.status());
    if (!object.ok()) continue;
    AddPod(*object);
    pods[uid]->Remove();
  }
}

void Node::Impl::PodChanged(const std::string& key, const Json* now) {
  const std::string uid = now == nullptr ? "" : kubeapi::UidOf(*now);
  for (const auto& [other, pod] : pods)
    if (other != uid && kubeapi::KeyOf(pod->object()) == key) pod->Remove();
  if (now == nullptr) return;
  // What stands for a process of the lab itself (the API server's) is not ours to run.
  if (!kubeapi::AnnotationOf(*now, "kubernetes.io/config.mirror").empty()) {
    if (kubeapi::IsBeingDeleted(*now)) statuses->Delete(*now);
    return;
  }
  if (const auto found = pods.find(uid); found != pods.end()) return found->second->Update(*now);
  const std::string phase = kubeapi::StringAt(*now, {"status", "phase"});
  const bool over = phase == "Succeeded" || phase == "Failed";
  if (over && kubeapi::IsBeingDeleted(*now)) return statuses->Delete(*now);
  if (over && !base::Exists(context->PodDir(uid))) return;
  AddPod(*now);
}

void Node::Impl::AddPod(const Json& object) {
  const std::string uid = kubeapi::UidOf(object);
  (void)base::MakeDirs(context->PodDir(uid));
  (void)base::WriteFile(context->PodDir(uid) + "/pod.json", kubeapi::ToJson(object));
  pods[uid] = std::make_unique<Pod>(
      *context, object,
      Pod::Events{
          .status = [this,
                     uid](const Json& status) { statuses->Write(pods[uid]->object(), status); },
          .gone =
              [this, uid] {
                const auto found = pods.find(uid);
                if (found == pods.end()) return;
                if (kubeapi::IsBeingDeleted(found->second->object()))
                  statuses->Delete(found->second->object());
                loop.Post([this, uid] { pods.erase(uid); });
              }});
}

void Node::Impl::SourcesChanged() {
  if (!synced || sources_timer.active()) return;
  sources_timer = base::Timer::After(loop, 20ms, [this] {
    sources_timer.Cancel();
    for (const auto& [uid, pod] : pods) pod->SourcesChanged();
  });
}

void Node::Impl::ScheduleNetwork() {
  if (!synced || network_timer.active()) return;
  network_timer = base::Timer::After(loop, 5ms, [this] {
    network_timer.Cancel();
    ApplyNetwork();
  });
}

void Node::Impl::ApplyNetwork() {
  zone.Rebuild(services, slices);
  if (!options.kernel_rules) return;
  const std::vector<ServiceEntry> entries = ReadServices(services, slices);
  const std::string rules = NodeTable(entries, options.rules);
  if (rules != applied_rules) {
    const base::Status status = network::ApplyNft(rules);
    if (status.ok()) {
      applied_rules = rules;
    } else {
      LOG_ERROR("node", "service rules: {}", status.message());
      network_timer = base::Timer::After(loop, 1s, [this] {
        network_timer.Cancel();
        ApplyNetwork();
      });
    }
  }
  if (options.owns_external_addresses) ApplyExternalAddresses(entries);
}

void Node::Impl::ApplyExternalAddresses(const std::vector<ServiceEntry>& entries) {
  std::set<std::string> wanted;
  for (const ServiceEntry& entry : entries)
    for (const std::string& address : entry.external_ips)
      if (address != options.address) wanted.insert(address);
  auto netlink = network::Netlink::Open();
  if (!netlink.ok()) return;
  for (const std::string& address : wanted) {
    auto cidr = network::Cidr::Parse(address);
    if (!cidr.ok() || external.count(address) != 0) continue;
    if (netlink->AddAddress(options.device, *cidr).ok() &&
        network::AnnounceAddress(options.device, cidr->address).ok())
      LOG_INFO("node", "{} answers for external address {}", options.name, address);
  }
  for (const std::string& address : external) {
    auto cidr = network::Cidr::Parse(address);
    if (cidr.ok() && wanted.count(address) == 0)
      (void)netlink->DeleteAddress(options.device, *cidr);
  }
  external = std::move(wanted);
}

std::vector<std::string> Node::Impl::ServiceEnv(std::string_view ns, bool links) {
  std::vector<std::string> env;
  for (const auto& [key, service] : services) {
    const bool kubernetes = key == "default/kubernetes";
    if (!kubernetes && (!links || kubeapi::NamespaceOf(service) != ns)) continue;
    const std::string address = kubeapi::StringAt(service, {"spec", "clusterIP"});
    const Json* ports = kubeapi::Find(service, {"spec", "ports"});
    if (address.empty() || address == "None" || ports == nullptr || !ports->is_array() ||
        ports->empty())
      continue;
    const std::string prefix = base::ReplaceAll(base::ToUpper(kubeapi::NameOf(service)), "-", "_");
    const std::string first = std::to_string(kubeapi::IntAt((*ports)[0], {"port"}));
    env.push_back(prefix + "_SERVICE_HOST=" + address);
    env.push_back(prefix + "_SERVICE_PORT=" + first);
    for (const Json& port : *ports) {
      const std::string name =
          base::ReplaceAll(base::ToUpper(kubeapi::StringAt(port, {"name"})), "-", "_");
      const std::string number = std::to_string(kubeapi::IntAt(port, {"port"}));
      if (!name.empty()) env.push_back(prefix + "_SERVICE_PORT_" + name + "=" + number);
      env.push_back(fmt::format("{}_PORT_{}_TCP=tcp://{}:{}", prefix, number, address, number));
      env.push_back(fmt::format("{}_PORT_{}_TCP_ADDR={}", prefix, number, address));
      env.push_back(fmt::format("{}_PORT_{}_TCP_PORT={}", prefix, number, number));
      env.push_back(fmt::format("{}_PORT_{}_TCP_PROTO=tcp", prefix, number));
    }
    env.push_back(fmt::format("{}_PORT=tcp://{}:{}", prefix, address, first));
  }
  return env;
}

void Node::Impl::RequestToken(const Json& pod, const std::string& audience, int64_t seconds,
                              std::function<void(base::Result<ServiceAccountToken>)> done) {
  std::string account = kubeapi::StringAt(pod, {"spec", "serviceAccountName"});
  if (account.empty()) account = "default";
  Json spec = {{"expirationSeconds", seconds},
               {"boundObjectRef",
                {{"apiVersion", "v1"},
                 {"kind", "Pod"},
                 {"name", kubeapi::NameOf(pod)},
                 {"uid", kubeapi::UidOf(pod)}}}};
  if (!audience.empty()) spec["audiences"] = {audience};
  const Json request = {
      {"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", spec}};
  client->CreateSub(
      kubeapi::kServiceAccounts, kubeapi::NamespaceOf(pod), account, "token", request,
      [done](base::Result<Json> answer) {
        if (!answer.ok()) return done(answer.status());
        auto expires =
            base::ParseTime(kubeapi::StringAt(*answer, {"status", "expirationTimestamp"}));
        if (!expires.ok()) return done(expires.status());
        done(ServiceAccountToken{kubeapi::StringAt(*answer, {"status", "token"}), *expires});
      });
}

base::Result<std::string> Node::Impl::FindProgram(const std::string& name) const {
  const auto known = options.programs.find(name);
  const std::string path = known != options.programs.end() ? known->second : name;
  if (path.starts_with('/') && base::Exists(path)) return path;
  if (!path.starts_with('/'))
    for (const char* dir : {"/usr/local/bin/", "/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"})
      if (base::Exists(dir + path)) return dir + path;
  return base::Error(base::Code::kNotFound,
                     "the program {} of the image is not on this machine ({})", name, path);
}

Node::Node(base::Loop& loop, NodeOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {}
Node::~Node() = default;
base::Status Node::Start() { return impl_->Start(); }
void Node::SetRules(NodeRules rules) {
  impl_->options.rules = std::move(rules);
  impl_->ScheduleNetwork();
}

int NodeMain(int argc, char** argv) {
  CLI::App app("A node of a lab's cluster", "isthmus-lab node");
  std::string config;
  app.add_option("--config", config, "JSON file that the supervisor wrote")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  auto read = [&config]() -> base::Result<NodeOptions> {
    ASSIGN_OR_RETURN(const std::string text, base::ReadFile(config), "options");
    return NodeOptions::FromJson(text);
  };
  auto options = read();
  if (!options.ok()) {
    LOG_ERROR("node", "{}", options.status().message());
    return 2;
  }
  base::Loop loop;
  Node node(loop, std::move(*options));
  base::Signals signals(loop, {SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
    if (signal != SIGHUP) return loop.Stop();
    auto changed = read();
    if (changed.ok()) return node.SetRules(std::move(changed->rules));
    LOG_ERROR("node", "{}", changed.status().message());
  });
  if (base::Status status = node.Start(); !status.ok()) {
    LOG_ERROR("node", "{}", status.message());
    return 1;
  }
  loop.Run();
  return 0;
}

}  // namespace isthmus::lab::node
