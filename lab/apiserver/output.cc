#include "lab/apiserver/output.h"

#include "base/strings.h"
#include "lab/apiserver/table.h"

namespace isthmus::lab::apiserver {

std::string WithType(std::string_view api_version, std::string_view kind, std::string_view stored) {
  std::string out = "{\"kind\":\"";
  out.reserve(stored.size() + 64);
  out.append(kind).append("\",\"apiVersion\":\"").append(api_version).append("\"");
  if (stored.size() > 2)
    out.append(",").append(stored.substr(1));
  else
    out.append("}");
  return out;
}

Outcome<Output> Output::Negotiate(const Request& request) {
  Output output;
  const std::string include = request.Query("includeObject");
  if (!include.empty()) output.include = include;
  const std::string accept = request.Header("accept");
  if (base::Trim(accept).empty()) return output;
  for (const std::string& offer : base::SplitList(accept)) {
    const auto parts = base::SplitList(offer, ';');
    if (parts.empty()) continue;
    std::string as, version, group;
    for (size_t i = 1; i < parts.size(); ++i) {
      const auto [key, value] = base::Cut(parts[i], "=");
      if (key == "as") as = value;
      if (key == "v") version = value;
      if (key == "g") group = value;
    }
    const std::string& type = parts[0];
    const bool json = type == "application/json" || type == "*/*" || type == "application/*";
    if (!json && type != "application/yaml") continue;
    if (!as.empty()) {
      // kubectl 1.20 also offers v1beta1 of the same; v1 comes first there.
      if (group != "meta.k8s.io" || version != "v1") continue;
      if (as == "Table")
        output.form = Form::kTable;
      else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList")
        output.form = Form::kPartial;
      else
        continue;
    }
    output.yaml = type == "application/yaml";
    return output;
  }
  kubeapi::ApiError error;
  error.code = 406;
  error.reason = "NotAcceptable";
  error.message =
      "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
      "application/json;stream=watch";
  return error;
}

std::string Output::Render(const Engine& engine, const Kind& kind, const KindVersion& version,
                           std::string_view stored, bool columns) const {
  if (form == Form::kObject && !HasConversion(kind, version))
    return WithType(kind.ApiVersion(version), kind.kind, stored);
  return Shape(engine, version, engine.Decode(kind, version, stored), columns).dump();
}

Json Output::Shape(const Engine& engine, const KindVersion& version, Json object,
                   bool columns) const {
  switch (form) {
    case Form::kObject:
      return object;
    case Form::kPartial:
      return PartialMetadata(object);
    case Form::kTable:
      break;
  }
  Json table = {{"kind", "Table"}, {"apiVersion", "meta.k8s.io/v1"}, {"metadata", Json::object()}};
  const std::string resource_version = kubeapi::StringAt(object, {"metadata", "resourceVersion"});
  if (!resource_version.empty()) table["metadata"]["resourceVersion"] = resource_version;
  table["columnDefinitions"] = columns ? TableColumns(version) : Json();
  table["rows"] = Json::array({TableRow(version, object, include, engine.Now())});
  return table;
}

Response Output::Respond(int status, std::string json) const {
  Response response;
  response.status = status;
  response.content_type = content_type();
  response.body = yaml ? kubeapi::ToYaml(Json::parse(json, nullptr, false)) : std::move(json);
  return response;
}

}  // namespace isthmus::lab::apiserver
