#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/loop.h"
#include "base/result.h"

namespace isthmus::kubeclient {

/// Runs the loop until an asynchronous call has answered: for the CLI, the installer and tests.
///   Result<Json> pod = Await<Json>(loop, 10s, [&](auto done) { client.Get(kPods, ns, name, done);
///   });
template <typename T>
base::Result<T> Await(base::Loop& loop, base::Duration timeout,
                      const std::function<void(std::function<void(base::Result<T>)>)>& start) {
  auto answer = std::make_shared<std::optional<base::Result<T>>>();
  start([answer](base::Result<T> result) { *answer = std::move(result); });
  if (!loop.RunUntil([answer] { return answer->has_value(); }, timeout))
    return base::Error(base::Code::kDeadlineExceeded, "no answer in time");
  return std::move(**answer);
}

}  // namespace isthmus::kubeclient
