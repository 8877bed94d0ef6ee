#include "lab/controllers/manager.h"

#include <algorithm>

#include "base/log.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::controllers {
namespace {

constexpr base::Duration kFirstDelay = std::chrono::milliseconds(20);
constexpr base::Duration kLongestDelay = std::chrono::seconds(5);

}  // namespace

/// What is under way for one key of one controller.
struct Manager::Item {
  bool queued = false;
  bool writing = false;
  bool again = false;  // Something changed while it was writing.
  size_t open = 0;
  base::Status error;
  base::Duration delay = kFirstDelay;
  base::Timer timer;
};

const std::vector<Resource>& Manager::Watched() {
  static const std::vector<Resource> all = {
      kNamespaces,        kNodes,       kServiceAccounts, kSecrets,        kConfigMaps,
      kDeployments,       kReplicaSets, kDaemonSets,      kStatefulSets,   kJobs,
      kServices,          kPods,        kEndpoints,       kEndpointSlices, kSigningRequests,
      kDisruptionBudgets, kAutoscalers, kClaims};
  return all;
}

Manager::Manager(base::Loop& loop, kubeclient::Client& client, const base::Clock& clock,
                 std::vector<std::unique_ptr<Controller>> controllers)
    : loop_(loop),
      client_(client),
      world_(clock),
      controllers_(std::move(controllers)),
      namespaces_(loop, client),
      events_(client, clock) {}

Manager::~Manager() { *alive_ = false; }

void Manager::Start() {
  unsynced_ = Watched().size();
  for (const Resource& resource : Watched()) {
    kubeclient::InformerEvents events;
    events.changed = [this, resource](const std::string& key, const Json* now) {
      OnChange(resource, key, now);
    };
    events.synced = [this] {
      if (--unsynced_ > 0) return;
      LOG_INFO("controllers", "all lists are complete");
      for (const Resource& each : Watched())
        for (const Json* object : world_.List(each)) Tell(each, *object, false);
    };
    events.health = [resource](const base::Status& status) {
      if (!status.ok())
        LOG_WARN("controllers", "watching {}: {}", resource.plural, status.message());
    };
    informers_.push_back(std::make_unique<kubeclient::Informer>(
        loop_, client_, resource, "", kubeclient::ListOptions(), std::move(events)));
  }
}

void Manager::OnChange(const Resource& resource, const std::string& key, const Json* now) {
  if (now != nullptr) {
    if (!world_.Put(resource, *now)) return;
    if (synced()) Tell(resource, *now, false);
    return;
  }
  auto [ns, name] = SplitKey(key);
  const Json* known = world_.Get(resource, ns, name);
  if (known == nullptr) return;
  Json last = *known;
  world_.Remove(resource, key);
  if (synced()) Tell(resource, last, true);
}

void Manager::Tell(const Resource& resource, const Json& object, bool gone) {
  if (Same(resource, kNamespaces) && !gone && kubeapi::IsBeingDeleted(object))
    namespaces_.Start(kubeapi::NameOf(object));
  for (const auto& controller : controllers_)
    for (const std::string& key : controller->KeysFor(world_, resource, object, gone))
      Enqueue(*controller, key);
}

void Manager::Enqueue(Controller& controller, const std::string& key) {
  std::unique_ptr<Item>& item = items_[{&controller, key}];
  if (item == nullptr) item = std::make_unique<Item>();
  if (item->writing) {
    item->again = true;
    return;
  }
  if (item->queued) return;
  item->queued = true;
  item->timer.Cancel();
  loop_.Post([this, alive = alive_, &controller, key] {
    if (*alive) Process(controller, key);
  });
}

void Manager::Process(Controller& controller, const std::string& key) {
  Item& item = *items_.at({&controller, key});
  item.queued = false;
  if (item.writing) return;
  std::vector<Write> writes = controller.Reconcile(world_, key);
  if (writes.empty()) {
    const base::Duration pause = controller.LookAgainIn(world_, key);
    if (pause <= base::Duration::zero()) {
      items_.erase({&controller, key});
      return;
    }
    item.timer =
        base::Timer::After(loop_, pause, [this, &controller, key] { Enqueue(controller, key); });
    return;
  }
  item.writing = true;
  item.again = false;
  item.error = base::Status();
  item.open = writes.size();
  for (const Write& write : writes)
    Perform(write, [this, alive = alive_, &controller, key](base::Status status) {
      if (*alive) Finished(controller, key, status);
    });
}

void Manager::Finished(Controller& controller, const std::string& key, const base::Status& status) {
  Item& item = *items_.at({&controller, key});
  if (!status.ok() && item.error.ok()) item.error = status;
  if (--item.open > 0) return;
  item.writing = false;
  if (item.error.ok()) {
    item.delay = kFirstDelay;
    Enqueue(controller, key);
    return;
  }
  // A conflict only says that a newer version is on its way; all else is worth a line.
  if (item.error.code() != base::Code::kAborted)
    LOG_WARN("controllers", "{} {}: {}", controller.name(), key, item.error.message());
  item.timer =
      base::Timer::After(loop_, item.delay, [this, &controller, key] { Enqueue(controller, key); });
  item.delay = std::min(item.delay * 2, kLongestDelay);
}

void Manager::Record(const Write& write, const base::Result<Json>& result) {
  Note note = *write.note;
  if (result.ok()) {
    if (const size_t at = note.message.find("{}"); at != std::string::npos)
      note.message.replace(at, 2, write.name.empty() ? kubeapi::NameOf(*result) : write.name);
  } else if (write.kind == Write::Kind::kCreate &&
             result.status().code() != base::Code::kAlreadyExists) {
    // What a webhook or a policy refuses, users look for here.
    note.warning = true;
    note.reason = "FailedCreate";
    note.message = "Error creating: " + result.status().message();
  } else {
    return;
  }
  events_.Record(note);
}

void Manager::Perform(const Write& write, std::function<void(base::Status)> done) {
  auto taken = [this, alive = alive_, write, done](base::Result<Json> result) {
    if (!*alive) return;
    bool deleted = write.kind == Write::Kind::kDelete;
    if (write.note) Record(write, result);
    if (!result.ok()) {
      bool gone = result.status().code() == base::Code::kNotFound;
      // Gone already is what a deletion wants; for others the watch will tell.
      return done(gone ? base::Status() : result.status());
    }
    if (!deleted && kubeapi::StringAt(*result, {"kind"}) == write.resource.kind)
      OnChange(write.resource, kubeapi::KeyOf(*result), &*result);
    done(base::Status());
  };
  switch (write.kind) {
    case Write::Kind::kCreate:
      return client_.Create(write.resource, write.ns, write.object, taken);
    case Write::Kind::kReplace:
      return client_.Update(write.resource, write.ns, write.name, write.object, taken);
    case Write::Kind::kReplaceStatus:
      return client_.Update(write.resource, write.ns, write.name, write.object, taken, "status");
    case Write::Kind::kMergePatch:
      return client_.Patch(write.resource, write.ns, write.name, kubeclient::PatchType::kMerge,
                           write.object, taken, write.subresource, "kube-controller-manager",
                           false);
    case Write::Kind::kDelete:
      return client_.Delete(write.resource, write.ns, write.name, taken,
                            write.at_once ? std::optional<int>(0) : std::nullopt);
    case Write::Kind::kSubresource:
      return client_.CreateSub(write.resource, write.ns, write.name, write.subresource,
                               write.object, taken);
  }
}

}  // namespace isthmus::lab::controllers
