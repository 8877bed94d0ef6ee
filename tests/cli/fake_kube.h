#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/loop.h"
#include "cli/cli.h"
#include "http/server.h"
#include "http/websocket.h"
#include "kubeapi/json.h"

namespace isthmus::cli {

using kubeapi::Json;

/// An API server that gives out objects by path and answers exec with what the test says. It runs
/// on a thread of its own, since the commands under test have their own loop.
class FakeKube {
 public:
  FakeKube();
  ~FakeKube();

  /// Before the first command: what a GET of `path` gives; lists are made of the objects below
  /// their path.
  std::map<std::string, Json> objects;
  /// Answers "pod/container: command words" with standard output; an empty function or result of
  /// "!text" fails.
  std::function<std::string(const std::string& what)> exec;

  /// Runs a command line against it; fills out and err.
  int Run(std::vector<std::string> arguments, std::string input = {});
  std::string out, err;

 private:
  void Handle(std::shared_ptr<http::ServerStream> stream);
  void HandleExec(std::shared_ptr<http::ServerStream> stream);

  base::Loop loop_;
  std::unique_ptr<http::Server> server_;
  std::vector<std::unique_ptr<http::WebSocket>> sockets_;
  std::string kubeconfig_;
  std::thread thread_;
};

}  // namespace isthmus::cli
