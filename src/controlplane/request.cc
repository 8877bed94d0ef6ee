#include "controlplane/request.h"

#include <fmt/format.h>

#include <optional>

#include "base/loop.h"
#include "base/strings.h"
#include "http/client.h"

namespace isthmus::controlplane {
namespace {

using base::Code;

constexpr auto kTimeout = std::chrono::seconds(30);

}  // namespace

base::Result<std::string> MakeRequest(const std::vector<std::string>& arguments) {
  std::string port = "15014";
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view argument = arguments[i];
    if (base::ConsumePrefix(argument, "--debug-port="))
      port = argument;
    else if (argument == "--debug-port" && i + 1 < arguments.size())
      port = arguments[++i];
    else
      words.push_back(arguments[i]);
  }
  const auto number = base::ParseInt(port);
  if (words.size() != 2 || !number.ok() || *number < 1 || *number > 65535)
    return base::Error(Code::kInvalidArgument,
                       "request: give METHOD and PATH, as in: request GET /debug/syncz");
  http::Request request;
  request.method = base::ToUpper(words[0]);
  request.target = words[1].starts_with('/') ? words[1] : "/" + words[1];

  base::Loop loop;
  http::ClientOptions options;
  options.url = fmt::format("http://127.0.0.1:{}", *number);
  http::Client client(loop, options);
  std::optional<base::Result<http::Response>> answer;
  client.Fetch(std::move(request), kTimeout,
               [&answer](base::Result<http::Response> response) { answer = std::move(response); });
  loop.RunUntil([&answer] { return answer.has_value(); }, 2 * kTimeout);
  if (!answer.has_value())
    return base::Error(Code::kDeadlineExceeded, "request: no answer in time");
  if (!answer->ok()) return answer->status().In("request");
  http::Response& response = answer->value();
  if (response.status >= 300)
    return base::Error(Code::kUnknown, "request: status {}: {}", response.status,
                       base::Trim(response.body));
  return std::move(response.body);
}

}  // namespace isthmus::controlplane
