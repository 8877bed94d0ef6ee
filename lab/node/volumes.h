#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "kubeapi/json.h"
#include "lab/node/container_config.h"
#include "lab/node/pod_source.h"

namespace isthmus::lab::node {

/// The volumes of one pod, as folders of the machine: made before the pod's containers start, and
/// kept up to date while they run (config maps, secrets, tokens before they expire). Files of the
/// API's volumes change all at once, through a link that is switched, as kubelets do it. Lives on
/// the node's loop.
class PodVolumes {
 public:
  PodVolumes(base::Loop& loop, std::string dir, PodSource& source, const NodeFacts& node);
  ~PodVolumes();
  PodVolumes(const PodVolumes&) = delete;
  PodVolumes& operator=(const PodVolumes&) = delete;

  /// Makes or refreshes all volumes of `pod`. Done is called on the loop, maybe inside the call:
  /// OK, or what is missing ("configmap \"x\" not found"); call it again when that may have
  /// changed.
  void Refresh(const kubeapi::Json& pod, const std::string& pod_ip,
               std::function<void(base::Status)> done);

  /// Where a container finds its volumes. An error names a volumeMount without a volume.
  base::Result<std::vector<Mount>> MountsOf(const kubeapi::Json& pod,
                                            const kubeapi::Json& container,
                                            const std::vector<std::string>& env) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

struct VolumeFile {
  std::string content;
  uint32_t mode = 0644;
  bool operator==(const VolumeFile&) const = default;
};

/// Gives the folder exactly these files ("a/b" makes a folder) as one step, through ..data. Does
/// nothing when they are there already. `group` not negative gives them to that group.
base::Status WriteVolume(const std::string& dir, const std::map<std::string, VolumeFile>& files,
                         int64_t group);

}  // namespace isthmus::lab::node
