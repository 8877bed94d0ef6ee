#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace isthmus::agent {

/// A command's flags as Go's programs take them: --name=value, --name value, -n value, -nvalue, and
/// --switch or --switch=false for switches.
class Flags {
 public:
  /// `env`: the variable that counts when the flag is not given. `letter` 0: none.
  void Add(std::string name, char letter, std::string fallback, std::string env = {});
  void AddSwitch(std::string name, char letter, std::string env = {});

  enum class Unknown { kRefuse, kSkip };
  /// Sets flags from `args`; gives back what is no flag. Everything after "--" is no flag. With
  /// kSkip, an unknown flag is left out, with the value after it when that does not look like a
  /// flag.
  base::Result<std::vector<std::string>> Parse(const std::vector<std::string>& args,
                                               const std::map<std::string, std::string>& env,
                                               Unknown unknown);
  /// REQUIRES: added.
  const std::string& Get(const std::string& name) const { return flags_.at(name).value; }
  bool Is(const std::string& name) const { return flags_.at(name).value == "true"; }
  bool given(const std::string& name) const { return flags_.at(name).given; }

 private:
  struct Flag {
    std::string value;
    std::string env;
    bool is_switch = false;
    bool given = false;
  };
  Flag* Find(std::string_view name);

  std::map<std::string, Flag, std::less<>> flags_;
  std::map<char, std::string> letters_;
};

}  // namespace isthmus::agent
