#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/net.h"
#include "base/result.h"

namespace isthmus::lab::node {

/// Hears DNS queries on one address over UDP and TCP. `answer` turns a query into an answer of at
/// most `limit` bytes. Lives on its loop.
class DnsServer {
 public:
  using Answer = std::function<std::string(std::string_view query, size_t limit)>;
  static base::Result<std::unique_ptr<DnsServer>> Start(base::Loop& loop, const std::string& ip,
                                                        uint16_t port, Answer answer);
  ~DnsServer();
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;
  uint16_t port() const;

 private:
  struct Impl;
  explicit DnsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace isthmus::lab::node
