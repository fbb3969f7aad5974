// Parity of the UMT5 text encoder and of its position buckets.
#include "apps/parity/umt5.h"

#include "monarch/models/wan/umt5.h"

namespace monarch::apps {

ParityOutput run_umt5_encode(const ParityInput& in) {
  Json config = in.config();
  config.erase("lengths");  // describes the case, not the model
  const models::Umt5Encoder encoder(models::Umt5Config::from_json(config),
                                    in.with_prefix("param."));
  const at::Tensor ids = in.input("ids");
  const at::Tensor mask = in.input("mask");
  return {{"expect.hidden", encoder.encode(ids, mask)},
          {"expect.embeds", encoder.embeds(ids, mask)}};
}

ParityOutput run_t5_relative_position_bucket(const ParityInput& in) {
  const Json& config = in.config();
  return {{"expect.bucket",
           models::t5_relative_position_bucket(
               in.input("relative_position"), config.at("num_buckets").get<int64_t>(),
               config.at("max_dist").get<int64_t>(), config.at("bidirectional").get<bool>())}};
}

}  // namespace monarch::apps
