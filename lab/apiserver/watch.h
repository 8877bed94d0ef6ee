#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/slice.h"
#include "kubeapi/selector.h"
#include "lab/apiserver/engine.h"
#include "lab/apiserver/output.h"

namespace isthmus::lab::apiserver {

/// Which objects of a resource a list, watch or deletecollection is about.
struct Filter {
  std::string ns;
  kubeapi::LabelSelector labels;
  kubeapi::FieldSelector fields;

  /// From the query; checks that the kind knows the fields.
  static Outcome<Filter> Of(const Request& request, const RequestInfo& info, const Kind& kind,
                            const KindVersion& version);
  /// By what the key tells alone: namespace and name.
  bool MatchesKey(const ObjectKey& key) const;
  /// Whether the object itself has to be looked at.
  bool needs_object() const { return !labels.empty() || !fields.empty(); }
  bool Matches(const Json& object) const;
};

/// A stream of watch events: one JSON object a line. Made by the Reader, started by whoever carries
/// the bytes. Dropping it ends it.
class Watch : public std::enable_shared_from_this<Watch> {
 public:
  Watch(const Engine& engine, KindPtr kind, const KindVersion* version, Filter filter,
        Output output);

  struct Start {
    /// Sends the present objects as ADDED first.
    bool present = false;
    int64_t version = 0;
    /// sendInitialEvents: a marked bookmark follows the present objects.
    bool mark_end = false;
  };
  /// Sends what there is at once and each change from then on. `end` is called when the stream is
  /// over.
  void Run(std::function<void(base::Slice)> send, std::function<void()> end);
  /// Tells the client how far it has got.
  void Bookmark();

  void set_start(Start start) { start_ = start; }
  bool bookmarks = false;
  int64_t timeout_seconds = 0;  ///< 0: the server's choice.

 private:
  void OnEvent(const StoreEvent& event);
  /// Whether the filter picks an object that is known parsed and as text.
  bool Picks(const Json& parsed, std::string_view stored) const;
  void Send(const char* type, std::string_view stored);
  void SendBookmark(bool initial_end);

  const Engine& engine_;
  KindPtr kind_;
  const KindVersion* version_;
  Filter filter_;
  Output output_;
  Start start_;
  std::string storage_key_;
  std::function<void(base::Slice)> send_;
  std::shared_ptr<void> subscription_;
  bool columns_sent_ = false;
};

}  // namespace isthmus::lab::apiserver
