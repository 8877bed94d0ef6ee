#include "lab/apiserver/openapi.h"

namespace isthmus::lab::apiserver {
std::optional<Response> OpenApi::Serve(const Request& request) const { (void)engine_; return std::nullopt; }
}
