#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "http/server.h"
#include "kubeapi/json.h"

namespace isthmus::registry {

/// An API server of a few hundred bytes: lists and watches of what a test puts in and clients
/// apply. Can be stopped and started again on its port, and can forbid kinds.
class FakeApiServer {
 public:
  explicit FakeApiServer(base::Loop& loop);

  std::string url() const;
  /// A kubeconfig with this server, as a remote secret holds it.
  std::string Kubeconfig(const std::string& token = "t") const;
  void Put(std::string_view yaml);
  void PutFile(const std::string& name);
  void Delete(const std::string& kind, const std::string& key);
  /// What clients have applied counts too; null when there is none.
  const kubeapi::Json* Find(const std::string& kind, const std::string& key) const;
  /// Closes the port and every connection.
  void Stop() { server_.reset(); }
  void Start();
  void Forbid(const std::string& plural) { forbidden_.insert(plural); }
  /// Requests are taken and never answered.
  void Hang(bool hang) { hang_ = hang; }
  /// Requests with another token are refused.
  void Demand(std::string token) { token_ = std::move(token); }

 private:
  struct Watcher {
    std::string plural;
    std::string ns;
    std::string labels;
    std::string fields;
    std::shared_ptr<http::ServerStream> stream;
    std::set<std::string> seen;
  };
  void Handle(std::shared_ptr<http::ServerStream> stream);
  /// Requests about one object; false for what it does not know.
  bool HandleObject(const std::string& plural, const std::string& key,
                    const std::shared_ptr<http::ServerStream>& stream);
  void Send(Watcher& watcher, const char* type, const kubeapi::Json& object);
  static bool Matches(const kubeapi::Json& object, const std::string& ns, const std::string& labels,
                      const std::string& fields);

  base::Loop& loop_;
  std::unique_ptr<http::Server> server_;
  uint16_t port_ = 0;
  int64_t version_ = 1;
  std::map<std::string, std::map<std::string, kubeapi::Json>>
      objects_;                                                 ///< By plural, then by key.
  std::vector<std::pair<std::string, kubeapi::Json>> deleted_;  ///< Plural and last form.
  std::vector<std::shared_ptr<Watcher>> watchers_;
  std::set<std::string> forbidden_;
  std::string token_;
  bool hang_ = false;
};

}  // namespace isthmus::registry
