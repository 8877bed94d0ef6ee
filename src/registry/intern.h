#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "model/service.h"

namespace isthmus::registry {

/// Gives equal label maps one memory: the pods of a deployment share theirs. Maps that nobody holds
/// any more are forgotten. Lives on one loop.
class LabelPool {
 public:
  LabelPool() : empty_(std::make_shared<const model::Labels>()) {}
  std::shared_ptr<const model::Labels> Intern(model::Labels labels);
  using Ports = std::map<std::string, int>;
  std::shared_ptr<const Ports> InternPorts(Ports ports);
  size_t size() const { return known_.size(); }

 private:
  void Sweep();

  std::shared_ptr<const model::Labels> empty_;
  std::unordered_multimap<size_t, std::weak_ptr<const model::Labels>> known_;
  size_t sweep_at_ = 1024;
  std::map<Ports, std::weak_ptr<const Ports>> ports_;
};

}  // namespace isthmus::registry
