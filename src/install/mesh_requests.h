#pragma once

#include "install/mesh_verify.h"

namespace isthmus::install {

/// Makes the requests of one entry of the topology's verify section and judges the answers: none
/// may fail, each wanted text must take its share, each named cluster must have answered (by its
/// access logs).
base::Result<VerifyLine> MakeRequests(MeshSession& session, const TopologyRequest& request,
                                      const PodCommand& run);

/// Answers of a run of requests, as the client printed them: one line "<status> <body without line
/// breaks>" a request.
struct Answers {
  int total = 0;
  int failed = 0;
  std::string first_failure;
  std::map<std::string, int> by_text;  ///< How many contained each wanted text.
};
Answers CountAnswers(std::string_view lines, const std::vector<std::string>& wanted);

/// What is wrong with the answers; empty when nothing is.
std::vector<std::string> JudgeAnswers(const Answers& answers, const TopologyRequest& request);

}  // namespace isthmus::install
