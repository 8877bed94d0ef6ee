#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lab/node/image_table.h"
#include "lab/node/pod_network.h"
#include "lab/node/pod_source.h"

namespace isthmus::lab::node {

/// What all pods of a node share. Outlives them.
struct PodContext {
  base::Loop& loop;
  PodSource& source;
  PodNetwork& network;
  const ImageTable& images;
  NodeFacts node;
  std::string dir;          ///< Pods keep their files in <dir>/pods/<uid>.
  std::string program;      ///< This program, for the roles of helper.h.
  std::string dns_address;  ///< The cluster's DNS service.
  std::string cluster_domain = "cluster.local";
  std::vector<std::string> hidden;  ///< Folders of the machine that containers must not see.
  /// Where a program of the image table is: "isthmusd" to "/usr/lib/isthmus/isthmusd".
  std::function<base::Result<std::string>(const std::string& name)> find_program;

  std::string PodDir(const std::string& uid) const { return dir + "/pods/" + uid; }
};

}  // namespace isthmus::lab::node
