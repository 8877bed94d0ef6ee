#include "lab/network/nft.h"

#include "lab/network/process.h"

namespace isthmus::lab::network {

base::Status ApplyNft(std::string_view script) {
  auto finished = RunCommand({"nft", "-f", "-"}, script);
  if (!finished.ok())
    return finished.status().In("applying network rules (is package nftables installed?)");
  if (finished->exit_code != 0)
    return base::Error(base::Code::kInternal, "nft refused the rules: {}", finished->output);
  return {};
}

}  // namespace isthmus::lab::network
