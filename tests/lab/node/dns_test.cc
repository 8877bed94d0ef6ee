#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "lab/node/dns_server.h"
#include "lab/node/dns_zone.h"

namespace isthmus::lab::node {
namespace {

using kubeapi::Json;
using std::chrono_literals::operator""s;

class DnsTest : public testing::Test {
 protected:
  DnsTest() {
    const Json slice = Json::parse(
        R"({"metadata":{"name":"db-1","namespace":"d","labels":{"kubernetes.io/service-name":"db"}},
      "ports":[{"name":"sql","port":5432,"protocol":"TCP"}],
      "endpoints":[{"addresses":["172.20.0.5"],"hostname":"db-0"},{"addresses":["172.20.0.6"],"conditions":{"ready":false}}]})");
    zone_.Rebuild(
        {{"d/web",
          Json::parse(
              R"({"metadata":{"name":"web","namespace":"d"},"spec":{"clusterIP":"10.68.0.9","ports":[{"name":"http","port":80}]}})")},
         {"d/db",
          Json::parse(R"({"metadata":{"name":"db","namespace":"d"},"spec":{"clusterIP":"None"}})")},
         {"d/out",
          Json::parse(
              R"({"metadata":{"name":"out","namespace":"d"},"spec":{"type":"ExternalName","externalName":"web.d.svc.cluster.local"}})")}},
        {{"d/db-1", slice}});
  }
  std::string First(const std::string& name, DnsType type = DnsType::kA) {
    const DnsResult result = zone_.Look(name, type);
    if (!result.exists) return "no such name";
    if (result.records.empty()) return "no data";
    return result.records.back().value;
  }
  DnsZone zone_;
};

TEST_F(DnsTest, ServicesPodsAndPorts) {
  EXPECT_EQ(First("web.d.svc.cluster.local"), "10.68.0.9");
  EXPECT_EQ(First("WEB.D.svc.cluster.local"), "10.68.0.9");
  EXPECT_EQ(First("web.d.svc.cluster.local", DnsType::kAaaa), "no data");
  EXPECT_EQ(First("d.svc.cluster.local"), "no data") << "parents of names exist";
  EXPECT_EQ(First("web"), "no such name");
  EXPECT_EQ(First("web.d.svc.cluster.local.d.svc.cluster.local"), "no such name");
  EXPECT_EQ(First("db.d.svc.cluster.local"), "172.20.0.5")
      << "pods that are not ready are left out";
  EXPECT_EQ(First("db-0.db.d.svc.cluster.local"), "172.20.0.5");
  EXPECT_EQ(First("172-20-0-77.d.pod.cluster.local"), "172.20.0.77");
  EXPECT_EQ(First("out.d.svc.cluster.local"), "10.68.0.9") << "external names are followed";
  EXPECT_EQ(First("9.0.68.10.in-addr.arpa", DnsType::kPtr), "web.d.svc.cluster.local");
  const DnsResult srv = zone_.Look("_sql._tcp.db.d.svc.cluster.local", DnsType::kSrv);
  ASSERT_EQ(srv.records.size(), 1u);
  EXPECT_EQ(srv.records[0].port, 5432);
  EXPECT_EQ(srv.additional.at(0).value, "172.20.0.5");
}

std::string Query(const std::string& name, char type = 1) {
  std::string query("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  size_t at = 0;
  while (at < name.size()) {
    const size_t dot = std::min(name.find('.', at), name.size());
    query += static_cast<char>(dot - at);
    query += name.substr(at, dot - at);
    at = dot + 1;
  }
  return query + std::string("\0\0", 2) + type + std::string("\0\1", 2);
}

TEST_F(DnsTest, WireFormat) {
  const std::string answer = AnswerDns(zone_, Query("web.d.svc.cluster.local"), 512);
  ASSERT_GT(answer.size(), 12u);
  EXPECT_EQ(answer.substr(0, 2), "\x12\x34");
  EXPECT_EQ(answer[3] & 15, 0);
  EXPECT_EQ(answer[7], 1);
  EXPECT_EQ(answer.substr(answer.size() - 4), std::string("\x0a\x44\x00\x09", 4));
  EXPECT_EQ(AnswerDns(zone_, Query("nothing.here"), 512)[3] & 15, 3);
  const std::string cut = AnswerDns(zone_, Query("web.d.svc.cluster.local"), 50);
  EXPECT_EQ(cut[2] & 2, 2);
}

TEST_F(DnsTest, GarbageGetsNoAnswer) {
  const std::string query = Query("web.d.svc.cluster.local");
  for (size_t length = 0; length < query.size(); ++length)
    EXPECT_EQ(AnswerDns(zone_, query.substr(0, length), 512), "") << length;
  std::string loop = query;
  loop[12] = '\xc0';
  EXPECT_EQ(AnswerDns(zone_, loop, 512), "");
  std::string answer = query;
  answer[2] = '\x81';
  EXPECT_EQ(AnswerDns(zone_, answer, 512), "") << "answers are not answered";
}

TEST_F(DnsTest, ServesUdp) {
  base::Loop loop;
  auto server = DnsServer::Start(loop, "127.0.0.1", 0, [&](std::string_view query, size_t limit) {
    return AnswerDns(zone_, query, limit);
  });
  ASSERT_TRUE(server.ok()) << server.status().message();
  std::optional<std::string> answer;
  auto client = base::UdpSocket::Bind(
      loop, *base::SocketAddress::From("127.0.0.1", 0),
      [&](std::string_view datagram, const base::SocketAddress&) { answer = datagram; });
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE((*client)
                  ->Send(Query("web.d.svc.cluster.local"),
                         *base::SocketAddress::From("127.0.0.1", (*server)->port()))
                  .ok());
  ASSERT_TRUE(loop.RunUntil([&] { return answer.has_value(); }, 5s));
  EXPECT_EQ((*answer)[7], 1);
}

}  // namespace
}  // namespace isthmus::lab::node
