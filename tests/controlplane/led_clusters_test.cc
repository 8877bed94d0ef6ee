#include "controlplane/led_clusters.h"

#include <gtest/gtest.h>

namespace isthmus::controlplane {
namespace {

kubeapi::Json Namespace(const char* leaders) {
  return {{"metadata",
           {{"name", "istio-system"},
            {"annotations", {{"topology.istio.io/controlPlaneClusters", leaders}}}}}};
}

TEST(LedClustersTest, ANamespaceNamesItsLeadersByAListOrAStar) {
  EXPECT_TRUE(NamesLeader(Namespace("cluster1"), "cluster1"));
  EXPECT_TRUE(NamesLeader(Namespace("cluster3, cluster1"), "cluster1"));
  EXPECT_TRUE(NamesLeader(Namespace("*"), "cluster1"));
  EXPECT_FALSE(NamesLeader(Namespace("cluster11"), "cluster1"));
  EXPECT_FALSE(NamesLeader(Namespace(""), "cluster1"));
  EXPECT_FALSE(NamesLeader({{"metadata", {{"name", "istio-system"}}}}, "cluster1"));
}

}  // namespace
}  // namespace isthmus::controlplane
