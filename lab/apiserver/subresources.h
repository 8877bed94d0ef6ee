#pragma once

#include "lab/apiserver/writer.h"

namespace isthmus::lab::apiserver {

/// scale: reads or changes the number of replicas of a workload, built in or custom.
Response ReadScale(const Engine& engine, const Request& request, const RequestInfo& info,
                   const Kind& kind, const KindVersion& version);
void WriteScale(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info,
                const KindPtr& kind, const KindVersion& version, const Writer::Done& done);
/// pods/binding and bindings: puts a pod on a node.
Response BindPod(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info);
/// pods/eviction: deletes a pod unless its disruption budget forbids.
Response EvictPod(Engine& engine, Writer& writer, const Request& request, const RequestInfo& info);
/// serviceaccounts/token.
Response RequestToken(Engine& engine, const Request& request, const RequestInfo& info);

}  // namespace isthmus::lab::apiserver
