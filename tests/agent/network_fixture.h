#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "agent/control_plane.h"
#include "base/metrics.h"
#include "http/client.h"
#include "http/server.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {

using pki::Must;
using namespace std::chrono_literals;

/// A loop, a folder for sockets and files, and a gRPC server in plaintext that stands for the
/// control plane.
struct NetworkTest : ::testing::Test {
  base::Loop loop;
  base::ManualClock clock{pki::TestTime()};
  base::MetricRegistry metrics;
  std::string folder;
  rpc::Router router;
  std::unique_ptr<http::Server> upstream;
  uint16_t upstream_port = 0;
  std::unique_ptr<ControlPlane> control_plane;

  void SetUp() override {
    char pattern[] = "/tmp/isthmus-agent-XXXXXX";
    folder = mkdtemp(pattern);
    StartUpstream();
    ControlPlaneOptions options;
    options.addresses = {"127.0.0.1:" + std::to_string(upstream_port)};
    options.plaintext = true;
    options.cluster_id = "cluster1";
    control_plane = std::make_unique<ControlPlane>(loop, clock, std::move(options));
  }
  void TearDown() override {
    control_plane.reset();
    upstream.reset();
    std::filesystem::remove_all(folder);
  }
  void StartUpstream() {
    http::ServerOptions options;
    options.port = upstream_port;
    upstream = std::make_unique<http::Server>(
        loop, std::move(options),
        [this](std::shared_ptr<http::ServerStream> stream) { router.Serve(std::move(stream)); });
    const base::Status status = upstream->Start();
    ASSERT_TRUE(status.ok()) << status.message();
    upstream_port = upstream->port();
  }
  bool Until(const std::function<bool()>& holds) { return loop.RunUntil(holds, 10s); }

  base::Result<http::Response> Get(const std::string& origin, http::Request request) {
    http::ClientOptions options;
    options.url = origin;
    http::Client client(loop, std::move(options));
    std::optional<base::Result<http::Response>> answer;
    client.Fetch(std::move(request), 5s,
                 [&](base::Result<http::Response> response) { answer = std::move(response); });
    if (!Until([&] { return answer.has_value(); }))
      return base::Error(base::Code::kDeadlineExceeded, "test");
    return std::move(*answer);
  }
  base::Result<http::Response> Get(const std::string& origin, const std::string& path) {
    http::Request request;
    request.target = path;
    return Get(origin, std::move(request));
  }
};

/// A gRPC call of the test's on a unix socket.
struct TestCall {
  std::unique_ptr<http::Client> client;
  std::shared_ptr<rpc::ClientCall> call;
  std::vector<std::string> received;
  std::optional<base::Status> closed;

  TestCall(base::Loop& loop, const std::string& socket, const std::string& method) {
    http::ClientOptions options;
    options.url = "unix:" + socket;
    options.http2_prior_knowledge = true;
    client = std::make_unique<http::Client>(loop, std::move(options));
    rpc::ClientCallEvents events;
    events.message = [this](std::string_view message) { received.emplace_back(message); };
    events.close = [this](base::Status status) { closed = std::move(status); };
    call = rpc::StartCall(*client, method, {}, std::move(events));
  }
  void Send(const std::string& message) { call->Send({base::Slice::Copy(message)}); }
};

}  // namespace isthmus::agent
