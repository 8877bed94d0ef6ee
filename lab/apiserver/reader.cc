#include "lab/apiserver/reader.h"

#include "base/encoding.h"
#include "base/strings.h"
#include "lab/apiserver/output.h"
#include "lab/apiserver/table.h"
#include "lab/apiserver/watch.h"

namespace isthmus::lab::apiserver {
namespace {

using kubeapi::ApiError;

struct Continue {
  int64_t version = 0;
  ObjectKey after;
};

std::string EncodeContinue(int64_t version, const ObjectKey& last) {
  return base::Base64UrlEncode(
      Json{{"v", "meta.k8s.io/v1"}, {"rv", version}, {"ns", last.ns}, {"start", last.name}}.dump());
}

Outcome<Continue> DecodeContinue(const std::string& token) {
  auto text = base::Base64Decode(token);
  Json json = text.ok() ? Json::parse(*text, nullptr, false) : Json();
  if (!json.is_object() || kubeapi::StringAt(json, {"start"}).empty())
    return kubeapi::BadRequest("invalid continue token: continue key is not valid: " + token);
  Continue out;
  out.version = kubeapi::IntAt(json, {"rv"});
  out.after = {"", kubeapi::StringAt(json, {"ns"}), kubeapi::StringAt(json, {"start"})};
  return out;
}

std::string BadVersion(const std::string& text) {
  return fmt::format(
      "resourceVersion: Invalid value: \"{}\": strconv.ParseUint: parsing \"{}\": invalid syntax",
      text, text);
}

/// A list is always of the present state, which every version that may be asked for allows.
std::optional<ApiError> CheckVersion(const Request& request) {
  const std::string version = request.Query("resourceVersion"),
                    match = request.Query("resourceVersionMatch");
  if (match == "Exact" && version == "0")
    return kubeapi::Invalid(
        {"meta.k8s.io", "v1", "", "ListOptions"}, "",
        {{"FieldValueForbidden",
          "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
          "resourceVersionMatch"}});
  const auto parsed = base::ParseInt(version.empty() ? "0" : version);
  if (!parsed.ok() || *parsed < 0)
    return kubeapi::BadRequest("invalid resource version: " + BadVersion(version));
  return std::nullopt;
}

}  // namespace

Response Reader::Get(const Request& request, const RequestInfo& info, const KindPtr& kind,
                     const KindVersion& version) const {
  auto output = Output::Negotiate(request);
  if (!output.ok()) return ErrorResponse(output.error());
  auto text = engine_.store.Get({StorageKey(*kind), kind->namespaced ? info.ns : "", info.name});
  if (!text) return ErrorResponse(kubeapi::NotFound(kind->ResourceAt(version), info.name));
  return output->Respond(200, output->Render(engine_, *kind, version, *text));
}

Response Reader::List(const Request& request, const RequestInfo& info, const KindPtr& kind,
                      const KindVersion& version) const {
  auto output = Output::Negotiate(request);
  if (!output.ok()) return ErrorResponse(output.error());
  auto filter = Filter::Of(request, info, *kind, version);
  if (!filter.ok()) return ErrorResponse(filter.error());
  int64_t limit = 0;
  if (const std::string text = request.Query("limit"); !text.empty()) {
    auto parsed = base::ParseInt(text);
    if (!parsed.ok() || *parsed < 0)
      return ErrorResponse(kubeapi::BadRequest(
          fmt::format("strconv.ParseInt: parsing \"{}\": invalid syntax", text)));
    limit = *parsed;
  }
  if (auto error = CheckVersion(request)) return ErrorResponse(*error);
  int64_t list_version = engine_.store.version();
  std::optional<ObjectKey> after;
  if (const std::string token = request.Query("continue"); !token.empty()) {
    auto decoded = DecodeContinue(token);
    if (!decoded.ok()) return ErrorResponse(decoded.error());
    // Later chunks are of the present state; a watch from the first chunk's version still sees
    // every change.
    list_version = decoded->version;
    after = decoded->after;
  }
  const bool table = output->form == Output::Form::kTable;
  std::string items;
  ObjectKey last;
  int64_t count = 0, remaining = 0;
  engine_.store.List(
      StorageKey(*kind), filter->ns, after, [&](const ObjectKey& key, std::string_view text) {
        if (!filter->MatchesKey(key)) return true;
        if (filter->needs_object() && !filter->Matches(engine_.Decode(*kind, version, text)))
          return true;
        if (limit > 0 && count == limit) {
          ++remaining;
          return !filter->needs_object();  // Kubernetes counts the rest only when there is no
                                           // selector.
        }
        if (count++ > 0) items += ',';
        if (table) {
          items += TableRow(version, engine_.Decode(*kind, version, text), output->include,
                            engine_.Now())
                       .dump();
        } else if (output->form == Output::Form::kObject && !kind->custom &&
                   !HasConversion(*kind, version)) {
          items += text;  // Items of built-in lists do not repeat the list's kind.
        } else {
          items += output->Render(engine_, *kind, version, text);
        }
        last = key;
        return true;
      });
  Json metadata = {{"resourceVersion", std::to_string(list_version)}};
  if (remaining > 0) {
    metadata["continue"] = EncodeContinue(list_version, last);
    if (!filter->needs_object()) metadata["remainingItemCount"] = remaining;
  }
  std::string head;
  switch (output->form) {
    case Output::Form::kObject:
      head = fmt::format(R"("kind":"{}","apiVersion":"{}")", kind->list_kind,
                         kind->ApiVersion(version));
      break;
    case Output::Form::kPartial:
      head = R"("kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1")";
      break;
    case Output::Form::kTable:
      head = R"("kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":)" +
             TableColumns(version).dump();
      break;
  }
  std::string body = "{" + head + ",\"metadata\":" + metadata.dump() +
                     (table ? ",\"rows\":[" : ",\"items\":[") + items + "]}\n";
  return output->Respond(200, std::move(body));
}

Response Reader::StartWatch(const Request& request, const RequestInfo& info, const KindPtr& kind,
                            const KindVersion& version) const {
  auto output = Output::Negotiate(request);
  if (!output.ok()) return ErrorResponse(output.error());
  auto filter = Filter::Of(request, info, *kind, version);
  if (!filter.ok()) return ErrorResponse(filter.error());
  Watch::Start start;
  const std::string from = request.Query("resourceVersion");
  const bool initial = request.Flag("sendInitialEvents");
  if (initial && request.Query("resourceVersionMatch") != "NotOlderThan") {
    kubeapi::ApiError error = kubeapi::Invalid(
        {"meta.k8s.io", "v1", "", "ListOptions"}, "",
        {{"FieldValueForbidden",
          "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
          "resourceVersionMatch"}});
    return ErrorResponse(error);
  }
  start.present =
      initial || ((from.empty() || from == "0") && !request.HasQuery("sendInitialEvents"));
  start.mark_end = initial && request.Flag("allowWatchBookmarks");
  if (!start.present) {
    auto parsed = base::ParseInt(from.empty() ? "0" : from);
    if (!parsed.ok() || *parsed < 0)
      return ErrorResponse({.code = 500, .message = BadVersion(from)});
    start.version = *parsed == 0 ? engine_.store.version() : *parsed;
  }
  Response response;
  response.content_type = "application/json";
  response.watch = std::make_shared<Watch>(engine_, kind, &version, std::move(*filter), *output);
  response.watch->set_start(start);
  response.watch->bookmarks = request.Flag("allowWatchBookmarks");
  if (auto seconds = base::ParseInt(request.Query("timeoutSeconds")); seconds.ok() && *seconds > 0)
    response.watch->timeout_seconds = *seconds;
  return response;
}

}  // namespace isthmus::lab::apiserver
