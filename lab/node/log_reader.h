#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/loop.h"
#include "http/server.h"

namespace isthmus::lab::node {

struct LogOptions {
  bool follow = false;
  bool timestamps = false;
  std::optional<int64_t> tail;
  std::optional<int64_t> limit_bytes;
  std::optional<base::Time> since;
};

/// The text of a container's log (container_log.h) as kubectl shows it: lines without their marks,
/// from `since`, the last `tail` of them.
std::string RenderLog(std::string_view log, const LogOptions& options);

/// Streams the log at `path`; with follow until `ended()` holds and everything is sent, or the
/// client has gone.
void ServeLog(base::Loop& loop, const std::shared_ptr<http::ServerStream>& stream,
              const std::string& path, const LogOptions& options, std::function<bool()> ended);

}  // namespace isthmus::lab::node
