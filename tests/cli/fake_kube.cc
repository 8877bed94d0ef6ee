#include "tests/cli/fake_kube.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"

namespace isthmus::cli {

FakeKube::FakeKube() {
  server_ = std::make_unique<http::Server>(
      loop_, http::ServerOptions(),
      [this](std::shared_ptr<http::ServerStream> stream) { Handle(std::move(stream)); });
  const base::Status started = server_->Start();
  EXPECT_TRUE(started.ok()) << started.message();
  kubeconfig_ = fmt::format("/tmp/isthmus-cli-test-{}-{}", getpid(), server_->port());
  const std::string text = fmt::format(
      "current-context: test\ncontexts: [{{name: test, context: {{cluster: test, namespace: "
      "shop}}}}]\n"
      "clusters: [{{name: test, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\n",
      server_->port());
  EXPECT_TRUE(base::WriteFile(kubeconfig_, text).ok());
  thread_ = std::thread([this] { loop_.Run(); });
}

FakeKube::~FakeKube() {
  loop_.Post([this] {
    sockets_.clear();
    server_.reset();
    loop_.Stop();
  });
  thread_.join();
  EXPECT_TRUE(base::RemoveFile(kubeconfig_).ok());
}

int FakeKube::Run(std::vector<std::string> arguments, std::string input) {
  out.clear();
  err.clear();
  Io io;
  io.out = [this](std::string_view text) { out += text; };
  io.err = [this](std::string_view text) { err += text; };
  io.read_all = [&input] { return std::exchange(input, ""); };
  io.read_line = [&input] {
    const size_t end = input.find('\n');
    const std::string line = input.substr(0, end);
    input.erase(0, end == input.npos ? end : end + 1);
    return line;
  };
  arguments.push_back("--kubeconfig=" + kubeconfig_);
  return cli::Run("istioctl", std::move(arguments), std::move(io));
}

void FakeKube::Handle(std::shared_ptr<http::ServerStream> stream) {
  const std::string path = stream->head().path();
  if (path.ends_with("/exec")) return HandleExec(std::move(stream));
  if (const auto it = objects.find(path); it != objects.end())
    return stream->Respond(200, "application/json", kubeapi::ToJson(it->second));
  Json list = {
      {"kind", "List"}, {"metadata", {{"resourceVersion", "1"}}}, {"items", Json::array()}};
  const auto labels = kubeapi::LabelSelector::Parse(stream->head().query_value("labelSelector"));
  const auto fields = kubeapi::FieldSelector::Parse(stream->head().query_value("fieldSelector"));
  bool any = false;
  for (const auto& [key, object] : objects) {
    if (!key.starts_with(path + "/") || key.find('/', path.size() + 1) != key.npos) continue;
    any = true;
    if (labels.ok() && labels->MatchesObject(object) && fields.ok() && fields->Matches(object))
      list["items"].push_back(object);
  }
  if (any || path.ends_with("s"))
    return stream->Respond(200, "application/json", kubeapi::ToJson(list));
  stream->Respond(
      404, "application/json",
      R"({"kind":"Status","status":"Failure","reason":"NotFound","code":404,"message":"not found"})");
}

void FakeKube::HandleExec(std::shared_ptr<http::ServerStream> stream) {
  std::string what = stream->head().path();
  what = what.substr(0, what.rfind('/'));
  what = what.substr(what.rfind('/') + 1) + "/" + stream->head().query_value("container") + ":";
  for (const auto& [name, value] : stream->head().query())
    if (name == "command") what += " " + value;
  auto upgraded = stream->Upgrade(http::WebSocketAnswer(stream->head(), "v5.channel.k8s.io"));
  auto socket =
      std::make_unique<http::WebSocket>(std::move(upgraded), http::WebSocket::Role::kServer);
  const std::string answer = exec ? exec(what) : "!no such command";
  if (answer.starts_with("!")) {
    socket->Send("\x02" + answer.substr(1));
    socket->Send(
        "\x03" +
        std::string(
            R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"1"}]}})"));
  } else {
    // In two pieces, as long output comes.
    socket->Send("\x01" + answer.substr(0, answer.size() / 2));
    socket->Send("\x01" + answer.substr(answer.size() / 2));
    socket->Send("\x03" + std::string(R"({"status":"Success"})"));
  }
  socket->Close();
  sockets_.push_back(std::move(socket));
}

}  // namespace isthmus::cli
