// Small texts with a grammar of their own.
#include "base/clock.h"
#include "base/duration.h"
#include "base/encoding.h"
#include "base/net.h"
#include "fuzz.h"
#include "http/message.h"
#include "kubeapi/meta.h"
#include "kubeapi/selector.h"
#include "pki/spiffe.h"

namespace isthmus::fuzz {
namespace {

class TextTarget final : public Target {
 public:
  void Run(std::string_view input, Random&) override {
    if (const auto time = base::ParseTime(input); time.ok()) (void)base::FormatTime(*time);
    if (const auto duration = base::ParseDuration(input); duration.ok()) {
      const auto again = base::ParseDuration(base::FormatDuration(*duration));
      Require(again.ok() && *again == *duration, "a duration survives printing");
    }
    if (const auto address = base::SocketAddress::Parse(input); address.ok())
      Require(base::SocketAddress::Parse(address->text()).ok(), "an address survives printing");
    // A host with colons that is no address is printed in brackets, whatever else is in it.
    const auto host = base::HostPort::Parse(input);
    if (host.ok() &&
        (base::IsIpAddress(host->host) || host->host.find_first_of(":[]") == std::string::npos)) {
      const auto again = base::HostPort::Parse(host->text());
      Require(again.ok() && again->host == host->host && again->port == host->port,
              "host and port survive printing");
    }
    if (const auto id = pki::SpiffeId::Parse(input); id.ok())
      Require(pki::SpiffeId::Parse(id->uri()).ok(), "an identity survives printing");
    if (const auto bytes = base::Base64Decode(input); bytes.ok())
      Require(*base::Base64Decode(base::Base64Encode(*bytes)) == *bytes, "base64 survives");
    Require(http::UrlDecode(http::UrlEncode(input)) == input, "URL encoding survives");
    (void)kubeapi::ParseQuantityMilli(input);
    (void)base::HexDecode(input);
    LookAtSelectors(input);
  }

 private:
  static void LookAtSelectors(std::string_view input) {
    const kubeapi::Json labels = {{"app", "web"}, {"tier", "5"}};
    if (const auto selector = kubeapi::LabelSelector::Parse(input); selector.ok()) {
      const auto again = kubeapi::LabelSelector::Parse(selector->ToString());
      Require(again.ok() && *again == *selector, "a selector survives printing");
      (void)selector->Matches(labels);
    }
    if (const auto selector = kubeapi::FieldSelector::Parse(input); selector.ok())
      (void)selector->Matches({{"metadata", labels}});
  }
};

}  // namespace

std::unique_ptr<Target> NewTextTarget() { return std::make_unique<TextTarget>(); }

}  // namespace isthmus::fuzz
