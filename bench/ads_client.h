#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "http/client.h"
#include "rpc/client.h"

namespace isthmus::bench {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Names found in responses, shared by all clients: proxies that are sent the same bytes ask for
/// the same names, so the bytes are parsed once.
class NameCache {
 public:
  /// Names of clusters whose endpoints come by EDS.
  const std::vector<std::string>& EndpointNames(const std::vector<std::string_view>& clusters);
  /// Names of route tables that listeners ask for.
  const std::vector<std::string>& RouteNames(const std::vector<std::string_view>& listeners);

 private:
  std::map<std::pair<size_t, size_t>, std::vector<std::string>> known_;
};

/// One proxy as a server of delta ADS sees it: asks for clusters, their endpoints, listeners and
/// their routes, in Envoy's order, and acknowledges everything. Lives on the loop.
class AdsClient {
 public:
  struct Options {
    std::string url;  ///< "http://127.0.0.1:15010"
    std::string node_id;
    std::string cluster_id = "Kubernetes";
    std::string ns;
  };
  /// `got` is called after each response with its short type ("CDS", ...) and the names in it.
  using Got = std::function<void(AdsClient& client, std::string_view type,
                                 const std::vector<std::string_view>& names)>;

  AdsClient(base::Loop& loop, Options options, NameCache& names, Got got,
            std::function<void(const base::Status&)> failed);
  void Connect();

  /// Clusters, endpoints, listeners and routes have been answered.
  bool configured() const { return answered_.size() == 4; }
  SteadyTime started() const { return started_; }
  SteadyTime configured_at() const { return configured_at_; }
  size_t bytes() const { return bytes_; }

 private:
  void OnMessage(std::string_view bytes);
  void Ask(std::string_view type, const std::vector<std::string>& names);
  void Ack(std::string_view type, std::string_view nonce);

  const Options options_;
  NameCache& names_;
  const Got got_;
  const std::function<void(const base::Status&)> failed_;
  http::Client http_;
  std::shared_ptr<rpc::ClientCall> call_;
  std::set<std::string, std::less<>> answered_;
  SteadyTime started_;
  SteadyTime configured_at_;
  size_t bytes_ = 0;
  bool announced_ = false;
};

}  // namespace isthmus::bench
