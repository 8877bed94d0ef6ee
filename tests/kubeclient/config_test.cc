#include "kubeclient/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/files.h"

namespace isthmus::kubeclient {
namespace {

using base::Code;

constexpr char kConfig[] = R"(
apiVersion: v1
kind: Config
current-context: one
clusters:
- name: c1
  cluster: {server: "https://10.0.0.1:6443/prefix/", certificate-authority-data: QUJD, tls-server-name: kube, proxy-url: "http://127.0.0.1:3128"}
- name: c2
  cluster: {server: "https://c2", insecure-skip-tls-verify: true}
contexts:
- name: one
  context: {cluster: c1, user: u1, namespace: team}
- name: two
  context: {cluster: c2, user: u2}
- name: three
  context: {cluster: none, user: u2}
users:
- name: u1
  user: {token: abc, as: someone, as-groups: [g1, g2]}
- name: u2
  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}
)";

TEST(Kubeconfig, ReadsTheCurrentContext) {
  const auto config = ParseKubeconfig(kConfig, "", KubeconfigTrust::kOwn);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->server, "https://10.0.0.1:6443");
  EXPECT_EQ(config->path_prefix, "/prefix");
  EXPECT_EQ(config->ca_pem, "ABC");
  EXPECT_EQ(config->tls_server_name, "kube");
  EXPECT_EQ(config->proxy_url, "http://127.0.0.1:3128");
  EXPECT_EQ(config->token, "abc");
  EXPECT_EQ(config->impersonate_groups, (std::vector<std::string>{"g1", "g2"}));
  EXPECT_EQ(config->default_namespace, "team");
  EXPECT_EQ(config->cluster, "c1");
}

TEST(Kubeconfig, ReadsAnotherContext) {
  const auto config = ParseKubeconfig(kConfig, "two", KubeconfigTrust::kRemoteSecret);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_TRUE(config->insecure_skip_tls_verify);
  EXPECT_EQ(config->client_certificate_pem, "CERT");
  EXPECT_EQ(config->client_key_pem, "KEY");
  EXPECT_EQ(config->default_namespace, "default");
}

TEST(Kubeconfig, ErrorsSayWhatIsWrong) {
  const auto message = [](std::string_view text, std::string_view context = "") {
    const auto config = ParseKubeconfig(text, context, KubeconfigTrust::kOwn);
    return config.ok() ? "" : config.status().message();
  };
  EXPECT_NE(message(kConfig, "nosuch").find("there are: one, two, three"), std::string::npos);
  EXPECT_NE(message(kConfig, "three").find("cluster \"none\" does not exist"), std::string::npos);
  EXPECT_NE(message("{}").find("no current-context"), std::string::npos);
  EXPECT_NE(message("[1]").find("must be an object"), std::string::npos);
  EXPECT_NE(message("a: [").find("YAML"), std::string::npos);
  EXPECT_NE(message("current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\nclusters: "
                    "[{name: a, cluster: {server: 'ftp://x'}}]")
                .find("no http or https URL"),
            std::string::npos);
}

std::string WithUser(std::string_view user) {
  return "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
         "clusters: [{name: a, cluster: {server: 'https://x'}}]\nusers: [{name: a, user: " +
         std::string(user) + "}]\n";
}

TEST(Kubeconfig, RefusesWhatRemoteSecretsMayNotCarry) {
  for (const auto& [user, option] : std::vector<std::pair<std::string, std::string>>{
           {"{exec: {command: evil}}", "exec"},
           {"{tokenFile: /etc/passwd}", "tokenFile"},
           {"{client-key: /etc/k, client-certificate-data: QQ==}", "clientKey"},
           {"{client-certificate: /etc/c, client-key-data: QQ==}", "clientCertificate"},
           {"{auth-provider: {name: gcp}}", "gcp"}}) {
    const auto refused = ParseKubeconfig(WithUser(user), "", KubeconfigTrust::kRemoteSecret);
    ASSERT_FALSE(refused.ok()) << user;
    EXPECT_EQ(refused.status().code(), Code::kPermissionDenied) << user;
    const auto allowed =
        ParseKubeconfig(WithUser(user), "", KubeconfigTrust::kRemoteSecret, {option});
    EXPECT_NE(allowed.status().code(), Code::kPermissionDenied) << user;
  }
  const auto oidc =
      ParseKubeconfig(WithUser("{auth-provider: {name: oidc, config: {id-token: t}}}"), "",
                      KubeconfigTrust::kRemoteSecret);
  ASSERT_TRUE(oidc.ok());
  EXPECT_EQ(oidc->token, "t");
  EXPECT_TRUE(
      ParseKubeconfig(WithUser("{username: u, password: p}"), "", KubeconfigTrust::kRemoteSecret)
          .ok());
}

TEST(Kubeconfig, RefusesFilesThatARemoteSecretNamesAsRoots) {
  std::string text = WithUser("{token: t}");
  text.replace(text.find("server:"), 0, "certificate-authority: /etc/passwd, ");
  const auto refused = ParseKubeconfig(text, "", KubeconfigTrust::kRemoteSecret);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kPermissionDenied);
  EXPECT_NE(refused.status().message().find("certificate-authority"), std::string::npos);
  EXPECT_TRUE(
      ParseKubeconfig(text, "", KubeconfigTrust::kRemoteSecret, {"certificateAuthority"}).ok());
  EXPECT_TRUE(ParseKubeconfig(text, "", KubeconfigTrust::kOwn).ok());
}

class KubeconfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/kubeconfig-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override {
    unsetenv("KUBECONFIG");
    const auto files = base::ListDir(folder_);
    ASSERT_TRUE(files.ok());
    for (const std::string& file : *files) ASSERT_TRUE(base::RemoveFile(folder_ + "/" + file).ok());
    rmdir(folder_.c_str());
  }
  std::string Write(const std::string& name, std::string_view text) {
    EXPECT_TRUE(base::WriteFile(folder_ + "/" + name, text).ok());
    return folder_ + "/" + name;
  }
  std::string folder_;
};

TEST_F(KubeconfigFiles, RunsCredentialPlugins) {
  const auto with = [&](std::string_view script) {
    const std::string plugin = Write("plugin", "#!/bin/sh\n" + std::string(script));
    EXPECT_EQ(chmod(plugin.c_str(), 0755), 0);
    return LoadKubeconfig(
        Write("config", WithUser("{exec: {apiVersion: client.authentication.k8s.io/v1, command: "
                                 "./plugin, args: [a, b], "
                                 "env: [{name: SECRET, value: s3}], provideClusterInfo: true}}")),
        "");
  };
  const auto config = with(
      "case \"$KUBERNETES_EXEC_INFO\" in *https://x*) ;; *) exit 9;; esac\n"
      "echo "
      "\"{\\\"kind\\\":\\\"ExecCredential\\\",\\\"status\\\":{\\\"token\\\":\\\"$1-$2-$SECRET\\\"}}"
      "\"\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->token, "a-b-s3");
  EXPECT_NE(with("echo broken >&2; exit 3").status().message().find("exit code 3: broken"),
            std::string::npos);
  EXPECT_FALSE(with("echo '{}'").ok());
  EXPECT_FALSE(with("echo nonsense").ok());
}

TEST_F(KubeconfigFiles, MergesTheListAndResolvesRelativePaths) {
  Write("ca.pem", "THE CA");
  const std::string first = Write("a",
                                  "current-context: x\nclusters: [{name: c, cluster: {server: "
                                  "'https://c', certificate-authority: ca.pem}}]\n");
  const std::string second = Write("b",
                                   "current-context: z\ncontexts: [{name: x, context: {cluster: "
                                   "c}}, {name: z, context: {cluster: c}}]\n"
                                   "clusters: [{name: c, cluster: {server: 'https://other'}}]\n");
  setenv("KUBECONFIG", (first + ":" + folder_ + "/missing:" + second).c_str(), 1);
  const auto config = LoadKubeconfig("", "");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->server, "https://c");
  EXPECT_EQ(config->ca_pem, "THE CA");
  EXPECT_EQ(config->context, "x");
  EXPECT_EQ(*KubeconfigContexts(""), (std::vector<std::string>{"x", "z"}));
  EXPECT_EQ(LoadKubeconfig(folder_ + "/missing", "").status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace isthmus::kubeclient
