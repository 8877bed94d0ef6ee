#pragma once

#include <cstdint>
#include <memory>

#include "model/proxy.h"
#include "model/snapshot.h"
#include "model/view.h"

namespace isthmus::translate {

/// Turns snapshots into what each class of proxies sees of them.
///
/// Invariant: the view of a proxy depends on the newest snapshot and the proxy alone; however the
/// snapshot was reached, the bytes are the same. Proxies that see the same get the same ResourceSet
/// pointers, and what did not change since the last view keeps its address. Lazy: a class is
/// brought up to date when one of its proxies asks. Single-threaded.
class Translator {
 public:
  Translator();
  ~Translator();
  Translator(const Translator&) = delete;
  Translator& operator=(const Translator&) = delete;

  /// `changes` is what differs from the snapshot of the last Update; the first counts as
  /// everything.
  void Update(std::shared_ptr<const model::Snapshot> snapshot, const model::ChangeSet& changes);
  /// Null before the first Update. The same pointer for proxies that see the same, until the next
  /// Update.
  std::shared_ptr<const model::View> ViewFor(const model::Proxy& proxy);
  /// The proxy is gone; what only it needed may be dropped.
  void Forget(const model::Proxy& proxy);

  struct Stats {
    size_t classes = 0;
    size_t proxies = 0;
    uint64_t parts_built = 0;  ///< Since the start; what was found again does not count.
    size_t parts_kept = 0;
  };
  Stats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isthmus::translate
