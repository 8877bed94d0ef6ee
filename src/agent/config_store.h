#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/xds_message.h"
#include "base/result.h"

namespace isthmus::agent {

/// The newest configuration that Envoy has accepted, on disk, so that an Envoy that starts while
/// every control plane is down gets it. Only the place of each resource is in memory.
///
/// Invariant: what is read back was acknowledged by Envoy. A response is written when it comes
/// (Stage), and counts from its acknowledgement on (Commit). Secrets are never stored. A crash, a
/// full disk or a damaged file loses at most what was written last. Lives on the agent's loop.
class ConfigStore {
 public:
  /// Opens or makes the file. A file that cannot be read is replaced by an empty one.
  static base::Result<std::unique_ptr<ConfigStore>> Open(const std::string& path);
  ~ConfigStore();
  ConfigStore(const ConfigStore&) = delete;
  ConfigStore& operator=(const ConfigStore&) = delete;

  /// Delta only: notes a response that is on its way to Envoy.
  void Stage(const XdsResponse& response);
  /// Envoy's answer to the response of that nonce.
  void Commit(std::string_view type_url, std::string_view nonce);
  void Drop(std::string_view type_url, std::string_view nonce);
  /// Forgets what was staged: the stream has ended.
  void DropStaged() { staged_.clear(); }

  bool empty() const { return index_.empty(); }
  std::vector<std::string> Names(std::string_view type_url) const;
  /// The serialised Resource, or "" when there is none.
  std::string Read(std::string_view type_url, std::string_view name) const;
  uint64_t file_size() const { return size_; }

 private:
  struct Place {
    uint64_t offset = 0;
    uint32_t size = 0;  // 0: removed.
  };
  struct Change {
    std::string name;
    Place place;
  };
  using Resources = std::map<std::string, Place, std::less<>>;

  explicit ConfigStore(std::string path) : path_(std::move(path)) {}
  base::Status Load();
  bool Append(const std::string& bytes);
  void Apply(std::string_view type_url, const std::vector<Change>& changes);
  void CompactIfWorthIt();
  base::Status Compact();

  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  uint64_t live_ = 0;
  uint32_t next_transaction_ = 1;
  bool failing_ = false;
  struct Staged {
    uint32_t transaction = 0;
    std::vector<Change> changes;
  };
  std::map<std::pair<std::string, std::string>, Staged> staged_;  // By type and nonce.
  std::map<std::string, Resources, std::less<>> index_;
};

}  // namespace isthmus::agent
