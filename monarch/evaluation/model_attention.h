// Attention of a diffusion transformer under inspection: its operands, and other methods in its
// place.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "monarch/evaluation/attention_map.h"
#include "monarch/models/wan/dit.h"
#include "monarch/models/wan/self_attention.h"

namespace monarch::evaluation {

// What self-attention of a layer does: [B, N, heads, D] operands, rotated -> [B, N, heads, D].
using LayerAttention = std::function<at::Tensor(std::size_t layer, const models::Qkv& qkv)>;

// WanDit::forward with self-attention by the caller: the flow [B, out_dim, F, H, W].
at::Tensor flow_with_attention(const models::WanDit& model, const models::DitInput& input,
                               const LayerAttention& attention);

// Dense attention that also keeps heads of the first sample, layer after layer: those of which
// `wanted`, asked once a head, says so; without it all.
LayerAttention capturing_attention(const ops::Grid& grid, std::vector<AttentionHead>& heads,
                                   std::function<bool()> wanted = {});

// The method on every head: its operator, or where there is none the rows of its map.
LayerAttention attention_by(const AttentionMethod& method, const ops::Grid& grid);

// Heads of operands [B, N, H, D], or [N, H, D]; batch after batch. Throws if the shapes do not
// agree with the grid.
std::vector<AttentionHead> heads_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    const ops::Grid& grid);

}  // namespace monarch::evaluation
