#pragma once

#include <string>

namespace isthmus::lab::world {

/// Where a lab keeps its things. A value.
struct LabDirs {
  std::string state;  ///< $ISTHMUS_LAB_DIR, or /var/lib/isthmus/lab.

  static LabDirs FromEnvironment();
  std::string kubeconfig() const { return state + "/kubeconfig"; }
  std::string topology() const { return state + "/topology.yaml"; }
  std::string control() const { return state + "/control.sock"; }
  std::string lock() const { return state + "/lock"; }
  std::string pid() const {
    return state + "/pid";
  }  ///< Of the lab's first process, as the machine sees it.
  std::string log() const { return state + "/lab.log"; }
  std::string logs() const { return state + "/logs"; }
  /// In memory, and seen only by the lab: namespaces, pods.
  std::string run() const { return state + "/run"; }
  std::string namespaces() const { return run() + "/ns"; }
  std::string cluster(const std::string& name) const { return state + "/clusters/" + name; }
  std::string data(const std::string& name) const { return cluster(name) + "/data"; }
  std::string pki(const std::string& name) const { return data(name) + "/pki"; }
  /// For use inside the lab's network, without the proxy.
  std::string inner_kubeconfig(const std::string& name) const {
    return cluster(name) + "/kubeconfig";
  }
};

}  // namespace isthmus::lab::world
