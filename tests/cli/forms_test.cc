// Every form of istioctl that the guides and the releases behind them type: understood as written,
// or answered with what to type now. What the commands do is tested elsewhere; here none may be an
// unknown word.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/cli/fake_kube.h"

namespace isthmus::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int kUsageError = 64;
constexpr char kInstallFile[] =
    "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n";

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> words;
  for (const std::string_view word : base::Split(line, ' '))
    if (!word.empty()) words.emplace_back(word);
  return words;
}

/// The kubeconfig of the fake server is added by itself, its context is "test". "F" stands for
/// standard input.
class FormsTest : public ::testing::TestWithParam<const char*> {
 protected:
  FakeKube kube_;
};

TEST_P(FormsTest, EveryFormOfTheGuidesIsUnderstood) {
  const int code = kube_.Run(Words(GetParam()), kInstallFile);
  EXPECT_NE(code, kUsageError) << kube_.err;
  EXPECT_THAT(kube_.err, Not(HasSubstr("unknown")));
  EXPECT_THAT(kube_.err, Not(HasSubstr("unexpected argument")));
}

INSTANTIATE_TEST_SUITE_P(
    Guides, FormsTest,
    ::testing::Values(
        "version", "version --remote=false", "version --short", "version -s -o yaml",
        "version --short=false",
        // Installation, flags in front, behind and between.
        "install -f -", "install --context=test -f - --dry-run", "apply -f - --dry-run",
        "--context=test install -y -f - --dry-run", "install --context test -f- --dry-run",
        "install -f=- --dry-run", "install --filename=- --skip-confirmation --dry-run",
        "install --set values.pilot.env.EXTERNAL_ISTIOD=true --context=test -f - --dry-run",
        "install --context=test -f - -n istio-system -y --dry-run",
        "install --set profile=demo -y --dry-run", "install -s profile=demo -y --dry-run",
        "install --set hub=example.com/istio --set tag=1.0 --readiness-timeout 30s --dry-run",
        "install -r canary -f - --dry-run", "upgrade -f - -y --dry-run",
        "manifest install -f - -y --dry-run", "manifest apply -f - -y --dry-run",
        "manifest apply --context=test -f - --wait --dry-run",
        "manifest generate -f - --set values.global.istioNamespace=istio-system",
        "manifest generate --set profile=minimal", "profile list", "profile dump default",
        "profile dump demo -o json", "profile dump -p components.pilot", "profile dump -o flags",
        "profile diff default demo",
        // Remote secrets.
        "x create-remote-secret --name=cluster1 --server=https://192.168.229.128:6443",
        "x create-remote-secret --context=test --name=cluster2",
        "x --context=test create-remote-secret --name=cluster2",
        "--context=test x create-remote-secret --name=cluster2",
        "x create-remote-secret --context=test --name=cluster2 --type=remote "
        "--namespace=istio-system --create-service-account=false",
        "create-remote-secret --name=cluster2 --service-account=istio-reader-service-account",
        "experimental create-remote-secret --name c --tls-server-name api", "remote-clusters",
        "x remote-clusters",
        // Proxies.
        "ps", "proxy-status", "x ps", "experimental proxy-status", "ps -r default", "ps -o json",
        "ps -n istio-system", "ps istio-ingressgateway-5d9-k8k2p.istio-system",
        "pc endpoint -n istio-system istio-ingressgateway-5d9-k8k2p",
        "pc endpoint -n istio productpage-v1-6b7-x2x4k.istio",
        "pc endpoint productpage-v1-6b7-x2x4k -n istio", "proxy-config endpoints x --port 9080",
        "pc ep x --cluster outbound|80||a.b.svc.cluster.local --status healthy --address 10.0.0.1",
        "pc cluster x --fqdn a.b --direction outbound --port 80 --subset v1 -o json", "pc c x",
        "pc listener x --port 15006 --type HTTP --address 0.0.0.0", "pc l x --verbose=false",
        "pc route x --name 80 -o yaml", "pc r x", "pc bootstrap x", "pc b x -o short",
        "pc secret x", "pc s x -o json", "pc all x", "pc a x -o json", "pc ecds x", "pc log x",
        "pc log x --level http:debug,rbac:debug", "pc log x -r", "pc rootca-compare x y",
        "pc rc x.a y.b",
        // Looking for faults.
        "analyze", "analyze -A", "analyze --all-namespaces -o json", "analyze -n istio-system",
        "analyze --use-kube=false -", "x analyze -k", "analyze -L", "validate -f -",
        "x describe pod x.istio", "x describe po x", "x des svc details.istio",
        "x describe service details", "x precheck", "x check-inject x.istio",
        "x check-inject -n istio -l app=a", "x injector list", "x authz check x",
        "x internal-debug syncz", "x internal-debug --list", "x envoy-stats x", "x es x -o prom",
        "x envoy-stats x --type clusters -o yaml", "bug-report --dry-run",
        "bug-report --include shop --output-dir /tmp --duration 1h --dry-run", "tag list",
        "x tag list", "tag list -o json", "tag set prod --revision default",
        "tag set prod -r default --overwrite -y", "tag generate prod -r default",
        "tag remove prod -y", "kube-inject -f -", "dashboard envoy x --browser=false",
        // Away again.
        "x uninstall -f -", "uninstall -f - -y", "uninstall --purge --context=test",
        "uninstall --purge -y", "x uninstall --purge -y --dry-run",
        "uninstall --revision canary -y", "completion bash", "completion zsh", "options", "help",
        "help install", "x --help", "--log_output_level=default:debug ps",
        "--vklog 9 version --remote=false", "-i istio-system ps",
        "--istioNamespace=istio-system ps", "--as admin --as-group system:masters ps"));

struct OldForm {
  const char* line;
  const char* instead;
};

class OldFormsTest : public ::testing::TestWithParam<OldForm> {
 protected:
  FakeKube kube_;
};

TEST_P(OldFormsTest, IsAnsweredWithWhatToTypeNow) {
  EXPECT_EQ(kube_.Run(Words(GetParam().line)), 1);
  EXPECT_THAT(kube_.err, HasSubstr(GetParam().instead));
}

INSTANTIATE_TEST_SUITE_P(
    Releases, OldFormsTest,
    ::testing::Values(OldForm{"operator init -f x.yaml", "install -f FILE"},
                      OldForm{"operator remove --purge", "install -f FILE"},
                      OldForm{"verify-install -f x.yaml", "analyze"},
                      OldForm{"authn tls-check x.istio details.istio", "describe pod"},
                      OldForm{"register svc 10.0.0.1 http:80", "WorkloadEntry"},
                      OldForm{"deregister svc 10.0.0.1", "WorkloadEntry"},
                      OldForm{"convert-ingress -f x.yaml", "VirtualService"},
                      OldForm{"manifest diff a.yaml b.yaml", "manifest generate"},
                      OldForm{"manifest migrate values.yaml", "IstioOperator"},
                      OldForm{"manifest versions", "version"},
                      OldForm{"manifest translate -f a", "generate"},
                      OldForm{"x add-to-mesh deployment a", "istio-injection=enabled"},
                      OldForm{"x remove-from-mesh service a", "istio-injection-"},
                      OldForm{"x kube-uninject -f a.yaml", "file again"},
                      OldForm{"x multicluster create-remote-secret", "create-remote-secret"},
                      OldForm{"experimental multicluster create-remote-secret --context x",
                              "create-remote-secret"},
                      OldForm{"x wait --for=distribution virtualservice a.b", "proxy-status"},
                      OldForm{"x revision list", "tag list"}, OldForm{"x metrics a", "envoy-stats"},
                      OldForm{"x post-install webhook enable", "install"},
                      OldForm{"admin log --level ads:debug", "log_output_level"},
                      OldForm{"x workload entry configure -f a", "WorkloadGroup"},
                      OldForm{"waypoint list", "sidecars"},
                      OldForm{"ztunnel-config all", "proxy-config"}));

class FormTreeTest : public ::testing::Test {
 protected:
  FakeKube kube_;
};

TEST_F(FormTreeTest, FlagsStandAnywhere) {
  for (const char* line : {"--context=nosuch x create-remote-secret --name=c",
                           "x --context=nosuch create-remote-secret --name=c",
                           "x create-remote-secret --context=nosuch --name=c",
                           "x create-remote-secret --name=c --context nosuch"}) {
    EXPECT_EQ(kube_.Run(Words(line)), 1) << line;
    EXPECT_THAT(kube_.err, HasSubstr("\"nosuch\" does not exist; there are: test")) << line;
  }
}

/// Asks for the help of a command and of all below it, by what the help lists.
int WalkHelp(FakeKube& kube, std::vector<std::string> path) {
  std::vector<std::string> line = path;
  line.push_back("--help");
  EXPECT_EQ(kube.Run(line), 0) << base::Join(path, " ");
  const std::string help = kube.out;
  const size_t at = help.find("\nSubcommands:\n");
  if (at == help.npos) {
    EXPECT_THAT(help, HasSubstr("Examples:")) << base::Join(path, " ");
    EXPECT_THAT(help, HasSubstr("Usage: istioctl " + base::Join(path, " "))) << help;
    return 1;
  }
  int count = 0;
  for (const std::string_view text : base::Split(std::string_view(help).substr(at), '\n')) {
    if (!text.starts_with("  ") || text.starts_with("   ")) continue;
    std::vector<std::string> deeper = path;
    deeper.emplace_back(text.substr(2, text.find_first_of(" ,", 2) - 2));
    count += WalkHelp(kube, std::move(deeper));
  }
  return count;
}

TEST_F(FormTreeTest, EveryCommandOfTheTreeHasHelpWithAnExample) {
  EXPECT_GT(WalkHelp(kube_, {}), 40);
}

}  // namespace
}  // namespace isthmus::cli
