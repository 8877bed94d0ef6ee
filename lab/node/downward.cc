#include "lab/node/downward.h"

#include <algorithm>

#include "base/encoding.h"
#include "kubeapi/meta.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;

// As kubelets print a map: sorted lines of key="value" with Go's quoting.
std::string PrintMap(const Json* map) {
  std::string out;
  if (map == nullptr || !map->is_object()) return out;
  for (const auto& [key, value] : map->items()) {
    if (!value.is_string()) continue;
    if (!out.empty()) out += '\n';
    out += key + "=" + Json(value).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return out;
}

void SetVariable(std::vector<std::string>& env, const std::string& name, const std::string& value) {
  const std::string start = name + "=";
  for (std::string& entry : env)
    if (entry.starts_with(start)) {
      entry = start + value;
      return;
    }
  env.push_back(start + value);
}

// The string of a key in a ConfigMap or Secret. `present` tells an absent key from an empty one.
bool KeyOf(const Json& object, bool secret, const std::string& key, std::string* value) {
  const Json* text = kubeapi::Find(object, {"data", key});
  if (text == nullptr && !secret) text = kubeapi::Find(object, {"binaryData", key});
  if (text == nullptr || !text->is_string()) return false;
  *value = text->get<std::string>();
  if (!secret) return true;
  auto decoded = base::Base64Decode(*value);
  if (!decoded.ok()) return false;
  *value = *decoded;
  return true;
}

// {found, value} of a configMapKeyRef or secretKeyRef; an error when it is missing and not
// optional.
base::Status ReadKeyRef(const Json& ref, bool secret, const std::string& ns, PodSource& source,
                        bool* found, std::string* value) {
  const std::string name = kubeapi::StringAt(ref, {"name"});
  const std::string key = kubeapi::StringAt(ref, {"key"});
  const Json* object = secret ? source.Secret(ns, name) : source.ConfigMap(ns, name);
  const char* kind = secret ? "secret" : "configmap";
  *found = object != nullptr && KeyOf(*object, secret, key, value);
  if (*found || kubeapi::BoolAt(ref, {"optional"})) return {};
  if (object == nullptr)
    return base::Error(base::Code::kNotFound, "{} \"{}\" not found", kind, name);
  return base::Error(base::Code::kNotFound, "couldn't find key {} in {} {}/{}", key, kind, ns,
                     name);
}

base::Status AddFrom(const Json& entry, const std::string& ns, PodSource& source,
                     std::vector<std::string>& env) {
  for (const bool secret : {false, true}) {
    const Json* ref = kubeapi::Find(entry, {secret ? "secretRef" : "configMapRef"});
    if (ref == nullptr) continue;
    const std::string name = kubeapi::StringAt(*ref, {"name"});
    const Json* object = secret ? source.Secret(ns, name) : source.ConfigMap(ns, name);
    if (object == nullptr) {
      if (kubeapi::BoolAt(*ref, {"optional"})) continue;
      return base::Error(base::Code::kNotFound, "{} \"{}\" not found",
                         secret ? "secret" : "configmap", name);
    }
    const Json* data = kubeapi::Find(*object, {"data"});
    if (data == nullptr || !data->is_object()) continue;
    for (const auto& [key, unused] : data->items()) {
      std::string value;
      if (KeyOf(*object, secret, key, &value))
        SetVariable(env, kubeapi::StringAt(entry, {"prefix"}) + key, value);
    }
  }
  return {};
}

}  // namespace

base::Result<std::string> PodField(const Json& pod, std::string_view path,
                                   const std::string& pod_ip, const NodeFacts& node) {
  if (path == "metadata.name") return kubeapi::NameOf(pod);
  if (path == "metadata.namespace") return kubeapi::NamespaceOf(pod);
  if (path == "metadata.uid") return kubeapi::UidOf(pod);
  if (path == "spec.nodeName") return node.name;
  if (path == "spec.serviceAccountName")
    return kubeapi::StringAt(pod, {"spec", "serviceAccountName"});
  if (path == "status.podIP" || path == "status.podIPs") return pod_ip;
  if (path == "status.hostIP" || path == "status.hostIPs") return node.address;
  if (path == "metadata.labels") return PrintMap(kubeapi::Find(pod, {"metadata", "labels"}));
  if (path == "metadata.annotations")
    return PrintMap(kubeapi::Find(pod, {"metadata", "annotations"}));
  for (const char* map : {"labels", "annotations"}) {
    const std::string start = std::string("metadata.") + map + "['";
    if (path.starts_with(start) && path.ends_with("']")) {
      const std::string key(path.substr(start.size(), path.size() - start.size() - 2));
      return kubeapi::StringAt(pod, {"metadata", map, key});
    }
  }
  return base::Error(base::Code::kInvalidArgument, "fieldRef.fieldPath: unsupported \"{}\"", path);
}

base::Result<std::string> ResourceField(const Json& container, const Json& ref,
                                        const NodeFacts& node) {
  const std::string resource = kubeapi::StringAt(ref, {"resource"});
  const size_t dot = resource.find('.');
  if (dot == std::string::npos)
    return base::Error(base::Code::kInvalidArgument,
                       "resourceFieldRef.resource: unsupported \"{}\"", resource);
  const std::string list = resource.substr(0, dot), name = resource.substr(dot + 1);
  std::string text = kubeapi::StringAt(container, {"resources", list, name});
  int64_t milli = 0;
  if (!text.empty()) {
    ASSIGN_OR_RETURN(milli, kubeapi::ParseQuantityMilli(text), "resources." + resource);
  } else if (list == "limits" && name == "cpu") {
    milli = node.cpu_milli;
  } else if (list == "limits" && name == "memory") {
    milli = node.memory_bytes * 1000;
  }
  std::string divisor_text = kubeapi::StringAt(ref, {"divisor"});
  int64_t divisor = 1000;
  if (!divisor_text.empty() && divisor_text != "0") {
    ASSIGN_OR_RETURN(divisor, kubeapi::ParseQuantityMilli(divisor_text),
                     "resourceFieldRef.divisor");
  }
  if (divisor <= 0) divisor = 1000;
  return std::to_string((milli + divisor - 1) / divisor);
}

std::string ExpandVariables(std::string_view text, const std::vector<std::string>& env) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i++];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      i += 2;
      continue;
    }
    const size_t end = text.find(')', i);
    if (text[i + 1] != '(' || end == std::string_view::npos) {
      out += text[i++];
      continue;
    }
    const std::string start = std::string(text.substr(i + 2, end - i - 2)) + "=";
    const auto found = std::find_if(env.begin(), env.end(),
                                    [&](const auto& entry) { return entry.starts_with(start); });
    out +=
        found != env.end() ? found->substr(start.size()) : std::string(text.substr(i, end - i + 1));
    i = end + 1;
  }
  return out;
}

base::Result<std::vector<std::string>> BuildEnv(const Json& pod, const Json& container,
                                                const std::vector<std::string>& image_env,
                                                const std::string& pod_ip, const NodeFacts& node,
                                                PodSource& source) {
  const std::string ns = kubeapi::NamespaceOf(pod);
  std::vector<std::string> env = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOSTNAME=" + kubeapi::NameOf(pod), "HOME=/root"};
  for (const std::string& entry :
       source.ServiceEnv(ns, kubeapi::BoolAt(pod, {"spec", "enableServiceLinks"}, true)))
    env.push_back(entry);
  for (const std::string& entry : image_env) {
    const size_t equals = entry.find('=');
    SetVariable(env, entry.substr(0, equals), entry.substr(equals + 1));
  }
  if (const Json* from = kubeapi::Find(container, {"envFrom"}); from != nullptr && from->is_array())
    for (const Json& entry : *from) RETURN_IF_ERROR(AddFrom(entry, ns, source, env), "envFrom");
  const Json* list = kubeapi::Find(container, {"env"});
  if (list == nullptr || !list->is_array()) return env;
  for (const Json& entry : *list) {
    const std::string name = kubeapi::StringAt(entry, {"name"});
    std::string value = ExpandVariables(kubeapi::StringAt(entry, {"value"}), env);
    if (const Json* ref = kubeapi::Find(entry, {"valueFrom", "fieldRef"}); ref != nullptr) {
      ASSIGN_OR_RETURN(value, PodField(pod, kubeapi::StringAt(*ref, {"fieldPath"}), pod_ip, node),
                       "env " + name);
    } else if (const Json* ref = kubeapi::Find(entry, {"valueFrom", "resourceFieldRef"});
               ref != nullptr) {
      ASSIGN_OR_RETURN(value, ResourceField(container, *ref, node), "env " + name);
    } else if (kubeapi::Find(entry, {"valueFrom"}) != nullptr) {
      const Json* secret = kubeapi::Find(entry, {"valueFrom", "secretKeyRef"});
      const Json* config = kubeapi::Find(entry, {"valueFrom", "configMapKeyRef"});
      const Json* ref = secret != nullptr ? secret : config;
      bool found = false;
      if (ref != nullptr) {
        const base::Status status = ReadKeyRef(*ref, secret != nullptr, ns, source, &found, &value);
        if (!status.ok()) return status;
      }
      if (!found) continue;  // Optional and absent: not even an empty variable.
    }
    SetVariable(env, name, value);
  }
  return env;
}

}  // namespace isthmus::lab::node
