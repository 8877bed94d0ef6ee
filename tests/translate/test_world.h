#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kubeapi/json.h"
#include "model/proxy.h"
#include "model/snapshot.h"
#include "model/view.h"

namespace isthmus::translate {

/// A world as tests write it down: services with their endpoints, network gateways, configuration
/// objects and the proxies that ask. The layout is that of tests/translate/golden/*/world.yaml; see
/// golden/README.md.
struct TestWorld {
  std::shared_ptr<model::Snapshot> snapshot;
  std::map<std::string, model::Proxy> proxies;
};

/// Throws std::runtime_error with the reason: a test's world is part of the test.
TestWorld ParseWorld(const std::string& yaml);

/// The view as JSON: for each type the resources in order.
kubeapi::Json ViewToJson(const model::View& view);

/// What differs between two snapshots, as the registry would tell it.
model::ChangeSet Difference(const model::Snapshot& before, const model::Snapshot& after);

}  // namespace isthmus::translate
