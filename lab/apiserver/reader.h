#pragma once

#include "lab/apiserver/engine.h"
#include "lab/apiserver/request.h"

namespace isthmus::lab::apiserver {

/// Get, list and watch.
class Reader {
 public:
  explicit Reader(const Engine& engine) : engine_(engine) {}
  Response Get(const Request& request, const RequestInfo& info, const KindPtr& kind,
               const KindVersion& version) const;
  Response List(const Request& request, const RequestInfo& info, const KindPtr& kind,
                const KindVersion& version) const;
  Response StartWatch(const Request& request, const RequestInfo& info, const KindPtr& kind,
                      const KindVersion& version) const;

 private:
  const Engine& engine_;
};

}  // namespace isthmus::lab::apiserver
