#pragma once

#include <memory>
#include <string>

#include "base/loop.h"
#include "base/process.h"
#include "http/client.h"
#include "http/server.h"

namespace isthmus::controlplane {

uint16_t FreePort();
/// Runs the loop for a tenth of a second, between two looks at a condition.
void Pause(base::Loop& loop);

/// What an agent's SDS socket gives its Envoy: a certificate "default" and roots "ROOTCA", made up
/// for the test.
class FakeSds {
 public:
  FakeSds(base::Loop& loop, const std::string& socket);
  ~FakeSds();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A real Envoy on loopback that is configured by ADS over plaintext.
class Envoy {
 public:
  struct Options {
    std::string node_id;
    std::string metadata = "{}";  ///< JSON
    bool delta = true;
    uint16_t ads_port = 0;
    std::string sds_socket;
  };
  /// Null when there is no Envoy to run.
  static std::unique_ptr<Envoy> Start(base::Loop& loop, const std::string& folder,
                                      const Options& options);

  /// GETs a page of the admin port; empty when it does not answer.
  std::string Admin(const std::string& path);
  /// Has its first configuration.
  bool Live() { return Admin("/ready").starts_with("LIVE"); }
  /// The value of one statistic; -1 when there is none.
  int64_t Stat(const std::string& name);
  /// Names and values of "update_rejected" statistics above zero, joined.
  std::string Rejected();
  /// Runs the loop until `done` or 20 seconds have passed.
  bool Until(const std::function<bool()>& done);
  std::string log() const { return log_; }

 private:
  Envoy(base::Loop& loop, uint16_t admin_port);
  base::Loop& loop_;
  std::unique_ptr<base::Process> process_;
  std::unique_ptr<http::Client> admin_;
  std::string log_;
};

}  // namespace isthmus::controlplane
