#include "controlplane/validation_gate.h"

#include "base/log.h"
#include "kubeapi/meta.h"
#include "kubeapi/resources.h"

namespace isthmus::controlplane {
namespace {

using kubeapi::kValidatingWebhooks;
using kubeclient::Json;

constexpr base::Duration kFirstRetry = std::chrono::milliseconds(100);
constexpr base::Duration kLastRetry = std::chrono::minutes(1);
const kubeclient::Resource kGateways{"networking.istio.io", "v1", "gateways", "Gateway", true};

}  // namespace

Json FailPatch(const Json& object) {
  Json patch = Json::array();
  const auto& webhooks = kubeapi::ItemsAt(object, {"webhooks"});
  for (size_t i = 0; i < webhooks.size(); ++i) {
    if (kubeapi::StringAt(webhooks[i], {"failurePolicy"}) == "Fail") continue;
    patch.push_back({{"op", "test"},
                     {"path", fmt::format("/webhooks/{}/name", i)},
                     {"value", kubeapi::StringAt(webhooks[i], {"name"})}});
    patch.push_back(
        {{"op", "add"}, {"path", fmt::format("/webhooks/{}/failurePolicy", i)}, {"value", "Fail"}});
  }
  return patch;
}

struct ValidationGate::Impl : std::enable_shared_from_this<Impl> {
  Impl(base::Loop& loop_in, kubeclient::Client& client_in, std::string ns_in,
       std::string revision_in)
      : loop(loop_in), client(client_in), ns(std::move(ns_in)), revision(std::move(revision_in)) {}

  void Consider(const Json& object) {
    const std::string name = kubeapi::NameOf(object);
    if (FailPatch(object).empty()) {
      waiting.erase(name);
      return;
    }
    const bool busy = !waiting.empty();
    waiting[name] = object;
    if (!busy) Probe();
  }

  // Asks the API server for an object that our webhook always refuses.
  void Probe() {
    const Json gateway = {
        {"apiVersion", "networking.istio.io/v1"},
        {"kind", "Gateway"},
        {"metadata",
         {{"name", "invalid-gateway"},
          {"namespace", ns},
          {"labels", {{"istio.io/rev", revision}}},
          {"annotations", {{"internal.istio.io/webhook-always-reject", "true"}}}}},
        {"spec", Json::object()}};
    http::Request request;
    request.method = "POST";
    request.target = kGateways.Path(ns) + "?dryRun=All";
    request.headers.Set("content-type", "application/json");
    request.body = kubeapi::ToJson(gateway);
    std::weak_ptr<Impl> weak = weak_from_this();
    client.Raw(std::move(request), std::chrono::seconds(15),
               [weak](base::Result<http::Response> answer) {
                 if (auto self = weak.lock()) self->Probed(answer);
               });
  }

  void Probed(const base::Result<http::Response>& answer) {
    const std::string reason = answer.ok() ? "" : answer.status().message();
    const bool refused = reason.find("denied the request") != std::string::npos;
    // Without the CRD nothing can be probed, and nothing be refused that should not.
    const bool absent = !answer.ok() && answer.status().code() == base::Code::kNotFound;
    if (!refused && !absent) {
      LOG_DEBUG("webhooks", "the validating webhook is not asked yet: {}",
                answer.ok() ? "an object that must be refused was accepted" : reason);
      delay = std::min(delay * 2, kLastRetry);
      retry = base::Timer::After(loop, delay, [this] { Probe(); });
      return;
    }
    delay = kFirstRetry;
    for (const auto& [name, object] : waiting) {
      client.Patch(kValidatingWebhooks, "", name, kubeclient::PatchType::kJson, FailPatch(object),
                   [name](base::Result<Json> result) {
                     if (result.ok())
                       LOG_INFO("webhooks",
                                "validating webhook {} works: its failurePolicy is Fail now", name);
                     else
                       LOG_WARN("webhooks", "validating webhook {}: {}", name,
                                result.status().message());
                   });
    }
    waiting.clear();  // The watch tells of each again when its patch failed or it changed.
  }

  base::Loop& loop;
  kubeclient::Client& client;
  const std::string ns;
  const std::string revision;
  std::map<std::string, Json> waiting;
  base::Duration delay = kFirstRetry;
  base::Timer retry;
};

ValidationGate::ValidationGate(base::Loop& loop, kubeclient::Client& client, std::string ns,
                               std::string revision)
    : impl_(std::make_shared<Impl>(loop, client, std::move(ns), std::move(revision))) {}
ValidationGate::~ValidationGate() = default;
void ValidationGate::Consider(const Json& object) { impl_->Consider(object); }

}  // namespace isthmus::controlplane
