// What meshes exchange to believe each other, against a fake API server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cli/fake_kube.h"
#include "tests/pki/pki_fixture.h"

namespace isthmus::cli {
namespace {

using ::testing::HasSubstr;

class TrustTest : public ::testing::Test {
 protected:
  void SetUp() override {
    AddMap("istio", "mesh", "trustDomain: east.example\n");
    AddMap("istio-ca-root-cert", "root-cert.pem", ca_.root.chain_pem());
  }
  void AddMap(const std::string& name, const std::string& key, const std::string& text) {
    kube_.objects["/api/v1/namespaces/istio-system/configmaps/" + name] = {
        {"kind", "ConfigMap"}, {"metadata", {{"name", name}}}, {"data", {{key, text}}}};
  }
  /// Refused, with a word of the reason.
  void Refuses(const std::string& bundle, const std::string& why) {
    EXPECT_EQ(kube_.Run({"x", "trust-bundle", "import", "-f", "-"}, bundle), 1) << bundle;
    EXPECT_THAT(kube_.err, HasSubstr(why));
  }

  const pki::TestCa ca_;
  FakeKube kube_;
};

TEST_F(TrustTest, ABundleNamesItsTrustDomain) {
  ASSERT_EQ(kube_.Run({"x", "trust-bundle", "export"}), 0) << kube_.err;
  const Json bundle = pki::Must(kubeapi::ParseYaml(kube_.out));
  ASSERT_EQ(bundle["caCertificates"].size(), 1u);
  EXPECT_EQ(bundle["caCertificates"][0]["pem"], ca_.root.chain_pem());
  EXPECT_EQ(bundle["caCertificates"][0]["trustDomains"], Json::array({"east.example"}));
}

TEST_F(TrustTest, BundlesThatWouldMixMeshesAreRefused) {
  ASSERT_EQ(kube_.Run({"x", "trust-bundle", "export"}), 0) << kube_.err;
  Refuses(kube_.out, "both meshes have the trust domain east.example");
  Refuses("{}", "caCertificates");
  Refuses("caCertificates: [{pem: x, trustDomains: [west.example]}]", "bundle");
  Json nameless = {{"caCertificates", {{{"pem", ca_.root.chain_pem()}}}}};
  Refuses(nameless.dump(), "trustDomains");
  EXPECT_NE(kube_.Run({"x", "trust-bundle", "exchange"}), 0);
  EXPECT_THAT(kube_.err, HasSubstr("--with"));
}

}  // namespace
}  // namespace isthmus::cli
