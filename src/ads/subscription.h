#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ads/name_set.h"
#include "ads/payload.h"
#include "ads/request.h"
#include "base/clock.h"
#include "model/view.h"

namespace isthmus::ads {

/// One type URL on one stream: which names the client wants, what it was sent and what it said
/// about that. Knows no transport; both wire forms speak to it through Request. Lives on the ADS
/// loop.
///
///   new --request--> owing --Sent--> waiting --ACK or NACK--> settled --request with new names-->
///   owing
///                                    waiting --request with new names--> owing --Sent--> waiting
///                                    settled --push: Sent--> waiting
///
/// A NACK is recorded and nothing is sent again until something changes. Requests that answer an
/// older nonce than the last are no acknowledgements.
class Subscription {
 public:
  /// What a request turned out to be.
  enum class Outcome {
    kAsks,         ///< The stream owes an answer.
    kAcked,        ///< Nothing to answer; also subscription changes that need no answer.
    kRejected,     ///< NACK.
    kStale,        ///< Meant for an older response.
    kUnsubscribed  ///< State of the world: the client wants nothing of this type any more; drop it.
  };

  /// `type_url` of a known type is not copied.
  Subscription(Protocol protocol, std::string_view type_url, const NameInterner& names);

  Outcome Handle(const Request& request, NameInterner& names, base::Time now);

  std::string_view type_url() const { return type_url_; }
  const Interest& interest() const { return interest_; }

  bool owes() const { return owes_all_ || !owed_.empty(); }
  bool owes_all() const { return owes_all_; }
  /// Names to answer whether or not they changed; not meaningful when owes_all().
  const NameList& owed() const { return owed_; }
  /// The client must be sent all of its names, because it may have forgotten them.
  void OweAll() { owes_all_ = true; }
  /// Those of `names` that the client wants.
  void Owe(const NameList& names);
  /// A response is under way that the client has not answered: pushes wait.
  bool waiting() const { return waiting_; }

  /// The sets the client has been brought up to; null before the first response.
  const std::shared_ptr<const model::View>& sent_view() const { return sent_view_; }
  /// The client needs nothing new but `view` is what it has now.
  void Current(std::shared_ptr<const model::View> view) { sent_view_ = std::move(view); }
  /// A response that brings the client up to `view` goes out.
  void Sent(std::shared_ptr<const model::View> view, std::string nonce, base::Time now);

  // For debug output.
  const std::string& nonce_sent() const { return nonce_sent_; }
  const std::string& nonce_acked() const { return nonce_acked_; }
  /// Why the client refused the last response; empty after an ACK.
  const std::string& error() const { return error_; }
  base::Time last_sent() const { return last_sent_; }
  base::Time last_acked() const { return last_acked_; }
  size_t sent_bytes = 0;  ///< Payload of the last response.

 private:
  Outcome HandleSotw(const Request& request, NameInterner& names, base::Time now);
  Outcome HandleDelta(const Request& request, NameInterner& names, base::Time now);
  /// Takes a NACK or ACK in; false when the nonce is not that of the last response.
  bool Settle(const Request& request, base::Time now);
  bool CountsAsWildcard(std::string_view name) const { return name == "*"; }

  const Protocol protocol_;
  std::string own_type_url_;  // Of unknown types.
  std::string_view type_url_;
  const bool wildcard_type_;
  bool started_ = false;
  bool waiting_ = false;
  bool owes_all_ = false;
  Interest interest_;
  NameList owed_;
  std::shared_ptr<const model::View> sent_view_;
  std::string nonce_sent_;
  std::string nonce_acked_;
  std::string error_;
  base::Time last_sent_;
  base::Time last_acked_;
};

}  // namespace isthmus::ads
