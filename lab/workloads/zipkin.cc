// A collector of spans with Zipkin's interface, in memory.
#include <deque>

#include "base/strings.h"
#include "kubeapi/json.h"
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {
namespace {

using kubeapi::Json;

constexpr size_t kMostTraces = 1000;

/// The newest traces that were reported, each a list of spans as they came.
class Traces {
 public:
  bool Add(const std::string& body) {
    const base::Result<Json> spans = kubeapi::ParseJson(body);
    if (!spans.ok() || !spans->is_array()) return false;
    for (const Json& span : *spans) {
      const std::string id = kubeapi::StringAt(span, {"traceId"});
      if (id.empty()) return false;
      auto [trace, fresh] = traces_.try_emplace(id, Json::array());
      trace->second.push_back(span);
      if (!fresh) continue;
      order_.push_back(id);
      if (order_.size() <= kMostTraces) continue;
      traces_.erase(order_.front());
      order_.pop_front();
    }
    return true;
  }
  /// Null when there is none of that id.
  const Json* Find(const std::string& id) const {
    const auto trace = traces_.find(id);
    return trace == traces_.end() ? nullptr : &trace->second;
  }
  Json All() const {
    Json all = Json::array();
    for (const auto& [id, spans] : traces_) all.push_back(spans);
    return all;
  }

 private:
  std::map<std::string, Json> traces_;
  std::deque<std::string> order_;  ///< Oldest first.
};

Answer Shown(const Json& json) {
  return JsonAnswer(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Answer Serve(Traces& traces, const Call& call) {
  const std::string path = call.head.path();
  std::string_view id = path;
  if (path == "/health") return JsonAnswer(R"({"status":"UP"})");
  if (path == "/api/v2/spans" && call.head.method == "POST")
    return traces.Add(call.body) ? Answer{.status = 202, .body = ""}
                                 : Answer{.status = 400, .body = "not a list of spans\n"};
  if (path == "/api/v2/traces") return Shown(traces.All());
  if (!base::ConsumePrefix(id, "/api/v2/trace/")) return NotFound();
  const Json* trace = traces.Find(std::string(id));
  return trace == nullptr ? NotFound() : Shown(*trace);
}

}  // namespace

Application Zipkin() {
  auto traces = std::make_shared<Traces>();
  return [traces](const std::shared_ptr<const Call>& call, const Reply& reply) {
    reply(Serve(*traces, *call));
  };
}

}  // namespace isthmus::lab::workloads
