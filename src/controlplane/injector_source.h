#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/files.h"
#include "base/loop.h"
#include "inject/config.h"
#include "kubeclient/informer.h"

namespace isthmus::controlplane {

/// Keeps the injector's configuration: the files "config" and "values" of a folder when they are
/// there, else the ConfigMap istio-sidecar-injector[-<revision>]. Content that cannot be read is
/// reported and leaves the last good one in force. Lives on its loop; the client outlives it.
class InjectorSource {
 public:
  InjectorSource(base::Loop& loop, kubeclient::Client& client, const std::string& folder,
                 const std::string& ns, const std::string& revision,
                 std::function<void()> changed = nullptr);
  InjectorSource(const InjectorSource&) = delete;
  InjectorSource& operator=(const InjectorSource&) = delete;

  /// Null while there is none: pods cannot be injected.
  const inject::InjectorConfig* config() const { return config_.get(); }

 private:
  void ReadFiles();
  void Take(const std::string& config, const std::string& values, const std::string& where);

  const std::string folder_;
  const std::function<void()> changed_;
  std::shared_ptr<const inject::InjectorConfig> config_;
  std::unique_ptr<base::FileWatcher> files_;
  std::unique_ptr<kubeclient::Informer> informer_;
};

}  // namespace isthmus::controlplane
