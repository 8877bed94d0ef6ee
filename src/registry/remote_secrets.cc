#include "registry/remote_secrets.h"

#include <set>
#include <utility>

#include "base/encoding.h"
#include "base/log.h"
#include "kubeapi/meta.h"

namespace isthmus::registry {

using kubeapi::Json;

RemoteSecrets::RemoteSecrets(model::ClusterId own, std::vector<std::string> allowed)
    : own_(std::move(own)), allowed_(std::move(allowed)) {}

std::vector<RemoteSecrets::Change> RemoteSecrets::Apply(const std::string& key, const Json* now) {
  std::vector<Change> changes;
  std::erase_if(errors_, [&key](const auto& error) { return error.first.starts_with(key + " "); });
  for (auto& [cluster, secrets] : waiting_) secrets.erase(key);
  std::set<std::string> present;
  const bool labelled = now != nullptr && kubeapi::LabelOf(*now, "istio/multiCluster") == "true";
  const Json* data = labelled ? kubeapi::Find(*now, {"data"}) : nullptr;
  if (data != nullptr && data->is_object()) {
    for (const auto& [name, value] : data->items()) {
      present.insert(name);
      auto text = value.is_string() ? base::Base64Decode(value.get_ref<const std::string&>())
                                    : base::Error(base::Code::kInvalidArgument, "is not a string");
      if (text.ok())
        ApplyKey(key, name, std::move(*text), changes);
      else
        Refuse(key, name, text.status().message());
    }
  }
  for (auto it = clusters_.begin(); it != clusters_.end();) {
    if (it->second.secret != key || present.contains(it->first)) {
      ++it;
      continue;
    }
    const std::string cluster = it->first;
    ++it;
    if (PutHeir(cluster, changes)) continue;
    auto gone = clusters_.extract(cluster);
    changes.push_back({Change::What::kRemove, std::move(gone.mapped())});
  }
  return changes;
}

void RemoteSecrets::ApplyKey(const std::string& secret, const std::string& cluster,
                             std::string kubeconfig, std::vector<Change>& changes) {
  if (cluster == own_.text()) {
    LOG_INFO("registry", "secret {}: cluster {} is our own; its entry is not used", secret,
             cluster);
    return;
  }
  auto held = clusters_.find(cluster);
  if (held != clusters_.end() && held->second.secret != secret) {
    waiting_[cluster][secret] = std::move(kubeconfig);
    return Refuse(secret, cluster, "is already given by secret " + held->second.secret);
  }
  if (held != clusters_.end() && held->second.kubeconfig == kubeconfig) return;
  if (kubeconfig.empty()) return Refuse(secret, cluster, "the kubeconfig is empty");
  auto config = kubeclient::ParseKubeconfig(kubeconfig, "",
                                            kubeclient::KubeconfigTrust::kRemoteSecret, allowed_);
  if (!config.ok()) return Refuse(secret, cluster, config.status().message());
  RemoteCluster remote{model::ClusterId(cluster), secret, std::move(kubeconfig),
                       std::move(*config)};
  const auto what = held == clusters_.end() ? Change::What::kAdd : Change::What::kUpdate;
  clusters_[cluster] = remote;
  changes.push_back({what, std::move(remote)});
}

bool RemoteSecrets::PutHeir(const std::string& cluster, std::vector<Change>& changes) {
  auto waiting = waiting_.extract(cluster);
  if (waiting.empty()) return false;
  bool put = false;
  for (auto& [secret, kubeconfig] : waiting.mapped()) {
    if (put) {
      waiting_[cluster][secret] = std::move(kubeconfig);
      continue;
    }
    auto config = kubeclient::ParseKubeconfig(kubeconfig, "",
                                              kubeclient::KubeconfigTrust::kRemoteSecret, allowed_);
    if (!config.ok()) {
      Refuse(secret, cluster, config.status().message());
      continue;
    }
    errors_.erase(secret + " " + cluster);
    RemoteCluster heir{model::ClusterId(cluster), secret, std::move(kubeconfig),
                       std::move(*config)};
    clusters_[cluster] = heir;
    changes.push_back({Change::What::kUpdate, std::move(heir)});
    put = true;
  }
  return put;
}

void RemoteSecrets::Refuse(const std::string& secret, const std::string& cluster,
                           std::string reason) {
  LOG_WARN("registry", "secret {}, cluster {}: {}; nothing changes", secret, cluster, reason);
  errors_[secret + " " + cluster] = std::move(reason);
}

}  // namespace isthmus::registry
