// A linear probe that tells from one cell of the latents which kind of shape covers it.
//
// It is trained with the VAE (recipes/vae.h) and looks over the denoiser's shoulder after that
// (recipes/shapes_dit.h).
#pragma once

#include <ATen/ATen.h>

#include <span>

#include "monarch/models/wan/weights.h"

namespace monarch::training {

struct KindProbe {
  at::Tensor weight;  // [1 + kinds, z, 1, 1, 1]; class 0 is the background
  at::Tensor bias;    // [1 + kinds]; none: there is no probe

  explicit operator bool() const { return weight.defined(); }

  // latents [B, z, f, h, w], each channel divided by its deviation -> [B, 1 + kinds, f, h, w]
  at::Tensor logits(const at::Tensor& latents) const;

  // The probe for latents that their mean was taken from as well, as a denoiser has them.
  KindProbe of_normalised(std::span<const double> mean, std::span<const double> deviation) const;
};

// The probe among the parameters of a VAE; none where there is none.
KindProbe find_probe(const models::TensorMap& parameters);

// Adds a random one.
void add_probe(models::TensorMap& parameters, int64_t z_dim, at::Generator generator);

// The VAE without its probe.
models::TensorMap without_probe(models::TensorMap parameters);

// How far the kinds that are seen in `denoised` lie from those seen in `clean`: the divergence of
// their distributions in every cell, background left out, averaged over the cells with a weight of
// `level` [B] times the share of shapes in them. 0 where both are the same; in nats.
at::Tensor kind_divergence(const KindProbe& probe, const at::Tensor& denoised,
                           const at::Tensor& clean, const at::Tensor& level);

}  // namespace monarch::training
