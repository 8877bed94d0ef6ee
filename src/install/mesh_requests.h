#pragma once

#include "install/mesh_verify.h"

namespace isthmus::install {

/// What came of the requests of one entry of the topology's verify section.
struct RequestOutcome {
  VerifyLine line;
  TrafficRow row;
  FailedRequest failure;  ///< Filled when the line is not ok.
};
/// Makes them and judges the answers: none may fail, each wanted text must take its share, each
/// named cluster must have answered (by its access logs). Which cluster each request went to is
/// read off the client's Envoy.
base::Result<RequestOutcome> MakeRequests(MeshSession& session, const TopologyRequest& request,
                                          const MeshState& state, const PodCommand& run);

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

/// Requests (or connections, where it counts none) that an Envoy has sent to each address of its
/// outbound clusters, out of /clusters?format=json: by Envoy cluster name without subset.
std::map<std::string, std::map<std::string, uint64_t>> ReadRequestCounts(const std::string& json);

/// "helloworld.sample.svc.cluster.local" of "http://helloworld.sample:5000/hello" asked from
/// namespace `ns`; empty when the URL's host is no service's.
std::string ServiceHostOf(const std::string& url, const std::string& ns);

}  // namespace isthmus::install
