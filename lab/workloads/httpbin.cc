// Tells a client what it sent, and misbehaves on request.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <random>

#include "base/encoding.h"
#include "base/strings.h"
#include "kubeapi/json.h"
#include "lab/workloads/app.h"

namespace isthmus::lab::workloads {
namespace {

using kubeapi::Json;

constexpr int64_t kLargestBytes = 1 << 20;

std::string TitleCase(std::string_view name) {
  std::string out(name);
  bool start = true;
  for (char& c : out) {
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    start = c == '-';
  }
  return out;
}

Json HeadersOf(const Call& call) {
  Json headers = {{"Host", call.head.authority}};
  for (const auto& [name, value] : call.head.headers.all()) {
    const std::string title = TitleCase(name);
    headers[title] =
        headers.contains(title) ? headers[title].get<std::string>() + "," + value : value;
  }
  return headers;
}

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// /get, /post, /anything: the whole request.
Answer Echo(const Call& call) {
  Json args = Json::object();
  for (const auto& [name, value] : call.head.query()) args[name] = value;
  auto body = kubeapi::ParseJson(call.body);
  return JsonAnswer(Dump({{"args", args},
                          {"headers", HeadersOf(call)},
                          {"method", call.head.method},
                          {"origin", call.client.substr(0, call.client.rfind(':'))},
                          {"url", "http://" + call.head.authority + call.head.target},
                          {"data", call.body},
                          {"json", body.ok() ? *body : Json()}}));
}

Answer StatusOf(std::string_view text) {
  // "/status/500" or "/status/200,500": one of them.
  const auto codes = base::SplitList(text);
  if (codes.empty()) return NotFound();
  static std::mt19937 random{std::random_device{}()};
  auto code = base::ParseInt(codes[random() % codes.size()]);
  if (!code.ok() || *code < 200 || *code > 599)
    return {.status = 400, .body = "Invalid status code\n"};
  return {.status = static_cast<int>(*code), .body = ""};
}

Answer BasicAuth(const Call& call, std::string_view rest) {
  const auto [user, password] = base::Cut(rest, "/");
  const std::string wanted = "Basic " + base::Base64Encode(fmt::format("{}:{}", user, password));
  if (call.head.headers.Get("authorization") == wanted)
    return JsonAnswer(Dump({{"authenticated", true}, {"user", user}}));
  return {
      .status = 401, .body = "", .headers = {{"www-authenticate", "Basic realm=\"Fake Realm\""}}};
}

Answer ResponseHeaders(const Call& call) {
  Answer answer;
  Json shown = Json::object();
  for (const auto& [name, value] : call.head.query()) {
    answer.headers.Add(base::ToLower(name), value);
    shown[name] = value;
  }
  answer.content_type = "application/json";
  answer.body = Dump(shown);
  return answer;
}

Answer RedirectTo(const Call& call) {
  return {.status = 302, .body = "", .headers = {{"location", call.head.query_value("url")}}};
}

Answer Bytes(std::string_view text) {
  auto count = base::ParseInt(text);
  if (!count.ok() || *count < 0) return NotFound();
  return {.content_type = "application/octet-stream",
          .body = std::string(static_cast<size_t>(std::min(*count, kLargestBytes)), 'x')};
}

Answer Serve(const Call& call) {
  const std::string path = call.head.path();
  std::string_view rest = path;
  for (const char* echo : {"/get", "/post", "/put", "/delete", "/patch", "/anything"})
    if (path == echo || path.starts_with("/anything/")) return Echo(call);
  if (path == "/headers") return JsonAnswer(Dump({{"headers", HeadersOf(call)}}));
  if (path == "/ip")
    return JsonAnswer(Dump({{"origin", call.client.substr(0, call.client.rfind(':'))}}));
  if (path == "/user-agent")
    return JsonAnswer(
        Dump({{"user-agent", std::string(call.head.headers.Get("user-agent").value_or(""))}}));
  if (path == "/hostname") return JsonAnswer(Dump({{"hostname", Hostname()}}));
  if (path == "/html" || path == "/")
    return Text("<!DOCTYPE html>\n<html><body><h1>httpbin of the lab</h1></body></html>\n");
  if (path == "/json") return JsonAnswer(Dump({{"slideshow", {{"title", "Sample Slide Show"}}}}));
  if (path == "/response-headers") return ResponseHeaders(call);
  if (path == "/redirect-to") return RedirectTo(call);
  if (base::ConsumePrefix(rest, "/status/")) return StatusOf(rest);
  if (base::ConsumePrefix(rest, "/bytes/")) return Bytes(rest);
  if (base::ConsumePrefix(rest, "/basic-auth/")) return BasicAuth(call, rest);
  return NotFound();
}

}  // namespace

Application HttpBin(base::Loop& loop) {
  auto delayed = std::make_shared<std::list<base::Timer>>();
  return [&loop, delayed](const std::shared_ptr<const Call>& call, const Reply& reply) {
    const std::string path = call->head.path();
    std::string_view rest = path;
    if (!base::ConsumePrefix(rest, "/delay/")) return reply(Serve(*call));
    const auto seconds = std::min(std::atof(std::string(rest).c_str()), 10.0);
    const auto delay = std::chrono::duration_cast<base::Duration>(
        std::chrono::duration<double>(std::max(seconds, 0.0)));
    auto timer = delayed->emplace(delayed->end());
    *timer = base::Timer::After(loop, delay, [call, reply, delayed, timer] {
      reply(Echo(*call));
      delayed->erase(timer);
    });
  };
}

}  // namespace isthmus::lab::workloads
