// Messages in binary forms: DNS, xDS and Kubernetes' protobuf.
#include <google/protobuf/stubs/logging.h>

#include "ads/node.h"
#include "ads/request.h"
#include "agent/name_table.h"
#include "agent/xds_message.h"
#include "fuzz.h"
#include "kubeapi/json.h"
#include "lab/apiserver/protobuf.h"
#include "lab/node/dns_zone.h"
#include "rpc/protobuf_wire.h"

namespace isthmus::fuzz {
namespace {

std::string TableEntry(std::string_view name, std::string_view address, std::string_view ns) {
  std::string info, entry, out;
  rpc::PutBytes(info, 1, address);
  rpc::PutBytes(info, 2, "Kubernetes");
  rpc::PutBytes(info, 3, name.substr(0, name.find('.')));
  rpc::PutBytes(info, 4, ns);
  rpc::PutBytes(entry, 1, name);
  rpc::PutBytes(entry, 2, info);
  rpc::PutBytes(out, 1, entry);
  return out;
}

class DnsTarget final : public Target {
 public:
  DnsTarget() {
    auto table =
        agent::NameTable::Parse(TableEntry("web.shop.svc.cluster.local", "10.0.0.1", "shop") +
                                TableEntry("*.example.com", "10.0.0.2", ""));
    Require(table.ok() && table->hosts().size() == 2, "the name table parses");
    table_ = *std::move(table);
    const auto service = kubeapi::ParseJson(
        R"({"metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.0.0.1","ports":[{"name":"http","port":80}]}})");
    Require(service.ok(), "the service parses");
    zone_.Rebuild({{"shop/web", *service}}, {});
  }

  void Run(std::string_view input, Random& random) override {
    const size_t limit = random.OneIn(2) ? 512 : 65535;
    const std::string answer = lab::node::AnswerDns(zone_, input, limit);
    Require(answer.size() <= limit, "the lab's answer keeps the limit");
    const auto query = agent::ParseDnsQuery(input);
    if (!query.ok()) return;
    Require(query->name.size() <= 253, "a name keeps DNS's limit");
    const auto found = agent::LookUp(
        table_, {"shop", "svc.cluster.local", "shop.svc.cluster.local"}, query->name, query->type);
    const std::string made =
        agent::MakeDnsAnswer(*query, found.records, agent::DnsCode::kOk, true, limit);
    Require(made.size() <= limit, "the agent's answer keeps the limit");
    Require(made.substr(0, 2) == input.substr(0, 2),
            "the agent's answer has the question's number");
  }

 private:
  agent::NameTable table_;
  lab::node::DnsZone zone_;
};

class XdsTarget final : public Target {
 public:
  XdsTarget() { google::protobuf::SetLogHandler(nullptr); }
  void Run(std::string_view input, Random&) override {
    for (const auto protocol : {ads::Protocol::kDelta, ads::Protocol::kSotw}) {
      const auto request = ads::ParseRequest(protocol, input);
      if (request.ok() && request->has_node) (void)ads::ParseNode(request->node);
    }
    (void)ads::ParseNode(input);
    for (const auto form : {agent::XdsForm::kDelta, agent::XdsForm::kStateOfTheWorld}) {
      (void)agent::ParseXdsRequest(form, input);
      (void)agent::ParseXdsResponseHead(form, input);
      const auto response = agent::ParseXdsResponse(form, input);
      if (!response.ok()) continue;
      for (const agent::XdsResource& resource : response->resources) agent::AnyValue(resource.any);
    }
    if (const auto table = agent::NameTable::Parse(input); table.ok())
      Require(kubeapi::ParseJson(table->ToJson()).ok(), "/debug/ndsz is JSON");
  }
};

class KubeProtobufTarget final : public Target {
 public:
  void Run(std::string_view input, Random&) override {
    const auto object = lab::apiserver::DecodeProtobuf(input);
    if (object.ok())
      Require(kubeapi::ParseJson(kubeapi::ToJson(*object)).ok(), "it prints as JSON");
  }
};

}  // namespace

std::unique_ptr<Target> NewDnsTarget() { return std::make_unique<DnsTarget>(); }
std::unique_ptr<Target> NewXdsTarget() { return std::make_unique<XdsTarget>(); }
std::unique_ptr<Target> NewKubeProtobufTarget() { return std::make_unique<KubeProtobufTarget>(); }

}  // namespace isthmus::fuzz
