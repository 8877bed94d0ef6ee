#include "controlplane/injector_source.h"

#include "base/log.h"
#include "kubeapi/resources.h"

namespace isthmus::controlplane {

InjectorSource::InjectorSource(base::Loop& loop, kubeclient::Client& client,
                               const std::string& folder, const std::string& ns,
                               const std::string& revision, std::function<void()> changed)
    : folder_(folder), changed_(std::move(changed)) {
  if (!folder_.empty() && base::Exists(folder_ + "/config") && base::Exists(folder_ + "/values")) {
    files_ = std::make_unique<base::FileWatcher>(
        loop, std::vector<std::string>{folder_ + "/config", folder_ + "/values"},
        [this] { ReadFiles(); });
    ReadFiles();
    return;
  }
  const std::string name = "istio-sidecar-injector" + (revision.empty() ? "" : "-" + revision);
  kubeclient::InformerEvents events;
  events.changed = [this, name, ns](const std::string&, const kubeclient::Json* now) {
    if (now == nullptr) {
      LOG_WARN("inject", "ConfigMap {}/{} is gone; its last content stays in force", ns, name);
      return;
    }
    Take(kubeapi::StringAt(*now, {"data", "config"}), kubeapi::StringAt(*now, {"data", "values"}),
         "ConfigMap " + ns + "/" + name);
  };
  informer_ = std::make_unique<kubeclient::Informer>(
      loop, client, kubeapi::kConfigMaps, ns, kubeclient::ListOptions{"", "metadata.name=" + name},
      std::move(events));
}

void InjectorSource::ReadFiles() {
  const auto config = base::ReadFile(folder_ + "/config");
  const auto values = base::ReadFile(folder_ + "/values");
  if (config.ok() && values.ok()) Take(*config, *values, folder_);
}

void InjectorSource::Take(const std::string& config, const std::string& values,
                          const std::string& where) {
  auto parsed = inject::InjectorConfig::Parse(config, values);
  if (!parsed.ok()) {
    LOG_ERROR("inject", "{}: {}; the last good configuration stays in force", where,
              parsed.status().message());
    return;
  }
  config_ = std::make_shared<const inject::InjectorConfig>(std::move(*parsed));
  if (changed_) changed_();
}

}  // namespace isthmus::controlplane
