#pragma once

#include "lab/apiserver/engine.h"

namespace isthmus::lab::apiserver {

/// Answers the kinds that are questions: TokenReview, SubjectAccessReview and their like.
Response AnswerReview(Engine& engine, const Request& request, const RequestInfo& info,
                      const Kind& kind, const KindVersion& version);

}  // namespace isthmus::lab::apiserver
