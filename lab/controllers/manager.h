#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "kubeclient/client.h"
#include "kubeclient/informer.h"
#include "lab/controllers/events.h"
#include "lab/controllers/namespace_deletion.h"
#include "lab/controllers/world.h"

namespace isthmus::lab::controllers {

/// Feeds controllers with what they watch and carries out what they want.
///
/// Each (controller, key) is looked at after a change, one look at a time: while its writes are
/// under way it waits, their answers go into the World at once, and it is looked at again until it
/// wants nothing. So no controller acts twice on what it has not seen. A failed write is tried
/// again with a growing delay. Lives on its loop; nothing polls.
class Manager {
 public:
  Manager(base::Loop& loop, kubeclient::Client& client, const base::Clock& clock,
          std::vector<std::unique_ptr<Controller>> controllers);
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  /// Starts watching; controllers act when every list is complete.
  void Start();
  bool synced() const { return unsynced_ == 0; }

  /// The resources that are watched.
  static const std::vector<Resource>& Watched();

 private:
  struct Item;
  void OnChange(const Resource& resource, const std::string& key, const Json* now);
  void Tell(const Resource& resource, const Json& object, bool gone);
  void Enqueue(Controller& controller, const std::string& key);
  void Process(Controller& controller, const std::string& key);
  void Perform(const Write& write, std::function<void(base::Status)> done);
  void Record(const Write& write, const base::Result<Json>& result);
  void Finished(Controller& controller, const std::string& key, const base::Status& status);

  base::Loop& loop_;
  kubeclient::Client& client_;
  World world_;
  std::vector<std::unique_ptr<Controller>> controllers_;
  std::vector<std::unique_ptr<kubeclient::Informer>> informers_;
  NamespaceDeletion namespaces_;
  EventRecorder events_;
  size_t unsynced_ = 0;
  std::map<std::pair<Controller*, std::string>, std::unique_ptr<Item>> items_;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // Answers that come after our end find it false.
};

}  // namespace isthmus::lab::controllers
