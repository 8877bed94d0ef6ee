#include "cli/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/duration.h"
#include "base/files.h"
#include "base/strings.h"
#include "kubeclient/config.h"
#include "kubeclient/sync.h"

namespace isthmus::cli {

using base::Result;
using base::Status;

namespace {

void WriteTo(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

std::string ReadLine() {
  std::string line;
  for (int c = std::getchar(); c != EOF && c != '\n'; c = std::getchar())
    line += static_cast<char>(c);
  return line;
}

std::string ReadAll() {
  std::string text;
  char buffer[64 * 1024];
  while (const size_t size = std::fread(buffer, 1, sizeof buffer, stdin)) text.append(buffer, size);
  return text;
}

}  // namespace

Io Io::Standard() {
  Io io;
  io.out = [](std::string_view text) { WriteTo(stdout, text); };
  io.err = [](std::string_view text) { WriteTo(stderr, text); };
  io.read_all = ReadAll;
  io.read_line = ReadLine;
  io.terminal = isatty(STDERR_FILENO) == 1;
  return io;
}

Session::Session(std::string program, Io streams)
    : io(std::move(streams)), program_(std::move(program)) {}
Session::~Session() = default;

Result<std::unique_ptr<kubeclient::Client>> Session::Connect(std::string_view context) {
  ASSIGN_OR_RETURN(kubeclient::RestConfig config,
                   kubeclient::LoadKubeconfig(globals.kubeconfig, context), "finding the cluster");
  if (!globals.as_user.empty()) config.impersonate_user = globals.as_user;
  if (!globals.as_groups.empty()) config.impersonate_groups = globals.as_groups;
  auto timeout = base::ParseDuration(globals.kubeclient_timeout);
  if (!timeout.ok()) return timeout.status().In("--kubeclient-timeout");
  config.request_timeout = *timeout;
  return kubeclient::Client::Create(loop_, std::move(config));
}

Result<kubeclient::Client*> Session::client() {
  if (client_ == nullptr) {
    ASSIGN_OR_RETURN(client_, Connect(globals.context), "connecting");
  }
  return client_.get();
}

Result<std::string> Session::default_namespace() {
  if (!globals.ns.empty()) return globals.ns;
  ASSIGN_OR_RETURN(kubeclient::Client * cluster, client(), "default namespace");
  return cluster->config().default_namespace;
}

namespace {

/// Longer than any single request, so that the request's own error is told.
base::Duration Patience(const kubeclient::Client& client) {
  return client.config().request_timeout + std::chrono::seconds(5);
}

}  // namespace

Result<Json> Session::Get(const Resource& resource, std::string_view ns, std::string_view name) {
  auto cluster = client();
  if (!cluster.ok()) return cluster.status();
  return kubeclient::Await<Json>(loop_, Patience(**cluster), [&](auto done) {
    (*cluster)->Get(resource, ns, name, std::move(done));
  });
}

Result<std::vector<Json>> Session::List(const Resource& resource, std::string_view ns,
                                        std::string_view label_selector,
                                        std::string_view field_selector) {
  auto cluster = client();
  if (!cluster.ok()) return cluster.status();
  const kubeclient::ListOptions options{std::string(label_selector), std::string(field_selector)};
  auto items = std::make_shared<std::vector<Json>>();
  auto version = kubeclient::Await<std::string>(loop_, 10 * Patience(**cluster), [&](auto done) {
    (*cluster)->ListEach(
        resource, ns, options, [items](Json item) { items->push_back(std::move(item)); },
        std::move(done));
  });
  if (!version.ok()) return version.status();
  return std::move(*items);
}

Result<Resource> Session::Find(std::string_view api_version, std::string_view kind) {
  auto cluster = client();
  if (!cluster.ok()) return cluster.status();
  return kubeclient::Await<Resource>(loop_, Patience(**cluster), [&](auto done) {
    (*cluster)->Discover(api_version, kind, std::move(done));
  });
}

int Session::Fail(const Status& status, int code) {
  Err(fmt::format("Error: {}\n", status.message()));
  // What a refused or silent connection means depends on whom it was made to.
  if (status.code() == base::Code::kUnavailable && client_ != nullptr)
    Err(
        fmt::format("The API server of {} does not answer at {}: is it running, and is its address "
                    "right in the kubeconfig? (--kubeconfig, --context)\n",
                    globals.context.empty() ? "the current context" : "context " + globals.context,
                    client_->config().server));
  return code;
}

Result<std::string> Session::ReadInput(const std::string& path) {
  if (path == "-") return io.read_all();
  return base::ReadFile(path);
}

bool Session::Confirm(std::string_view question) {
  for (int tries = 0; tries < 3; ++tries) {
    Out(question);
    const std::string line = io.read_line();
    const std::string answer = base::ToLower(base::Trim(line));
    if (answer == "y" || answer == "yes") return true;
    if (answer.empty() || answer == "n" || answer == "no") return false;
  }
  return false;
}

}  // namespace isthmus::cli
