#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/dns_message.h"
#include "agent/dns_proxy.h"
#include "agent/name_table.h"
#include "http/tcp.h"
#include "rpc/protobuf_wire.h"
#include "tests/agent/network_fixture.h"

namespace isthmus::agent {
namespace {

using ::testing::HasSubstr;

std::string Query(const std::string& wire_name, uint16_t type, const std::string& additional = {}) {
  std::string message("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00", 11);
  message += additional.empty() ? '\0' : '\1';
  message += wire_name;
  message += std::string({'\0', static_cast<char>(type), '\0', '\1'});
  return message + additional;
}
const std::string kSleepSample("\x05SLeep\x06sample\x00", 14);

TEST(DnsMessageTest, ReadsAQuestion) {
  const DnsQuery query = Must(ParseDnsQuery(Query(kSleepSample, kDnsAaaa)));
  EXPECT_EQ(query.id, 0x1234);
  EXPECT_EQ(query.name, "sleep.sample");
  EXPECT_EQ(query.type, kDnsAaaa);
  EXPECT_TRUE(query.recursion_desired);
  EXPECT_EQ(query.udp_size, 512u);
  const std::string edns("\0\0\x29\x10\0\0\0\0\0\0\0", 11);
  EXPECT_EQ(Must(ParseDnsQuery(Query(kSleepSample, kDnsA, edns))).udp_size, 4096u);
}

TEST(DnsMessageTest, AnswerRepeatsTheQuestionAsItWasWritten) {
  const DnsQuery query = Must(ParseDnsQuery(Query(kSleepSample, kDnsA)));
  const std::string answer =
      MakeDnsAnswer(query, {{"sleep.sample", kDnsA, 30, std::string("\x0a\x00\x00\x01", 4)}},
                    DnsCode::kOk, true, 512);
  EXPECT_EQ(answer.substr(0, 12),
            std::string("\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00", 12));
  EXPECT_THAT(answer, HasSubstr("SLeep"));
  EXPECT_TRUE(answer.ends_with(
      std::string("\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01", 14)));
}

TEST(DnsMessageTest, WhatDoesNotFitIsLeftOutAndMarked) {
  const DnsQuery query = Must(ParseDnsQuery(Query(kSleepSample, kDnsA)));
  const std::vector<DnsRecord> many(60, {"sleep.sample", kDnsA, 30, "abcd"});
  const std::string cut = MakeDnsAnswer(query, many, DnsCode::kOk, true, 512);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 0x02) << "TC";
  EXPECT_FALSE(MakeDnsAnswer(query, many, DnsCode::kOk, true, 0)[2] & 0x02);
}

TEST(DnsMessageTest, HostileMessagesAreRefused) {
  const std::string good = Query(kSleepSample, kDnsA);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(ParseDnsQuery(good.substr(0, size)).ok()) << size;
  std::string response = good;
  response[2] = '\x81';
  EXPECT_FALSE(ParseDnsQuery(response).ok());
  std::string two = good;
  two[5] = 2;
  EXPECT_FALSE(ParseDnsQuery(two).ok());
  EXPECT_FALSE(ParseDnsQuery(Query(std::string("\xc0\x0c", 2), kDnsA)).ok())
      << "a pointer to itself";
  std::string long_name;
  for (int i = 0; i < 5; ++i) long_name += '\x3f' + std::string(63, 'a');
  EXPECT_FALSE(ParseDnsQuery(Query(long_name + '\0', kDnsA)).ok());
  EXPECT_EQ(Must(ParseDnsQuery(Query(std::string(1, '\0'), kDnsA))).name, "");
}

std::string Entry(const std::string& host, const std::vector<std::string>& ips,
                  const std::string& registry) {
  std::string info;
  for (const std::string& ip : ips) rpc::PutBytes(info, 1, ip);
  rpc::PutBytes(info, 2, registry);
  std::string entry;
  rpc::PutBytes(entry, 1, host);
  rpc::PutBytes(entry, 2, info);
  std::string message;
  rpc::PutBytes(message, 1, entry);
  return message;
}

struct LookUpTest : ::testing::Test {
  NameTable table = Must(NameTable::Parse(
      Entry("helloworld.sample.svc.cluster.local", {"10.1.0.1", "fd00::1", "junk"}, "Kubernetes") +
      Entry("sleep.default.svc.cluster.local", {"10.1.0.2"}, "Kubernetes") +
      Entry("api.example.com", {"240.240.0.1"}, "External") +
      Entry("*.wild.example", {"240.240.0.2"}, "External")));
  NameScope scope{"default", "svc.cluster.local", "default.svc.cluster.local"};

  std::string Address(const std::string& name, uint16_t type = kDnsA) {
    const NameAnswer answer = LookUp(table, scope, name, type);
    if (!answer.known) return "upstream";
    if (answer.records.empty()) return "none";
    const DnsRecord& last = answer.records.back();
    const std::string prefix = answer.records.front().type == kDnsCname
                                   ? "cname " + answer.records.front().data + " "
                                   : "";
    return prefix + std::to_string(static_cast<uint8_t>(last.data.back()));
  }
};

TEST_F(LookUpTest, NamesOfServices) {
  EXPECT_EQ(Address("helloworld.sample.svc.cluster.local"), "1");
  EXPECT_EQ(Address("helloworld.sample.svc"), "1");
  EXPECT_EQ(Address("helloworld.sample"), "1");
  EXPECT_EQ(Address("helloworld"), "upstream") << "of another namespace";
  EXPECT_EQ(Address("sleep"), "2");
  EXPECT_EQ(Address("sleep.default.xyz"), "upstream");
  EXPECT_EQ(Address("nothing.sample"), "upstream");
}

TEST_F(LookUpTest, FamiliesAndOtherTypes) {
  EXPECT_EQ(Address("helloworld.sample", kDnsAaaa), "1");
  EXPECT_EQ(Address("sleep", kDnsAaaa), "none") << "known, without such an address";
  EXPECT_EQ(Address("sleep", 16), "upstream");
}

TEST_F(LookUpTest, OtherHosts) {
  EXPECT_EQ(Address("api.example.com"), "1");
  EXPECT_EQ(Address("api"), "upstream");
  EXPECT_EQ(Address("a.wild.example"), "2");
  EXPECT_EQ(Address("a.b.wild.example"), "2");
  EXPECT_EQ(Address("wild.example"), "upstream");
}

TEST_F(LookUpTest, SearchDomainsGiveAliases) {
  EXPECT_EQ(Address("helloworld.sample.default.svc.cluster.local"), "cname helloworld.sample 1");
  EXPECT_EQ(Address("api.example.com.default.svc.cluster.local"), "cname api.example.com 1");
  EXPECT_EQ(Address("unknown.example.com.default.svc.cluster.local"), "upstream");
  EXPECT_EQ(Address("default.svc.cluster.local"), "upstream");
  EXPECT_EQ(Address(""), "upstream");
}

TEST(NameTableTest, RefusesGarbageAndPrintsItself) {
  EXPECT_FALSE(NameTable::Parse("\x0a\x7f").ok());
  EXPECT_FALSE(NameTable::Parse(std::string("\x0a\x02\x0a\x7f", 4)).ok());
  const NameTable table = Must(NameTable::Parse(Entry("A.Example.", {"10.0.0.1"}, "External")));
  EXPECT_THAT(table.ToJson(), HasSubstr("\"a.example\""));
  EXPECT_THAT(table.ToJson(), HasSubstr("10.0.0.1"));
}

std::string Framed(const std::string& message) {
  return std::string(
             {static_cast<char>(message.size() >> 8), static_cast<char>(message.size() & 0xff)}) +
         message;
}

/// A proxy with one upstream resolver that is the test's.
struct DnsProxyTest : NetworkTest {
  std::unique_ptr<base::UdpSocket> resolver;
  std::unique_ptr<http::TcpListener> tcp_resolver;
  std::vector<std::unique_ptr<http::ByteStream>> tcp_streams;
  std::vector<std::string> asked;
  bool silent = false;
  std::shared_ptr<const NameTable> table;
  std::unique_ptr<DnsProxy> proxy;
  std::unique_ptr<base::UdpSocket> client;
  std::vector<std::string> answers;

  void SetUp() override {
    NetworkTest::SetUp();
    table = std::make_shared<const NameTable>(Must(
        NameTable::Parse(Entry("sleep.sample.svc.cluster.local", {"10.1.0.1"}, "Kubernetes"))));
    const base::SocketAddress any = Must(base::SocketAddress::From("127.0.0.1", 0));
    // A resolver has one port for both; another process may have that of TCP already.
    for (int tries = 0; tcp_resolver == nullptr && tries < 20; ++tries) {
      resolver = Must(base::UdpSocket::Bind(
          loop, any, [this](std::string_view query, const base::SocketAddress& from) {
            asked.emplace_back(query);
            if (!silent) (void)resolver->Send(Reply(query), from);
          }));
      auto listener = http::TcpListener::Listen(
          loop, "127.0.0.1", resolver->local().port(),
          [this](std::unique_ptr<http::ByteStream> stream, const std::string&) {
            auto* raw = stream.get();
            tcp_streams.push_back(std::move(stream));
            raw->OnData([this, raw](std::string_view bytes) {
              raw->Write(base::Slice(Framed(Reply(bytes.substr(2)))));
            });
          });
      if (listener.ok()) tcp_resolver = std::move(*listener);
    }
    ASSERT_NE(tcp_resolver, nullptr) << "no port is free for TCP and UDP";
    DnsProxyOptions options;
    options.listen = {any};
    options.upstreams = {Must(base::SocketAddress::From("127.0.0.1", 1)), resolver->local()};
    options.scope = {"default", "svc.cluster.local", "default.svc.cluster.local"};
    options.timeout = 200ms;
    options.table = [this] { return table; };
    proxy = std::make_unique<DnsProxy>(loop, metrics, std::move(options));
    const base::Status status = proxy->Start();
    ASSERT_TRUE(status.ok()) << status.message();
    client = Must(base::UdpSocket::Bind(
        loop, any, [this](std::string_view answer, const base::SocketAddress&) {
          answers.emplace_back(answer);
        }));
  }
  void TearDown() override {
    proxy.reset();
    client.reset();
    tcp_streams.clear();
    tcp_resolver.reset();
    resolver.reset();
    NetworkTest::TearDown();
  }
  /// The question sent back as a response without answers, marked by its code NXDOMAIN.
  static std::string Reply(std::string_view query) {
    std::string reply(query);
    reply[2] = '\x81';
    reply[3] = '\x83';
    return reply;
  }
  void Ask(const std::string& message) {
    (void)client->Send(message, Must(base::SocketAddress::From("127.0.0.1", proxy->udp_port())));
  }
  int CodeOf(const std::string& answer) { return answer.at(3) & 15; }
};

TEST_F(DnsProxyTest, HostsOfTheMeshAreAnsweredAndOthersPassedOn) {
  Ask(Query(std::string("\x05sleep\x06sample\x00", 14), kDnsA));
  ASSERT_TRUE(Until([&] { return answers.size() == 1; }));
  EXPECT_TRUE(answers[0].ends_with(std::string("\x0a\x01\x00\x01", 4)));
  EXPECT_TRUE(asked.empty());
  const std::string other = Query(std::string("\x03www\x04test\x00", 10), kDnsA);
  Ask(other);
  ASSERT_TRUE(Until([&] { return answers.size() == 2; }));
  EXPECT_EQ(answers[1], Reply(other)) << "as the resolver said it";
  EXPECT_EQ(asked.at(0), other);
}

TEST_F(DnsProxyTest, NoAnswerIsAFailureAfterAllResolvers) {
  silent = true;
  Ask(Query(std::string("\x03www\x04test\x00", 10), kDnsA));
  ASSERT_TRUE(Until([&] { return answers.size() == 1; }));
  EXPECT_EQ(CodeOf(answers[0]), 2);
  EXPECT_THAT(metrics.Text(), HasSubstr("istio_agent_dns_upstream_failures_total 1"));
}

TEST_F(DnsProxyTest, WithoutATableEverythingFailsForNow) {
  table = nullptr;
  Ask(Query(std::string("\x05sleep\x06sample\x00", 14), kDnsA));
  ASSERT_TRUE(Until([&] { return answers.size() == 1; }));
  EXPECT_EQ(CodeOf(answers[0]), 2);
}

TEST_F(DnsProxyTest, GarbageIsNotAnswered) {
  Ask("x");
  Ask(std::string(600, '\xff'));
  Ask(Query(std::string("\x05sleep\x06sample\x00", 14), kDnsA));
  ASSERT_TRUE(Until([&] { return !answers.empty(); }));
  EXPECT_EQ(answers.size(), 1u);
}

TEST_F(DnsProxyTest, TheSameOverTcp) {
  std::unique_ptr<http::ByteStream> stream;
  std::string received;
  const auto dial =
      http::DialTcp(loop, {"127.0.0.1", proxy->tcp_port()}, 5s,
                    [&](base::Result<std::unique_ptr<http::ByteStream>> result) {
                      stream = Must(std::move(result));
                      stream->OnData([&](std::string_view bytes) { received += bytes; });
                    });
  ASSERT_TRUE(Until([&] { return stream != nullptr; }));
  const std::string known = Framed(Query(std::string("\x05sleep\x06sample\x00", 14), kDnsA));
  // In two pieces, with the next question right behind.
  const std::string other = Query(std::string("\x03www\x04test\x00", 10), kDnsA);
  stream->Write(base::Slice(known.substr(0, 5)));
  stream->Write(base::Slice(known.substr(5) + Framed(other)));
  ASSERT_TRUE(Until([&] { return received.size() > 48 + other.size(); }));
  EXPECT_THAT(received, HasSubstr(std::string("\x0a\x01\x00\x01", 4)));
  EXPECT_THAT(received, HasSubstr(Framed(Reply(other))));
}

TEST(ResolvConfTest, SearchDomain) {
  EXPECT_EQ(FirstSearchDomain("nameserver 1.1.1.1\nsearch Sample.svc.cluster.local "
                              "svc.cluster.local\noptions ndots:5\n"),
            "sample.svc.cluster.local");
  EXPECT_EQ(FirstSearchDomain("nameserver 1.1.1.1\n"), "");
}

}  // namespace
}  // namespace isthmus::agent
