#pragma once

#include <optional>

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// The OpenAPI documents: /openapi/v2 (JSON and the protobuf form old kubectl asks for) and
/// /openapi/v3 with one document a group version. Made when asked for and not kept: clients ask
/// seldom and keep them themselves.
class OpenApi {
 public:
  explicit OpenApi(const Engine& engine) : engine_(engine) {}
  std::optional<Response> Serve(const Request& request) const;

 private:
  Response Root() const;
  std::optional<Response> GroupVersion(const std::string& group, const std::string& version) const;
  Response Version2(const Request& request) const;

  const Engine& engine_;
};

}  // namespace isthmus::lab::apiserver
