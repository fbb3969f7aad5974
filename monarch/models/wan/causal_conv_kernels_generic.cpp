#define MONARCH_ISA generic
#include "monarch/models/wan/causal_conv_kernels.inc"
