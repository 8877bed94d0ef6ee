#pragma once

#include "lab/apiserver/output.h"
#include "lab/apiserver/writer.h"

namespace isthmus::lab::apiserver {

/// One write under way; kept alive by the callbacks that wait for webhooks. For writer*.cc only.
struct Writer::Operation {
  Request request;
  RequestInfo info;
  std::shared_ptr<Admission> admission = std::make_shared<Admission>();
  Output output;
  Done done;
  std::string manager;
  bool strict = false;
  bool warn = true;
  // How the new object comes of the present one: by PUT's body, or a patch.
  Json body;
  std::string patch_type;     // Empty for PUT.
  bool applied = false;       // Server-side apply keeps managedFields itself.
  std::string asked_version;  // The resourceVersion that the client insists on.
  Text current_text;
  int attempts = 0;

  const Kind& kind() const { return *admission->kind; }
  const KindVersion& version() const { return *admission->version; }
  kubeapi::Resource resource() const { return kind().ResourceAt(version()); }
  ObjectKey key() const { return {StorageKey(kind()), admission->ns, admission->name}; }
};

}  // namespace isthmus::lab::apiserver
