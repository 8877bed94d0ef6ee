#include "lab/node/service_rules.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "lab/network/netlink.h"
#include "lab/network/netns.h"
#include "lab/network/nft.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

const Json kService =
    Json::parse(R"({"metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.68.0.9",
  "externalIPs":["192.168.229.100"],"ports":[{"name":"http","port":80,"nodePort":30080,"protocol":"TCP"}]},
  "status":{"loadBalancer":{"ingress":[{"ip":"192.168.229.110"},{"hostname":"x"}]}}})");

Json Slice(const std::string& endpoints, const std::string& port_name = "http") {
  return Json::parse(
      R"({"metadata":{"name":"web-1","namespace":"default","labels":{"kubernetes.io/service-name":"web"}},
    "addressType":"IPv4","ports":[{"name":")" +
      port_name + R"(","port":8080,"protocol":"TCP"}],"endpoints":)" + endpoints + "}");
}

NodeRules Rules() {
  return {.node_address = "192.168.229.128",
          .pod_range = "172.20.0.0/24",
          .direct = {"172.20.0.0/16"},
          .friends = {"192.168.229.128", "192.168.229.129"},
          .open_ports = {6443},
          .dns_service = "10.68.0.2",
          .dns_port = 10053};
}

TEST(ServiceRulesTest, ReadsReadyEndpointsOfTheRightPort) {
  const auto entries = ReadServices(
      {{"default/web", kService}},
      {{"default/web-1", Slice(R"([{"addresses":["172.20.0.5"],"conditions":{"ready":true}},
                                  {"addresses":["172.20.0.6"],"conditions":{"ready":false}}, {"addresses":["172.20.0.4"]}])")},
       {"default/web-2", Slice(R"([{"addresses":["172.20.0.7"]}])", "other")}});
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_THAT(entries[0].external_ips, ElementsAre("192.168.229.100", "192.168.229.110"));
  EXPECT_THAT(entries[0].ports.at(0).endpoints,
              ElementsAre(Pair("172.20.0.4", 8080), Pair("172.20.0.5", 8080)));
}

TEST(ServiceRulesTest, EndpointsThatEndServeWhereNothingIsReady) {
  const char* ending = R"([{"addresses":["192.168.229.101"],
                            "conditions":{"ready":false,"serving":true,"terminating":true}},
                           {"addresses":["192.168.229.102"],
                            "conditions":{"ready":false,"serving":true,"terminating":true}}])";
  const char* down = R"([{"addresses":["172.20.0.5"],"conditions":{"ready":false}}])";
  auto endpoints = [&](const char* own) {
    return ReadServices({{"default/web", kService}},
                        {{"default/standby", Slice(ending)}, {"default/web-1", Slice(own)}})
        .at(0)
        .ports.at(0)
        .endpoints;
  };
  EXPECT_THAT(endpoints(down),
              ElementsAre(Pair("192.168.229.101", 8080), Pair("192.168.229.102", 8080)));
  EXPECT_THAT(endpoints(R"([{"addresses":["172.20.0.5"]}])"),
              ElementsAre(Pair("172.20.0.5", 8080)));
}

TEST(ServiceRulesTest, HeadlessAndBrokenServicesHaveNoRules) {
  Json headless = kService, broken = kService, evil = kService;
  headless["spec"]["clusterIP"] = "None";
  broken["spec"]["ports"] = "x";
  evil["spec"]["externalIPs"] = {"1.2.3.4 } ; flush ruleset"};
  const auto entries = ReadServices({{"a", headless}, {"b", broken}, {"c", evil}}, {});
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_THAT(entries[0].external_ips, ElementsAre("192.168.229.110"));
}

// Applies tables to a real namespace and sends real packets.
class ServiceRulesNetTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    std::filesystem::create_directories(dir_);
    for (const char* name : {"node", "pod", "other"})
      spaces_.emplace(name, *network::NetNs::Create(dir_ + "/" + name));
    // other (192.168.229.131) -- eth0 node -- pod (172.20.0.5)
    In("node", [&](network::Netlink& netlink) {
      EXPECT_TRUE(netlink.AddVeth("eth0", "eth0", spaces_.at("other").fd()).ok());
      EXPECT_TRUE(netlink.AddVeth("pod1", "eth0", spaces_.at("pod").fd()).ok());
      EXPECT_TRUE(netlink.AddAddress("eth0", Parse("192.168.229.128/24")).ok());
      EXPECT_TRUE(netlink.SetUp("eth0").ok());
      EXPECT_TRUE(netlink.SetUp("pod1").ok());
      EXPECT_TRUE(netlink
                      .AddRoute({.to = Parse("172.20.0.5"),
                                 .device = "pod1",
                                 .source = Parse("192.168.229.128").address})
                      .ok());
      EXPECT_TRUE(netlink.AddRoute({.to = {0, 0}, .device = "eth0"}).ok());
      EXPECT_TRUE(network::SetSysctl("net/ipv4/ip_forward", "1").ok());
    });
    In("pod", [&](network::Netlink& netlink) {
      EXPECT_TRUE(netlink.AddAddress("eth0", Parse("172.20.0.5/32")).ok());
      EXPECT_TRUE(netlink.SetUp("eth0").ok());
      EXPECT_TRUE(netlink
                      .AddRoute({.to = {0, 0},
                                 .via = Parse("192.168.229.128").address,
                                 .device = "eth0",
                                 .onlink = true})
                      .ok());
    });
    In("other", [&](network::Netlink& netlink) {
      EXPECT_TRUE(netlink.AddAddress("eth0", Parse("192.168.229.131/24")).ok());
      EXPECT_TRUE(netlink.SetUp("eth0").ok());
      EXPECT_TRUE(
          netlink
              .AddRoute({.to = {0, 0}, .via = Parse("192.168.229.128").address, .device = "eth0"})
              .ok());
    });
  }
  void TearDown() override {
    for (const auto& [name, ns] : spaces_) network::NetNs::Remove(dir_ + "/" + name);
    std::filesystem::remove_all(dir_);
  }
  static network::Cidr Parse(const std::string& text) { return *network::Cidr::Parse(text); }
  void In(const std::string& name, const std::function<void(network::Netlink&)>& task) {
    ASSERT_TRUE(spaces_.at(name)
                    .Within([&]() -> base::Status {
                      auto netlink = network::Netlink::Open();
                      task(*netlink);
                      return {};
                    })
                    .ok());
  }
  void Apply(const NodeRules& rules,
             const std::string& endpoints = R"([{"addresses":["172.20.0.5"]}])",
             const Json& service = kService) {
    const auto entries =
        ReadServices({{"default/web", service}}, {{"default/web-1", Slice(endpoints)}});
    In("node", [&](network::Netlink&) {
      const base::Status status = network::ApplyNft(NodeTable(entries, rules));
      EXPECT_TRUE(status.ok()) << status.message() << "\n" << NodeTable(entries, rules);
    });
  }
  network::Fd Listen(const std::string& where, uint16_t port) {
    network::Fd fd;
    In(where, [&](network::Netlink&) {
      fd.Reset(socket(AF_INET, SOCK_STREAM, 0));
      sockaddr_in address{AF_INET, htons(port), {htonl(INADDR_ANY)}, {}};
      EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      EXPECT_EQ(listen(fd.get(), 16), 0);
    });
    return fd;
  }
  /// 0, or the errno of the connection.
  int Connect(const std::string& from, const std::string& to, uint16_t port) {
    int error = 0;
    In(from, [&](network::Netlink&) {
      network::Fd fd(socket(AF_INET, SOCK_STREAM, 0));
      const timeval timeout{2, 0};
      setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
      sockaddr_in address{AF_INET, htons(port), {htonl(Parse(to).address)}, {}};
      if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        error = errno;
    });
    return error;
  }

  std::string dir_ = "/tmp/node-rules-test-" + std::to_string(getpid());
  std::map<std::string, network::NetNs> spaces_;
};

TEST_F(ServiceRulesNetTest, ServiceAddressesLeadToPods) {
  network::Fd server = Listen("pod", 8080);
  Apply(Rules());
  EXPECT_EQ(Connect("node", "10.68.0.9", 80), 0);
  EXPECT_EQ(Connect("node", "192.168.229.128", 30080), 0);
  EXPECT_EQ(Connect("pod", "10.68.0.9", 80), 0) << "a pod reaches itself through its service";
}

TEST_F(ServiceRulesNetTest, OtherNetworksReachExternalAddressesAndOpenPortsOnly) {
  network::Fd server = Listen("pod", 8080), api = Listen("node", 6443),
              private_port = Listen("node", 10250);
  Apply(Rules());
  EXPECT_EQ(Connect("other", "192.168.229.128", 6443), 0);
  EXPECT_EQ(Connect("other", "192.168.229.128", 10250), ECONNREFUSED);
  EXPECT_EQ(Connect("other", "172.20.0.5", 8080), ECONNREFUSED);
  EXPECT_EQ(Connect("other", "192.168.229.128", 30080), ECONNREFUSED);
  In("other", [&](network::Netlink& netlink) {
    EXPECT_TRUE(netlink
                    .AddRoute({.to = Parse("192.168.229.100"),
                               .via = Parse("192.168.229.128").address,
                               .device = "eth0"})
                    .ok());
  });
  EXPECT_EQ(Connect("other", "192.168.229.100", 80), 0);
  NodeRules open = Rules();
  open.open_node_ports = true;
  Apply(open);
  EXPECT_EQ(Connect("other", "192.168.229.128", 30080), 0);
  NodeRules same = Rules();
  same.friends.push_back("192.168.229.131");
  Apply(same);
  EXPECT_EQ(Connect("other", "172.20.0.5", 8080), 0) << "a friend reaches pods";
}

TEST_F(ServiceRulesNetTest, SourceRangesHoldForTheLoadBalancersAddressOnly) {
  network::Fd server = Listen("pod", 8080);
  In("other", [&](network::Netlink& netlink) {
    for (const char* address : {"192.168.229.100", "192.168.229.110"})
      EXPECT_TRUE(
          netlink
              .AddRoute(
                  {.to = Parse(address), .via = Parse("192.168.229.128").address, .device = "eth0"})
              .ok());
  });
  auto with_ranges = [&](Json ranges) {
    Json service = kService;
    service["spec"]["loadBalancerSourceRanges"] = std::move(ranges);
    Apply(Rules(), R"([{"addresses":["172.20.0.5"]}])", service);
  };
  with_ranges({"192.168.229.140", "10.0.0.0/8", "junk } ; flush ruleset"});
  EXPECT_NE(Connect("other", "192.168.229.110", 80), 0);
  EXPECT_EQ(Connect("other", "192.168.229.100", 80), 0) << "externalIPs are nobody's load balancer";
  with_ranges({"192.168.229.131/32"});
  EXPECT_EQ(Connect("other", "192.168.229.110", 80), 0);
}

TEST_F(ServiceRulesNetTest, WhoHasARouteToServicesReachesThemButNoPod) {
  network::Fd server = Listen("pod", 8080);
  NodeRules rules = Rules();
  rules.service_range = "10.68.0.0/16";
  Apply(rules);
  In("other", [&](network::Netlink& netlink) {
    const network::Route nowhere{.to = Parse("10.68.0.0/16"), .unreachable = true, .metric = 4096};
    EXPECT_TRUE(netlink.AddRoute(nowhere).ok());
  });
  EXPECT_NE(Connect("other", "10.68.0.9", 80), 0);
  In("other", [&](network::Netlink& netlink) {
    EXPECT_TRUE(netlink
                    .AddRoute({.to = Parse("10.68.0.0/16"),
                               .via = Parse("192.168.229.128").address,
                               .device = "eth0"})
                    .ok());
  });
  EXPECT_EQ(Connect("other", "10.68.0.9", 80), 0);
  EXPECT_EQ(Connect("other", "172.20.0.5", 8080), ECONNREFUSED);
}

TEST_F(ServiceRulesNetTest, AServiceWithoutEndpointsIsRefusedAtOnce) {
  Apply(Rules(), "[]");
  EXPECT_EQ(Connect("node", "10.68.0.9", 80), ECONNREFUSED);
}

TEST_F(ServiceRulesNetTest, WhatLeavesTheNetworkCarriesTheNodesAddress) {
  network::Fd server = Listen("other", 9000);
  Apply(Rules());
  ASSERT_EQ(Connect("pod", "192.168.229.131", 9000), 0);
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  network::Fd accepted(accept(server.get(), reinterpret_cast<sockaddr*>(&peer), &size));
  EXPECT_EQ(network::FormatIpv4(ntohl(peer.sin_addr.s_addr)), "192.168.229.128");
}

}  // namespace
}  // namespace isthmus::lab::node
