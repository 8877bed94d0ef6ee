#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/dns_message.h"
#include "agent/name_table.h"
#include "agent/wire.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::agent {
namespace {

using pki::Must;
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
      MakeDnsAnswer(query, {{"sleep.sample", kDnsA, 30, std::string("\x0a\x00\x00\x01", 4)}}, DnsCode::kOk, true, 512);
  EXPECT_EQ(answer.substr(0, 12), std::string("\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00", 12));
  EXPECT_THAT(answer, HasSubstr("SLeep"));
  EXPECT_TRUE(answer.ends_with(std::string("\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x01", 14)));
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
  for (size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(ParseDnsQuery(good.substr(0, size)).ok()) << size;
  std::string response = good;
  response[2] = '\x81';
  EXPECT_FALSE(ParseDnsQuery(response).ok());
  std::string two = good;
  two[5] = 2;
  EXPECT_FALSE(ParseDnsQuery(two).ok());
  EXPECT_FALSE(ParseDnsQuery(Query(std::string("\xc0\x0c", 2), kDnsA)).ok()) << "a pointer to itself";
  std::string long_name;
  for (int i = 0; i < 5; ++i) long_name += '\x3f' + std::string(63, 'a');
  EXPECT_FALSE(ParseDnsQuery(Query(long_name + '\0', kDnsA)).ok());
  EXPECT_EQ(Must(ParseDnsQuery(Query(std::string(1, '\0'), kDnsA))).name, "");
}

std::string Entry(const std::string& host, const std::vector<std::string>& ips, const std::string& registry) {
  std::string info;
  for (const std::string& ip : ips) AppendBytes(info, 1, ip);
  AppendBytes(info, 2, registry);
  std::string entry;
  AppendBytes(entry, 1, host);
  AppendBytes(entry, 2, info);
  std::string message;
  AppendBytes(message, 1, entry);
  return message;
}

struct LookUpTest : ::testing::Test {
  NameTable table = Must(NameTable::Parse(
      Entry("helloworld.sample.svc.cluster.local", {"10.1.0.1", "fd00::1", "junk"}, "Kubernetes") +
      Entry("sleep.default.svc.cluster.local", {"10.1.0.2"}, "Kubernetes") +
      Entry("api.example.com", {"240.240.0.1"}, "External") + Entry("*.wild.example", {"240.240.0.2"}, "External")));
  NameScope scope{"default", "svc.cluster.local", "default.svc.cluster.local"};

  std::string Address(const std::string& name, uint16_t type = kDnsA) {
    const NameAnswer answer = LookUp(table, scope, name, type);
    if (!answer.known) return "upstream";
    if (answer.records.empty()) return "none";
    const DnsRecord& last = answer.records.back();
    const std::string prefix = answer.records.front().type == kDnsCname ? "cname " + answer.records.front().data + " " : "";
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

}  // namespace
}  // namespace isthmus::agent
